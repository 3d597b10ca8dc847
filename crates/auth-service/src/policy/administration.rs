//! What administrators may do to accounts and sessions, by the same rules as what people ask for
//! themselves. It needs no `App`: the command line does it on the database, beside the services that run. Over
//! HTTP the store is one that acts for somebody, and who that may be is decided in `administrators`.

use std::time::Duration;

use claims::{SessionId, UserId};
use secrecy::SecretString;
use tracing::field;

use crate::config::{self, Config, RegistrationMode};
use crate::error::Error;
use crate::identity::names;
use crate::identity::names::new::new_email;
use crate::passwords::{HashingPurpose, Overloaded, Passwords, Unusable};
use crate::policy::accounts::{self, Registration, check_password_text};
use crate::policy::names::Wish;
use crate::policy::roles::{BadRoles, Roles};
use crate::store::{
    Credentials, Done, EndReason, Invitation, InvitationId, Listed, NewInvitation, NewNames,
    NewUser, Once, Renaming, SessionEnding, Store, StoreError, UserChange,
};
use crate::tokens::InvitationToken;

/// The longest that an invitation may be good.
pub(crate) const MOST_INVITATION_HOURS: u32 = 30 * 24;
/// How long it is good where nothing is said.
pub(crate) const USUAL_INVITATION_HOURS: u32 = 72;

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
    #[error(transparent)]
    Roles(#[from] BadRoles),
    #[error(
        "registration: it is {}, so that nobody can use an invitation; set AUTH__REGISTRATION to invite for this \
         command and for every auth-service", .0.as_str()
    )]
    NotByInvitation(RegistrationMode),
    #[error("the Idempotency-Key was used for another request")]
    KeyReused,
    #[error("--expires-hours: an invitation is good for 1 to {MOST_INVITATION_HOURS} hours")]
    Lifetime,
    #[error("--email: whoever has this address has an account already")]
    HasAccount,
    #[error("there is no such session, or it ended more than a week ago; see `session list`")]
    NoSession,
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

impl From<Refused> for Error {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Unknown => Self::Missing(NO_USER),
            Refused::NoSession => {
                Self::Missing("There is no such session, or it ended more than a week ago.")
            }
            Refused::NoInvitation => {
                Self::Missing("There is no such invitation that could still be used.")
            }
            Refused::Taken | Refused::HasAccount => Self::Conflict,
            Refused::KeyReused => Self::KeyReused,
            Refused::Roles(bad) => bad.into(),
            Refused::NotByInvitation(mode) => Self::InvalidRequest(format!(
                "Registration is {}, so that nobody can use an invitation.",
                mode.as_str()
            )),
            Refused::Nameless => Self::InvalidRequest(
                "They would have neither a name nor an address; give them the other one first."
                    .to_owned(),
            ),
            Refused::Beginning => {
                Self::InvalidRequest("No name and no address begins so.".to_owned())
            }
            Refused::NotFound => Self::InvalidRequest(
                "`after` is no user whom this search finds; begin anew.".to_owned(),
            ),
            Refused::Lifetime => Self::InvalidRequest(format!(
                "An invitation is good for 1 to {MOST_INVITATION_HOURS} hours."
            )),
            Refused::Policy(error) => error,
            Refused::Store(error) => error.into(),
            Refused::Unusable(_) | Refused::Overloaded(_) => Self::Overloaded,
        }
    }
}

/// What is answered where there is none.
pub(crate) const NO_USER: &str = "There is no such user.";

fn explained(error: &Error) -> String {
    match error {
        Error::PasswordPolicy(violations) => {
            let names: Vec<_> = violations.iter().map(|one| one.as_str()).collect();
            format!("choose another password: {}", names.join(", "))
        }
        error => error.to_string(),
    }
}

/// Adds a user, once if there is a key. There is no limit on how many.
pub(crate) async fn create_user(
    store: &Store,
    (policy, passwords): (&config::Passwords, &Passwords),
    registration: Registration,
    roles: Roles,
    once: Option<Once>,
) -> Result<UserId, Refused> {
    let Registration { username, email, password, requester: _ } = registration;
    let checked = accounts::check(policy, username, email, &password).map_err(Refused::Policy)?;
    let (username, email) = checked;
    let password_hash = hash(passwords, &password).await?;
    let user = NewUser { username, email, password_hash, roles: roles.into() };
    let done = match once {
        Some(once) => store.create_user_once(once, user).await?,
        None => Done::Now(store.create_user(user).await?),
    };
    match done {
        Done::Now(user) => {
            let user = user.ok_or(Refused::Taken)?.id;
            tell(store, "registered", user);
            Ok(user)
        }
        Done::Before(id) => id.parse().map(UserId).map_err(|_| Refused::Unknown),
        Done::OtherRequest => Err(Refused::KeyReused),
    }
}

/// Makes an invitation, bound to `email` if there is one, once if there is a key. Its token is known here only, and
/// not any more where it was made before.
pub(crate) async fn invite(
    store: &Store,
    mode: RegistrationMode,
    email: Option<String>,
    hours: u32,
    once: Option<Once>,
) -> Result<(Invitation, Option<SecretString>), Refused> {
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
    let done = match once {
        Some(once) => store.invite_once(once, new).await?,
        None => Done::Now(store.invite(new).await?),
    };
    match done {
        Done::Now(invitation) => Ok((invitation, Some(token.write()))),
        Done::Before(id) => {
            let id = id.parse().map_err(|_| Refused::NoInvitation)?;
            Ok((store.invitation(id).await?.ok_or(Refused::NoInvitation)?, None))
        }
        Done::OtherRequest => Err(Refused::KeyReused),
    }
}

