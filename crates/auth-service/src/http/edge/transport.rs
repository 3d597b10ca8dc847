//! How refresh tokens travel: in the body, or in a cookie that scripts cannot read.

use actix_web::dev::Payload;
use actix_web::http::header::{CACHE_CONTROL, COOKIE, HeaderValue, PRAGMA, SET_COOKIE};
use actix_web::{HttpRequest, HttpResponse};
use claims::{Transport, refresh_token};
use hosting::BadBody;
use hosting::body::{self, Media};
use secrecy::{ExposeSecret as _, SecretString};
use serde::de::DeserializeOwned;

use super::csrf;
use crate::config::SameSite;
use crate::error::Error;
use crate::policy::app::App;
use crate::policy::sessions::Issued;

/// The refresh cookie of a request. Two of that name are refused: one of them was put there by
/// somebody else (another service on the same host sees and sets the same cookies).
pub(crate) fn cookie(request: &HttpRequest) -> Result<Option<SecretString>, Error> {
    let mut found = None;
    for header in request.headers().get_all(COOKIE) {
        // A cookie of another name that is not text is none of our business.
        let header = String::from_utf8_lossy(header.as_bytes());
        for pair in header.split(';') {
            // Only what may stand between cookies (RFC 6265 4.2.1). A browser does not see our prefix in a
            // name with another space before it, so a neighbour in the domain could set such a cookie.
            let pair = pair.trim_matches([' ', '\t']);
            let Some((name, value)) = pair.split_once('=') else { continue };
            if name != refresh_token::COOKIE || value.is_empty() {
                continue;
            }
            if found.replace(SecretString::from(value)).is_some() {
                let detail = "Two refresh cookies were sent; clear the cookies of this site.";
                return Err(Error::InvalidRequest(detail.to_owned()));
            }
        }
    }
    Ok(found)
}

/// The refresh cookie, or why it does not count.
pub(crate) type AmbientCookie = Result<Option<SecretString>, Error>;

/// The refresh cookie and the JSON body. A browser adds the cookie by itself, so a cookie that does not
/// count must not stand in the way of a credential that the request names: why it does not count is
/// given beside the body, for whoever has nothing else. It does not count where the page that sent it
/// may not use it, where there are two, and where the request has no type: a page of another site can
/// send a request without one, but not `application/json`. An empty body is `{}`.
///
/// # Errors
/// When the body cannot be used. If there is also a cookie that does not count, the error says why that is so.
pub(crate) async fn cookie_and_body<T: DeserializeOwned + Default>(
    app: &App,
    request: &HttpRequest,
    payload: Payload,
) -> Result<(AmbientCookie, T), Error> {
    let mut cookie = cookie(request);
    if let Ok(Some(_)) = cookie
        && let Err(error) = csrf::check(app, request)
    {
        cookie = Err(error);
    }
    let body = async {
        let bytes = body::read(request, payload).await?;
        match body::media(request)? {
            Media::Json if bytes.is_empty() => Ok((Media::Json, T::default())),
            Media::Json => Ok((Media::Json, body::json(&bytes)?)),
            Media::Unsaid if bytes.is_empty() => Ok((Media::Unsaid, T::default())),
            _ => Err(BadBody::Media),
        }
    };
    match (body.await, cookie) {
        (Ok((Media::Unsaid, body)), Ok(Some(_))) => Ok((Err(BadBody::Media.into()), body)),
        (Ok((_, body)), cookie) => Ok((cookie, body)),
        (Err(_), Err(error)) => Err(error),
        (Err(bad), Ok(_)) => Err(bad.into()),
    }
}

/// The token answer, with the refresh token where the client keeps it and nowhere else.
pub(crate) fn answer(app: &App, issued: Issued) -> HttpResponse {
    let Issued { mut answer, refresh_token, transport } = issued;
    let mut response = HttpResponse::Ok();
    // RFC 6749 §5.1.
    response.insert_header((CACHE_CONTROL, "no-store")).insert_header((PRAGMA, "no-cache"));
    match transport {
        Transport::Body => answer.refresh_token = Some(refresh_token.expose_secret().to_owned()),
        Transport::Cookie => {
            let text = refresh_token.expose_secret();
            let cookie = set_cookie(app, text, answer.refresh_token_timeout);
            response.insert_header((SET_COOKIE, cookie));
        }
    }
    response.json(answer)
}

/// Makes the client forget its cookie.
pub(crate) fn clear_cookie(app: &App, response: &mut HttpResponse) {
    if let Ok(value) = HeaderValue::from_str(&set_cookie(app, "", 0)) {
        response.headers_mut().insert(SET_COOKIE, value);
    }
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
}

fn set_cookie(app: &App, value: &str, max_age: u64) -> String {
    let name = refresh_token::COOKIE;
    let same_site = match app.config.http.cookie_same_site {
        SameSite::Strict => "Strict",
        SameSite::None => "None",
    };
    format!("{name}={value}; Path=/; Secure; HttpOnly; SameSite={same_site}; Max-Age={max_age}")
}
