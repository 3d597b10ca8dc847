//! `POST /logout`

use actix_web::{HttpRequest, HttpResponse, ResponseError as _, web};
use claims::Transport;
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;
use utoipa::ToSchema;
use verifier::actix::authorization;
use verifier::{Denial, Protection, Rejection};

use crate::app::App;
use crate::error::Error;
use crate::http::edge::transport;
use crate::policy::callers;
use crate::policy::sessions::{self, Ending};
use crate::store::Caller;

#[derive(Deserialize, Default, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = LogoutRequest)]
pub(crate) struct Fields {
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
    let (cookie, fields): (_, Fields) =
        transport::cookie_and_body(&app, &request, payload.into_inner()).await?;
    let (ending, may_clear) = (fields.sessions, cookie.is_ok());
    let ambient = cookie.as_ref().ok().and_then(Option::as_ref);
    let known = callers::can_be_judged(&app, tokens(&fields, ambient)).await;
    let named = named(&app, &protection, &request, &fields, cookie);
    let done = match callers(&protection, named, ending) {
        Ok((callers, unjudged)) => {
            // What can be ended is ended, also where not all of it can be judged.
            let done = sessions::log_out(&app, &callers, ending).await;
            done.and(unjudged.map_or(Ok(()), Err)).and(known)
        }
        // The token that cannot be judged may have been a better one.
        Err(error) => Err(known.err().unwrap_or(error)),
    };
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

/// The refresh tokens of a request, ours or not: the body's, then the cookie's.
fn tokens<'a>(
    fields: &'a Fields,
    cookie: Option<&'a SecretString>,
) -> impl Iterator<Item = (&'a str, Transport)> {
    let tokens = [(fields.refresh_token.as_ref(), Transport::Body), (cookie, Transport::Cookie)];
    tokens.into_iter().filter_map(|(token, by)| Some((token?.expose_secret(), by)))
}

/// The credentials of a request.
struct Named {
    /// Those of its refresh tokens that are ours: the body's, then the cookie's.
    refresh: Vec<Caller>,
    /// Whether there was any refresh token, ours or not.
    any_refresh: bool,
    /// Why there is a cookie that does not count.
    refused_cookie: Option<Error>,
    /// Its access token's caller, where that is of a session, or why it is refused.
    bearer: Result<Option<Caller>, Denial>,
}

fn named(
    app: &App,
    protection: &Protection,
    request: &HttpRequest,
    fields: &Fields,
    cookie: transport::AmbientCookie,
) -> Named {
    // A token whose key was revoked ends its own session, and acts on no other.
    let read = match fields.sessions {
        Ending::Current => callers::by_refresh_token_to_end,
        Ending::Others | Ending::All => callers::by_refresh_token,
    };
    let (cookie, refused_cookie) = match cookie {
        Ok(cookie) => (cookie, None),
        Err(error) => (None, Some(error)),
    };
    Named {
        any_refresh: tokens(fields, cookie.as_ref()).next().is_some(),
        refresh: tokens(fields, cookie.as_ref())
            .filter_map(|(text, by)| read(app, text, by))
            .collect(),
        refused_cookie,
        bearer: protection
            .authenticate(authorization(request))
            .map(|verified| callers::by_access_token(verified.claims())),
    }
}

/// The callers whose sessions are to end, and why an access token beside them could not be judged. The
/// list is empty, and that is no error, where the credentials for `current` name no session of ours. A
/// bad access token alone is an error, so that nobody believes they are logged out who is not.
fn callers(
    protection: &Protection,
    named: Named,
    ending: Ending,
) -> Result<(Vec<Caller>, Option<Error>), Error> {
    let Named { refresh: mut callers, any_refresh, refused_cookie, bearer } = named;
    let current = ending == Ending::Current;
    match bearer {
        Ok(Some(caller)) => callers.push(caller),
        Ok(None) if callers.is_empty() => return Err(Error::Forbidden),
        Ok(None) => {}
        // It may be good, and its session may live on: that is no logout, whatever came beside it.
        Err(why @ Denial::Rejected(Rejection::Stale | Rejection::NoKeys))
            if current || callers.is_empty() =>
        {
            let why = protection.challenge(why).into();
            return if current { Ok((callers, Some(why))) } else { Err(why) };
        }
        // Somebody else wants out.
        Err(_) if !callers.is_empty() => {}
        // Its session is over already, which is what was asked for.
        Err(Denial::Rejected(Rejection::SessionRevoked | Rejection::SubjectRevoked)) if current => {
        }
        Err(why) => match refused_cookie {
            Some(refused) => return Err(refused),
            None if any_refresh && current => {}
            None if any_refresh => return Err(Error::InvalidToken),
            None if current && matches!(why, Denial::NoCredential) => {}
            None => return Err(protection.challenge(why).into()),
        },
    }
    Ok((callers, None))
}
