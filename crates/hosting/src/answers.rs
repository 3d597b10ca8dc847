//! What every answer has, whatever the route: a request id, security headers, a complete problem
//! document, a log line, no content after a panic, and a word when it is the last of its connection.

use std::panic::AssertUnwindSafe;
use std::sync::LazyLock;
use std::time::Instant;

use actix_web::body::{BoxBody, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::error::InternalError;
use actix_web::http::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS,
    ALLOW, CONTENT_LENGTH, HeaderMap, HeaderName, HeaderValue,
};
use actix_web::http::{ConnectionType, Method, StatusCode};
use actix_web::middleware::Next;
use actix_web::{Error, HttpRequest, HttpResponse, web};
use futures_util::FutureExt as _;
use problem::actix::response as problem_response;
use problem::{Problem, ProblemCode};
use tracing::Instrument as _;
use uuid::Uuid;

use crate::cors::REQUEST_ID;
use crate::repeats::Repeats;
use crate::stop::Ending;
use crate::traceparent::Traceparent;
use crate::traces;

/// ASVS 3.4: on every answer, unless the route set its own.
const SECURITY_HEADERS: [(&str, &str); 5] = [
    ("x-content-type-options", "nosniff"),
    ("strict-transport-security", "max-age=31536000; includeSubDomains"),
    ("referrer-policy", "no-referrer"),
    ("content-security-policy", "default-src 'none'; frame-ancestors 'none'"),
    ("cross-origin-resource-policy", "cross-origin"),
];

/// Where the pages that explain problems are: `<base>/problems/<code>`.
#[derive(Debug, Clone)]
pub struct ProblemBase(pub String);

/// A problem as an answer.
#[must_use]
pub fn problem(code: ProblemCode, detail: &str) -> HttpResponse {
    problem_response(Problem::new(code, detail))
}

/// The answer to a method that the route does not have; `allowed` as in the `Allow` header.
#[must_use]
pub fn allow(allowed: &'static str) -> actix_web::Route {
    web::to(move || async move {
        let mut response =
            problem(ProblemCode::MethodNotAllowed, &format!("This route takes {allowed} only."));
        response.headers_mut().insert(ALLOW, HeaderValue::from_static(allowed));
        response
    })
}

/// The answer to an unknown path.
pub async fn not_found() -> HttpResponse {
    problem(ProblemCode::NotFound, "There is nothing at this address.")
}

/// The outermost middleware.
pub async fn complete(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    let id = request_id(request.headers());
    let method = known_method(request.method());
    let given = Traceparent::of(request.headers());
    let traced = traces::request(&request, method, given.as_ref());
    // Of a trace that begins here the log has the name too, where it is kept.
    let begun = if given.is_none() { traces::id(&traced) } else { None };
    let trace = given.map(|given| given.trace).or(begun.as_deref());
    let span = tracing::info_span!("request", request.id = %id, trace.id = trace);
    let started = Instant::now();
    let preflight = request.method() == Method::OPTIONS
        && request.headers().contains_key("access-control-request-method");
    let base = request.app_data::<web::Data<ProblemBase>>().cloned();
    let ending = request.app_data::<Ending>().cloned();

    // The span of the trace is the inner one: what is told to have the current span as its parent gets that.
    let called = AssertUnwindSafe(next.call(request)).catch_unwind();
    let called = called.instrument(traced.clone()).instrument(span.clone());
    let (request, response) = match called.await {
        Ok(Ok(response)) => {
            let (request, response) = response.map_into_boxed_body().into_parts();
            (Some(request), response)
        }
        Ok(Err(error)) => (None, error.error_response()),
        Err(_) => {
            metrics::counter!("latchkey_panics_total").increment(1);
            (None, problem(ProblemCode::Internal, "The service failed."))
        }
    };
    let code = response.extensions().get::<Problem>().map(|problem| problem.code);
    let mut response = complete_problem(response, base.as_ref().map(|base| base.as_ref()), &id);
    if preflight && response.status() == StatusCode::OK {
        *response.status_mut() = StatusCode::NO_CONTENT;
    }
    complete_headers(response.headers_mut(), &id);
    // Looked at as late as can be: who is not told sends the next request on a connection that is about to end.
    if ending.is_some_and(|ending| ending.announced.is_cancelled()) {
        response.head_mut().set_connection_type(ConnectionType::Close);
    }
    let route = request.as_ref().and_then(HttpRequest::match_pattern);
    traces::answered(&traced, method, route.as_deref(), response.status());
    let route = route.unwrap_or_else(|| "(no such route)".to_owned());
    let answered = Answered { status: response.status().as_u16(), route, method, code };
    span.in_scope(|| report(answered, started));
    match request {
        Some(request) => Ok(ServiceResponse::new(request, response)),
        // The request went with whatever failed; the framework takes the answer from the error.
        None => Err(InternalError::from_response("the request failed", response).into()),
    }
}

