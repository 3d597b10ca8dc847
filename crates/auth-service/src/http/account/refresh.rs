//! `POST /refresh`

use actix_web::{HttpRequest, HttpResponse, web};
use claims::Transport;
use secrecy::SecretString;
use serde::Deserialize;
use utoipa::ToSchema;

use crate::app::App;
use crate::error::Error;
use crate::http::edge::{requester, transport};
use crate::policy::sessions;

/// What `POST /refresh` takes.
#[derive(Deserialize, Default, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RefreshRequest {
    /// Without it the cookie counts.
    #[schema(value_type = Option<String>)]
    refresh_token: Option<SecretString>,
}

pub(crate) async fn refresh(
    app: web::Data<App>,
    request: HttpRequest,
    payload: web::Payload,
) -> Result<HttpResponse, Error> {
    let (cookie, fields): (_, RefreshRequest) =
        transport::cookie_and_body(&app, &request, payload.into_inner()).await?;
    let (token, by) = match fields.refresh_token {
        Some(token) => (token, Transport::Body),
        None => (cookie?.ok_or(Error::Unauthenticated)?, Transport::Cookie),
    };
    let requester = requester::of(&app, &request);
    let issued = sessions::refresh(&app, &token, by, requester).await?;
    Ok(transport::answer(&app, issued))
}
