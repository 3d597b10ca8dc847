//! `GET /problems/{code}`: what a problem's `type` leads to.

use actix_web::http::header::CONTENT_TYPE;
use actix_web::{HttpResponse, web};
use claims::ProblemCode;
use hosting::answers;

pub(super) async fn page(code: web::Path<String>) -> HttpResponse {
    let Some(code) = ProblemCode::ALL.into_iter().find(|one| one.as_str() == code.as_str()) else {
        return answers::not_found().await;
    };
    HttpResponse::Ok().insert_header((CONTENT_TYPE, "text/plain; charset=utf-8")).body(format!(
        "{} (HTTP {})\n\n{}.\n",
        code.as_str(),
        code.status(),
        code.title()
    ))
}
