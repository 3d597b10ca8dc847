//! `POST /refresh`

use actix_web::{HttpRequest, HttpResponse, web};
use claims::Transport;
use secrecy::SecretString;
use serde::Deserialize;
use utoipa::ToSchema;

use super::resource::Resource;
use crate::error::Error;
use crate::http::edge::{requester, transport};
use crate::policy::app::App;
use crate::policy::sessions;

/// What `POST /refresh` takes.
#[derive(Deserialize, Default, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RefreshRequest {
    /// Without it the cookie counts.
    #[schema(value_type = Option<String>)]
    refresh_token: Option<SecretString>,
    /// Which services the access token of this answer is to be for, each exactly as in the `aud` of tokens (RFC 8707):
    /// one, or a list, and none that the session is not for; all that it is for if absent.
    resource: Option<Resource>,
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
    let resource = fields.resource.map(Resource::into_list);
    let issued = sessions::refresh(&app, &token, by, requester, resource.as_deref()).await?;
    Ok(transport::answer(&app, issued))
}
