//! The policy: what it takes to open, rotate and end a session, and what is answered.
//!
//! The only module that joins tokens, passwords and the store. It knows nothing of HTTP.

use claims::{RefreshTokenShape, Scope, SessionId, SessionView, TokenAnswer, Transport, UserId};
use secrecy::{ExposeSecret as _, SecretString};

use crate::app::App;
use crate::error::Error;
use crate::names;
use crate::passwords::{MAX_BYTES, Violation};
use crate::store::{
    Caller, Client, Credentials, EndReason, Grant, NewPassword, NewSession, NewUser, OtherSessions,
    Presented, Removal, Reuse, Rotation, UserRecord,
};
use crate::tokens::RefreshToken;

/// A registration.
pub struct Registration {
    /// The name.
    pub username: String,
    /// The password.
    pub password: SecretString,
    /// The address.
    pub email: Option<String>,
}

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
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Deserialize)]
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

/// Adds a user.
pub async fn register(app: &App, registration: Registration) -> Result<UserRecord, Error> {
    let Registration { username, password, email } = registration;
    let invalid = |detail: &str| Error::InvalidRequest(detail.to_owned());
    let username_key = names::username(&username).ok_or_else(|| {
        invalid("A username has 1 to 64 visible characters, no @ and no spaces at its ends.")
    })?;
    let email = match email {
        Some(email) => {
            let key = names::email(&email);
            Some((email, key.ok_or_else(|| invalid("The email is not an address."))?))
        }
        None => None,
    };
    check_password_text(&password)?;
    let mut own_names = vec![username.as_str()];
    own_names.extend(email.as_ref().map(|(email, _)| email.as_str()));
    let violations = app.passwords.violations(&password, &own_names);
    if !violations.is_empty() {
        return Err(Error::PasswordPolicy(violations));
    }
    let password_hash = app.passwords.hash(password).await?;
    let user = NewUser { username, username_key, email, password_hash };
    let user = app.store.create_user(user).await?.ok_or(Error::Conflict)?;
    tracing::info!(user.id = %user.id, "registered");
    Ok(user)
}

/// Opens a session for whoever knows the password. Unknown, wrong and disabled take the same work
/// and get the same answer.
pub async fn log_in(app: &App, login: LogIn) -> Result<Issued, Error> {
    check_password_text(&login.password)?;
    let scope = scope_asked_for(app, login.scope.as_deref())?;
    let device = device(login.device)?;
    let name = &login.username;
    let key = if name.contains('@') { names::email(name) } else { names::username(name) };
    let credentials = match key {
        Some(key) => app.store.credentials(key).await?,
        None => None,
    };
    let hash = credentials.as_ref().map(|credentials| credentials.password_hash.clone());
    let good = app.passwords.check(login.password, hash).await?;
    let Some(credentials) = credentials.filter(|credentials| good && credentials.enabled) else {
        tracing::info!("login failed");
        return Err(Error::InvalidCredentials);
    };
    let replaces =
        login.replaces.and_then(|text| read(app, text.expose_secret(), Transport::Cookie));
    let token = RefreshToken::first();
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
    // None: the password or the account changed while the password was being checked.
    let Some(grant) = app.store.open_session(session).await? else {
        return Err(Error::InvalidCredentials);
    };
    tracing::info!(user.id = %grant.user.id, session.id = %grant.session_id, "logged in");
    Ok(issue(app, &grant, &token, login.transport))
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
            }
            Ok(issue(app, &grant, &token, transport))
        }
        Rotation::FastForwarded(grant) => {
            tracing::warn!(session.id = %session, "the database had forgotten a rotation");
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

/// The caller's user.
pub async fn user(app: &App, caller: Caller) -> Result<UserRecord, Error> {
    app.store.user_of(caller).await?.ok_or(Error::InvalidToken)
}

/// Changes the password of `user`, who must know the present one.
pub async fn change_password(
    app: &App,
    caller: Caller,
    user: UserId,
    current: SecretString,
    new: SecretString,
    sessions: OtherSessions,
) -> Result<(), Error> {
    check_password_text(&current)?;
    check_password_text(&new)?;
    let credentials = app.store.credentials_of(user).await?.ok_or(Error::InvalidToken)?;
    let hash = Some(credentials.password_hash.clone());
    if !app.passwords.check(current, hash.clone()).await? {
        return Err(Error::InvalidCredentials);
    }
    let violations = violations(app, &credentials, &new, hash).await?;
    if !violations.is_empty() {
        return Err(Error::PasswordPolicy(violations));
    }
    let change = NewPassword {
        session: caller.session,
        user,
        password_version: credentials.password_version,
        password_hash: app.passwords.hash(new).await?,
        sessions,
    };
    if !app.store.change_password(change).await? {
        return Err(Error::InvalidToken);
    }
    tracing::info!(user.id = %user, sessions = ?sessions, "changed the password");
    Ok(())
}

async fn violations(
    app: &App,
    credentials: &Credentials,
    new: &SecretString,
    present_hash: Option<String>,
) -> Result<Vec<Violation>, Error> {
    let mut own_names = vec![credentials.username.as_str()];
    own_names.extend(credentials.email.as_deref());
    let mut violations = app.passwords.violations(new, &own_names);
    if app.passwords.check(new.clone(), present_hash).await? {
        violations.push(Violation::Unchanged);
    }
    Ok(violations)
}

fn read(app: &App, text: &str, transport: Transport) -> Option<RefreshToken> {
    app.keyring.refresh.read(text, &app.config.tokens.client_id, transport)
}

fn issue(app: &App, grant: &Grant, token: &RefreshToken, transport: Transport) -> Issued {
    let access = app.keyring.access.mint(grant);
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
    let refresh_token = app.keyring.refresh.write(&token, &grant.client_id, transport);
    debug_assert!(RefreshTokenShape::parse(refresh_token.expose_secret()).is_some());
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

/// What can be no password at all, before anything is spent on it.
fn check_password_text(password: &SecretString) -> Result<(), Error> {
    let text = password.expose_secret();
    if text.len() > MAX_BYTES {
        return Err(Error::InvalidRequest(format!("A password has at most {MAX_BYTES} bytes.")));
    }
    if text.contains('\0') {
        return Err(Error::InvalidRequest("A password has no NUL character.".to_owned()));
    }
    Ok(())
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
