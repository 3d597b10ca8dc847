//! Why a request may not go on.

use std::time::Duration;

use latchkey_problem::ProblemCode;

use crate::rejection::Rejection;

/// Why a request may not go on. [`Protection::challenge`](crate::Protection::challenge) makes the
/// answer of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Denial {
    /// It carries no bearer token.
    NoCredential,
    /// It carries two.
    TwoCredentials,
    /// It carries one that is not accepted.
    Rejected(Rejection),
    /// The token lacks this scope.
    InsufficientScope(&'static str),
    /// The login is longer ago than this.
    LoginTooOld(Duration),
}

impl Denial {
    /// The problem code that answers it. One code for every reason why a token is bad: the reason is no
    /// business of whoever sent it.
    #[must_use]
    pub const fn code(&self) -> ProblemCode {
        match self {
            Self::NoCredential => ProblemCode::Unauthenticated,
            Self::TwoCredentials => ProblemCode::InvalidRequest,
            Self::Rejected(Rejection::Stale) => ProblemCode::RevocationStale,
            Self::Rejected(Rejection::NoKeys) => ProblemCode::Unavailable,
            Self::Rejected(_) => ProblemCode::InvalidToken,
            Self::InsufficientScope(_) => ProblemCode::Forbidden,
            Self::LoginTooOld(_) => ProblemCode::ReauthenticationRequired,
        }
    }

    pub(crate) const fn detail(&self) -> &'static str {
        match self {
            Self::NoCredential => "Send an access token in the Authorization header.",
            Self::TwoCredentials => "Send one Authorization header, not two.",
            Self::Rejected(Rejection::Stale) => {
                "Whether the token was revoked cannot be known at the moment; try again shortly."
            }
            Self::Rejected(Rejection::NoKeys) => {
                "The service has not loaded its keys yet; try again shortly."
            }
            Self::Rejected(_) => "The access token is not valid here; get a new one.",
            Self::InsufficientScope(_) => "The access token lacks the scope this needs.",
            Self::LoginTooOld(_) => "Log in again to do this.",
        }
    }
}

impl From<Rejection> for Denial {
    fn from(rejection: Rejection) -> Self {
        Self::Rejected(rejection)
    }
}
