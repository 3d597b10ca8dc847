//! `GET /problems` and `GET /problems/{code}`: what a problem's `type` leads to, for people.

use actix_web::{HttpResponse, web};
use hosting::docs::Docs;

/// All of them.
pub(crate) async fn index(docs: web::Data<Docs>) -> HttpResponse {
    docs.page("/problems")
}

/// One.
pub(crate) async fn page(docs: web::Data<Docs>, code: web::Path<String>) -> HttpResponse {
    docs.page(&format!("/problems/{code}"))
}
