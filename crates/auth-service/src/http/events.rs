//! `GET /sessions/events`: why was I logged out?

use actix_web::http::header::CACHE_CONTROL;
use actix_web::{HttpResponse, web};
use serde_json::json;

use super::bearer::Bearer;
use super::sessions::caller;
use crate::app::App;
use crate::error::Error;
use crate::sessions;

pub(super) async fn list(app: web::Data<App>, bearer: Bearer) -> Result<HttpResponse, Error> {
    let events = sessions::events(&app, caller(&bearer)?).await?;
    let no_store = (CACHE_CONTROL, "no-store");
    Ok(HttpResponse::Ok().insert_header(no_store).json(json!({ "events": events })))
}
