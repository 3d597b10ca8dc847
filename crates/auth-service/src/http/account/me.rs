//! `GET /me`

use actix_web::http::header::CACHE_CONTROL;
use actix_web::{HttpResponse, web};
use serde::Serialize;
use utoipa::ToSchema;

use super::sessions::caller;
use crate::app::App;
use crate::error::Error;
use crate::http::edge::bearer::Bearer;
use crate::policy::accounts;
use crate::store::UserView;

/// What `GET /me` answers.
#[derive(Serialize, ToSchema)]
pub struct Me {
    /// The account.
    #[serde(flatten)]
    pub user: UserView,
    /// As in the user's tokens.
    pub roles: Vec<String>,
}

pub(crate) async fn me(app: web::Data<App>, bearer: Bearer) -> Result<HttpResponse, Error> {
    let user = accounts::user(&app, caller(&bearer)?).await?;
    let answer = Me { roles: user.roles.clone(), user: user.into() };
    Ok(HttpResponse::Ok().insert_header((CACHE_CONTROL, "no-store")).json(answer))
}
