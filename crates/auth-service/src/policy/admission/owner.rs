//! Who is refused for what strangers tried may show that they are the account's owner: by a live
//! session of that very account.
//!
//! Three ways, the first good one counts: its refresh cookie, its access token, or the same network
//! that one of its sessions was opened from. All come from somebody who has got in before, so a
//! stranger learns nothing by them, not even whether the account exists.
//!
//! No budget for asking the database is shared by everybody: one stranger would spend it, and the owner
//! would be refused with the strangers. What is asked about an account or a session is asked once in a
//! while for all who want to know. Only for names of which nothing was tried yet, which are as many as a
//! flood can invent, each network has a budget of its own.

use std::net::IpAddr;
use std::sync::Arc;

use claims::{SessionId, Transport};
use secrecy::{ExposeSecret as _, SecretString};
use verifier::PresentedToken;

use super::buckets::{address, bucket, whose};
use crate::identity::names::{self, NameKey};
use crate::identity::pseudonyms::{Pseudonym, Pseudonyms, network};
use crate::limits::owners::Networks;
use crate::limits::{Refusal, Rule};
use crate::policy::app::App;
use crate::policy::callers;
use crate::store::SessionView;
use crate::store::{Caller, Requester};

/// Looks into the database for one session's sake.
const LOOKS_OF_A_SESSION: Rule = Rule::Rate { burst: 10, interval_ms: 1000 };
/// Looks for names that are refused because of their network, from each network.
const LOOKS_OF_A_NETWORK: Rule = Rule::Rate { burst: 20, interval_ms: 500 };

/// Who would like to log in.
pub(crate) struct Applicant<'a> {
    /// The name or address as they wrote it.
    pub(crate) username: &'a str,
    pub(crate) requester: &'a Requester,
    /// A refresh cookie that came along.
    pub(crate) cookie: Option<&'a SecretString>,
    /// An access token that came along.
    pub(crate) bearer: Option<&'a SecretString>,
}

impl Applicant<'_> {
    /// The name, together with where it is tried from.
    pub(crate) fn home(&self, app: &App) -> Pseudonym {
        pair(&app.pseudonyms, &names::anything(self.username), address(self.requester))
    }
}

/// A name together with where it is tried from.
pub(super) fn pair(pseudonyms: &Pseudonyms, name: &NameKey, from: IpAddr) -> Pseudonym {
    pseudonyms.of("pair", &[name.as_str().as_bytes(), &network(from)])
}

/// What to count the owner by: their session, and how they showed it, so that somebody who only
/// shares their network uses up nothing of what their cookie gives them.
pub(super) async fn proof(
    app: &App,
    applicant: &Applicant<'_>,
    (name, from): (&NameKey, IpAddr),
    refusal: Refusal,
) -> Option<Pseudonym> {
    let cookie = applicant
        .cookie
        .and_then(|token| callers::by_refresh_token(app, token.expose_secret(), Transport::Cookie));
    let by_bearer = || {
        let verified =
            app.verifier.verify(&PresentedToken::bearer(applicant.bearer?.expose_secret())).ok()?;
        callers::by_access_token(verified.claims())
    };
    if let Some(caller) = cookie.or_else(by_bearer)
        && is_of(app, caller, name).await
    {
        return Some(whose(app, caller.session));
    }
    let session = on_the_same_network(app, name, from, refusal).await?;
    Some(app.pseudonyms.of("neighbour", &[session.to_string().as_bytes()]))
}

/// Whether the caller's session is live and of the account of this name.
async fn is_of(app: &App, caller: Caller, name: &NameKey) -> bool {
    let session = caller.session.to_string();
    let generation = caller.generation.map_or_else(String::new, |number| number.to_string());
    let key = app.pseudonyms.of("shown", &[session.as_bytes(), generation.as_bytes()]);
    let allowed = || {
        let looks = bucket("owner-looks", whose(app, caller.session), Some(LOOKS_OF_A_SESSION));
        app.limits.token(looks).is_ok()
    };
    let store = app.store.clone();
    let look = async move {
        asks("session");
        store.user_of(caller).await.ok().flatten().map(Arc::new)
    };
    let (owners, now) = (&app.owners, app.limits.now());
    let user = owners.sessions.get(key, now, &owners.shown, allowed, look).await;
    user.is_some_and(|user| {
        user.username.as_deref().and_then(names::username).as_ref() == Some(name)
            || user.email.as_deref().and_then(names::email).as_ref() == Some(name)
    })
}

/// A live session of the account that was opened from the network of this login.
async fn on_the_same_network(
    app: &App,
    name: &NameKey,
    from: IpAddr,
    refusal: Refusal,
) -> Option<SessionId> {
    let owners = &app.owners;
    // Failures at this very name: each cost us a hash, so strangers cannot have many names refused so.
    let besieged = matches!(refusal.key().policy, "login" | "login-account");
    let lane = if besieged { &owners.besieged } else { &owners.others };
    let allowed = || {
        let network = app.pseudonyms.network(from);
        let looks = bucket("network-looks", network, Some(LOOKS_OF_A_NETWORK));
        besieged
            || owners.at_home.get(&pair(&app.pseudonyms, name, from)).is_some()
            || app.limits.token(looks).is_ok()
    };
    let (store, of) = (app.store.clone(), name.clone());
    let look = async move {
        asks("account");
        let sessions = store.live_sessions(of).await.ok()?;
        Some(networks(&sessions))
    };
    let (key, now) = (app.pseudonyms.name(name), app.limits.now());
    let networks = owners.accounts.get(key, now, lane, allowed, look).await?;
    let here = network(from);
    networks.iter().find(|(network, _)| *network == here).map(|(_, session)| *session)
}

/// Each network once, with the newest session that was opened from there.
fn networks(sessions: &[SessionView]) -> Networks {
    let mut networks: Vec<(Vec<u8>, SessionId)> = Vec::new();
    for session in sessions {
        let ip = session.ip.as_deref().and_then(|ip| ip.parse().ok());
        let Some(network) = ip.map(network) else { continue };
        if !networks.iter().any(|(known, _)| *known == network) {
            networks.push((network, session.id));
        }
    }
    networks.into()
}

fn asks(of: &'static str) {
    metrics::counter!("latchkey_owner_looks_total", "of" => of).increment(1);
}
