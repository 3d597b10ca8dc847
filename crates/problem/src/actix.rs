//! A problem as an answer of actix-web.

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use actix_web::http::header::{CACHE_CONTROL, CONTENT_TYPE};

use crate::{MEDIA_TYPE, Problem};

/// A problem as an answer. The problem also stays in the response's extensions, so that a
/// middleware may complete it with what only it knows, such as the request id.
#[must_use]
pub fn response(problem: Problem) -> HttpResponse {
    let status = StatusCode::from_u16(problem.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let body = serde_json::to_vec(&problem).unwrap_or_default();
    let mut response = HttpResponse::build(status)
        .insert_header((CONTENT_TYPE, MEDIA_TYPE))
        .insert_header((CACHE_CONTROL, "no-store"))
        .body(body);
    response.extensions_mut().insert(problem);
    response
}
