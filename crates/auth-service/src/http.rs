//! The routes. Handlers have one shape: extract, one call, respond.

mod account;
mod admin;
mod edge;
mod internal;
mod metadata;
mod pages;

use actix_web::dev::HttpServiceFactory;
use actix_web::middleware::from_fn;
use actix_web::web::{self, ServiceConfig};
use actix_web::{FromRequest, Handler, Responder};
use hosting::allow;
use hosting::docs::{self, Docs};
use hosting::routes::{delete, get, post};

use account::register::who_may_register;
use account::{events, export, login, logout, me, password, refresh, register, sessions};
use edge::{csrf, hold};
use internal::{health, internal_keys, metrics, revocations};
use pages::{page, problems};

use crate::config::RegistrationMode;

pub(crate) use csrf::HEADER as PAGE_HEADER;
pub use metrics::describe as describe_metrics;

/// What the routes take and answer, for the documentation that is made of it.
#[doc(hidden)]
pub mod schemas {
    pub use crate::http::account::events::Events;
    pub use crate::http::account::export::Export;
    pub use crate::http::account::login::LoginRequest;
    pub use crate::http::account::logout::LogoutRequest;
    pub use crate::http::account::me::{Me, MePatch};
    pub use crate::http::account::password::PasswordRequest;
    pub use crate::http::account::refresh::RefreshRequest;
    pub use crate::http::account::register::{RegisterRequest, Registered, who_may_register};
    pub use crate::http::account::sessions::Sessions;
    pub use crate::http::admin::events::{AdminEvent, AdminEvents};
    pub use crate::http::admin::invitations::{
        AdminInvitation, AdminInvitations, NewAdminInvitation, NewInvitationRequest,
    };
    pub use crate::http::admin::keys::{AdminKey, AdminKeys, RotateRequest};
    pub use crate::http::admin::sessions::AdminSessions;
    pub use crate::http::admin::users::{
        AdminUser, AdminUsers, ChangeUserRequest, CreateUserRequest, CreatedUser,
        SetPasswordRequest,
    };
    pub use crate::http::internal::health::Health;
    pub use crate::http::metadata::Metadata;
}

/// What the public listener says of itself.
pub(crate) fn docs(issuer: &str, registration: RegistrationMode) -> Docs {
    /// Where the service is, in these texts.
    const ISSUER: &str = "http://127.0.0.1:8080";
    const DOCUMENT: &str = include_str!("../../../openapi/auth-service.json");
    const PAGES: &str = include_str!("../../../openapi/auth-service.html");
    let written = who_may_register(RegistrationMode::Open);
    let here = who_may_register(registration);
    Docs::new(DOCUMENT, PAGES, &[(ISSUER, issuer), (written, here)])
}

/// The public listener.
pub(crate) fn public(routes: &mut ServiceConfig) {
    let me = web::resource("/me")
        .route(web::get().to(me::me))
        .route(web::head().to(me::me))
        .route(web::patch().to(me::change))
        .route(web::delete().to(me::delete))
        .default_service(allow("GET, HEAD, PATCH, DELETE"));
    routes
        .service(costly("/register", register::register))
        .service(costly("/login", login::login))
        .service(open("/refresh", refresh::refresh))
        .service(open("/logout", logout::logout))
        .service(get("/sessions", sessions::list))
        .service(get("/sessions/events", events::list))
        .service(delete("/sessions/{id}", sessions::remove))
        .service(post("/password", password::change))
        .service(me)
        .service(get("/me/export", export::export))
        .service(get("/.well-known/jwks.json", metadata::jwks))
        .service(get("/.well-known/oauth-authorization-server", metadata::authorization_server))
        .service(get("/problems", problems::index))
        .service(get("/problems/{code}", problems::page))
        .configure(docs::routes)
        .configure(health);
}

/// The account page, on the public listener.
pub(crate) fn page(routes: &mut ServiceConfig) {
    routes
        .service(get("/", page::index))
        .service(get("/assets/page.json", page::settings))
        .service(get("/assets/{file}", page::asset));
}

/// The internal listener.
pub(crate) fn internal(routes: &mut ServiceConfig) {
    routes
        .service(get("/internal/revocations", revocations::feed))
        .service(get("/internal/keys", internal_keys::keys))
        .service(get("/metrics", metrics::show))
        .configure(admin::routes)
        .configure(health);
}

fn health(routes: &mut ServiceConfig) {
    routes.service(get("/health/live", health::live)).service(get("/health/ready", health::ready));
}

/// A route that can be posted to without an access token: what pages of strangers send there is refused.
fn open<H, A>(path: &str, handler: H) -> impl HttpServiceFactory + 'static
where
    H: Handler<A>,
    A: FromRequest + 'static,
    H::Output: Responder + 'static,
{
    web::resource(path)
        .wrap(from_fn(csrf::guard))
        .route(web::post().to(handler))
        .default_service(allow("POST"))
}

/// One of those that checks or makes a password hash besides: its refusals are held back.
fn costly<H, A>(path: &str, handler: H) -> impl HttpServiceFactory + 'static
where
    H: Handler<A>,
    A: FromRequest + 'static,
    H::Output: Responder + 'static,
{
    web::resource(path)
        .wrap(from_fn(hold::back))
        // The outermost: it comes first.
        .wrap(from_fn(csrf::guard))
        .route(web::post().to(handler))
        .default_service(allow("POST"))
}
