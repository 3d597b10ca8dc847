//! The success answers of the first-party routes.

use std::fmt;

use serde::{Serialize, Serializer};

use crate::ids::{SessionId, UserId};
use crate::scope::Scope;
use crate::time::Timestamp;

/// What login and refresh answer (RFC 6749 §5.1; the two ends follow
/// draft-ietf-oauth-refresh-token-expiration-03). Durations in seconds, never instants: clients'
/// clocks are wrong.
#[derive(Clone, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct TokenAnswer {
    /// The access token, a JWT.
    pub access_token: String,
    /// Always `Bearer`.
    pub token_type: &'static str,
    /// How long the access token lasts.
    pub expires_in: u64,
    /// Absent in cookie mode: the cookie is then the only place that has it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(nullable = false))]
    pub refresh_token: Option<String>,
    /// How long the refresh token lasts unless used: the shorter of the idle and the absolute end.
    pub refresh_token_timeout: u64,
    /// How long until the session ends, whatever is done.
    pub authorization_expires_in: u64,
    /// What was granted and may still be granted; empty where nothing of it may.
    #[serde(serialize_with = "or_empty")]
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
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

/// A user as they see themselves.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct UserView {
    /// The user id, also the `sub` of their tokens.
    pub id: UserId,
    /// The name as they wrote it.
    pub username: String,
    /// Their address, if they gave one.
    #[cfg_attr(feature = "openapi", schema(required))]
    pub email: Option<String>,
    /// When they registered.
    pub created_at: Timestamp,
}

/// One of a user's own live sessions.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct SessionView {
    /// The session id.
    pub id: SessionId,
    /// When they logged in.
    pub created_at: Timestamp,
    /// The last refresh, or the login.
    pub last_used_at: Timestamp,
    /// The absolute end.
    pub expires_at: Timestamp,
    /// The network address of the login.
    #[cfg_attr(feature = "openapi", schema(required))]
    pub ip: Option<String>,
    /// The user agent of the login.
    #[cfg_attr(feature = "openapi", schema(required))]
    pub user_agent: Option<String>,
    /// What the client called the device at login.
    #[cfg_attr(feature = "openapi", schema(required))]
    pub device: Option<String>,
    /// Whether this is the session that asks.
    pub current: bool,
}

/// Something that happened to the caller's account.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct EventView {
    /// When.
    pub at: Timestamp,
    /// What: `registered`, `login`, `login-failed`, `session-ended`, `all-sessions-ended`,
    /// `password-changed`, `roles-changed`, `user-disabled`, `user-enabled`, `refresh-replayed`,
    /// `rotation-restored`, `limited`. More may come.
    pub kind: String,
    /// In which session.
    #[cfg_attr(feature = "openapi", schema(required))]
    pub session_id: Option<SessionId>,
    /// Why a session ended: as in a `session-revoked` problem.
    #[cfg_attr(feature = "openapi", schema(required))]
    pub reason: Option<String>,
    /// The network address it came from; after a replay, of whoever presented the spent token.
    #[cfg_attr(feature = "openapi", schema(required))]
    pub ip: Option<String>,
    /// What that client calls itself.
    #[cfg_attr(feature = "openapi", schema(required))]
    pub user_agent: Option<String>,
    /// After a replay: the address of whoever had the token before.
    #[cfg_attr(feature = "openapi", schema(required))]
    pub other_ip: Option<String>,
    /// What that client calls itself.
    #[cfg_attr(feature = "openapi", schema(required))]
    pub other_user_agent: Option<String>,
}
