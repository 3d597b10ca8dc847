//! `GET /health/live` and `GET /health/ready`: for whoever watches the service.

use actix_web::http::header::CACHE_CONTROL;
use actix_web::{HttpResponse, web};
use hosting::Workers;
use serde::Serialize;
use utoipa::ToSchema;

use crate::policy::app::App;
use crate::store::FaultKind;

/// What `GET /health/live` and `GET /health/ready` answer.
#[derive(Serialize, ToSchema)]
pub struct Health {
    /// In a word or two, for people.
    pub status: String,
}

/// The process runs. Touches nothing.
pub(crate) async fn live() -> HttpResponse {
    answer(true, "live")
}

/// Every thread of the public listener serves, the service can sign (it has its keys, or it would not
/// serve), the database takes writes, what keeps keys and revocations current does not fail again and
/// again, and bearer tokens can be judged, which takes a first read of the revocations.
pub(crate) async fn ready(app: web::Data<App>, public: web::Data<Workers>) -> HttpResponse {
    if app.draining() {
        return answer(false, "stopping");
    }
    if !public.answer().await {
        return answer(false, "public listener unavailable");
    }
    if let Err(kind) = app.store.takes_writes().await {
        let why = match kind {
            FaultKind::Passing => "database unavailable",
            FaultKind::ReadOnly => "database is read-only",
            FaultKind::Unfit | FaultKind::Refused => "database has to be mended",
        };
        return answer(false, why);
    }
    if app.broken.any() {
        return answer(false, "background task failing");
    }
    match app.verifier.ready() {
        Ok(()) => answer(true, "ready"),
        Err(why) => answer(false, &why.to_string()),
    }
}

fn answer(good: bool, status: &str) -> HttpResponse {
    let mut response = if good { HttpResponse::Ok() } else { HttpResponse::ServiceUnavailable() };
    response.insert_header((CACHE_CONTROL, "no-store")).json(Health { status: status.to_owned() })
}
