//! Builds what the services say of themselves: an OpenAPI document for tools, and pages for people which
//! need no script and no other host.
//!
//! `cargo xtask openapi` writes all of it to `openapi/`, where it is committed. The services have that text
//! compiled in. Nothing that serves depends on this crate: a change of the contract is seen in a review, and a
//! service has no code that makes documents.

pub mod admin;
pub mod auth_service;
mod document;
mod page;
mod problems;
pub mod resource_service;

/// The files, by their names below `openapi/`.
#[must_use]
pub fn files() -> [(&'static str, String); 6] {
    let (auth, resource) = (auth_service::document(), resource_service::document());
    let pages = [vec![("/docs".to_owned(), page::of_document(&auth))], problems::pages()].concat();
    [
        ("admin.json", admin::document()),
        ("auth-service.html", one_after_another(&pages)),
        ("auth-service.json", auth),
        ("resource-service.html", {
            one_after_another(&[("/docs".to_owned(), page::of_document(&resource))])
        }),
        ("resource-service.json", resource),
        ("style.css", style()),
    ]
}

/// Pages as one text, each below a line that names the path where it is served.
fn one_after_another(pages: &[(String, String)]) -> String {
    pages.iter().flat_map(|(path, html)| ["<!-- ", path, " -->\n", html]).collect()
}

/// The style of these pages: the look of the account page, and what is theirs alone.
fn style() -> String {
    const PAGE: &str = include_str!("../../../clients/page/page.css");
    let (look, _) =
        PAGE.split_once("/* From here on: the account page alone. */").expect("the line");
    format!(
        "/* Made of clients/page/page.css by `cargo xtask openapi`. */\n{look}{}",
        include_str!("style.css")
    )
}
