//! For actix-web: [`Bearer`] is an extractor, and a [`Challenge`] an error that a handler may return.
//!
//! The app needs `web::Data<Protection>`. The README has a whole program.

use std::future::{Ready, ready};

use actix_web::dev::Payload;
use actix_web::http::StatusCode;
use actix_web::http::header::{AUTHORIZATION, HeaderName, HeaderValue};
use actix_web::{FromRequest, HttpRequest, HttpResponse, ResponseError, web};

use crate::bearer::Bearer;
use crate::challenge::Challenge;
use crate::protection::Protection;

/// The values of the `Authorization` headers of a request.
pub fn authorization(request: &HttpRequest) -> impl Iterator<Item = &[u8]> {
    request.headers().get_all(AUTHORIZATION).map(HeaderValue::as_bytes)
}

impl FromRequest for Bearer {
    type Error = Challenge;
    type Future = Ready<Result<Self, Challenge>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let protection = request
            .app_data::<web::Data<Protection>>()
            .expect("an app that extracts Bearer has web::Data<Protection>");
        let protection = protection.clone().into_inner();
        ready(Self::read(&protection, authorization(request)))
    }
}

/// The problem also stays in the response's extensions, as in [`latchkey_problem::actix::response`].
impl ResponseError for Challenge {
    fn status_code(&self) -> StatusCode {
        StatusCode::from_u16(self.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }

    fn error_response(&self) -> HttpResponse {
        let mut response = latchkey_problem::actix::response(self.problem());
        for (name, value) in self.headers() {
            if let Ok(value) = HeaderValue::from_str(&value) {
                response.headers_mut().insert(HeaderName::from_static(name), value);
            }
        }
        response
    }
}
