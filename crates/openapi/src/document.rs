//! Describes routes as an OpenAPI 3.1 document, from the types that they read and write.
//!
//! Examples are values of those types, so none can show what the code does not do.

mod problems;
mod route;

use problem::ProblemCode;
pub(crate) use route::Route;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa::openapi::security::{ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::tag::TagBuilder;
use utoipa::openapi::{Components, InfoBuilder, OpenApiBuilder, Paths, Server};

pub(crate) use utoipa::openapi::Required;
pub(crate) use utoipa::openapi::path::ParameterIn;

/// What a document says of all its routes.
pub(crate) struct About {
    pub(crate) title: &'static str,
    /// What holds for every route.
    pub(crate) description: &'static str,
    /// Where the service is by default.
    pub(crate) server: &'static str,
    /// Below which the pages about problems are, by default.
    pub(crate) issuer: &'static str,
    /// How a caller shows who they are, by the names that routes use.
    pub(crate) security: Vec<(&'static str, SecurityScheme)>,
    /// The chapters: a name, and a sentence.
    pub(crate) tags: &'static [(&'static str, &'static str)],
}

/// The document as it is committed.
///
/// # Panics
/// When it is no JSON, which it always is.
pub(crate) fn document(about: &About, routes: Vec<Route>) -> String {
    let mut components = Components::new();
    for (name, scheme) in &about.security {
        components.add_security_scheme(*name, scheme.clone());
    }
    let (mut paths, mut codes) = (Paths::new(), Vec::new());
    route::add_schemas::<problem::Problem>(&mut components.schemas);
    for route in routes {
        components.schemas.extend(route.schemas.clone());
        codes.extend(route.codes.clone());
        let (path, method, operation) = route.finish();
        paths.add_path_operation(path, vec![method], operation);
    }
    for code in ProblemCode::ALL.into_iter().filter(|code| codes.contains(code)) {
        let name = code.as_str();
        components.responses.insert(name.to_owned(), problems::response(&[code]).into());
        components.examples.insert(name.to_owned(), problems::example(about.issuer, code).into());
    }
    let tag = |(name, text): &(&str, &str)| {
        TagBuilder::new().name(*name).description(Some(*text)).build()
    };
    let document = OpenApiBuilder::new()
        // Of the contract, not of the program: what runs is nobody's business.
        .info(
            InfoBuilder::new().title(about.title).version("1").description(Some(about.description)),
        )
        .servers(Some([Server::new(about.server)]))
        .tags(Some(about.tags.iter().map(tag)))
        .paths(paths)
        .components(Some(components))
        .build();
    document.to_pretty_json().expect("a document is JSON") + "\n"
}

/// As much of it as there is to say here.
#[derive(Serialize, ToSchema)]
pub(crate) struct OpenApiDocument {
    /// The version of OpenAPI.
    pub(crate) openapi: &'static str,
}

/// The routes of the documentation itself (`hosting::docs`).
pub(crate) fn documentation() -> Vec<Route> {
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

/// An access token.
pub(crate) fn bearer() -> SecurityScheme {
    let scheme = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).bearer_format("JWT");
    SecurityScheme::Http(scheme.description(Some("An access token (RFC 6750).")).build())
}

/// A refresh token in its cookie.
pub(crate) fn cookie() -> SecurityScheme {
    let text = "A refresh token, set at a login with `transport` `cookie`.";
    let value = ApiKeyValue::with_description(claims::refresh_token::COOKIE, text);
    SecurityScheme::ApiKey(ApiKey::Cookie(value))
}
