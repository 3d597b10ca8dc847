//! Whether a request that carries a cookie was sent by a page that may.
//!
//! Browsers add the cookie to requests of any page. `Origin` and `Sec-Fetch-Site` say which page it
//! was and cannot be forged by scripts; where an old browser sends neither, a header that scripts
//! of other sites cannot send without asking first (CORS) stands in. SameSite alone is not enough:
//! a neighbouring subdomain is the same site.

use actix_web::HttpRequest;
use actix_web::http::header::{HeaderMap, ORIGIN};
use hosting::cors::HeaderName;

use crate::app::App;
use crate::error::Error;

/// Only a page that may call, or a program, can send it.
pub(crate) const HEADER: HeaderName = HeaderName::from_static("x-latchkey");

const FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// Refuses a request whose page may not use the cookie.
pub(super) fn check(app: &App, request: &HttpRequest) -> Result<(), Error> {
    let headers = request.headers();
    let fetch_site = single(headers, &FETCH_SITE)?;
    let same_origin = fetch_site.is_none_or(|site| site == "same-origin");
    match single(headers, &ORIGIN)? {
        Some(origin) if origin == app.own_origin.as_str() => {
            refuse_unless(same_origin, "The request was not sent by a page of this site.")
        }
        Some(origin) => {
            let allowed = app.config.http.allowed_origins.iter().any(|one| one.as_str() == origin);
            refuse_unless(allowed, "The request was sent by a page of another site.")
        }
        None if fetch_site.is_some() => {
            refuse_unless(same_origin, "The request was not sent by a page of this site.")
        }
        None => refuse_unless(
            single(headers, &HEADER)? == Some("1"),
            "Send the header x-latchkey: 1 with a cookie.",
        ),
    }
}

fn refuse_unless(allowed: bool, detail: &'static str) -> Result<(), Error> {
    if allowed { Ok(()) } else { Err(Error::Csrf(detail)) }
}

/// The header's one value. What cannot be read counts as sent by another site.
fn single<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Result<Option<&'a str>, Error> {
    let mut values = headers.get_all(name);
    let Some(value) = values.next() else { return Ok(None) };
    match (value.to_str(), values.next()) {
        (Ok(value), None) => Ok(Some(value)),
        _ => Err(Error::Csrf("A header that says where the request comes from was sent twice.")),
    }
}
