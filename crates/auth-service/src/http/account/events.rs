//! `GET /sessions/events`: why was I logged out?

use actix_web::http::header::CACHE_CONTROL;
use actix_web::{HttpResponse, web};
use serde::Serialize;
use utoipa::ToSchema;

use super::sessions::caller;
use crate::error::Error;
use crate::http::edge::bearer::Bearer;
use crate::policy::app::App;
use crate::policy::sessions;
use crate::store::EventView;

/// What `GET /sessions/events` answers.
#[derive(Serialize, ToSchema)]
pub struct Events {
    /// The latest first.
    pub events: Vec<EventView>,
}

pub(crate) async fn list(app: web::Data<App>, bearer: Bearer) -> Result<HttpResponse, Error> {
    let events = sessions::events(&app, caller(&bearer)?).await?;
    let no_store = (CACHE_CONTROL, "no-store");
    Ok(HttpResponse::Ok().insert_header(no_store).json(Events { events }))
}
