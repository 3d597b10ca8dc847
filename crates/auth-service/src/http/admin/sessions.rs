//! `/admin/v1/users/{id}/sessions` and `/admin/v1/sessions/{id}`.

use actix_web::{HttpResponse, web};
use claims::SessionId;
use serde::Serialize;
use utoipa::ToSchema;

use super::answer;
use super::users::user;
use crate::error::Error;
use crate::http::edge::administrator::{Admin, SessionsEnd, UsersRead};
use crate::policy::administration::{self, NO_USER};
use crate::policy::app::App;
use crate::store::SessionView;

/// The live sessions of a user.
#[derive(Serialize, ToSchema)]
pub struct AdminSessions {
    /// The latest login first, at most 100.
    pub sessions: Vec<SessionView>,
}

pub(crate) async fn list(
    app: web::Data<App>,
    admin: Admin<UsersRead>,
    id: web::Path<String>,
) -> Result<HttpResponse, Error> {
    let id = user(&id)?;
    app.store.user(id).await?.ok_or(Error::Missing(NO_USER))?;
    let mut sessions = app.store.sessions_of(id).await?;
    for session in &mut sessions {
        session.current = session.id == admin.who.session();
    }
    Ok(answer(&AdminSessions { sessions }))
}

/// What ends sessions is the one thing that may be done to whoever may do more: nobody climbs by it.
pub(crate) async fn end_all(
    app: web::Data<App>,
    admin: Admin<SessionsEnd>,
    id: web::Path<String>,
) -> Result<HttpResponse, Error> {
    administration::end_all_sessions(&admin.who.store(&app), user(&id)?).await?;
    Ok(HttpResponse::NoContent().finish())
}

pub(crate) async fn end(
    app: web::Data<App>,
    admin: Admin<SessionsEnd>,
    id: web::Path<String>,
) -> Result<HttpResponse, Error> {
    let id: SessionId =
        id.parse().map_err(|_| Error::Missing("There is no session with such an id."))?;
    administration::end_session(&admin.who.store(&app), id).await?;
    Ok(HttpResponse::NoContent().finish())
}
