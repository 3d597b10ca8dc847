//! `POST /logout`

use actix_web::dev::Payload;
use actix_web::{HttpRequest, HttpResponse, ResponseError as _, web};
use claims::Transport;
use hosting::BadBody;
use hosting::body::{self, Media};
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;
use verifier::Rejection;
use verifier::actix::{Denial, Protection};

use super::{csrf, transport};
use crate::app::App;
use crate::error::Error;
use crate::sessions::{self, Ending};
use crate::store::Caller;

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct Fields {
    refresh_token: Option<SecretString>,
    #[serde(default)]
    sessions: Ending,
}

/// Answers 204 only for what is committed, and clears the cookie also when it fails: whoever wants
/// out should not keep the means to come back in.
pub(super) async fn logout(
    app: web::Data<App>,
    protection: web::Data<Protection>,
    request: HttpRequest,
    payload: web::Payload,
) -> Result<HttpResponse, Error> {
    let (cookie, fields) = read(&app, &request, payload.into_inner()).await?;
    let ending = fields.sessions;
    let done = match caller(&app, &protection, &request, cookie, fields) {
        Ok(Some(caller)) => sessions::log_out(&app, caller, ending).await,
        // Nobody we know: there is nothing to end.
        Ok(None) => Ok(()),
        Err(error) => Err(error),
    };
    let mut response = match done {
        Ok(()) => HttpResponse::NoContent().finish(),
        Err(error) => error.error_response(),
    };
    if ending != Ending::Others {
        transport::clear_cookie(&app, &mut response);
    }
    Ok(response)
}

async fn read(
    app: &App,
    request: &HttpRequest,
    mut payload: Payload,
) -> Result<(Option<SecretString>, Fields), Error> {
    let cookie = transport::cookie(request)?;
    if cookie.is_some() {
        csrf::check(app, request)?;
    }
    let bytes = body::read(&mut payload).await?;
    let fields: Fields = match body::media(request)? {
        Media::Json if bytes.is_empty() => Fields::default(),
        Media::Json => body::json(&bytes)?,
        // A page of another site can send a request without a type, but not with this type.
        Media::Unsaid if bytes.is_empty() && cookie.is_none() => Fields::default(),
        _ => return Err(BadBody::Media.into()),
    };
    if cookie.is_some() && fields.refresh_token.is_some() {
        let detail = "Send the refresh token in the cookie or in the body, not in both.";
        return Err(Error::InvalidRequest(detail.to_owned()));
    }
    Ok((cookie, fields))
}

/// Who wants out: by refresh token, else by access token. `None` when nobody we know does and only
/// their own session was meant; nobody with a bad access token alone should believe they are out.
fn caller(
    app: &App,
    protection: &Protection,
    request: &HttpRequest,
    cookie: Option<SecretString>,
    fields: Fields,
) -> Result<Option<Caller>, Error> {
    let refresh = match (cookie, fields.refresh_token) {
        (Some(token), _) => Some((token, Transport::Cookie)),
        (None, Some(token)) => Some((token, Transport::Body)),
        (None, None) => None,
    };
    if let Some((token, by)) = &refresh
        && let Some(caller) = sessions::caller_by_refresh_token(app, token.expose_secret(), *by)
    {
        return Ok(Some(caller));
    }
    let current = fields.sessions == Ending::Current;
    match protection.authenticate(request) {
        Ok(verified) => {
            let session = verified.claims().sid.ok_or(Error::Forbidden)?;
            Ok(Some(sessions::caller_by_session(session)))
        }
        // Its session is over already, which is what was asked for.
        Err(Denial::Rejected(Rejection::SessionRevoked | Rejection::SubjectRevoked)) if current => {
            Ok(None)
        }
        Err(_) if refresh.is_some() && current => Ok(None),
        Err(_) if refresh.is_some() => Err(Error::InvalidToken),
        Err(Denial::NoCredential) if current => Ok(None),
        Err(why) => Err(protection.deny(why).into()),
    }
}