/// Puts what only this place knows into a problem document. What the framework itself refuses (a
/// head it cannot read, a path it cannot decode) is answered in the same form as everything else.
fn complete_problem(response: HttpResponse, base: Option<&ProblemBase>, id: &str) -> HttpResponse {
    let code = match response.status().as_u16() {
        400 => ProblemCode::InvalidRequest,
        404 => ProblemCode::NotFound,
        408 => ProblemCode::RequestTimeout,
        413 => ProblemCode::PayloadTooLarge,
        415 => ProblemCode::UnsupportedMediaType,
        _ => ProblemCode::Internal,
    };
    let known = response.extensions().get::<Problem>().cloned();
    let is_plain = known.is_none() && response.status().is_client_error();
    let (mut problem, response) = match known {
        Some(problem) => (problem, response),
        None if is_plain && code != ProblemCode::Internal => {
            let problem = Problem::new(code, "The request could not be read.");
            (problem.clone(), problem_response(problem))
        }
        None => return response,
    };
    if let (Some(base), true) = (base, problem.kind.starts_with('/')) {
        problem.kind = format!("{}{}", base.0, problem.kind);
    }
    problem.request_id = Some(id.to_owned());
    let body = serde_json::to_vec(&problem).unwrap_or_default();
    let mut response = response.map_body(|_, _| BoxBody::new(body));
    response.headers_mut().remove(CONTENT_LENGTH);
    response
}

fn complete_headers(headers: &mut HeaderMap, id: &str) {
    for (name, value) in SECURITY_HEADERS {
        if !headers.contains_key(name) {
            headers.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
    }
    if let Ok(value) = HeaderValue::from_str(id) {
        headers.insert(REQUEST_ID, value);
    }
    // The framework says these to everybody; they are for a page that was let in by name.
    if headers.get(ACCESS_CONTROL_ALLOW_ORIGIN).is_none_or(|origin| origin == "*") {
        headers.remove(ACCESS_CONTROL_ALLOW_CREDENTIALS);
        headers.remove(ACCESS_CONTROL_EXPOSE_HEADERS);
    }
}

/// What a line about an answer is about: the kinds are as many as the routes and what they may answer.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Answered {
    status: u16,
    route: String,
    method: &'static str,
    /// Of the problem, where it is one.
    code: Option<&'static str>,
}

/// Of this process: both of its listeners write the same log.
static REFUSED: LazyLock<Repeats<Answered>> = LazyLock::new(Repeats::default);

/// Counts an answer, and writes a line about it.
fn report(answered: Answered, started: Instant) {
    let Answered { status, ref route, method, .. } = answered;
    let seconds = started.elapsed().as_secs_f64();
    metrics::counter!("latchkey_http_requests_total",
        "route" => route.clone(), "method" => method, "status" => status.to_string())
    .increment(1);
    metrics::histogram!("latchkey_http_request_seconds", "route" => route.clone()).record(seconds);
    let duration_ms = seconds * 1000.0;
    if status < 400 {
        tracing::debug!(method, route, status, duration_ms, "answered {status}");
        return;
    }
    let line = |answered: &Answered| {
        let Answered { status, route, method, code } = answered;
        if *status < 500 {
            tracing::info!(method, route, status, code, duration_ms, "answered {status}");
        } else {
            tracing::warn!(method, route, status, code, duration_ms, "answered {status}");
        }
    };
    REFUSED.write(answered, line, |answered, left_out| {
        let Answered { status, route, method, code } = answered;
        if *status < 500 {
            tracing::info!(method, route, status, code, left_out, "answered {status} more often");
        } else {
            tracing::warn!(method, route, status, code, left_out, "answered {status} more often");
        }
    });
}

/// The caller's request id where it is harmless, else a new one.
fn request_id(headers: &HeaderMap) -> String {
    let given = headers.get(REQUEST_ID).and_then(|value| value.to_str().ok());
    let harmless = |id: &&str| {
        (1..=64).contains(&id.len())
            && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
    };
    given.filter(harmless).map_or_else(|| Uuid::new_v4().simple().to_string(), str::to_owned)
}

/// A method as a metric label: a client may invent methods, and each label costs memory.
fn known_method(method: &Method) -> &'static str {
    match method.as_str() {
        "GET" => "GET",
        "HEAD" => "HEAD",
        "POST" => "POST",
        "PUT" => "PUT",
        "PATCH" => "PATCH",
        "DELETE" => "DELETE",
        "OPTIONS" => "OPTIONS",
        _ => "other",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_id_that_could_forge_a_log_line_is_replaced() {
        let mut headers = HeaderMap::new();
        headers.insert(REQUEST_ID, HeaderValue::from_static("a b"));
        assert_eq!(request_id(&headers).len(), 32);
        headers.insert(REQUEST_ID, HeaderValue::from_static("abc-1"));
        assert_eq!(request_id(&headers), "abc-1");
    }
}
