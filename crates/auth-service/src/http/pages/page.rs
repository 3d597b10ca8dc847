//! The account page: sign up and in, see and end one's sessions, change the password and the name, take one's data
//! along, delete the account. It is plain files, compiled in; the client in it is the very file that the npm package ships.

use actix_web::http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE};
use actix_web::{HttpRequest, HttpResponse, web};
use hosting::{answers, causes};
use serde_json::json;

use crate::http::metadata::held;
use crate::policy::accounts;
use crate::policy::app::App;

const HTML: &str = "text/html; charset=utf-8";
const PAGE: &str = include_str!("../../../../../clients/page/index.html");

/// The file, its media type and its content.
const ASSETS: [(&str, &str, &str); 4] = [
    ("page.css", "text/css; charset=utf-8", include_str!("../../../../../clients/page/page.css")),
    (
        "page.js",
        "text/javascript; charset=utf-8",
        include_str!("../../../../../clients/page/page.js"),
    ),
    (
        "latchkey.js",
        "text/javascript; charset=utf-8",
        include_str!("../../../../../clients/browser/latchkey.js"),
    ),
    ("icon.svg", "image/svg+xml", include_str!("../../../../../clients/page/icon.svg")),
];

/// Nothing from elsewhere, nothing inline, and no text that becomes script.
pub(crate) async fn index(app: web::Data<App>, request: HttpRequest) -> HttpResponse {
    let resource = &app.config.page.resource;
    let policy = format!(
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; \
         connect-src 'self' {resource}; form-action 'self'; base-uri 'none'; frame-ancestors 'none'; \
         require-trusted-types-for 'script'; trusted-types 'none'"
    );
    let mut response = held(&request, HTML, "no-cache", web::Bytes::from_static(PAGE.as_bytes()));
    if let Ok(policy) = policy.parse() {
        response.headers_mut().insert(CONTENT_SECURITY_POLICY, policy);
    }
    response
}

/// What the page is made of.
pub(crate) async fn asset(request: HttpRequest, name: web::Path<String>) -> HttpResponse {
    match ASSETS.iter().find(|(file, _, _)| *file == name.as_str()) {
        Some((_, media_type, content)) => {
            held(&request, media_type, "no-cache", web::Bytes::from_static(content.as_bytes()))
        }
        None => answers::not_found().await,
    }
}

/// What the page must know of this installation.
pub(crate) async fn settings(app: web::Data<App>) -> HttpResponse {
    let page = &app.config.page;
    let some = |text: &String| (!text.is_empty()).then(|| text.clone());
    // All else is known without the database, and the page can do without this one button.
    let demo = accounts::demo(&app).await.unwrap_or_else(|error| {
        tracing::warn!(error = causes(&error), "the page does not offer the demo account");
        None
    });
    let demo =
        demo.map(|(username, password)| json!({ "username": username, "password": password }));
    HttpResponse::Ok()
        .insert_header((CACHE_CONTROL, "no-store"))
        .insert_header((CONTENT_TYPE, "application/json"))
        .json(json!({
            "issuer": app.config.issuer,
            "resource": some(&page.resource),
            "demo": demo,
            "registration": app.config.registration_mode().as_str(),
            "password_min": app.config.passwords.min_length,
        }))
}
