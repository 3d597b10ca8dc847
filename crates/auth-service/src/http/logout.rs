//! `POST /logout`

use actix_web::{HttpRequest, HttpResponse, ResponseError as _, web};
use claims::Transport;
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;
use utoipa::ToSchema;
use verifier::Rejection;
use verifier::actix::{Denial, Protection};

use super::transport;
use crate::app::App;
use crate::callers;
use crate::error::Error;
use crate::sessions::{self, Ending};
use crate::store::Caller;

#[derive(Deserialize, Default, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = LogoutRequest)]
pub(super) struct Fields {
    /// Where there is no cookie. Any token that the session ever had will do.
    #[schema(value_type = Option<String>)]
    refresh_token: Option<SecretString>,
    /// Which sessions are to end.
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
    let (cookie, fields): (_, Fields) =
        transport::cookie_and_body(&app, &request, payload.into_inner()).await?;
    let (presented, ending) = (transport::one_of(cookie, fields.refresh_token)?, fields.sessions);
    let done = match caller(&app, &protection, &request, presented.as_ref(), ending) {
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

/// Who wants out: by refresh token, else by access token. `None` when nobody we know does and only
/// their own session was meant; nobody with a bad access token alone should believe they are out.
fn caller(
    app: &App,
    protection: &Protection,
    request: &HttpRequest,
    presented: Option<&(SecretString, Transport)>,
    ending: Ending,
) -> Result<Option<Caller>, Error> {
    if let Some((token, by)) = presented
        && let Some(caller) = callers::by_refresh_token(app, token.expose_secret(), *by)
    {
        return Ok(Some(caller));
    }
    let current = ending == Ending::Current;
    match protection.authenticate(request) {
        Ok(verified) => {
            let session = verified.claims().sid.ok_or(Error::Forbidden)?;
            Ok(Some(callers::by_session(session)))
        }
        // It may be good, and its session may live on: that is no logout, whatever came beside it.
        Err(why @ Denial::Rejected(Rejection::Stale | Rejection::NoKeys)) => {
            Err(protection.deny(why).into())
        }
        // Its session is over already, which is what was asked for.
        Err(Denial::Rejected(Rejection::SessionRevoked | Rejection::SubjectRevoked)) if current => {
            Ok(None)
        }
        Err(_) if presented.is_some() && current => Ok(None),
        Err(_) if presented.is_some() => Err(Error::InvalidToken),
        Err(Denial::NoCredential) if current => Ok(None),
        Err(why) => Err(protection.deny(why).into()),
    }
}
