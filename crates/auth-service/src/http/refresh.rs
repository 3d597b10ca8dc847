//! `POST /refresh`

use actix_web::dev::Payload;
use actix_web::{HttpRequest, HttpResponse, web};
use claims::Transport;
use hosting::BadBody;
use hosting::body::{self, Media};
use secrecy::SecretString;
use serde::Deserialize;

use super::{csrf, transport};
use crate::app::App;
use crate::error::Error;
use crate::sessions;

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct Fields {
    refresh_token: Option<SecretString>,
}

pub(super) async fn refresh(
    app: web::Data<App>,
    request: HttpRequest,
    payload: web::Payload,
) -> Result<HttpResponse, Error> {
    let (token, transport) = presented(&app, &request, payload.into_inner()).await?;
    let client = transport::client(&request);
    let issued = sessions::refresh(&app, &token, transport, client).await?;
    Ok(transport::answer(&app, issued))
}

/// The refresh token from wherever it is. Nothing is consumed before the page that sent a cookie
/// was found to be one that may.
async fn presented(
    app: &App,
    request: &HttpRequest,
    mut payload: Payload,
) -> Result<(SecretString, Transport), Error> {
    let cookie = transport::cookie(request)?;
    if cookie.is_some() {
        csrf::check(app, request)?;
    }
    let bytes = body::read(&mut payload).await?;
    let fields: Fields = match body::media(request)? {
        Media::Json => body::json(&bytes)?,
        // A request with nothing in it at all is not malformed; it just presents nothing.
        Media::Unsaid if bytes.is_empty() && cookie.is_none() => Fields::default(),
        _ => return Err(BadBody::Media.into()),
    };
    match (cookie, fields.refresh_token) {
        (Some(_), Some(_)) => Err(Error::InvalidRequest(
            "Send the refresh token in the cookie or in the body, not in both.".to_owned(),
        )),
        (Some(token), None) => Ok((token, Transport::Cookie)),
        (None, Some(token)) => Ok((token, Transport::Body)),
        (None, None) => Err(Error::Unauthenticated),
    }
}
