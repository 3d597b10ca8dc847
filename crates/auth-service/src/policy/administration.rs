//! What administrators may do to accounts and sessions, by the same rules as what people ask for
//! themselves. They have no `App`: what they do works on the database, beside the services that run.

use std::time::Duration;

use claims::{SessionId, UserId};
use secrecy::SecretString;

use crate::config::{self, RegistrationMode};
use crate::error::Error;
use crate::identity::names;
use crate::identity::names::new::new_email;
use crate::identity::roles::is_role;
use crate::passwords::{HashingPurpose, Overloaded, Passwords, Unusable};
use crate::policy::accounts::{self, Registration, check_password_text};
use crate::policy::names::Wish;
use crate::store::{
    Credentials, EndReason, Invitation, InvitationId, Listed, NewInvitation, NewNames, NewUser,
    Renaming, Store, StoreError, UserRecord,
};
use crate::tokens::InvitationToken;

/// The longest that an invitation may be good.
pub(crate) const MOST_INVITATION_HOURS: u32 = 30 * 24;

/// Why it was not done.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Refused {
    #[error("there is no such user")]
    Unknown,
    #[error("the name or the address is taken")]
    Taken,
    #[error(
        "they would have neither a name nor an address; give them the other one first, or delete them"
    )]
    Nameless,
    #[error("--search: no name and no address begins so")]
    Beginning,
    #[error(
        "--after: that is no user whom this search finds; it may have been renamed or deleted meanwhile"
    )]
    NotFound,
    #[error(
        "{0:?} is no role: 1 to 64 visible ASCII characters, without quotes, commas and spaces"
    )]
    Role(String),
    #[error(
        "registration: it is {}, so that nobody can use an invitation; set AUTH__REGISTRATION to invite for this \
         command and for every auth-service", .0.as_str()
    )]
    NotByInvitation(RegistrationMode),
    #[error("--expires-hours: an invitation is good for 1 to {MOST_INVITATION_HOURS} hours")]
    Lifetime,
    #[error("--email: whoever has this address has an account already")]
    HasAccount,
    #[error("there is no such invitation that could still be used; see `user invitations`")]
    NoInvitation,
    /// What would be refused to a person, too.
    #[error("{}", explained(.0))]
    Policy(Error),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Unusable(#[from] Unusable),
    #[error(transparent)]
    Overloaded(#[from] Overloaded),
}

fn explained(error: &Error) -> String {
    match error {
        Error::PasswordPolicy(violations) => {
            let names: Vec<_> = violations.iter().map(|one| one.as_str()).collect();
            format!("choose another password: {}", names.join(", "))
        }
        error => error.to_string(),
    }
}

/// Adds a user. There is no limit on how many.
pub(crate) async fn create_user(
    store: &Store,
    policy: &config::Passwords,
    registration: Registration,
    roles: Vec<String>,
) -> Result<UserRecord, Refused> {
    check_roles(&roles)?;
    let Registration { username, email, password, requester: _ } = registration;
    let checked = accounts::check(policy, username, email, &password).map_err(Refused::Policy)?;
    let (username, email) = checked;
    let password_hash = hash(policy, &password).await?;
    let user = NewUser { username, email, password_hash, roles };
    let user = store.create_user(user).await?.ok_or(Refused::Taken)?;
    tell("registered", user.id);
    Ok(user)
}

/// Makes an invitation, bound to `email` if there is one. Its token is known here only.
pub(crate) async fn invite(
    store: &Store,
    mode: RegistrationMode,
    email: Option<String>,
    hours: u32,
) -> Result<(Invitation, SecretString), Refused> {
    if mode != RegistrationMode::Invite {
        return Err(Refused::NotByInvitation(mode));
    }
    if !(1..=MOST_INVITATION_HOURS).contains(&hours) {
        return Err(Refused::Lifetime);
    }
    let email = match email {
        Some(email) => {
            let invalid = |why: &str| Refused::Policy(Error::InvalidRequest(why.to_owned()));
            let key = new_email(&email).map_err(invalid)?;
            if store.credentials(key.clone()).await?.is_some() {
                return Err(Refused::HasAccount);
            }
            Some((email, key))
        }
        None => None,
    };
    let token = InvitationToken::random();
    let lifetime = Duration::from_secs(u64::from(hours) * 3600);
    let new = NewInvitation { digest: token.digest(), email, lifetime };
    Ok((store.invite(new).await?, token.write()))
}

/// Takes an invitation back, so that nobody can use it.
pub(crate) async fn revoke_invitation(store: &Store, id: InvitationId) -> Result<(), Refused> {
    if store.revoke_invitation(id).await? { Ok(()) } else { Err(Refused::NoInvitation) }
}

/// The account whose password is to be set.
pub(crate) async fn account(store: &Store, user: UserId) -> Result<Credentials, Refused> {
    store.credentials_of(user).await?.ok_or(Refused::Unknown)
}

/// Gives a user another password, without the present one, and ends every session.
pub(crate) async fn set_password(
    store: &Store,
    policy: &config::Passwords,
    (user, account): (UserId, &Credentials),
    new: &SecretString,
) -> Result<(), Refused> {
    check_password_text(new).map_err(Refused::Policy)?;
    let violations = accounts::violations_by_rule(policy, account, new);
    if !violations.is_empty() {
        return Err(Refused::Policy(Error::PasswordPolicy(violations)));
    }
    known(store.set_password(user, hash(policy, new).await?).await?)?;
    tell("password-changed", user);
    Ok(())
}

/// Lets a user log in, or ends every session and lets them log in no more.
pub(crate) async fn set_enabled(store: &Store, user: UserId, enabled: bool) -> Result<(), Refused> {
    known(store.set_enabled(user, enabled).await?)?;
    tell(if enabled { "user-enabled" } else { "user-disabled" }, user);
    Ok(())
}

/// Gives a user other names.
pub(crate) async fn change_names(
    store: &Store,
    user: UserId,
    (name, address): (Wish, Wish),
) -> Result<(), Refused> {
    let invalid = |why: &str| Refused::Policy(Error::InvalidRequest(why.to_owned()));
    let (username, email) =
        (name.of_name().map_err(invalid)?, address.of_address().map_err(invalid)?);
    match store.change_names(user, NewNames { username, email }).await? {
        Renaming::Done { user, renamed, email_changed } => {
            if renamed {
                tell("user-renamed", user.id);
            }
            if email_changed {
                tell("email-changed", user.id);
            }
            Ok(())
        }
        Renaming::Taken => Err(Refused::Taken),
        Renaming::Nameless => Err(Refused::Nameless),
        Renaming::Unknown => Err(Refused::Unknown),
    }
}

/// Deletes a user. What is left of them is forgotten by the services that run.
pub(crate) async fn delete_user(store: &Store, user: UserId) -> Result<(), Refused> {
    known(store.delete_user(user).await?)?;
    tell("user-deleted", user);
    Ok(())
}

/// Users whose name or address begins so, after the one that is named.
pub(crate) async fn search(
    store: &Store,
    text: &str,
    after: Option<UserId>,
    most: usize,
) -> Result<Vec<Listed>, Refused> {
    let beginning = names::beginning(text).ok_or(Refused::Beginning)?;
    store.search_users(beginning, after, most).await?.ok_or(Refused::NotFound)
}

/// Gives a user these roles and no others.
pub(crate) async fn set_roles(
    store: &Store,
    user: UserId,
    roles: Vec<String>,
) -> Result<(), Refused> {
    check_roles(&roles)?;
    known(store.set_roles(user, roles).await?)?;
    tell("roles-changed", user);
    Ok(())
}

/// Ends a session, whosever it is. No error where there is none.
pub(crate) async fn end_session(store: &Store, session: SessionId) -> Result<(), Refused> {
    store.end_session(session, EndReason::Admin).await?;
    tracing::info!(
        event.name = "session-ended", event.outcome = "success", reason = EndReason::Admin.as_str(),
        session.id = %session, "an administrator ended a session"
    );
    Ok(())
}

/// Ends every session of a user.
pub(crate) async fn end_all_sessions(store: &Store, user: UserId) -> Result<(), Refused> {
    known(store.end_all_of(user, EndReason::Admin).await?)?;
    tell("all-sessions-ended", user);
    Ok(())
}

/// In the log of the command, under the name that the audit log has for it. The services that run learn of
/// it by what it changes, and do not know who did it.
fn tell(event: &'static str, user: UserId) {
    tracing::info!(
        event.name = event, event.outcome = "success", reason = EndReason::Admin.as_str(),
        user.id = %user, "an administrator changed an account"
    );
}

/// Each must be a name that a role can have.
pub(crate) fn check_roles(roles: &[String]) -> Result<(), Refused> {
    let bad = roles.iter().find(|role| !is_role(role));
    bad.map_or(Ok(()), |bad| Err(Refused::Role(bad.clone())))
}

async fn hash(policy: &config::Passwords, password: &SecretString) -> Result<String, Refused> {
    Ok(Passwords::new(policy)?.enter(HashingPurpose::Login)?.hash(password).await?)
}

fn known(known: bool) -> Result<(), Refused> {
    if known { Ok(()) } else { Err(Refused::Unknown) }
}
