//! The policy of accounts: who may register, and what it takes to change a password.

use std::time::Duration;

use claims::UserId;
use secrecy::{ExposeSecret as _, SecretString};
use tracing::field;

use crate::config::{self, RegistrationMode};
use crate::error::Error;
use crate::identity::names::new::{Named, new_names};
use crate::identity::names::{self, NameKey};
use crate::limits::Outcome;
use crate::passwords::password_policy::{self, Violation};
use crate::passwords::{HashingPurpose, MAX_BYTES, Place, normalized};
use crate::policy::admission;
use crate::policy::app::App;
use crate::policy::authentication::{Authenticated, password};
use crate::store::{
    Caller, Credentials, InvitationDigest, InvitedRegistration, NewPassword, NewUser,
    OtherSessions, Requester, Store, StoreError, UserRecord,
};
use crate::tokens::InvitationToken;

/// A registration.
pub struct Registration {
    /// A name, an address, or both.
    pub username: Option<String>,
    pub email: Option<String>,
    pub password: SecretString,
    pub requester: Requester,
}

/// Adds a user where the settings let them in, unless too many were tried to be added from there.
pub async fn register(
    app: &App,
    registration: Registration,
    invitation: Option<SecretString>,
) -> Result<UserRecord, Error> {
    let entry = match app.config.registration_mode() {
        // Before anything is spent or looked up: the answer is the same for everybody.
        RegistrationMode::Closed => return Err(Error::RegistrationClosed),
        RegistrationMode::Open => Entry::Open,
        RegistrationMode::Invite => Entry::Invited(invitation),
    };
    let attempt = admission::register(app, &registration.requester).await?;
    let added = add(app, registration, entry, attempt.waited()).await;
    let outcome = match &added {
        // A conflict has told that there is such an account, and a bad invitation is a guess.
        Ok(_) | Err(Error::Conflict | Error::InvitationInvalid) => Outcome::Failed,
        Err(_) => Outcome::Void,
    };
    attempt.settle(outcome).await;
    added
}

/// Adds a user for whoever runs the service, whoever else may register.
pub async fn provide(app: &App, registration: Registration) -> Result<UserRecord, Error> {
    add(app, registration, Entry::Open, Duration::ZERO).await
}

/// What it takes to come in.
enum Entry {
    /// Nothing.
    Open,
    /// An invitation, and this is what came along.
    Invited(Option<SecretString>),
}

async fn add(
    app: &App,
    registration: Registration,
    entry: Entry,
    waited: Duration,
) -> Result<UserRecord, Error> {
    let Registration { username, email, password, requester } = registration;
    let (username, email) = check(&app.config.passwords, username, email, &password)?;
    let place = app.passwords.enter_after(HashingPurpose::Registration, waited)?;
    let invitation = match entry {
        Entry::Open => None,
        Entry::Invited(text) => {
            let email = email.as_ref().map(|(_, key)| key.clone());
            Some(good_invitation(app, text, email).await?)
        }
    };
    let password_hash = place.hash(&password).await?;
    let roles = Vec::new();
    let user = NewUser { username, email, password_hash, roles };
    let Some(invitation) = invitation else {
        let user = app.store.create_user(user).await?.ok_or(Error::Conflict)?;
        tell(app, &requester, &user);
        return Ok(user);
    };
    match app.store.create_invited_user(user, invitation).await? {
        InvitedRegistration::Added(user) => {
            tell(app, &requester, &user);
            Ok(user)
        }
        InvitedRegistration::Taken => Err(Error::Conflict),
        InvitedRegistration::NotInvited => Err(Error::InvitationInvalid),
    }
}

fn tell(app: &App, requester: &Requester, user: &UserRecord) {
    tracing::info!(
        event.name = "registered", event.outcome = "success",
        origin = app.origin(requester).map(field::display), user.id = %user.id, "registered"
    );
}

/// The digest of the invitation that came along, if it is good. This look spares strangers' passwords the
/// hashing; the store decides when the user is added.
async fn good_invitation(
    app: &App,
    text: Option<SecretString>,
    email: Option<NameKey>,
) -> Result<InvitationDigest, Error> {
    let token = text.and_then(|text| InvitationToken::parse(text.expose_secret()));
    let digest = token.ok_or(Error::InvitationInvalid)?.digest();
    if app.store.is_invited(digest, email).await? {
        Ok(digest)
    } else {
        Err(Error::InvitationInvalid)
    }
}

/// Whether somebody may register so: the name and the address, each with what it is compared by.
pub fn check(
    policy: &config::Passwords,
    username: Option<String>,
    email: Option<String>,
    password: &SecretString,
) -> Result<(Option<Named>, Option<Named>), Error> {
    let invalid = |detail: &str| Error::InvalidRequest(detail.to_owned());
    let (username, email) = new_names(username, email).map_err(invalid)?;
    check_password_text(password)?;
    let own_names: Vec<_> =
        [&username, &email].into_iter().flatten().map(|(text, _)| text.as_str()).collect();
    let violations = password_policy::violations(policy, password, &own_names);
    if !violations.is_empty() {
        return Err(Error::PasswordPolicy(violations));
    }
    Ok((username, email))
}

