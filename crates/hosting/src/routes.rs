//! Entries of a route table: a path, its one method, and 405 for every other.

use actix_web::dev::HttpServiceFactory;
use actix_web::{FromRequest, Handler, Responder, web};

use crate::answers::allow;

/// A path to post to.
pub fn post<H, A>(path: &str, handler: H) -> impl HttpServiceFactory + 'static
where
    H: Handler<A>,
    A: FromRequest + 'static,
    H::Output: Responder + 'static,
{
    web::resource(path).route(web::post().to(handler)).default_service(allow("POST"))
}

/// A path to read from, or to ask for the head of what could be read.
pub fn get<H, A>(path: &str, handler: H) -> impl HttpServiceFactory + 'static
where
    H: Handler<A>,
    A: FromRequest + 'static,
    H::Output: Responder + 'static,
{
    web::resource(path)
        .route(web::get().to(handler.clone()))
        .route(web::head().to(handler))
        .default_service(allow("GET, HEAD"))
}

/// A path to take away.
pub fn delete<H, A>(path: &str, handler: H) -> impl HttpServiceFactory + 'static
where
    H: Handler<A>,
    A: FromRequest + 'static,
    H::Output: Responder + 'static,
{
    web::resource(path).route(web::delete().to(handler)).default_service(allow("DELETE"))
}
