//! What the routes take and answer.

use claims::{ClientId, Scope, SessionId, Subject};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::reports::Report;

/// Whom a token speaks for.
#[derive(Serialize, ToSchema)]
pub(crate) struct WhoAmI {
    /// The user, or the client where one acts for itself.
    pub(crate) sub: Subject,
    /// The user's name, with the scope `profile`.
    #[schema(required)]
    pub(crate) username: Option<String>,
    /// Whom the token was given to.
    pub(crate) client_id: ClientId,
    /// What it allows.
    #[schema(required)]
    pub(crate) scope: Option<Scope>,
    /// The user's roles.
    pub(crate) roles: Vec<String>,
    /// The session, where a person logged in.
    #[schema(required)]
    pub(crate) session_id: Option<SessionId>,
    /// How long the token lasts.
    pub(crate) expires_in: u64,
}

/// The caller's reports.
#[derive(Serialize, ToSchema)]
#[schema(as = Reports)]
pub(crate) struct ReportList {
    /// The oldest first.
    pub(crate) reports: Vec<Report>,
}

/// A report to be kept.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewReport {
    #[schema(min_length = 1, max_length = 200)]
    pub(crate) title: String,
}

/// RFC 9728.
#[derive(Serialize, ToSchema)]
pub(crate) struct Metadata {
    /// As in the `aud` of tokens.
    pub(crate) resource: String,
    /// Whose tokens are accepted.
    pub(crate) authorization_servers: [String; 1],
    /// What tokens may allow here.
    pub(crate) scopes_supported: [&'static str; 2],
    /// Where a token may be.
    pub(crate) bearer_methods_supported: [&'static str; 1],
}

/// That the process runs.
#[derive(Serialize, ToSchema)]
pub(crate) struct Live {
    /// `live`.
    pub(crate) status: &'static str,
}

/// Whether a token could be accepted.
#[derive(Serialize, ToSchema)]
pub(crate) struct Ready {
    /// In a word or two, for people.
    pub(crate) status: String,
    /// How old the service's knowledge of revocations is, if it has any.
    #[schema(required)]
    pub(crate) revocation_age_ms: Option<u64>,
}
