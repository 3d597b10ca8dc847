//! The policy: what it takes to open, rotate and end a session, and what is answered.
//!
//! Joins tokens, passwords and the store. It knows nothing of HTTP.

use claims::{EventView, Scope, SessionId, SessionView, TokenAnswer, Transport, UserId};
use secrecy::{ExposeSecret as _, SecretString};

use crate::accounts::check_password_text;
use crate::app::App;
use crate::error::Error;
use crate::names;
use crate::passwords::{Checked, Purpose};
use crate::store::{
    Caller, Client, Credentials, EndReason, Grant, Happening, NewSession, Presented, Removal,
    Reuse, Rotation, StoreError, TrailEntry,
};
use crate::tokens::RefreshToken;

const OPENING_ATTEMPTS: usize = 5;

/// A login.
pub struct LogIn {
    /// A name or an address.
    pub username: String,
    /// The password.
    pub password: SecretString,
    /// How the client keeps its refresh token.
    pub transport: Transport,
    /// What it asks for.
    pub scope: Option<String>,
    /// What it calls the device.
    pub device: Option<String>,
    /// From where.
    pub client: Client,
    /// The refresh token of the session that this one takes the place of.
    pub replaces: Option<SecretString>,
}

/// What login and refresh give: the answer, and the refresh token apart from it, because how that
/// travels is not decided here.
pub struct Issued {
    /// The answer without a refresh token.
    pub answer: TokenAnswer,
    /// The refresh token.
    pub refresh_token: SecretString,
    /// How it is to travel.
    pub transport: Transport,
}

/// Which sessions a logout ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Ending {
    /// The caller's own.
    #[default]
    Current,
    /// All but the caller's own.
    Others,
    /// All.
    All,
}

/// Opens a session for whoever knows the password. Unknown, wrong and disabled take the same work
/// and get the same answer.
pub async fn log_in(app: &App, login: LogIn) -> Result<Issued, Error> {
    check_password_text(&login.password)?;
    let scope = scope_asked_for(app, login.scope.as_deref())?;
    let device = device(login.device)?;
    let name = &login.username;
    let key = if name.contains('@') { names::email(name) } else { names::username(name) };
    // Before the database is asked: a flood is turned away at the door.
    let mut place = app.passwords.enter(Purpose::Login)?;
    let credentials = match key {
        Some(key) => app.store.credentials(key).await?,
        None => None,
    };
    let hash = credentials.as_ref().map(|credentials| credentials.password_hash.clone());
    let checked = place.check(&login.password, hash).await?;
    drop(place);
    let good = |found: &Credentials| checked.is_good() && found.enabled;
    let Some(credentials) = credentials.filter(good) else {
        tracing::info!("login failed");
        return Err(Error::InvalidCredentials);
    };
    let replaces =
        login.replaces.and_then(|text| read(app, text.expose_secret(), Transport::Cookie));
    let token = RefreshToken::first();
    let (user, hash) = (credentials.user, credentials.password_hash.clone());
    let session = NewSession {
        id: token.session_id(),
        credentials,
        client_id: app.config.tokens.client_id.clone(),
        scope,
        idle_ms: i64::from(app.config.tokens.idle_seconds) * 1000,
        absolute_ms: i64::from(app.config.tokens.absolute_seconds) * 1000,
        amr: "pwd",
        device,
        client: login.client,
        replaces: replaces.map(|token| token.session_id()),
    };
    let grant = open(app, session).await?.ok_or(Error::InvalidCredentials)?;
    tracing::info!(user.id = %grant.user.id, session.id = %grant.session_id, "logged in");
    if checked == Checked::Outdated {
        renew_hash(app, user, hash, login.password);
    }
    Ok(issue(app, &grant, &token, login.transport))
}

/// Stores a hash as it is made now in place of an outdated one, beside the answer, and only where
/// no thread is wanted for anything else: there will be another login.
fn renew_hash(app: &App, user: UserId, old: String, password: SecretString) {
    let Ok(place) = app.passwords.enter(Purpose::Renewal) else { return };
    let store = app.store.clone();
    tokio::spawn(async move {
        let Ok(new) = place.hash(&password).await else { return };
        match store.rehash_password(user, old, new).await {
            Ok(true) => tracing::info!(user.id = %user, "renewed the hash of the password"),
            // It was changed meanwhile, or another login was first.
            Ok(false) => {}
            Err(error) => tracing::warn!(%error, "the hash of a password was not renewed"),
        }
    });
}

