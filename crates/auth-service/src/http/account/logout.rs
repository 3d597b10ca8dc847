//! `POST /logout`

use actix_web::{HttpRequest, HttpResponse, ResponseError as _, web};
use claims::Transport;
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;
use utoipa::ToSchema;
use verifier::Protection;
use verifier::actix::authorization;

use crate::error::Error;
use crate::http::edge::transport;
use crate::policy::app::App;
use crate::policy::callers;
use crate::policy::logout::{self, Shown};
use crate::policy::sessions::Ending;

/// What `POST /logout` takes.
#[derive(Deserialize, Default, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct LogoutRequest {
    /// Any token that the session ever had will do. It counts before a cookie.
    #[schema(value_type = Option<String>)]
    refresh_token: Option<SecretString>,
    /// Which sessions are to end.
    #[serde(default)]
    sessions: Ending,
}

/// Answers 204 only for what is committed, and clears the cookie also when it fails: whoever wants
/// out should not keep the means to come back in.
pub(crate) async fn logout(
    app: web::Data<App>,
    protection: web::Data<Protection>,
    request: HttpRequest,
    payload: web::Payload,
) -> Result<HttpResponse, Error> {
    let (cookie, fields): (_, LogoutRequest) =
        transport::cookie_and_body(&app, &request, payload.into_inner()).await?;
    let (ending, may_clear) = (fields.sessions, cookie.is_ok());
    let (cookie, refused_cookie) = match cookie {
        Ok(cookie) => (cookie, None),
        Err(error) => (None, Some(error)),
    };
    let body = fields.refresh_token.as_ref();
    let tokens = [(body, Transport::Body), (cookie.as_ref(), Transport::Cookie)];
    let tokens = tokens.into_iter().filter_map(|(token, by)| Some((token?.expose_secret(), by)));
    let bearer = protection.authenticate(authorization(&request));
    let shown = Shown {
        refresh_tokens: tokens.collect(),
        refused_cookie,
        bearer: bearer.map(|verified| callers::by_access_token(verified.claims())),
    };
    let done = logout::log_out(&app, &protection, shown, ending).await;
    let mut response = match done {
        Ok(()) => HttpResponse::NoContent().finish(),
        Err(error) => error.error_response(),
    };
    // A page that may not use the cookie may not take it away either.
    if ending != Ending::Others && may_clear {
        transport::clear_cookie(&app, &mut response);
    }
    Ok(response)
}