/// To the account page, with the token of an invitation; `None` where that page is not served.
pub(crate) fn link(config: &Config, token: &str) -> Option<String> {
    // Behind a #, where neither a server nor its log nor the next page is told of it.
    config.page.enabled.then(|| format!("{}/#invitation={token}", config.issuer))
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
    (policy, passwords): (&config::Passwords, &Passwords),
    (user, account): (UserId, &Credentials),
    new: &SecretString,
) -> Result<(), Refused> {
    // Before anything is spent on a password, or said of one.
    store.check_reach().await?;
    check_password_text(new).map_err(Refused::Policy)?;
    let violations = accounts::violations_by_rule(policy, account, new);
    if !violations.is_empty() {
        return Err(Refused::Policy(Error::PasswordPolicy(violations)));
    }
    known(store.set_password(user, hash(passwords, new).await?).await?)?;
    tell(store, "password-changed", user);
    Ok(())
}

/// Lets a user log in, or ends every session and lets them log in no more.
pub(crate) async fn set_enabled(store: &Store, user: UserId, enabled: bool) -> Result<(), Refused> {
    apply(store, user, Change { enabled: Some(enabled), ..Change::default() }).await
}

/// Gives a user other names.
pub(crate) async fn change_names(
    store: &Store,
    page: &config::Page,
    user: UserId,
    (name, address): (Wish, Wish),
) -> Result<(), Refused> {
    change(store, page, user, Change { name, address, ..Change::default() }).await
}

/// Deletes a user. What is left of them is forgotten by the services that run.
pub(crate) async fn delete_user(store: &Store, user: UserId) -> Result<(), Refused> {
    known(store.delete_user(user).await?)?;
    tell(store, "user-deleted", user);
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
pub(crate) async fn set_roles(store: &Store, user: UserId, roles: Roles) -> Result<(), Refused> {
    apply(store, user, Change { roles: Some(roles), ..Change::default() }).await
}

/// What is to become of a user; `None` stays.
#[derive(Debug, Default)]
pub(crate) struct Change {
    pub(crate) name: Wish,
    pub(crate) address: Wish,
    pub(crate) enabled: Option<bool>,
    pub(crate) roles: Option<Roles>,
}

/// Changes a user, all of it or nothing. The demo account of the page, if there is one, keeps its name.
pub(crate) async fn change(
    store: &Store,
    page: &config::Page,
    user: UserId,
    change: Change,
) -> Result<(), Refused> {
    if !matches!(change.name, Wish::Keep) && accounts::is_demo(store, page, user).await? {
        return Err(Refused::Policy(Error::DemoAccount));
    }
    apply(store, user, change).await
}

async fn apply(store: &Store, user: UserId, change: Change) -> Result<(), Refused> {
    let invalid = |why: &str| Refused::Policy(Error::InvalidRequest(why.to_owned()));
    let Change { name, address, enabled, roles } = change;
    let username = name.of_name().map_err(invalid)?;
    let email = address.of_address().map_err(invalid)?;
    let roles = roles.map(Vec::from);
    let change = UserChange { names: NewNames { username, email }, enabled, roles };
    let changed = store.change_user(user, change).await?;
    let (renamed, email_changed) = match changed.names {
        Renaming::Done { user: _, renamed, email_changed } => (renamed, email_changed),
        Renaming::Taken => return Err(Refused::Taken),
        Renaming::Nameless => return Err(Refused::Nameless),
        Renaming::Unknown => return Err(Refused::Unknown),
    };
    for (done, event) in [
        (renamed, "user-renamed"),
        (email_changed, "email-changed"),
        (changed.enabled && enabled == Some(true), "user-enabled"),
        (changed.enabled && enabled == Some(false), "user-disabled"),
        (changed.roles, "roles-changed"),
    ] {
        if done {
            tell(store, event, user);
        }
    }
    Ok(())
}

/// Ends a session, whosever it is, or finds that it is over. Of a session that nobody knows, nobody may believe that
/// it was ended.
pub(crate) async fn end_session(store: &Store, session: SessionId) -> Result<(), Refused> {
    match store.end_session(session, EndReason::Admin).await? {
        SessionEnding::Now => {}
        SessionEnding::Before => return Ok(()),
        SessionEnding::Unknown => return Err(Refused::NoSession),
    }
    tracing::info!(
        event.name = "session-ended", event.outcome = "success", reason = EndReason::Admin.as_str(),
        actor.id = store.administrator().map(field::display), session.id = %session,
        "an administrator ended a session"
    );
    Ok(())
}

/// Ends every session of a user.
pub(crate) async fn end_all_sessions(store: &Store, user: UserId) -> Result<(), Refused> {
    known(store.end_all_of(user, EndReason::Admin).await?)?;
    tell(store, "all-sessions-ended", user);
    Ok(())
}

/// In the log of the service, or of the command, which knows no name of whoever runs it; under the name that the
/// audit log has for it.
fn tell(store: &Store, event: &'static str, user: UserId) {
    tracing::info!(
        event.name = event, event.outcome = "success", reason = EndReason::Admin.as_str(),
        actor.id = store.administrator().map(field::display), user.id = %user,
        "an administrator changed an account"
    );
}

async fn hash(passwords: &Passwords, password: &SecretString) -> Result<String, Refused> {
    Ok(passwords.enter(HashingPurpose::Login)?.hash(password).await?)
}

fn known(known: bool) -> Result<(), Refused> {
    if known { Ok(()) } else { Err(Refused::Unknown) }
}
