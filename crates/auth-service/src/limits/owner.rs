//! Who is refused for what strangers tried may show that they are the account's owner: by a live
//! session of that very account.
//!
//! Three ways, the first good one counts: its refresh cookie, its access token, or the same network
//! that one of its sessions was opened from. All come from somebody who has got in before, so a
//! stranger learns nothing by them, not even whether the account exists.

use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};

use claims::{SessionId, Transport};
use quick_cache::unsync::Cache;
use secrecy::ExposeSecret as _;

use super::Rule;
use super::routes::{address, bucket, whose};
use crate::app::App;
use crate::logins::LogIn;
use crate::names::{self, NameKey};
use crate::pseudonyms::{Pseudonym, Pseudonyms, network};
use crate::sessions;
use crate::store::{Caller, Client};

/// Looks into the database for one session's sake, and for everybody's who has none to show.
const LOOKS_OF_A_SESSION: Rule = Rule::Rate { burst: 10, interval_ms: 1000 };
const LOOKS_OF_STRANGERS: Rule = Rule::Rate { burst: 100, interval_ms: 10 };
/// How long it is remembered whether there is a session on the same network.
const REMEMBERED_MS: u64 = 10_000;

/// What was found for a name and a network, and when.
pub(super) struct Neighbours(Mutex<Cache<Pseudonym, (u64, Option<SessionId>)>>);

impl std::fmt::Debug for Neighbours {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Neighbours")
    }
}

impl Neighbours {
    pub(super) fn new(capacity: usize) -> Self {
        Self(Mutex::new(Cache::new(capacity)))
    }

    fn known(&self, pair: Pseudonym) -> Option<(u64, Option<SessionId>)> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.get(&pair).copied()
    }

    fn remember(&self, pair: Pseudonym, now: u64, session: Option<SessionId>) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.insert(pair, (now, session));
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
    login: &LogIn,
    name: &NameKey,
    from: IpAddr,
) -> Option<Pseudonym> {
    let cookie = login.replaces.as_ref().and_then(|token| {
        sessions::caller_by_refresh_token(app, token.expose_secret(), Transport::Cookie)
    });
    let by_bearer = || {
        let verified = app.verifier.verify(login.bearer.as_ref()?.expose_secret()).ok()?;
        verified.claims().sid.map(sessions::caller_by_session)
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
    let here = |ip: Option<String>| {
        ip.is_some() && network(address(&Client { ip, user_agent: None })) == network(from)
    };
    let session = sessions.into_iter().find(|session| here(session.ip.clone()));
    let session = session.map(|session| session.id);
    limits.neighbours.remember(pair, limits.now(), session);
    session
}
