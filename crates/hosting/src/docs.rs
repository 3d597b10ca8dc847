//! The documentation that a service gives of itself: its OpenAPI document, and pages for people that need
//! no script and no other host. All of it is text that was made beforehand (`cargo xtask openapi`); here it
//! gets what is the installation's own, such as its addresses, and is served.

use std::collections::HashMap;

use actix_web::http::header::{
    ACCESS_CONTROL_ALLOW_ORIGIN, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE,
};
use actix_web::web::{self, Bytes, ServiceConfig};
use actix_web::{HttpResponse, HttpResponseBuilder};
use problem::ProblemCode;

use crate::answers::problem;
use crate::routes::get;

/// A page may have this service's style and pictures, and nothing else.
const PAGE_POLICY: &str = "default-src 'none'; style-src 'self'; img-src 'self'; \
                           frame-ancestors 'none'; base-uri 'none'; form-action 'none'";
const STYLE: &str = include_str!("../../../openapi/style.css");

/// What is served; made once, at the start.
#[derive(Debug)]
pub struct Docs {
    document: Bytes,
    pages: HashMap<String, Bytes>,
}

impl Docs {
    /// From the document and the pages as they are committed. Each pair is a text that is written there, such as
    /// an address, and what it is here. In `pages` each page stands below a line that names its
    /// path, `<!-- /docs -->`.
    #[must_use]
    pub fn new(document: &str, pages: &str, own: &[(&str, &str)]) -> Self {
        let pages = with_own(pages, own);
        let pages = pages.split("<!-- ").filter_map(|page| page.split_once(" -->\n"));
        Self {
            document: with_own(document, own).into(),
            pages: pages.map(|(path, html)| (path.to_owned(), html.to_owned().into())).collect(),
        }
    }

    /// The page of this path, or the answer that there is none.
    #[must_use]
    pub fn page(&self, path: &str) -> HttpResponse {
        match self.pages.get(path) {
            Some(page) => text("text/html; charset=utf-8")
                .insert_header((CONTENT_SECURITY_POLICY, PAGE_POLICY))
                .body(page.clone()),
            None => problem(ProblemCode::NotFound, "There is nothing at this address."),
        }
    }
}

/// Each text in its place. All at once: what one is replaced by may be another one's name.
fn with_own(text: &str, own: &[(&str, &str)]) -> String {
    let (mut done, mut rest) = (String::with_capacity(text.len()), text);
    loop {
        let found = own.iter().filter_map(|pair| rest.find(pair.0).map(|at| (at, pair)));
        let Some((at, (written, here))) = found.min_by_key(|(at, _)| *at) else { break };
        done.push_str(&rest[..at]);
        // What would end a string in JSON or HTML is in none of them.
        done.extend(here.chars().filter(|c| !matches!(c, '"' | '\\' | '<' | '>' | '&' | '\'')));
        rest = &rest[at + written.len()..];
    }
    done + rest
}

/// The routes, for the public listener. They need [`Docs`] as data.
pub fn routes(routes: &mut ServiceConfig) {
    routes
        .service(get("/openapi.json", document))
        .service(get("/docs", page))
        .service(get("/docs/style.css", style));
}

async fn document(docs: web::Data<Docs>) -> HttpResponse {
    // Tools that run in a browser read it from their own pages.
    text("application/json")
        .insert_header((ACCESS_CONTROL_ALLOW_ORIGIN, "*"))
        .body(docs.document.clone())
}

async fn page(docs: web::Data<Docs>) -> HttpResponse {
    docs.page("/docs")
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_that_are_each_others_defaults_are_exchanged() {
        let addresses = [("http://a:1", "http://a:2"), ("http://a:2", "http://a:1")];
        let text = with_own("from http://a:1/x to http://a:2/y, http://a:1", &addresses);
        assert_eq!(text, "from http://a:2/x to http://a:1/y, http://a:2");
    }

    #[test]
    fn an_address_cannot_end_the_text_that_it_is_in() {
        let text = with_own("<a href=\"http://a\">", &[("http://a", "x\"'><b>&amp;\\")]);
        assert_eq!(text, "<a href=\"xbamp;\">");
    }
}
