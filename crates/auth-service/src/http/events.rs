//! `GET /sessions/events`: why was I logged out?

use actix_web::http::header::CACHE_CONTROL;
use actix_web::{HttpResponse, web};
use claims::EventView;
use serde::Serialize;
use utoipa::ToSchema;

use super::bearer::Bearer;
use super::sessions::caller;
use crate::app::App;
use crate::error::Error;
use crate::sessions;

#[derive(Serialize, ToSchema)]
#[schema(as = Events)]
pub(super) struct Answer {
    /// The latest first.
    pub(super) events: Vec<EventView>,
}

pub(super) async fn list(app: web::Data<App>, bearer: Bearer) -> Result<HttpResponse, Error> {
    let events = sessions::events(&app, caller(&bearer)?).await?;
    let no_store = (CACHE_CONTROL, "no-store");
    Ok(HttpResponse::Ok().insert_header(no_store).json(Answer { events }))
}
