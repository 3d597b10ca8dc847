//! `GET /admin/v1/events`: the audit log.

use actix_web::{HttpRequest, HttpResponse, web};
use claims::{SessionId, Timestamp, UserId};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use super::answer;
use super::query::{limit, parsed, query};
use crate::error::Error;
use crate::http::edge::administrator::{Admin, AuditRead};
use crate::policy::app::App;
use crate::store::{EventFilter, EventRecord};

/// An entry of the audit log. What there is nothing to say of is null.
#[derive(Serialize, ToSchema)]
pub struct AdminEvent {
    pub id: i64,
    pub at: Timestamp,
    /// What happened: `login`, `user-disabled`, `key-revoked` and so on. More may come.
    pub kind: String,
    /// To whose account.
    #[schema(required)]
    pub user_id: Option<UserId>,
    /// The administrator who had it done over HTTP. Null: the owner, a stranger, the service, or whoever has the
    /// database.
    #[schema(required)]
    pub actor: Option<UserId>,
    #[schema(required)]
    pub session_id: Option<SessionId>,
    /// Why a session ended; which roles; which key, limit or invitation.
    #[schema(required)]
    pub reason: Option<String>,
    /// Where it came from, and what that client calls itself.
    #[schema(required)]
    pub ip: Option<String>,
    #[schema(required)]
    pub user_agent: Option<String>,
    /// After a replay: of whoever had the token before.
    #[schema(required)]
    pub other_ip: Option<String>,
    #[schema(required)]
    pub other_user_agent: Option<String>,
    /// A pseudonym of the name that was tried.
    #[schema(required)]
    pub subject: Option<String>,
    /// A pseudonym of the network that it came from.
    #[schema(required)]
    pub origin: Option<String>,
    /// How often, where the same came again within ten minutes of `at`: of one kind and account, and from one
    /// session, or for one name from one network. The rest is told of the first.
    pub times: i64,
    /// When it came last, if it came again.
    #[schema(required)]
    pub last_at: Option<Timestamp>,
}

impl From<EventRecord> for AdminEvent {
    fn from(one: EventRecord) -> Self {
        Self {
            id: one.id,
            at: one.at,
            kind: one.kind,
            user_id: one.user,
            actor: one.actor,
            session_id: one.session,
            reason: one.reason,
            ip: one.ip,
            user_agent: one.user_agent,
            other_ip: one.other_ip,
            other_user_agent: one.other_user_agent,
            subject: one.subject,
            origin: one.origin,
            times: one.times,
            last_at: one.last_at,
        }
    }
}

/// A page of the audit log.
#[derive(Serialize, ToSchema)]
pub struct AdminEvents {
    /// The latest first. There may be few of them, or none, although there is a next page.
    pub events: Vec<AdminEvent>,
    /// What to send as `after` for the next page, of what happened before; absent on the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub next: Option<i64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct EventsQuery {
    user: Option<String>,
    kind: Option<String>,
    since: Option<String>,
    until: Option<String>,
    after: Option<i64>,
    limit: Option<u32>,
}

pub(crate) async fn list(
    app: web::Data<App>,
    _: Admin<AuditRead>,
    request: HttpRequest,
) -> Result<HttpResponse, Error> {
    let asked: EventsQuery = query(
        &request,
        "it may have user (an id), kind, since and until (RFC 3339), after (where the page before \
         ended) and limit (1 to 500), each once",
    )?;
    let filter = EventFilter {
        user: parsed::<Uuid>(asked.user, "user is the id of a user")?.map(UserId),
        kind: asked.kind,
        since: parsed(asked.since, "since is an instant of RFC 3339")?,
        until: parsed(asked.until, "until is an instant of RFC 3339")?,
        before: asked.after,
    };
    let page = app.store.list_events(filter, limit(asked.limit)?).await?;
    let events = page.events.into_iter().map(AdminEvent::from).collect();
    Ok(answer(&AdminEvents { events, next: page.next }))
}
