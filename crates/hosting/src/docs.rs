//! The documentation that a service gives of itself: its OpenAPI document, and that document as a
//! page that needs no script and no other host.

pub mod html;
mod operation;
mod page;
mod schema;

use actix_web::http::header::{
    ACCESS_CONTROL_ALLOW_ORIGIN, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE,
};
use actix_web::web::{self, Bytes, ServiceConfig};
use actix_web::{HttpResponse, HttpResponseBuilder};
use serde::Serialize;
use utoipa::ToSchema;

use crate::openapi::Route;
use crate::routes::get;

/// A page may have this service's style and pictures, and nothing else.
const PAGE_POLICY: &str = "default-src 'none'; style-src 'self'; img-src 'self'; \
                           frame-ancestors 'none'; base-uri 'none'; form-action 'none'";
const STYLE: &str = include_str!("docs/style.css");

/// What is served; made once, at the start.
#[derive(Debug)]
pub struct Docs {
    document: Bytes,
    page: Bytes,
}

impl Docs {
    /// From the document as it is committed, with addresses as they are here: each pair is a
    /// default and what takes its place.
    ///
    /// # Panics
    /// When the document is none; a test keeps it one.
    #[must_use]
    pub fn new(document: &str, addresses: &[(&str, &str)]) -> Self {
        let mut document = document.to_owned();
        for (default, here) in addresses {
            document = document.replace(default, &here.replace(['"', '\\'], ""));
        }
        let page = page::render(&document).expect("the document is one of ours");
        Self { document: document.into(), page: page.into() }
    }
}

/// As much of it as there is to say here.
#[derive(Serialize, ToSchema)]
struct OpenApiDocument {
    /// The version of OpenAPI.
    openapi: &'static str,
}

/// The routes, for the public listener. They need [`Docs`] as data.
pub fn routes(routes: &mut ServiceConfig) {
    routes
        .service(get("/openapi.json", document))
        .service(get("/docs", page))
        .service(get("/docs/style.css", style));
}

/// Themselves, in the document.
#[must_use]
pub fn described() -> Vec<Route> {
    let tag = "Documentation";
    vec![
        Route::get("/openapi.json", "openapi", "This document")
            .says(tag, "OpenAPI 3.1, for tools that make clients, tests or pages of it.")
            .answers(200, "The document.", &OpenApiDocument { openapi: "3.1.0" }),
        Route::get("/docs", "docs", "This document as a page")
            .says(tag, "For people. It needs no script and no other host.")
            .text("text/html", "The page.", "<!doctype html>"),
        Route::get("/docs/style.css", "style", "How pages look")
            .says(tag, "The one style of all pages.")
            .text("text/css", "The style.", ":root { color-scheme: light dark }"),
    ]
}

/// A page of ours as an answer.
#[must_use]
pub fn answer(page: impl Into<Bytes>) -> HttpResponse {
    text("text/html; charset=utf-8")
        .insert_header((CONTENT_SECURITY_POLICY, PAGE_POLICY))
        .body(page.into())
}

async fn document(docs: web::Data<Docs>) -> HttpResponse {
    // Tools that run in a browser read it from their own pages.
    text("application/json")
        .insert_header((ACCESS_CONTROL_ALLOW_ORIGIN, "*"))
        .body(docs.document.clone())
}

async fn page(docs: web::Data<Docs>) -> HttpResponse {
    answer(docs.page.clone())
}

async fn style() -> HttpResponse {
    text("text/css; charset=utf-8").body(STYLE)
}

fn text(media: &'static str) -> HttpResponseBuilder {
    let mut response = HttpResponse::Ok();
    let fresh = (CACHE_CONTROL, "public, max-age=300");
    response.insert_header((CONTENT_TYPE, media)).insert_header(fresh);
    response
}
