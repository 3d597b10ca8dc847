//! Describes routes as an OpenAPI 3.1 document, from the types that they read and write.
//!
//! Only a developer's command calls this: what serves has the document as a file, and a test keeps
//! the two equal. Examples are values of those types, so none can show what the code does not do.

mod problems;
mod route;

use problem::ProblemCode;
pub use route::Route;
use utoipa::openapi::security::{ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::tag::TagBuilder;
use utoipa::openapi::{Components, InfoBuilder, OpenApiBuilder, Paths, Server};

pub use utoipa::openapi::Required;
pub use utoipa::openapi::path::ParameterIn;

/// What a document says of all its routes.
pub struct About {
    /// Of the document.
    pub title: &'static str,
    /// What holds for every route.
    pub description: &'static str,
    /// Where the service is by default.
    pub server: &'static str,
    /// Below which the pages about problems are, by default.
    pub issuer: &'static str,
    /// How a caller shows who they are, by the names that routes use.
    pub security: Vec<(&'static str, SecurityScheme)>,
    /// The chapters: a name, and a sentence.
    pub tags: &'static [(&'static str, &'static str)],
}

/// The document as it is committed.
///
/// # Panics
/// When it is no JSON, which it always is.
#[must_use]
pub fn document(about: &About, routes: Vec<Route>) -> String {
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

/// An access token.
#[must_use]
pub fn bearer() -> SecurityScheme {
    let scheme = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).bearer_format("JWT");
    SecurityScheme::Http(scheme.description(Some("An access token (RFC 6750).")).build())
}

/// A refresh token in its cookie.
#[must_use]
pub fn cookie() -> SecurityScheme {
    let text = "A refresh token, set at a login with `transport` `cookie`.";
    let value = ApiKeyValue::with_description(claims::refresh_token::COOKIE, text);
    SecurityScheme::ApiKey(ApiKey::Cookie(value))
}
