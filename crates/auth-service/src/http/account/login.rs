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

use super::resource::Resource;
use crate::error::Error;
use crate::http::edge::{csrf, requester, transport};
use crate::policy::app::App;
use crate::policy::logins::{self, LogIn};

/// What `POST /login` takes.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct LoginRequest {
    /// A name, or an address.
    username: String,
    /// At most 1024 bytes when it is composed (NFC).
    #[schema(value_type = String)]
    password: SecretString,
    /// Where the refresh token is to be kept.
    #[serde(default)]
    transport: Transport,
    /// What the tokens are to allow, in values with single spaces between; all that may be had
    /// without asking if absent.
    scope: Option<String>,
    /// Which services the session is to be for, each exactly as in the `aud` of tokens (RFC 8707): one, or a list; all
    /// that may be had if absent. No token of the session is good at another one. A form names it once for each.
    resource: Option<Resource>,
    /// What to call this device in the list of sessions: 1 to 64 characters when it is composed (NFC), nothing invisible.
    #[schema(min_length = 1)]
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
        resource: fields.resource.map(Resource::into_list),
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
    let odd =
        |error: serde_urlencoded::de::Error| BadBody::Content(body::explain(&error.to_string()));
    // It may be there several times (RFC 8707 §2), and nothing else may.
    let is_resource = |part: &&[u8]| part.starts_with(b"resource=");
    let parts = bytes.split(|byte| *byte == b'&');
    let (several, others): (Vec<_>, Vec<_>) = parts.partition(is_resource);
    let several: Vec<(String, String)> =
        serde_urlencoded::from_bytes(&several.join(&b'&')).map_err(odd)?;
    let mut fields: LoginRequest =
        serde_urlencoded::from_bytes(&others.join(&b'&')).map_err(odd)?;
    // There too where the name is spelled in another way.
    let mut resource = fields.resource.take().map_or_else(Vec::new, Resource::into_list);
    resource.extend(several.into_iter().map(|(_, service)| service));
    fields.resource = (!resource.is_empty()).then_some(Resource::Many(resource));
    match fields.transport {
        Transport::Body => Ok(fields),
        Transport::Cookie => Err(BadBody::Media.into()),
    }
}
