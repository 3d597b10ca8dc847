//! Every way a request can fail, and the one place that says how each is answered.

use std::fmt;
use std::sync::LazyLock;

use actix_web::http::StatusCode;
use actix_web::http::header::{HeaderMap, HeaderName, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use actix_web::{HttpResponse, ResponseError};
use hosting::repeats::Repeats;
use hosting::{BadBody, causes};
use problem::actix::response as problem_response;
use problem::{Problem, ProblemCode};
use verifier::Challenge;

use crate::limits::Refusal;
use crate::passwords::Overloaded;
use crate::passwords::password_policy::Violation;
use crate::store::{EndReason, FaultKind, StoreError};

/// Why a request was not done.
#[derive(Debug)]
pub enum Error {
    /// The request is not one this route understands; the sentence says why.
    InvalidRequest(String),
    /// There are no tokens for the services that were asked for; the sentence says why.
    InvalidTarget(&'static str),
    /// The body is not acceptable.
    BadBody(BadBody),
    /// Name, password or account is not good.
    InvalidCredentials,
    /// No credential was presented.
    Unauthenticated,
    /// The token is not one of ours, or not for this.
    InvalidToken,
    /// The bearer token was denied.
    Denied(Challenge),
    /// The session reached an end.
    SessionExpired,
    /// The session was ended.
    SessionRevoked(EndReason),
    /// A spent refresh token was presented.
    TokenReused,
    /// A page of another site sent this.
    Csrf(&'static str),
    /// The caller may not do this.
    Forbidden,
    /// The account that everybody may use keeps its name.
    DemoAccount,
    /// Nobody may make an account here.
    RegistrationClosed,
    /// It takes an invitation to make an account here, and none that is good for the caller came along.
    InvitationInvalid,
    /// There is nothing here that the caller may know of.
    NotFound,
    /// There is nothing of the kind; the sentence says of what.
    Missing(&'static str),
    /// The request came neither by https nor from this machine alone.
    Unprotected,
    /// An administrator may not change an account that may do more, or give roles by which one could.
    OutOfReach,
    /// The key was used for another request.
    KeyReused,
    /// The name or the address is taken.
    Conflict,
    /// Administrators had so many keys made within a day that they have no more made.
    TooManyKeys,
    /// The new password is not acceptable.
    PasswordPolicy(Vec<Violation>),
    /// The caller tries too often.
    RateLimited(Refusal),
    /// Too many passwords are being checked.
    Overloaded,
    /// The database failed.
    Store(StoreError),
    /// The revocations were not read yet.
    NotReady,
    /// The revocations could not be read for a while.
    RevocationsUnread,
}

impl Error {
    /// The problem code of each.
    fn code(&self) -> ProblemCode {
        match self {
            Self::InvalidRequest(_) => ProblemCode::InvalidRequest,
            Self::InvalidTarget(_) => ProblemCode::InvalidTarget,
            Self::BadBody(error) => error.code(),
            Self::Denied(error) => error.why().code(),
            Self::InvalidCredentials => ProblemCode::InvalidCredentials,
            Self::Unauthenticated => ProblemCode::Unauthenticated,
            Self::InvalidToken => ProblemCode::InvalidToken,
            Self::SessionExpired => ProblemCode::SessionExpired,
            Self::SessionRevoked(_) => ProblemCode::SessionRevoked,
            Self::TokenReused => ProblemCode::TokenReused,
            Self::Csrf(_) => ProblemCode::Csrf,
            Self::Forbidden | Self::DemoAccount | Self::Unprotected | Self::OutOfReach => {
                ProblemCode::Forbidden
            }
            Self::KeyReused => ProblemCode::IdempotencyKeyReused,
            Self::RegistrationClosed => ProblemCode::RegistrationClosed,
            Self::InvitationInvalid => ProblemCode::InvitationInvalid,
            Self::NotFound | Self::Missing(_) => ProblemCode::NotFound,
            Self::Conflict => ProblemCode::Conflict,
            Self::TooManyKeys => ProblemCode::TooManyKeys,
            Self::PasswordPolicy(_) => ProblemCode::PasswordPolicy,
            Self::RateLimited(_) => ProblemCode::RateLimited,
            // Who is told to come back would come back for ever.
            Self::Store(error) if error.kind() == FaultKind::Refused => ProblemCode::Internal,
            Self::Overloaded | Self::Store(_) | Self::NotReady | Self::RevocationsUnread => {
                ProblemCode::Unavailable
            }
        }
    }

    /// One sentence for the client: what is wrong and what to do.
    fn detail(&self) -> String {
        match self {
            Self::InvalidRequest(detail) => return detail.clone(),
            Self::BadBody(error) => return error.to_string(),
            Self::Denied(error) => return error.to_string(),
            Self::InvalidCredentials => "The name or the password is wrong.",
            Self::Unauthenticated => "Send a refresh token or an access token.",
            Self::InvalidToken => "The token is not valid here; log in again.",
            Self::SessionExpired => "The session has expired; log in again.",
            Self::SessionRevoked(_) => "The session was ended; log in again.",
            Self::TokenReused => {
                "The refresh token had been used before, so the session was ended; log in again."
            }
            Self::InvalidTarget(detail) | Self::Csrf(detail) | Self::Missing(detail) => detail,
            Self::Forbidden => "The token does not allow this.",
            Self::DemoAccount => {
                "The demo account, which everybody may use, keeps its name until it has another password."
            }
            Self::RegistrationClosed => {
                "Nobody can register here; ask whoever runs this service for an account."
            }
            Self::InvitationInvalid => {
                "Registering here takes an invitation that is good for you; ask for a new one."
            }
            Self::NotFound => "There is no such session of yours.",
            Self::Unprotected => {
                "Send this by https to a proxy that is on this machine or one of http.trusted_proxies and says \
                 X-Forwarded-Proto: https; or, without a proxy, from the machine on which the service runs to its \
                 loopback address or localhost."
            }
            Self::OutOfReach => {
                "Those roles allow more than you may; whoever may do all of it can do this, or the command line with \
                 the database."
            }
            Self::KeyReused => "The Idempotency-Key was used for another request; choose another.",
            Self::Conflict => "The name or the address is taken; choose another.",
            Self::TooManyKeys => {
                "Eight keys of this purpose were made within a day; wait, or use the command line with the database."
            }
            Self::PasswordPolicy(_) => "Choose another password; see violations.",
            Self::RateLimited(refusal) => {
                let seconds = refusal.retry_after();
                return format!("Too many attempts; try again in {seconds} s.");
            }
            Self::Overloaded => "Too many logins at once; try again shortly.",
            Self::Store(error) => match error.kind() {
                FaultKind::Passing => "The database does not answer; try again shortly.",
                FaultKind::ReadOnly => {
                    "The database is read-only at the moment, so that nothing can be changed; try again later."
                }
                FaultKind::Unfit => {
                    "The database cannot be used as it is set up; trying again does not help before whoever runs \
                     this service has mended it."
                }
                FaultKind::Refused => {
                    "The database refuses this as it is set up; trying again does not help before whoever runs \
                     this service has mended it."
                }
            },
            Self::NotReady => "The service has just started; try again shortly.",
            Self::RevocationsUnread => {
                "Revocations cannot be read from the database; ask another replica."
            }
        }
        .to_owned()
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.detail())
    }
}

impl ResponseError for Error {
    fn status_code(&self) -> StatusCode {
        StatusCode::from_u16(self.code().status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }

    fn error_response(&self) -> HttpResponse {
        let mut problem = match self {
            Self::BadBody(error) => return error.error_response(),
            Self::Denied(error) => return error.error_response(),
            _ => Problem::new(self.code(), self.detail()),
        };
        match self {
            Self::SessionRevoked(reason) => problem.reason = Some(reason.as_str()),
            Self::PasswordPolicy(violations) => {
                problem.violations = violations.iter().map(|one| one.as_str()).collect();
            }
            Self::Store(error) => log(error),
            _ => {}
        }
        let status = problem.status;
        let mut response = problem_response(problem);
        let header = match (status, self) {
            (401, Self::InvalidToken) => {
                Some((WWW_AUTHENTICATE, r#"Bearer realm="latchkey", error="invalid_token""#))
            }
            // RFC 9110 §15.5.2: every 401 has one, a failed login too.
            (401, _) => Some((WWW_AUTHENTICATE, r#"Bearer realm="latchkey""#)),
            (503, _) => Some((RETRY_AFTER, "1")),
            _ => None,
        };
        if let Some((name, value)) = header {
            response.headers_mut().insert(name, HeaderValue::from_static(value));
        }
        if let Self::RateLimited(refusal) = self {
            limited(response.headers_mut(), *refusal);
        }
        response
    }
}

/// When to come back, and what was overstepped: nothing but numbers and names of our own.
fn limited(headers: &mut HeaderMap, refusal: Refusal) {
    let (policy, state) = refusal.headers();
    headers.insert(RETRY_AFTER, HeaderValue::from(refusal.retry_after()));
    for (name, text) in [("ratelimit-policy", policy), ("ratelimit", state)] {
        if let Ok(value) = HeaderValue::from_str(&text) {
            headers.insert(HeaderName::from_static(name), value);
        }
    }
}

/// By what they say first, of which there are a few.
static FAILURES: LazyLock<Repeats<String>> = LazyLock::new(Repeats::default);

/// With its causes, once, here at the edge.
fn log(error: &StoreError) {
    metrics::counter!("latchkey_store_errors_total").increment(1);
    let line = |_: &String| tracing::warn!(error = causes(error), "the store failed");
    FAILURES.write(error.to_string(), line, |error, left_out| {
        tracing::warn!(error, left_out, "the store failed more often");
    });
}

impl From<StoreError> for Error {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::NotActing => Self::InvalidToken,
            StoreError::OutOfReach => Self::OutOfReach,
            error => Self::Store(error),
        }
    }
}

impl From<Overloaded> for Error {
    fn from(_: Overloaded) -> Self {
        Self::Overloaded
    }
}

impl From<BadBody> for Error {
    fn from(error: BadBody) -> Self {
        Self::BadBody(error)
    }
}

impl From<Challenge> for Error {
    fn from(error: Challenge) -> Self {
        Self::Denied(error)
    }
}
