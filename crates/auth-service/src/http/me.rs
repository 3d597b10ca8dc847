//! `GET /me`

use actix_web::http::header::CACHE_CONTROL;
use actix_web::{HttpResponse, web};
use claims::UserView;
use serde::Serialize;
use utoipa::ToSchema;

use super::bearer::Bearer;
use super::sessions::caller;
use crate::accounts;
use crate::app::App;
use crate::error::Error;

#[derive(Serialize, ToSchema)]
#[schema(as = Me)]
pub(super) struct Answer {
    #[serde(flatten)]
    pub(super) user: UserView,
    /// As in the user's tokens.
    pub(super) roles: Vec<String>,
}

pub(super) async fn me(app: web::Data<App>, bearer: Bearer) -> Result<HttpResponse, Error> {
    let user = accounts::user(&app, caller(&bearer)?).await?;
    let answer = Answer { roles: user.roles.clone(), user: user.into() };
    Ok(HttpResponse::Ok().insert_header((CACHE_CONTROL, "no-store")).json(answer))
}
