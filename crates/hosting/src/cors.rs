//! Which pages of other origins may call and read answers, and what they may send.

use actix_web::http::header::{AUTHORIZATION, CONTENT_TYPE, IF_NONE_MATCH};
use serde::Deserializer;
use serde::de::Error as _;

use crate::origin::Origin;
use crate::settings::list;

/// The name of a request header, in lower case.
pub use actix_web::http::header::HeaderName;

/// Names the trace that a request belongs to (W3C Trace Context).
pub const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
/// Names the request; the answer repeats it.
pub const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Headers that a page may send to every route of either service: those that are read there, and those
/// that tracing in the page adds besides. A browser asks before it sends them (a preflight), and does not
/// send the request at all when one of them is missing here.
fn everywhere() -> Vec<HeaderName> {
    let with_tracing = ["tracestate", "baggage", "sentry-trace"].map(HeaderName::from_static);
    let mut names = vec![AUTHORIZATION, CONTENT_TYPE, IF_NONE_MATCH, TRACEPARENT, REQUEST_ID];
    names.extend(with_tracing);
    names
}

/// Who may call from a browser page of another origin.
#[derive(Debug, Clone, Default)]
pub struct Cors {
    pub origins: Vec<Origin>,
    /// Whether cookies may come along.
    pub credentials: bool,
    /// Request headers that this service reads besides those that both read.
    pub headers: Vec<HeaderName>,
    /// Request headers that the settings allow besides.
    pub allowed_headers: Vec<HeaderName>,
}

impl Cors {
    pub(crate) fn middleware(&self) -> actix_cors::Cors {
        let mut headers = everywhere();
        headers.extend(self.headers.iter().chain(&self.allowed_headers).cloned());
        let mut cors = actix_cors::Cors::default()
            .allowed_methods(["GET", "POST", "PATCH", "DELETE"])
            .allowed_headers(headers)
            .expose_headers([
                "WWW-Authenticate",
                "Retry-After",
                "RateLimit",
                "RateLimit-Policy",
                "X-Request-Id",
            ])
            .max_age(600)
            .block_on_origin_mismatch(false);
        // Compared as texts, as the defence against CSRF does: nothing is parsed here that could fail, on
        // the thread of a worker, when the service runs already.
        let origins = self.origins.clone();
        cors = cors.allowed_origin_fn(move |sent, _| {
            origins.iter().any(|origin| sent.as_bytes() == origin.as_str().as_bytes())
        });
        if self.credentials { cors.supports_credentials() } else { cors }
    }
}

/// Deserializes the setting `http.allowed_headers`. `*` is a legal name of a header, and would stand for
/// all of them where no cookie comes along: it is refused.
pub fn header_names<'de, D: Deserializer<'de>>(given: D) -> Result<Vec<HeaderName>, D::Error> {
    let name = |text: String| match HeaderName::try_from(&text) {
        Ok(name) if name.as_str() != "*" => Ok(name),
        _ => Err(D::Error::custom("must be names of request headers, each by itself")),
    };
    list(given)?.into_iter().map(name).collect()
}
