//! Why a token was not accepted: one variant per reason.

use latchkey_claims::strict_json::StrictJsonError;

/// The reason. It is for metrics and tests; a client is told one text for all of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum Rejection {
    /// Longer than 8 KiB.
    #[error("the token is too long")]
    TooLong,
    /// A character outside `A–Z a–z 0–9 _ - .` (RFC 8725bis §3.14).
    #[error("the token has characters no token has")]
    Characters,
    /// Not three non-empty segments.
    #[error("the token does not have three segments")]
    Segments,
    /// The header is longer than 512 bytes, or not canonical base64url.
    #[error("the header cannot be read")]
    Header,
    /// The header is not acceptable JSON.
    #[error("the header is not acceptable")]
    HeaderJson,
    /// The header has a member other than `alg`, `typ` and `kid`; `crit`, `jwk`, `jku` and `b64`
    /// are the dangerous ones.
    #[error("the header has a member that is not understood")]
    HeaderMember,
    /// `typ` is not `at+jwt`.
    #[error("the token is not an access token")]
    Type,
    /// `alg` is not on the list.
    #[error("the algorithm is not accepted")]
    Algorithm,
    /// `kid` is missing or not a key id.
    #[error("the key id is malformed")]
    KeyId,
    /// No key has this `kid`.
    #[error("the key is not known")]
    UnknownKey,
    /// The key is for another algorithm.
    #[error("the key is for another algorithm")]
    KeyAlgorithm,
    /// The signature is not by this key.
    #[error("the signature is not valid")]
    Signature,
    /// The claims are not canonical base64url.
    #[error("the claims cannot be read")]
    Claims,
    /// The claims are not acceptable JSON.
    #[error("the claims are not acceptable")]
    ClaimsJson,
    /// A required claim is missing, or a claim has the wrong type.
    #[error("a claim is missing or has the wrong type")]
    ClaimType,
    /// Issued by someone else.
    #[error("the issuer is another one")]
    Issuer,
    /// Meant for someone else.
    #[error("the audience is another one")]
    Audience,
    /// Past `exp`.
    #[error("the token has expired")]
    Expired,
    /// Before `nbf`.
    #[error("the token is not valid yet")]
    NotYetValid,
    /// `iat` is in the future.
    #[error("the token was issued in the future")]
    IssuedInFuture,
    /// `exp − iat` is over the cap, or negative.
    #[error("the lifetime is not acceptable")]
    Lifetime,
    /// Bound to a key whose proof of possession this verifier cannot check.
    #[error("the token is bound to a key")]
    Bound,
    /// Its session was ended.
    #[error("the session was revoked")]
    SessionRevoked,
    /// Its subject logged out everywhere, or was disabled.
    #[error("the subject's tokens were revoked")]
    SubjectRevoked,
    /// This very token was revoked.
    #[error("the token was revoked")]
    TokenRevoked,
    /// Its signing key was revoked.
    #[error("the key was revoked")]
    KeyRevoked,
    /// Not the token's fault: no key set was loaded yet.
    #[error("no key set was loaded yet")]
    NoKeys,
    /// Not the token's fault: the revocations known are too old to accept it by.
    #[error("revocations are not known freshly enough")]
    Stale,
}

impl Rejection {
    /// A short name for metric labels and log fields.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::TooLong => "too_long",
            Self::Characters => "characters",
            Self::Segments => "segments",
            Self::Header => "header",
            Self::HeaderJson => "header_json",
            Self::HeaderMember => "header_member",
            Self::Type => "typ",
            Self::Algorithm => "alg",
            Self::KeyId => "kid",
            Self::UnknownKey => "unknown_key",
            Self::KeyAlgorithm => "key_algorithm",
            Self::Signature => "signature",
            Self::Claims => "claims",
            Self::ClaimsJson => "claims_json",
            Self::ClaimType => "claim_type",
            Self::Issuer => "iss",
            Self::Audience => "aud",
            Self::Expired => "expired",
            Self::NotYetValid => "nbf",
            Self::IssuedInFuture => "iat",
            Self::Lifetime => "lifetime",
            Self::Bound => "cnf",
            Self::SessionRevoked => "session_revoked",
            Self::SubjectRevoked => "subject_revoked",
            Self::TokenRevoked => "token_revoked",
            Self::KeyRevoked => "key_revoked",
            Self::NoKeys => "no_keys",
            Self::Stale => "stale",
        }
    }
}

impl From<StrictJsonError> for Rejection {
    fn from(_: StrictJsonError) -> Self {
        Self::ClaimsJson
    }
}
