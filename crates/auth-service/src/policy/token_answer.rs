//! What a login and a refresh answer.

use std::fmt;

use claims::{Scope, SessionId};
use serde::{Serialize, Serializer};
use utoipa::ToSchema;

/// What login and refresh answer (RFC 6749 §5.1; the two ends follow
/// draft-ietf-oauth-refresh-token-expiration-03). Durations in seconds, never instants: clients'
/// clocks are wrong.
#[derive(Clone, Serialize, ToSchema)]
pub struct TokenAnswer {
    /// The access token, a JWT.
    pub access_token: String,
    /// Always `Bearer`.
    pub token_type: &'static str,
    /// How long the access token lasts.
    pub expires_in: u64,
    /// Absent in cookie mode: the cookie is then the only place that has it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub refresh_token: Option<String>,
    /// How long the refresh token lasts unless used: the shorter of the idle and the absolute end.
    pub refresh_token_timeout: u64,
    /// How long until the session ends, whatever is done.
    pub authorization_expires_in: u64,
    /// What was granted and may still be granted, to this person and for the services of the access token; empty
    /// where nothing of it may.
    #[serde(serialize_with = "or_empty")]
    #[schema(value_type = String)]
    pub scope: Option<Scope>,
    /// The session.
    pub session_id: SessionId,
}

#[expect(clippy::ref_option, reason = "serde gives it so")]
fn or_empty<S: Serializer>(scope: &Option<Scope>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(scope.as_ref().map_or("", Scope::as_str))
}

impl fmt::Debug for TokenAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenAnswer")
            .field("session_id", &self.session_id)
            .field("expires_in", &self.expires_in)
            .finish_non_exhaustive()
    }
}
