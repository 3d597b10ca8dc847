//! `GET /sessions` and `DELETE /sessions/{id}`

use actix_web::http::header::CACHE_CONTROL;
use actix_web::{HttpResponse, web};
use claims::SessionId;
use serde::Serialize;
use utoipa::ToSchema;

use crate::app::App;
use crate::error::Error;
use crate::http::edge::bearer::Bearer;
use crate::policy::callers;
use crate::policy::sessions;
use crate::store::Caller;
use crate::store::SessionView;

/// What `GET /sessions` answers.
#[derive(Serialize, ToSchema)]
pub struct Sessions {
    /// The latest login first.
    pub sessions: Vec<SessionView>,
}

pub(crate) async fn list(app: web::Data<App>, bearer: Bearer) -> Result<HttpResponse, Error> {
    let sessions = sessions::list(&app, caller(&bearer)?).await?;
    let no_store = (CACHE_CONTROL, "no-store");
    Ok(HttpResponse::Ok().insert_header(no_store).json(Sessions { sessions }))
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
