//! What users are shown of what is kept: a user, a session, an event.

use claims::{SessionId, Timestamp, UserId};
use serde::Serialize;
use utoipa::ToSchema;

/// A user as they see themselves.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct UserView {
    /// The user id, also the `sub` of their tokens.
    pub id: UserId,
    /// The name as they wrote it, if they have one.
    #[schema(required)]
    pub username: Option<String>,
    /// Their address, if they gave one.
    #[schema(required)]
    pub email: Option<String>,
    /// When they registered.
    pub created_at: Timestamp,
}

/// One of a user's own live sessions.
#[derive(Debug, Clone, Serialize, ToSchema)]
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
    #[schema(required)]
    pub ip: Option<String>,
    /// The user agent of the login.
    #[schema(required)]
    pub user_agent: Option<String>,
    /// What the client called the device at login.
    #[schema(required)]
    pub device: Option<String>,
    /// Whether this is the session that asks.
    pub current: bool,
}

/// Something that happened to the caller's account.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct EventView {
    /// When.
    pub at: Timestamp,
    /// What: `registered`, `login`, `login-failed`, `session-ended`, `all-sessions-ended`,
    /// `password-changed`, `roles-changed`, `user-disabled`, `user-enabled`, `refresh-replayed`,
    /// `rotation-restored`, `limited`, `invitation-used`, `user-renamed`, `email-changed`,
    /// `password-rehashed` (kept in a newer form after a login, or written by hand). More may come.
    pub kind: String,
    /// In which session.
    #[schema(required)]
    pub session_id: Option<SessionId>,
    /// Why a session ended: as in a `session-revoked` problem.
    #[schema(required)]
    pub reason: Option<String>,
    /// The network address it came from; after a replay, of whoever presented the spent token.
    #[schema(required)]
    pub ip: Option<String>,
    /// What that client calls itself.
    #[schema(required)]
    pub user_agent: Option<String>,
    /// After a replay: the address of whoever had the token before.
    #[schema(required)]
    pub other_ip: Option<String>,
    /// What that client calls itself.
    #[schema(required)]
    pub other_user_agent: Option<String>,
    /// How often, where the same came again within ten minutes of `at`. The addresses are those of the first.
    pub times: i64,
    /// When it came last, if it came again.
    #[schema(required)]
    pub last_at: Option<Timestamp>,
    /// Whether an administrator had it done over HTTP; who it was is not told. Of what is done with the database
    /// itself nobody knows.
    pub by_administrator: bool,
}