/// Opens the session; `None` when the password or the account changed while it was being checked.
/// That somebody logged out everywhere meanwhile does not make a password wrong.
async fn open(app: &App, mut session: NewSession) -> Result<Option<Grant>, Error> {
    for _ in 0..OPENING_ATTEMPTS {
        let (user, checked) = (session.credentials.user, session.credentials.password_version);
        if let Some(grant) = app.store.open_session(session.clone()).await? {
            return Ok(Some(grant));
        }
        match app.store.credentials_of(user).await? {
            Some(now) if now.enabled && now.password_version == checked => {
                session.credentials = now;
            }
            _ => return Ok(None),
        }
    }
    Err(StoreError::Contended.into())
}

/// Exchanges a refresh token for its successor and a fresh access token.
pub async fn refresh(
    app: &App,
    text: &SecretString,
    transport: Transport,
    client: Client,
) -> Result<Issued, Error> {
    let token = read(app, text.expose_secret(), transport).ok_or(Error::InvalidToken)?;
    let session = token.session_id();
    let presented = Presented {
        session,
        client_id: app.config.tokens.client_id.clone(),
        generation: token.generation(),
        transport,
        client: client.clone(),
        idle_ms: i64::from(app.config.tokens.idle_seconds) * 1000,
        grace_ms: app.grace_ms(),
    };
    let rotation = app.store.rotate(presented).await?;
    metrics::counter!("latchkey_refreshes_total", "outcome" => outcome(&rotation)).increment(1);
    match rotation {
        Rotation::Rotated(grant) => Ok(issue(app, &grant, &token, transport)),
        Rotation::Repeated { grant, rotated_by } => {
            if rotated_by != client {
                tracing::info!(
                    session.id = %session, rotated_by = ?rotated_by, presented_by = ?client,
                    "a spent refresh token came again within the window, from elsewhere"
                );
                let entry = TrailEntry {
                    client,
                    other: rotated_by,
                    ..TrailEntry::new(Happening::RefreshReplayed)
                };
                tell(app, &grant, entry).await;
            }
            Ok(issue(app, &grant, &token, transport))
        }
        Rotation::FastForwarded(grant) => {
            tracing::warn!(session.id = %session, "the database had forgotten a rotation");
            let entry = TrailEntry { client, ..TrailEntry::new(Happening::RotationRestored) };
            tell(app, &grant, entry).await;
            Ok(issue(app, &grant, &token, transport))
        }
        Rotation::Reused(Reuse { grant, rotated_by }) => {
            tracing::warn!(
                session.id = %session, user.id = %grant.user.id, rotated_by = ?rotated_by,
                presented_by = ?client, "a spent refresh token was presented; the session is ended"
            );
            Err(Error::TokenReused)
        }
        Rotation::Expired | Rotation::Unknown => Err(Error::SessionExpired),
        Rotation::Ended(reason) => Err(Error::SessionRevoked(reason)),
        Rotation::TooFarAhead => Err(Error::InvalidToken),
    }
}

/// Adds to the trail of a session. Not being able to does not undo what happened.
async fn tell(app: &App, grant: &Grant, entry: TrailEntry) {
    let (user, session) = (Some(grant.user.id), Some(grant.session_id));
    if let Err(error) = app.store.tell(TrailEntry { user, session, ..entry }).await {
        tracing::warn!(%error, "the trail has a gap");
    }
}

/// Reads a refresh token to log out with. `None` when it is none of ours.
#[must_use]
pub fn caller_by_refresh_token(app: &App, text: &str, transport: Transport) -> Option<Caller> {
    let token = read(app, text, transport)?;
    let generation = Some(token.generation());
    Some(Caller { session: token.session_id(), generation, grace_ms: app.grace_ms() })
}

