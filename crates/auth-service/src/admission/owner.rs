//! Who is refused for what strangers tried may show that they are the account's owner: by a live
//! session of that very account.
//!
//! Three ways, the first good one counts: its refresh cookie, its access token, or the same network
//! that one of its sessions was opened from. All come from somebody who has got in before, so a
//! stranger learns nothing by them, not even whether the account exists.

use std::net::IpAddr;

use claims::{SessionId, SessionView, Transport};
use secrecy::{ExposeSecret as _, SecretString};

use super::buckets::{bucket, whose};
use crate::app::App;
use crate::callers;
use crate::limits::Rule;
use crate::names::{self, NameKey};
use crate::pseudonyms::{Pseudonym, Pseudonyms, network};
use crate::store::{Caller, Client};

/// Looks into the database for one session's sake, and for everybody's who has none to show.
const LOOKS_OF_A_SESSION: Rule = Rule::Rate { burst: 10, interval_ms: 1000 };
const LOOKS_OF_STRANGERS: Rule = Rule::Rate { burst: 100, interval_ms: 10 };
/// How long it is remembered whether there is a session on the same network.
const REMEMBERED_MS: u64 = 10_000;

/// Who would like to log in.
pub(crate) struct Applicant<'a> {
    /// The name or address as they wrote it.
    pub(crate) username: &'a str,
    /// From where.
    pub(crate) client: &'a Client,
    /// A refresh cookie that came along.
    pub(crate) cookie: Option<&'a SecretString>,
    /// An access token that came along.
    pub(crate) bearer: Option<&'a SecretString>,
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
    name: &NameKey,
    from: IpAddr,
) -> Option<Pseudonym> {
    let cookie = applicant
        .cookie
        .and_then(|token| callers::by_refresh_token(app, token.expose_secret(), Transport::Cookie));
    let by_bearer = || {
        let verified = app.verifier.verify(applicant.bearer?.expose_secret()).ok()?;
        verified.claims().sid.map(callers::by_session)
    };
    if let Some(caller) = cookie.or_else(by_bearer)
        && is_of(app, caller, name).await
    {
        return Some(whose(app, caller.session));
    }
    let session = on_the_same_network(app, name, from).await?;
    Some(app.pseudonyms.of("neighbour", &[session.to_string().as_bytes()]))
}

/// Whether the caller's session is live and of the account of this name.
async fn is_of(app: &App, caller: Caller, name: &NameKey) -> bool {
    let looks = bucket("owner-looks", whose(app, caller.session), Some(LOOKS_OF_A_SESSION));
    if app.limits.token(looks).is_err() {
        return false;
    }
    let Ok(Some(user)) = app.store.user_of(caller).await else { return false };
    names::username(&user.username).as_ref() == Some(name)
        || user.email.as_deref().and_then(names::email).as_ref() == Some(name)
}

/// A live session of the account that was opened from the network of this login.
async fn on_the_same_network(app: &App, name: &NameKey, from: IpAddr) -> Option<SessionId> {
    let (limits, pair) = (&app.limits, pair(&app.pseudonyms, name, from));
    if let Some((at, session)) = limits.neighbours.known(pair)
        && limits.now() < at + REMEMBERED_MS
    {
        return session;
    }
    let looks = bucket("network-looks", app.pseudonyms.of("all", &[]), Some(LOOKS_OF_STRANGERS));
    limits.token(looks).ok()?;
    let sessions = app.store.live_sessions(name.clone()).await.ok()?;
    let here = |session: &SessionView| {
        let ip = session.ip.as_deref().and_then(|ip| ip.parse().ok());
        ip.is_some_and(|ip| network(ip) == network(from))
    };
    let session = sessions.iter().find(|session| here(session)).map(|session| session.id);
    limits.neighbours.remember(pair, limits.now(), session);
    session
}
