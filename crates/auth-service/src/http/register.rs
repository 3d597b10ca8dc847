//! `POST /register`

use actix_web::{HttpRequest, HttpResponse, web};
use claims::UserView;
use hosting::Json;
use secrecy::SecretString;
use serde::Deserialize;

use super::client;
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
    request: HttpRequest,
    Json(fields): Json<Request>,
) -> Result<HttpResponse, Error> {
    let Request { username, password, email } = fields;
    let client = client::client(&app, &request);
    let registration = Registration { username, password, email, client };
    let user = accounts::register(&app, registration).await?;
    Ok(HttpResponse::Created().json(serde_json::json!({ "user": UserView::from(user) })))
}
