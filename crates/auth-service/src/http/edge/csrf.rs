//! Whether a request was sent by a page that may.
//!
//! Browsers send requests of any page, with the cookie, from the network of whoever looks at the page. `Origin`
//! and `Sec-Fetch-Site` say which page it was and cannot be forged by scripts.
//!
//! [`guard`] stands before every route that takes credentials of its own: a form on any page can post wrong
//! passwords there, which would be counted against the visitor's network. [`check`] is for what uses or sets the
//! cookie, and asks for more: where an old browser sends neither header, one that scripts of other sites cannot
//! send without asking first (CORS) stands in. SameSite alone is not enough: a neighbouring subdomain is the
//! same site.

use actix_web::body::{BoxBody, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::Method;
use actix_web::http::header::{HeaderMap, ORIGIN};
use actix_web::middleware::Next;
use actix_web::{HttpRequest, web};
use hosting::cors::HeaderName;
use hosting::origin::Origin;

use crate::error::Error;
use crate::policy::app::App;

const OTHER_SITE: &str = "The request was sent by a page of another site.";
const NO_SITE: &str =
    "A page of an application is of no site that has a cookie; log in with the transport body.";
const NOT_THIS_SITE: &str = "The request was not sent by a page of this site.";

/// Only a page that may call, or a program, can send it.
pub(crate) const HEADER: HeaderName = HeaderName::from_static("x-latchkey");

const FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// A middleware: what a page of a stranger sends is refused before its body is read, before any limit is asked
/// and before anything is charged for it. A request that says of no page passes: it is no browser's, or an old
/// one's.
pub(crate) async fn guard(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, actix_web::Error> {
    // Every listener that has these routes has it; a guard without it must not let anybody pass.
    let app = request.app_data::<web::Data<App>>().cloned().ok_or(Error::NotReady)?;
    if request.method() == Method::POST
        && let Err(error) = may_call(&app, request.headers())
    {
        return Ok(request.error_response(error));
    }
    Ok(next.call(request).await?.map_into_boxed_body())
}

fn may_call(app: &App, headers: &HeaderMap) -> Result<(), Error> {
    let origin = single(headers, &ORIGIN)?;
    match single(headers, &FETCH_SITE)? {
        // Sent by a page of this very address, or by the person without any page.
        Some("same-origin" | "none") => Ok(()),
        Some(_) => {
            refuse_unless(origin.is_some_and(|origin| allowed(app, origin).is_some()), OTHER_SITE)
        }
        None => {
            let may = |origin| is_own(app, origin) || allowed(app, origin).is_some();
            refuse_unless(origin.is_none_or(may), OTHER_SITE)
        }
    }
}

/// Refuses a request whose page may not use the cookie.
pub(crate) fn check(app: &App, request: &HttpRequest) -> Result<(), Error> {
    let headers = request.headers();
    let fetch_site = single(headers, &FETCH_SITE)?;
    let same_origin = fetch_site.is_none_or(|site| site == "same-origin");
    match single(headers, &ORIGIN)? {
        Some(origin) if is_own(app, origin) => refuse_unless(same_origin, NOT_THIS_SITE),
        // The issuer's own page, with a policy by which it does not say its name.
        Some("null") if fetch_site == Some("same-origin") => Ok(()),
        Some(origin) => match allowed(app, origin) {
            Some(page) => refuse_unless(page.is_of_web(), NO_SITE),
            None => Err(Error::Csrf(OTHER_SITE)),
        },
        None if fetch_site.is_some() => refuse_unless(same_origin, NOT_THIS_SITE),
        None => refuse_unless(
            single(headers, &HEADER)? == Some("1"),
            "Send the header x-latchkey: 1 with a cookie.",
        ),
    }
}

fn is_own(app: &App, origin: &str) -> bool {
    origin == app.own_origin.as_str()
}

/// The origin of the settings that this is.
fn allowed<'a>(app: &'a App, origin: &str) -> Option<&'a Origin> {
    app.config.http.allowed_origins.iter().find(|one| one.as_str() == origin)
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