/// The caller by the session of a verified access token.
#[must_use]
pub fn caller_by_session(session: SessionId) -> Caller {
    Caller { session, generation: None, grace_ms: 0 }
}

/// Ends sessions on behalf of `caller`. Its own ends with any token it ever had; for others the
/// token must be good.
pub async fn log_out(app: &App, caller: Caller, ending: Ending) -> Result<(), Error> {
    let done = match ending {
        Ending::Current => {
            app.store.end_session(caller.session, EndReason::Logout).await?;
            true
        }
        Ending::Others => app.store.end_other_sessions(caller).await?,
        Ending::All => app.store.end_all_sessions(caller).await?,
    };
    if !done {
        return Err(Error::InvalidToken);
    }
    tracing::info!(session.id = %caller.session, ending = ?ending, "logged out");
    Ok(())
}

/// Ends one session of the caller's user.
pub async fn remove(app: &App, caller: Caller, target: SessionId) -> Result<(), Error> {
    match app.store.remove_session(caller, target).await? {
        Removal::Ended => Ok(()),
        Removal::NotFound => Err(Error::NotFound),
        Removal::CallerEnded => Err(Error::InvalidToken),
    }
}

/// The live sessions of the caller's user.
pub async fn list(app: &App, caller: Caller) -> Result<Vec<SessionView>, Error> {
    app.store.list_sessions(caller).await?.ok_or(Error::InvalidToken)
}

/// What happened to the account of the caller's user.
pub async fn events(app: &App, caller: Caller) -> Result<Vec<EventView>, Error> {
    app.store.events_of(caller).await?.ok_or(Error::InvalidToken)
}

fn read(app: &App, text: &str, transport: Transport) -> Option<RefreshToken> {
    app.keyring.now().refresh.read(text, &app.config.tokens.client_id, transport)
}

fn issue(app: &App, grant: &Grant, token: &RefreshToken, transport: Transport) -> Issued {
    let keys = app.keyring.now();
    let access = keys.access.mint(grant);
    let token = token.at(grant.generation);
    let answer = TokenAnswer {
        access_token: access.text,
        token_type: "Bearer",
        expires_in: access.expires_in,
        refresh_token: None,
        refresh_token_timeout: grant.now.seconds_until(grant.idle_expires_at),
        authorization_expires_in: grant.now.seconds_until(grant.expires_at),
        scope: grant.scope.clone(),
        session_id: grant.session_id,
    };
    let refresh_token = keys.refresh.write(&token, &grant.client_id, transport);
    Issued { answer, refresh_token, transport }
}

/// The scope granted: what was asked for, where all of it may be granted, or the default.
fn scope_asked_for(app: &App, asked: Option<&str>) -> Result<Scope, Error> {
    let tokens = &app.config.tokens;
    let Some(asked) = asked.filter(|asked| !asked.is_empty()) else {
        return Ok(tokens.default_scopes.clone());
    };
    let invalid = |detail: &str| Error::InvalidRequest(detail.to_owned());
    let scope: Scope = asked
        .parse()
        .map_err(|_| invalid("The scope must be values with single spaces between, none twice."))?;
    if scope.values().all(|value| tokens.scopes.contains(value)) {
        Ok(scope)
    } else {
        Err(invalid("The scope names a value that this service does not grant."))
    }
}

fn device(device: Option<String>) -> Result<Option<String>, Error> {
    let fits = |device: &String| {
        (1..=64).contains(&device.chars().count()) && !device.chars().any(char::is_control)
    };
    match device {
        Some(device) if !fits(&device) => Err(Error::InvalidRequest(
            "A device name has 1 to 64 characters and no control characters.".to_owned(),
        )),
        device => Ok(device),
    }
}

const fn outcome(rotation: &Rotation) -> &'static str {
    match rotation {
        Rotation::Rotated(_) => "rotated",
        Rotation::Repeated { .. } => "repeated",
        Rotation::FastForwarded(_) => "fast_forwarded",
        Rotation::Reused(_) => "reused",
        Rotation::Unknown => "unknown",
        Rotation::Expired => "expired",
        Rotation::Ended(_) => "ended",
        Rotation::TooFarAhead => "too_far_ahead",
    }
}
