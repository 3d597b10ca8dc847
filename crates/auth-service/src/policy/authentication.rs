//! Authentication: what it takes to have shown who one is.
//!
//! [`Authenticated`] is to a login what `Verified` is to a protected route. Only the authenticators, which
//! are the files below this one, can make it, and each makes it only where it succeeded. Opening a
//! session and changing a password demand it, so neither can be reached around an authenticator.

pub(crate) mod password;

use std::time::Duration;

use claims::{Timestamp, UserId};
use verifier::Bearer;

use crate::error::Error;
use crate::identity::amr::Amr;
use crate::store::Versions;

/// How old a login may be for what needs a recent one.
const RECENT_LOGIN: Duration = Duration::from_mins(15);

/// Goes on only where the person logged in at most a quarter of an hour ago, whatever was refreshed since. Everything
/// that needs a recent login asks here.
///
/// # Errors
/// [`Error::Denied`] with the challenge of RFC 9470, which says how recent it must be.
pub(crate) fn require_recent_login(bearer: &Bearer) -> Result<(), Error> {
    Ok(bearer.require_recent_login(RECENT_LOGIN)?)
}

/// Somebody who has shown everything that their account asks for.
#[derive(Debug, Clone)]
pub struct Authenticated {
    user: UserId,
    versions: Versions,
    amr: Amr,
    auth_time: Option<Timestamp>,
}

impl Authenticated {
    /// Whose account it is.
    #[must_use]
    pub fn user(&self) -> UserId {
        self.user
    }

    /// What the account's credentials were checked at. Nothing is done with this value once they changed.
    #[must_use]
    pub fn versions(&self) -> Versions {
        self.versions
    }

    /// How it was shown.
    #[must_use]
    pub fn amr(&self) -> &Amr {
        &self.amr
    }

    /// When it was shown; `None`: now, so that the moment at which a session opens counts, by the clock
    /// of the database.
    #[must_use]
    pub fn auth_time(&self) -> Option<Timestamp> {
        self.auth_time
    }
}

/// Somebody who has shown one factor of the several that their account asks for.
#[derive(Debug, Clone)]
pub struct FactorPending {
    user: UserId,
    shown: Amr,
}

impl FactorPending {
    /// Whose account it is said to be.
    #[must_use]
    pub fn user(&self) -> UserId {
        self.user
    }

    /// What was shown so far.
    #[must_use]
    pub fn shown(&self) -> &Amr {
        &self.shown
    }
}

/// What an authenticator found, where what was shown is good.
///
/// No account asks for a second factor yet, so only a test makes the second variant. It is here so that
/// whoever asks an authenticator has to say what half a proof is worth, before there is one.
#[derive(Debug, Clone)]
pub enum Authentication {
    Complete(Authenticated),
    /// Something else is to be shown as well.
    FactorPending(FactorPending),
}

impl Authentication {
    /// Whoever is authenticated in full. Half a proof is none: it opens nothing, and is answered as a
    /// wrong password is, until there is a route that takes the other half.
    pub fn complete(self) -> Result<Authenticated, Error> {
        match self {
            Self::Complete(authenticated) => Ok(authenticated),
            Self::FactorPending(pending) => {
                tracing::info!(user.id = %pending.user(), "a second factor is missing");
                Err(Error::InvalidCredentials)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::identity::amr::Method;

    #[test]
    fn half_a_proof_is_not_worth_a_session() {
        let (user, amr) = (UserId(Uuid::nil()), Amr::from(Method::Password));
        let half = FactorPending { user, shown: amr.clone() };
        assert_eq!(half.shown(), &amr);
        let half = Authentication::FactorPending(half).complete();
        assert!(matches!(half, Err(Error::InvalidCredentials)));

        let versions = Versions { subject: 3, password: 2 };
        let whole = Authenticated { user, versions, amr, auth_time: None };
        let whole = Authentication::Complete(whole).complete().unwrap();
        assert_eq!((whole.user(), whole.versions(), whole.auth_time()), (user, versions, None));
    }
}
