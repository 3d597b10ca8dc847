//! What people call themselves, changed by themselves.

use claims::UserId;

use crate::error::Error;
use crate::identity::names::NameKey;
use crate::identity::names::new::{new_email, new_username};
use crate::limits::Outcome;
use crate::policy::app::App;
use crate::policy::{accounts, admission};
use crate::store::{Caller, NameChange, NewNames, Renaming, Requester, UserRecord};

/// What is asked for of a name or an address.
#[derive(Debug, Default)]
pub(crate) enum Wish {
    #[default]
    Keep,
    Remove,
    /// To be called so.
    Be(String),
}

impl Wish {
    /// What becomes of a name.
    pub(crate) fn of_name(self) -> Result<NameChange, &'static str> {
        self.checked(new_username)
    }

    /// What becomes of an address.
    pub(crate) fn of_address(self) -> Result<NameChange, &'static str> {
        self.checked(new_email)
    }

    fn checked(
        self,
        key: fn(&str) -> Result<NameKey, &'static str>,
    ) -> Result<NameChange, &'static str> {
        match self {
            Self::Keep => Ok(NameChange::Keep),
            Self::Remove => Ok(NameChange::Remove),
            Self::Be(text) => key(&text).map(|key| NameChange::Set(text, key)),
        }
    }
}

/// Gives the caller's user other names, unless too many were tried by them or from there: each try tells whether
/// somebody has a name.
pub(crate) async fn change_own(
    app: &App,
    (caller, user): (Caller, UserId),
    requester: &Requester,
    (name, address): (Wish, Wish),
) -> Result<UserRecord, Error> {
    let invalid = |detail: &str| Error::InvalidRequest(detail.to_owned());
    let (username, email) =
        (name.of_name().map_err(invalid)?, address.of_address().map_err(invalid)?);
    let new = NewNames { username, email };
    if new == NewNames::default() {
        return accounts::user(app, caller).await;
    }
    let renamed = new.username != NameChange::Keep;
    if renamed && accounts::is_demo(&app.store, &app.config.page, user).await? {
        return Err(Error::DemoAccount);
    }
    let attempt = admission::names(app, user, requester).await?;
    let changed = change(app, caller, new).await;
    let outcome = match &changed {
        // A conflict has told that there is such an account, and a change makes a name free or takes one.
        Ok((_, true)) | Err(Error::Conflict) => Outcome::Failed,
        _ => Outcome::Void,
    };
    attempt.settle(outcome).await;
    changed.map(|(user, _)| user)
}

/// Who they are afterwards, and whether anything was changed.
async fn change(app: &App, caller: Caller, new: NewNames) -> Result<(UserRecord, bool), Error> {
    match app.store.change_own_names(caller, new).await? {
        Renaming::Done { user, renamed, email_changed } => {
            for (changed, event) in [(renamed, "user-renamed"), (email_changed, "email-changed")] {
                if changed {
                    tracing::info!(
                        event.name = event, event.outcome = "success", user.id = %user.id,
                        session.id = %caller.session, "changed what they are called"
                    );
                }
            }
            Ok((user, renamed || email_changed))
        }
        Renaming::Taken => Err(Error::Conflict),
        Renaming::Nameless => Err(Error::InvalidRequest(NAMELESS.to_owned())),
        Renaming::Unknown => Err(Error::InvalidToken),
    }
}

/// As a registration without either is told.
const NAMELESS: &str = "An account needs a username, an email, or both.";
