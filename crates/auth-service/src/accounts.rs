//! The policy of accounts: who may register, and what it takes to change a password.

use claims::UserId;
use secrecy::{ExposeSecret as _, SecretString};

use crate::app::App;
use crate::error::Error;
use crate::limits::{self, Outcome};
use crate::names;
use crate::password_policy::{self, Violation};
use crate::passwords::MAX_BYTES;
use crate::store::{Caller, Client, Credentials, NewPassword, NewUser, OtherSessions, UserRecord};

/// A registration.
pub struct Registration {
    /// The name.
    pub username: String,
    /// The password.
    pub password: SecretString,
    /// The address.
    pub email: Option<String>,
    /// From where.
    pub client: Client,
}

/// Adds a user, unless too many were tried to be added from there.
pub async fn register(app: &App, registration: Registration) -> Result<UserRecord, Error> {
    let attempt = limits::register(app, &registration.client).await?;
    let added = add(app, registration).await;
    let outcome = match &added {
        // A conflict has told that there is such an account.
        Ok(_) | Err(Error::Conflict) => Outcome::Failed,
        Err(_) => Outcome::Void,
    };
    app.limits.settle(attempt, outcome).await;
    added
}

async fn add(app: &App, registration: Registration) -> Result<UserRecord, Error> {
    let Registration { username, password, email, client: _ } = registration;
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
    let violations = password_policy::violations(&app.config.passwords, &password, &own_names);
    if !violations.is_empty() {
        return Err(Error::PasswordPolicy(violations));
    }
    let password_hash = app.passwords.hash(password).await?;
    let user = NewUser { username, username_key, email, password_hash };
    let user = app.store.create_user(user).await?.ok_or(Error::Conflict)?;
    tracing::info!(user.id = %user.id, "registered");
    Ok(user)
}

/// The caller's user.
pub async fn user(app: &App, caller: Caller) -> Result<UserRecord, Error> {
    app.store.user_of(caller).await?.ok_or(Error::InvalidToken)
}

/// Changes the password of `user`, who must know the present one and not guess at it too often.
pub async fn change_password(
    app: &App,
    caller: Caller,
    user: UserId,
    current: SecretString,
    new: SecretString,
    sessions: OtherSessions,
) -> Result<(), Error> {
    let attempt = limits::password(app, caller.session).await?;
    let changed = change(app, caller, user, current, new, sessions).await;
    let outcome = match &changed {
        Ok(()) | Err(Error::PasswordPolicy(_)) => Outcome::Succeeded,
        Err(Error::InvalidCredentials) => Outcome::Failed,
        Err(_) => Outcome::Void,
    };
    app.limits.settle(attempt, outcome).await;
    changed
}

async fn change(
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
    let mut violations = password_policy::violations(&app.config.passwords, new, &own_names);
    if app.passwords.check(new.clone(), present_hash).await? {
        violations.push(Violation::Unchanged);
    }
    Ok(violations)
}

/// What can be no password at all, before anything is spent on it.
pub(crate) fn check_password_text(password: &SecretString) -> Result<(), Error> {
    let text = password.expose_secret();
    if text.len() > MAX_BYTES {
        return Err(Error::InvalidRequest(format!("A password has at most {MAX_BYTES} bytes.")));
    }
    if text.contains('\0') {
        return Err(Error::InvalidRequest("A password has no NUL character.".to_owned()));
    }
    Ok(())
}
