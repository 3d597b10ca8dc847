//! What administrators do over HTTP, on the internal listener.
//!
//! Each handler has an [`Admin`](super::edge::administrator::Admin) among its arguments, whose type says which scope it
//! takes.

pub(super) mod events;
pub(super) mod invitations;
pub(super) mod keys;
mod query;
pub(super) mod sessions;
pub(super) mod users;

use actix_web::HttpResponse;
use actix_web::http::header::CACHE_CONTROL;
use actix_web::web::{self, ServiceConfig};
use hosting::allow;
use hosting::routes::{delete, get};
use serde::Serialize;

pub(super) fn routes(routes: &mut ServiceConfig) {
    routes
        .service(
            web::resource("/admin/v1/users")
                .route(web::get().to(users::list))
                .route(web::head().to(users::list))
                .route(web::post().to(users::create))
                .default_service(allow("GET, HEAD, POST")),
        )
        .service(
            web::resource("/admin/v1/users/{id}")
                .route(web::get().to(users::show))
                .route(web::head().to(users::show))
                .route(web::patch().to(users::change))
                .route(web::delete().to(users::delete))
                .default_service(allow("GET, HEAD, PATCH, DELETE")),
        )
        .service(get("/admin/v1/users/{id}/export", users::export))
        .service(
            web::resource("/admin/v1/users/{id}/password")
                .route(web::put().to(users::set_password))
                .default_service(allow("PUT")),
        )
        .service(
            web::resource("/admin/v1/users/{id}/sessions")
                .route(web::get().to(sessions::list))
                .route(web::head().to(sessions::list))
                .route(web::delete().to(sessions::end_all))
                .default_service(allow("GET, HEAD, DELETE")),
        )
        .service(delete("/admin/v1/sessions/{id}", sessions::end))
        .service(
            web::resource("/admin/v1/invitations")
                .route(web::get().to(invitations::list))
                .route(web::head().to(invitations::list))
                .route(web::post().to(invitations::create))
                .default_service(allow("GET, HEAD, POST")),
        )
        .service(delete("/admin/v1/invitations/{id}", invitations::revoke))
        .service(
            web::resource("/admin/v1/keys")
                .route(web::get().to(keys::list))
                .route(web::head().to(keys::list))
                .route(web::post().to(keys::rotate))
                .default_service(allow("GET, HEAD, POST")),
        )
        .service(delete("/admin/v1/keys/{id}", keys::revoke))
        .service(get("/admin/v1/events", events::list))
        .service(get("/admin/v1/openapi.json", document));
}

/// What these routes say of themselves. It is in public anyway, and takes no token.
async fn document() -> HttpResponse {
    const DOCUMENT: &str = include_str!("../../../../openapi/admin.json");
    HttpResponse::Ok().content_type("application/json").body(DOCUMENT)
}

/// An answer, which is nobody else's business.
fn answer(value: &impl Serialize) -> HttpResponse {
    HttpResponse::Ok().insert_header((CACHE_CONTROL, "no-store")).json(value)
}

/// An answer to whoever made something.
fn created(value: &impl Serialize) -> HttpResponse {
    HttpResponse::Created().insert_header((CACHE_CONTROL, "no-store")).json(value)
}
