//! The problem answers of Latchkey (RFC 9457): the one table from a code to its status and title, and
//! the document that tells of one occurrence.
#![doc = concat!("\n", include_str!("../README.md"))]

#[cfg(feature = "actix")]
pub mod actix;

use serde::Serialize;

/// The media type of the document (RFC 9457 §3).
pub const MEDIA_TYPE: &str = "application/problem+json";

/// What went wrong, as a stable code that clients may match on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ProblemCode {
    /// The request is not one this route understands.
    InvalidRequest,
    /// There are no tokens for the service that was asked for (RFC 8707 §2).
    InvalidTarget,
    /// The media type of the body is not one this route takes.
    UnsupportedMediaType,
    /// The body is larger than any legitimate one.
    PayloadTooLarge,
    /// The client took too long to send its request.
    RequestTimeout,
    /// The name, the password, or the account is not good; which one is not said.
    InvalidCredentials,
    /// No credential was presented.
    Unauthenticated,
    /// The session reached its idle or its absolute end.
    SessionExpired,
    /// The session was ended.
    SessionRevoked,
    /// A refresh token was presented that had been spent; its session is ended.
    TokenReused,
    /// The credential presented is not one, or no longer.
    InvalidToken,
    /// The credential is good, but the login is too long ago for this (RFC 9470).
    ReauthenticationRequired,
    /// A browser sent this from a page that may not.
    Csrf,
    /// The credential is good, but does not allow this.
    Forbidden,
    /// Nobody may make an account here.
    RegistrationClosed,
    /// Making an account here takes an invitation, and none that is good came along.
    InvitationInvalid,
    /// There is nothing here, or nothing the caller may know of.
    NotFound,
    /// The route exists; the method does not.
    MethodNotAllowed,
    /// The name or the address is taken.
    Conflict,
    /// So many keys were made within a day that no more are.
    TooManyKeys,
    /// The password is not one this service accepts.
    PasswordPolicy,
    /// The `Idempotency-Key` belongs to another request.
    IdempotencyKeyReused,
    /// The caller asked too often.
    RateLimited,
    /// A defect of the service; nothing is said about it here.
    Internal,
    /// The service cannot answer for the moment.
    Unavailable,
    /// The service cannot prove that the token was not revoked.
    RevocationStale,
}

impl ProblemCode {
    /// Every code, for documentation and for tests.
    pub const ALL: [Self; 26] = [
        Self::InvalidRequest,
        Self::InvalidTarget,
        Self::UnsupportedMediaType,
        Self::PayloadTooLarge,
        Self::RequestTimeout,
        Self::InvalidCredentials,
        Self::Unauthenticated,
        Self::SessionExpired,
        Self::SessionRevoked,
        Self::TokenReused,
        Self::InvalidToken,
        Self::ReauthenticationRequired,
        Self::Csrf,
        Self::Forbidden,
        Self::RegistrationClosed,
        Self::InvitationInvalid,
        Self::NotFound,
        Self::MethodNotAllowed,
        Self::Conflict,
        Self::TooManyKeys,
        Self::PasswordPolicy,
        Self::IdempotencyKeyReused,
        Self::RateLimited,
        Self::Internal,
        Self::Unavailable,
        Self::RevocationStale,
    ];

    /// The code, the HTTP status and the title of each problem.
    const fn row(self) -> (&'static str, u16, &'static str) {
        match self {
            Self::InvalidRequest => ("invalid-request", 400, "The request is not valid"),
            Self::InvalidTarget => ("invalid-target", 400, "There are no tokens for this service"),
            Self::UnsupportedMediaType => {
                ("unsupported-media-type", 415, "The media type is not supported here")
            }
            Self::PayloadTooLarge => ("payload-too-large", 413, "The request is too large"),
            Self::RequestTimeout => ("request-timeout", 408, "The request took too long"),
            Self::InvalidCredentials => {
                ("invalid-credentials", 401, "The name or the password is wrong")
            }
            Self::Unauthenticated => ("unauthenticated", 401, "A credential is needed"),
            Self::SessionExpired => ("session-expired", 401, "The session has expired"),
            Self::SessionRevoked => ("session-revoked", 401, "The session was ended"),
            Self::TokenReused => ("token-reused", 401, "The refresh token was used before"),
            Self::InvalidToken => ("invalid-token", 401, "The token is not valid"),
            Self::ReauthenticationRequired => {
                ("reauthentication-required", 401, "A more recent login is needed")
            }
            Self::Csrf => ("csrf", 403, "The request came from another site"),
            Self::Forbidden => ("forbidden", 403, "The token does not allow this"),
            Self::RegistrationClosed => ("registration-closed", 403, "Registration is closed"),
            Self::InvitationInvalid => ("invitation-invalid", 403, "The invitation is not valid"),
            Self::NotFound => ("not-found", 404, "There is nothing here"),
            Self::MethodNotAllowed => ("method-not-allowed", 405, "The method is not allowed"),
            Self::Conflict => ("conflict", 409, "The name or the address is taken"),
            Self::TooManyKeys => ("too-many-keys", 409, "Too many keys were made"),
            Self::PasswordPolicy => ("password-policy", 422, "The password is not acceptable"),
            Self::IdempotencyKeyReused => {
                ("idempotency-key-reused", 422, "The key was used for another request")
            }
            Self::RateLimited => ("rate-limited", 429, "Too many requests"),
            Self::Internal => ("internal", 500, "The service failed"),
            Self::Unavailable => ("unavailable", 503, "The service is unavailable"),
            Self::RevocationStale => {
                ("revocation-stale", 503, "Revocations cannot be checked at the moment")
            }
        }
    }

    /// The stable code, the last segment of the problem's `type`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        self.row().0
    }

    /// The HTTP status.
    #[must_use]
    pub const fn status(self) -> u16 {
        self.row().1
    }

    /// The title, the same for every occurrence.
    #[must_use]
    pub const fn title(self) -> &'static str {
        self.row().2
    }
}

/// One occurrence of a problem, as `application/problem+json`.
///
/// `type` and `request_id` are filled in by whoever serves the answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Problem {
    /// `<issuer>/problems/<code>`.
    #[serde(rename = "type")]
    pub kind: String,
    /// The code's title.
    pub title: &'static str,
    /// The HTTP status, again.
    pub status: u16,
    /// One sentence: what is wrong and what to do.
    pub detail: String,
    /// The code, again.
    pub code: &'static str,
    /// Names this occurrence in the logs.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(nullable = false))]
    pub request_id: Option<String>,
    /// Why the session was ended; with `session-revoked`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(nullable = false))]
    pub reason: Option<&'static str>,
    /// What the password lacks; with `password-policy`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub violations: Vec<&'static str>,
}

impl Problem {
    /// A problem of this code, told in one sentence.
    #[must_use]
    pub fn new(code: ProblemCode, detail: impl Into<String>) -> Self {
        Self {
            kind: format!("/problems/{}", code.as_str()),
            title: code.title(),
            status: code.status(),
            detail: detail.into(),
            code: code.as_str(),
            request_id: None,
            reason: None,
            violations: Vec::new(),
        }
    }
}