/// The caller's user.
pub async fn user(app: &App, caller: Caller) -> Result<UserRecord, Error> {
    app.store.user_of(caller).await?.ok_or(Error::InvalidToken)
}

/// The name and the password of the account that everybody may use, if there is one.
///
/// # Errors
/// Where the database cannot say whether there is.
pub async fn demo(app: &App) -> Result<Option<(&str, &str)>, StoreError> {
    let page = &app.config.page;
    let found = demo_account(&app.store, page).await?;
    let usable = found.is_some_and(|found| found.enabled);
    Ok(usable.then_some((&page.demo_username, &page.demo_password)))
}

/// Whether this is the account that everybody may use, also while it is disabled. It keeps its name: by that it is found
/// where an installation that was tried out on one machine is to be served to others, which its published password
/// forbids.
///
/// # Errors
/// Where the database cannot say so.
pub(crate) async fn is_demo(
    store: &Store,
    page: &config::Page,
    user: UserId,
) -> Result<bool, StoreError> {
    Ok(demo_account(store, page).await?.is_some_and(|found| found.user == user))
}

/// The account of that name, unless somebody has given it another password.
async fn demo_account(
    store: &Store,
    page: &config::Page,
) -> Result<Option<Credentials>, StoreError> {
    let Some(key) = names::username(&page.demo_username) else { return Ok(None) };
    Ok(store.credentials(key).await?.filter(|found| found.password_version == 1))
}

/// Changes the password of the caller's user, who must know the present one and not guess at it too often.
pub async fn change_password(
    app: &App,
    caller: Caller,
    current: SecretString,
    new: SecretString,
    sessions: OtherSessions,
) -> Result<(), Error> {
    let attempt = admission::password(app, caller.session).await?;
    let waited = attempt.waited();
    let changed = change(app, caller, current, new, sessions, waited).await;
    let outcome = match &changed {
        Ok(()) | Err(Error::PasswordPolicy(_)) => Outcome::Succeeded,
        Err(Error::InvalidCredentials) => Outcome::Failed,
        Err(_) => Outcome::Void,
    };
    attempt.settle(outcome).await;
    changed
}

async fn change(
    app: &App,
    caller: Caller,
    current: SecretString,
    new: SecretString,
    sessions: OtherSessions,
    waited: Duration,
) -> Result<(), Error> {
    check_password_text(&current)?;
    check_password_text(&new)?;
    // Before the database is asked: a flood is turned away at the door.
    let mut place = app.passwords.enter_after(HashingPurpose::Login, waited)?;
    // The session first: whoever has a token of one that is over learns nothing of the password, and has none checked.
    let credentials = app.store.credentials_of_caller(caller).await?.ok_or(Error::InvalidToken)?;
    let owner = password::step_up(&mut place, &credentials, &current).await?;
    let violations = violations(app, &mut place, &credentials, &new).await?;
    if !violations.is_empty() {
        return Err(Error::PasswordPolicy(violations));
    }
    let password_hash = place.hash(&new).await?;
    replace_password(app, caller, &owner, password_hash, sessions).await
}

/// Gives the account of somebody who has just been authenticated once more another password.
async fn replace_password(
    app: &App,
    caller: Caller,
    owner: &Authenticated,
    password_hash: String,
    sessions: OtherSessions,
) -> Result<(), Error> {
    let (session, user) = (caller.session, owner.user());
    let password_version = owner.versions().password;
    let change = NewPassword { session, user, password_version, password_hash, sessions };
    if !app.store.change_password(change).await? {
        return Err(Error::InvalidToken);
    }
    tracing::info!(
        event.name = "password-changed", event.outcome = "success", user.id = %user,
        session.id = %session, sessions = ?sessions, "changed the password"
    );
    Ok(())
}

/// What the rules have against a new password of this account.
pub(crate) fn violations_by_rule(
    policy: &config::Passwords,
    account: &Credentials,
    new: &SecretString,
) -> Vec<Violation> {
    let own_names: Vec<_> = [&account.username, &account.email]
        .into_iter()
        .filter_map(|name| name.as_deref())
        .collect();
    password_policy::violations(policy, new, &own_names)
}

async fn violations(
    app: &App,
    place: &mut Place,
    credentials: &Credentials,
    new: &SecretString,
) -> Result<Vec<Violation>, Error> {
    let mut violations = violations_by_rule(&app.config.passwords, credentials, new);
    if place.check(new, Some(credentials.password_hash.clone())).await?.is_good() {
        violations.push(Violation::Unchanged);
    }
    Ok(violations)
}

/// What can be no password at all, before anything is spent on it. One that is too long as it was typed may be composed
/// to one that is not; one that is too long only when it is composed may be somebody's.
pub(crate) fn check_password_text(password: &SecretString) -> Result<(), Error> {
    let text = password.expose_secret();
    if text.len() > MAX_BYTES && normalized(text).len() > MAX_BYTES {
        return Err(Error::InvalidRequest(format!("A password has at most {MAX_BYTES} bytes.")));
    }
    if text.contains('\0') {
        return Err(Error::InvalidRequest("A password has no NUL character.".to_owned()));
    }
    Ok(())
}
