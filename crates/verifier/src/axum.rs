//! For axum, and whatever else is built on `axum-core`: [`Bearer`] is an extractor, and a [`Challenge`]
//! an answer that a handler may return.
//!
//! The state of the router is an `Arc<Protection>`, or has one ([`FromRef`]). The README has a whole
//! program.

use std::sync::Arc;

use axum_core::body::Body;
use axum_core::extract::{FromRef, FromRequestParts};
use axum_core::response::{IntoResponse, Response};
use http::header::AUTHORIZATION;
use http::request::Parts;
use http::{HeaderMap, HeaderValue, StatusCode};

use crate::bearer::Bearer;
use crate::challenge::Challenge;
use crate::protection::Protection;

/// The values of the `Authorization` headers of a request.
pub fn authorization(headers: &HeaderMap) -> impl Iterator<Item = &[u8]> {
    headers.get_all(AUTHORIZATION).iter().map(HeaderValue::as_bytes)
}

impl<S> FromRequestParts<S> for Bearer
where
    Arc<Protection>: FromRef<S>,
    S: Send + Sync,
{
    type Rejection = Challenge;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Challenge> {
        Self::read(&Arc::from_ref(state), authorization(&parts.headers))
    }
}

/// The problem also stays in the response's extensions, so that a layer may complete it with what only
/// it knows, such as the request id.
impl IntoResponse for Challenge {
    fn into_response(self) -> Response {
        let mut response = Response::new(Body::from(self.body()));
        *response.status_mut() =
            StatusCode::from_u16(self.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        for (name, value) in self.headers() {
            if let Ok(value) = HeaderValue::from_str(&value) {
                response.headers_mut().insert(name, value);
            }
        }
        response.extensions_mut().insert(self.problem());
        response
    }
}
