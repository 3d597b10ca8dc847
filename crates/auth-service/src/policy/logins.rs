//! The policy of logins: who is admitted, and what a good login opens.

use std::time::Duration;

use claims::{Scope, Transport, UserId};
use secrecy::{ExposeSecret as _, SecretString};

use crate::app::App;
use crate::error::Error;
use crate::identity::names;
use crate::limits::Outcome;
use crate::passwords::{Checked, Purpose};
use crate::policy::accounts::check_password_text;
use crate::policy::admission::{self, Applicant};
use crate::policy::callers;
use crate::policy::sessions::{Issued, issue};
use crate::store::{Credentials, Grant, Happening, NewSession, Requester, StoreError, TrailEntry};
use crate::tokens::RefreshToken;

const OPENING_ATTEMPTS: usize = 5;

/// A login.
pub(crate) struct LogIn {
    /// A name or an address.
    pub(crate) username: String,
    /// The password.
    pub(crate) password: SecretString,
    /// How the client keeps its refresh token.
    pub(crate) transport: Transport,
    /// What it asks for.
    pub(crate) scope: Option<String>,
    /// What it calls the device.
    pub(crate) device: Option<String>,
    /// From where.
    pub(crate) requester: Requester,
    /// The refresh token of the session that this one takes the place of.
    pub(crate) replaces: Option<SecretString>,
    /// An access token that came along: it may show that this is the account's owner.
    pub(crate) bearer: Option<SecretString>,
}

/// Opens a session for whoever knows the password, unless it was tried too often.
pub(crate) async fn log_in(app: &App, login: LogIn) -> Result<Issued, Error> {
    let applicant = Applicant {
        username: &login.username,
        requester: &login.requester,
        cookie: login.replaces.as_ref(),
        bearer: login.bearer.as_ref(),
    };
    let home = applicant.home(app);
    let attempt = admission::login(app, applicant).await?;
    let issued = open_for(app, login, attempt.waited()).await;
    let outcome = match &issued {
        Ok(_) => Outcome::Succeeded,
        Err(Error::InvalidCredentials) => Outcome::Failed,
        Err(_) => Outcome::Void,
    };
    attempt.settle(outcome).await;
    if issued.is_ok() {
        app.owners.got_in(home);
    }
    issued
}

/// Unknown, wrong and disabled take the same work and get the same answer.
async fn open_for(app: &App, login: LogIn, waited: Duration) -> Result<Issued, Error> {
    check_password_text(&login.password)?;
    let scope = scope_asked_for(app, login.scope.as_deref())?;
    let device = device(login.device)?;
    // Before the database is asked: a flood is turned away at the door.
    let mut place = app.passwords.enter_after(Purpose::Login, waited)?;
    let credentials = match names::account(&login.username) {
        Some(key) => app.store.credentials(key).await?,
        None => None,
    };
    let hash = credentials.as_ref().map(|credentials| credentials.password_hash.clone());
    // Beside the check, which takes longer: a login after a key was revoked gets no token of that key.
    // Where the keys cannot be read, those at hand will do, or the session cannot be opened either.
    let keys = app.keyring.as_of(app.verifier.clock().elapsed());
    let (checked, _) = tokio::join!(place.check(&login.password, hash), keys);
    let checked = checked?;
    drop(place);
    let good = |found: &Credentials| checked.is_good() && found.enabled;
    let known = credentials.as_ref().map(|found| found.user);
    let Some(credentials) = credentials.filter(good) else {
        tracing::info!("login failed");
        tell_of_failure(app, &login.username, &login.requester, known);
        return Err(Error::InvalidCredentials);
    };
    let replaces = login.replaces.and_then(|text| {
        callers::by_refresh_token_to_end(app, text.expose_secret(), Transport::Cookie)
    });
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
        requester: login.requester,
        replaces: replaces.map(|caller| caller.session),
        max_sessions: app.config.tokens.max_sessions,
    };
    let grant = open(app, session).await?.ok_or(Error::InvalidCredentials)?;
    tracing::info!(user.id = %grant.user.id, session.id = %grant.session_id, "logged in");
    if checked == Checked::Outdated {
        renew_hash(app, user, hash, login.password);
    }
    Ok(issue(app, &app.keyring.now().refresh, &grant, &token, login.transport))
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

/// Under pseudonyms, the same whether or not there is such an account; and beside the answer, which
/// takes as long either way.
fn tell_of_failure(app: &App, username: &str, requester: &Requester, user: Option<UserId>) {
    let name = names::anything(username);
    app.store.tell_later(TrailEntry {
        user,
        subject: Some(app.pseudonyms.name(&name).to_string()),
        origin: requester.address().map(|address| app.pseudonyms.network(address).to_string()),
        ..TrailEntry::new(Happening::LoginFailed)
    });
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
