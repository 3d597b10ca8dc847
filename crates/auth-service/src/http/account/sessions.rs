//! `GET /sessions` and `DELETE /sessions/{id}`

use actix_web::http::header::CACHE_CONTROL;
use actix_web::{HttpRequest, HttpResponse, web};
use claims::SessionId;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::error::Error;
use crate::http::edge::bearer::Bearer;
use crate::policy::app::App;
use crate::policy::callers;
use crate::policy::sessions;
use crate::store::{Caller, SessionPlace, SessionView};

/// What `GET /sessions` answers.
#[derive(Serialize, ToSchema)]
pub struct Sessions {
    /// The latest login first.
    pub sessions: Vec<SessionView>,
    /// What to send as `after` for the next page; absent on the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub next: Option<String>,
}

/// What else is in a query means nothing here.
#[derive(Deserialize)]
struct SessionsQuery {
    after: Option<String>,
}

pub(crate) async fn list(
    app: web::Data<App>,
    bearer: Bearer,
    request: HttpRequest,
) -> Result<HttpResponse, Error> {
    let caller = caller(&bearer)?;
    let page = sessions::list(&app, caller, after(&request)?).await?;
    let next = page.next.map(|place| place.to_string());
    let answer = Sessions { sessions: page.sessions, next };
    Ok(HttpResponse::Ok().insert_header((CACHE_CONTROL, "no-store")).json(answer))
}

fn after(request: &HttpRequest) -> Result<Option<SessionPlace>, Error> {
    let invalid = || {
        Error::InvalidRequest(
            "The query is not acceptable: after is the next of another page, once.".to_owned(),
        )
    };
    let asked: SessionsQuery =
        serde_urlencoded::from_str(request.query_string()).map_err(|_| invalid())?;
    asked.after.map(|text| text.parse().map_err(|_| invalid())).transpose()
}

pub(crate) async fn remove(
    app: web::Data<App>,
    bearer: Bearer,
    id: web::Path<String>,
) -> Result<HttpResponse, Error> {
    // What is no session id is, to the caller, a session they do not have.
    let target: SessionId = id.parse().map_err(|_| Error::NotFound)?;
    sessions::remove(&app, caller(&bearer)?, target).await?;
    Ok(HttpResponse::NoContent().finish())
}

/// A client that acts for itself has a token but no session.
pub(crate) fn caller(bearer: &Bearer) -> Result<Caller, Error> {
    callers::by_access_token(bearer.0.verified().claims()).ok_or(Error::Forbidden)
}
