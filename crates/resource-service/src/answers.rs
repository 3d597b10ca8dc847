//! What the routes take and answer.

use claims::{ClientId, Scope, SessionId, Subject};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::reports::Report;

/// Whom a token speaks for.
#[derive(Serialize, ToSchema)]
pub struct WhoAmI {
    /// The user, or the client where one acts for itself.
    pub sub: Subject,
    /// The user's name, with the scope `profile`.
    #[schema(required)]
    pub username: Option<String>,
    /// Whom the token was given to.
    pub client_id: ClientId,
    /// What it allows.
    #[schema(required)]
    pub scope: Option<Scope>,
    /// The user's roles.
    pub roles: Vec<String>,
    /// The session, where a person logged in.
    #[schema(required)]
    pub session_id: Option<SessionId>,
    /// How long the token lasts.
    pub expires_in: u64,
}

/// The caller's reports.
#[derive(Serialize, ToSchema)]
#[schema(as = Reports)]
pub struct ReportList {
    /// The oldest first.
    pub reports: Vec<Report>,
}

/// A report to be kept.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewReport {
    /// 1 to 200 characters.
    #[schema(min_length = 1, max_length = 200)]
    pub title: String,
}

/// RFC 9728.
#[derive(Serialize, ToSchema)]
pub struct Metadata {
    /// As in the `aud` of tokens.
    pub resource: String,
    /// Whose tokens are accepted.
    pub authorization_servers: [String; 1],
    /// What tokens may allow here.
    pub scopes_supported: [&'static str; 2],
    /// Where a token may be.
    pub bearer_methods_supported: [&'static str; 1],
}

/// That the process runs.
#[derive(Serialize, ToSchema)]
pub struct Live {
    /// `live`.
    pub status: &'static str,
}

/// Whether a token could be accepted.
#[derive(Serialize, ToSchema)]
pub struct Ready {
    /// In a word or two, for people.
    pub status: String,
    /// How old the service's knowledge of revocations is, if it has any.
    #[schema(required)]
    pub revocation_age_ms: Option<u64>,
}
