//! The authenticator of passwords.

use std::time::Duration;

use claims::UserId;
use hosting::causes;
use secrecy::SecretString;
use tracing::field;

use super::{Authenticated, Authentication};
use crate::error::Error;
use crate::identity::amr::Method;
use crate::identity::names;
use crate::passwords::{Checked, HashingPurpose, Place};
use crate::policy::app::App;
use crate::store::{AuditEntry, AuditEvent, Credentials, Requester};

/// A hash that is not as it would be made now, with the password that it is of.
pub(crate) struct OutdatedHash {
    user: UserId,
    hash: String,
    password: SecretString,
}

/// Whoever knows the password of the account with this name or address. An account that is unknown, a
/// password that is wrong and an account that is disabled take the same work and get the same answer,
/// [`Error::InvalidCredentials`].
pub(crate) async fn authenticate(
    app: &App,
    username: &str,
    password: SecretString,
    requester: &Requester,
    waited: Duration,
) -> Result<(Authentication, Option<OutdatedHash>), Error> {
    // Before the database is asked: a flood is turned away at the door.
    let mut place = app.passwords.enter_after(HashingPurpose::Login, waited)?;
    let credentials = match names::account(username) {
        Some(key) => app.store.credentials(key).await?,
        None => None,
    };
    let hash = credentials.as_ref().map(|credentials| credentials.password_hash.clone());
    // Beside the check, which takes longer: a login after a key was revoked gets no token of that key.
    // Where the keys cannot be read, those at hand will do, or the session cannot be opened either.
    let keys = app.keyring.as_of(app.verifier.clock().elapsed());
    let (checked, _) = tokio::join!(place.check(&password, hash), keys);
    let checked = checked?;
    drop(place);
    let good = |found: &Credentials| checked.is_good() && found.enabled;
    let known = credentials.as_ref().map(|found| found.user);
    let Some(credentials) = credentials.filter(good) else {
        tell_of_failure(app, username, requester, known);
        return Err(Error::InvalidCredentials);
    };
    let authentication = Authentication::Complete(of_owner(&credentials));
    let Credentials { user, password_hash: hash, .. } = credentials;
    let outdated = checked == Checked::Outdated;
    Ok((authentication, outdated.then_some(OutdatedHash { user, hash, password })))
}

/// The owner of the account, who is logged in already and shows the password once more, before a
/// credential is changed.
///
/// # Errors
/// [`Error::InvalidCredentials`] where it is another password; [`Error::InvalidToken`] where the account
/// was disabled meanwhile, so that the login is over.
pub(crate) async fn step_up(
    place: &mut Place,
    credentials: &Credentials,
    password: &SecretString,
) -> Result<Authenticated, Error> {
    if !place.check(password, Some(credentials.password_hash.clone())).await?.is_good() {
        return Err(Error::InvalidCredentials);
    }
    if !credentials.enabled {
        return Err(Error::InvalidToken);
    }
    Ok(of_owner(credentials))
}

/// The same person, as the account is now; `None` where the password was changed or the account was
/// disabled since it was checked. That somebody logged out everywhere meanwhile makes no password wrong.
pub(crate) async fn again(app: &App, who: Authenticated) -> Result<Option<Authenticated>, Error> {
    let now = app.store.credentials_of(who.user).await?;
    let same = |now: &Credentials| now.enabled && now.password_version == who.versions.password;
    Ok(now.filter(same).map(|now| Authenticated { versions: now.versions(), ..who }))
}

/// Only where the password was found to be good.
fn of_owner(credentials: &Credentials) -> Authenticated {
    Authenticated {
        user: credentials.user,
        versions: credentials.versions(),
        amr: Method::Password.into(),
        auth_time: None,
    }
}

/// Under pseudonyms, the same whether or not there is such an account; and beside the answer, which
/// takes as long either way.
fn tell_of_failure(app: &App, username: &str, requester: &Requester, user: Option<UserId>) {
    let (subject, origin) = (app.pseudonyms.given(username), app.origin(requester));
    tracing::info!(
        event.name = AuditEvent::LoginFailed.as_str(), event.outcome = "failure",
        %subject, origin = origin.map(field::display), user.id = user.map(field::display),
        "login failed"
    );
    app.store.record_later(AuditEntry {
        user,
        subject: Some(subject.to_string()),
        origin: origin.map(|origin| origin.to_string()),
        ..AuditEntry::new(AuditEvent::LoginFailed)
    });
}

impl OutdatedHash {
    /// Stores a hash as it is made now in its place, beside the answer, and only where no thread is
    /// wanted for anything else: there will be another login.
    pub(crate) fn renew(self, app: &App) {
        let Self { user, hash, password } = self;
        let Ok(place) = app.passwords.enter(HashingPurpose::Renewal) else { return };
        let store = app.store.clone();
        tokio::spawn(async move {
            let Ok(new) = place.hash(&password).await else { return };
            match store.rehash_password(user, hash, new).await {
                Ok(true) => tracing::info!(
                    event.name = "password-rehashed", event.outcome = "success", user.id = %user,
                    "renewed the hash of the password"
                ),
                // It was changed meanwhile, or another login was first.
                Ok(false) => {}
                Err(error) => {
                    tracing::warn!(
                        error = causes(&error),
                        "the hash of a password was not renewed"
                    );
                }
            }
        });
    }
}
