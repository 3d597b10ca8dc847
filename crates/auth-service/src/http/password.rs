//! `POST /password`

use actix_web::{HttpResponse, web};
use hosting::Json;
use secrecy::SecretString;
use serde::Deserialize;

use super::bearer::Bearer;
use super::sessions::caller;
use crate::accounts;
use crate::app::App;
use crate::error::Error;
use crate::store::OtherSessions;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Request {
    current_password: SecretString,
    new_password: SecretString,
    #[serde(default)]
    sessions: OtherSessions,
}

pub(super) async fn change(
    app: web::Data<App>,
    bearer: Bearer,
    Json(request): Json<Request>,
) -> Result<HttpResponse, Error> {
    let Request { current_password, new_password, sessions } = request;
    let (caller, subject) = (caller(&bearer)?, &bearer.0.verified().claims().sub);
    let user = subject.user_id().ok_or(Error::Forbidden)?;
    accounts::change_password(&app, caller, user, current_password, new_password, sessions).await?;
    Ok(HttpResponse::NoContent().finish())
}
