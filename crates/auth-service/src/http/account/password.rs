//! `POST /password`

use actix_web::{HttpResponse, web};
use hosting::Json;
use secrecy::SecretString;
use serde::Deserialize;
use utoipa::ToSchema;

use super::sessions::caller;
use crate::error::Error;
use crate::http::edge::bearer::Bearer;
use crate::policy::accounts;
use crate::policy::app::App;
use crate::store::OtherSessions;

/// What `POST /password` takes.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PasswordRequest {
    /// The one that is to go.
    #[schema(value_type = String)]
    current_password: SecretString,
    /// The one that is to come, which the same rules apply to as at registration.
    #[schema(value_type = String)]
    new_password: SecretString,
    /// Which of the user's sessions end with the old password.
    #[serde(default)]
    sessions: OtherSessions,
}

pub(crate) async fn change(
    app: web::Data<App>,
    bearer: Bearer,
    Json(request): Json<PasswordRequest>,
) -> Result<HttpResponse, Error> {
    let PasswordRequest { current_password, new_password, sessions } = request;
    let caller = caller(&bearer)?;
    accounts::change_password(&app, caller, current_password, new_password, sessions).await?;
    Ok(HttpResponse::NoContent().finish())
}
