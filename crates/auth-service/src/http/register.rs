//! `POST /register`

use actix_web::{HttpResponse, web};
use claims::UserView;
use hosting::Json;
use secrecy::SecretString;
use serde::Deserialize;

use crate::accounts::{self, Registration};
use crate::app::App;
use crate::error::Error;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Request {
    username: String,
    password: SecretString,
    email: Option<String>,
}

pub(super) async fn register(
    app: web::Data<App>,
    Json(request): Json<Request>,
) -> Result<HttpResponse, Error> {
    let Request { username, password, email } = request;
    let user = accounts::register(&app, Registration { username, password, email }).await?;
    Ok(HttpResponse::Created().json(serde_json::json!({ "user": UserView::from(user) })))
}
