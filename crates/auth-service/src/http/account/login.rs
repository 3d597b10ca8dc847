//! `POST /login`: JSON, or a form when the refresh token goes into the body.

use actix_web::dev::Payload;
use actix_web::{FromRequest, HttpRequest, HttpResponse, web};
use claims::Transport;
use hosting::BadBody;
use hosting::body::{self, Media};
use secrecy::SecretString;
use serde::Deserialize;
use std::future::Future;
use std::pin::Pin;
use utoipa::ToSchema;
use verifier::actix::authorization;
use verifier::bearer_token;

use crate::app::App;
use crate::error::Error;
use crate::http::edge::{csrf, requester, transport};
use crate::policy::logins::{self, LogIn};

/// What `POST /login` takes.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct LoginRequest {
    /// A name, or an address.
    username: String,
    /// At most 1024 bytes.
    #[schema(value_type = String)]
    password: SecretString,
    /// Where the refresh token is to be kept.
    #[serde(default)]
    transport: Transport,
    /// What the tokens are to allow, in values with single spaces between; all that may be had
    /// without asking if absent.
    scope: Option<String>,
    /// What to call this device in the list of sessions, 1 to 64 characters.
    #[schema(min_length = 1, max_length = 64)]
    device: Option<String>,
}

pub(crate) async fn login(
    app: web::Data<App>,
    request: HttpRequest,
    Received(fields): Received,
) -> Result<HttpResponse, Error> {
    let mut replaces = None;
    if fields.transport == Transport::Cookie {
        csrf::check(&app, &request)?;
        replaces = transport::cookie(&request)?;
    }
    let login = LogIn {
        username: fields.username,
        password: fields.password,
        transport: fields.transport,
        scope: fields.scope,
        device: fields.device,
        requester: requester::of(&app, &request),
        replaces,
        bearer: bearer(&request),
    };
    Ok(transport::answer(&app, logins::log_in(&app, login).await?))
}

/// A login needs no access token, so what is wrong with one is no reason to refuse it.
fn bearer(request: &HttpRequest) -> Option<SecretString> {
    let token = bearer_token(authorization(request)).ok()?;
    str::from_utf8(token).ok().map(SecretString::from)
}

/// The body in either form. A page of another site can send a form without asking, so a form never
/// sets a cookie.
pub(crate) struct Received(LoginRequest);

impl FromRequest for Received {
    type Error = Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self, Error>>>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let (media, whole) = (body::media(request), body::read(request, payload.take()));
        Box::pin(async move {
            let bytes = whole.await?;
            let fields: LoginRequest = match media? {
                Media::Json => body::json(&bytes)?,
                Media::Form => form(&bytes)?,
                Media::MergePatch | Media::Unsaid => return Err(BadBody::Media.into()),
            };
            Ok(Self(fields))
        })
    }
}

fn form(bytes: &[u8]) -> Result<LoginRequest, Error> {
    let fields: LoginRequest = serde_urlencoded::from_bytes(bytes)
        .map_err(|error| BadBody::Content(body::explain(&error.to_string())))?;
    match fields.transport {
        Transport::Body => Ok(fields),
        Transport::Cookie => Err(BadBody::Media.into()),
    }
}
