//! The routes, each protected by what it needs.

use std::time::Duration;

use actix_web::http::header::{CACHE_CONTROL, ETAG};
use actix_web::web::{self, ServiceConfig};
use actix_web::{HttpResponse, Responder};
use claims::ProblemCode;
use hosting::{Json, allow, problem, telemetry};
use serde::Deserialize;
use serde_json::json;
use uuid::Uuid;
use verifier::actix::{Bearer, Denied, Protection};

use crate::app::App;
use crate::reports::Reports;

/// How long ago a login may be for something to be deleted.
const RECENT: Duration = Duration::from_mins(5);

/// The public listener.
pub(crate) fn public(routes: &mut ServiceConfig) {
    let reports = web::resource("/reports")
        .route(web::get().to(list))
        .route(web::head().to(list))
        .route(web::post().to(create))
        .default_service(allow("GET, HEAD, POST"));
    let report = web::resource("/reports/{id}")
        .route(web::delete().to(delete))
        .default_service(allow("DELETE"));
    let whoami = web::resource("/whoami")
        .route(web::get().to(whoami))
        .route(web::head().to(whoami))
        .default_service(allow("GET, HEAD"));
    let metadata = web::resource("/.well-known/oauth-protected-resource")
        .route(web::get().to(protected_resource))
        .route(web::head().to(protected_resource))
        .default_service(allow("GET, HEAD"));
    routes.service(whoami).service(reports).service(report).service(metadata).configure(health);
}

/// The internal listener.
pub(crate) fn internal(routes: &mut ServiceConfig) {
    let metrics = web::resource("/metrics")
        .route(web::get().to(metrics))
        .route(web::head().to(metrics))
        .default_service(allow("GET, HEAD"));
    routes.service(metrics).configure(health);
}

fn health(routes: &mut ServiceConfig) {
    let live = web::resource("/health/live")
        .route(web::get().to(live))
        .route(web::head().to(live))
        .default_service(allow("GET, HEAD"));
    let ready = web::resource("/health/ready")
        .route(web::get().to(ready))
        .route(web::head().to(ready))
        .default_service(allow("GET, HEAD"));
    routes.service(live).service(ready);
}

async fn whoami(bearer: Bearer) -> impl Responder {
    let claims = bearer.verified().claims();
    HttpResponse::Ok().insert_header((CACHE_CONTROL, "no-store")).json(json!({
        "sub": claims.sub,
        "username": claims.preferred_username,
        "client_id": claims.client_id,
        "scope": claims.scope,
        "roles": claims.roles,
        "session_id": claims.sid,
        "expires_in": bearer.expires_in(),
    }))
}

async fn list(reports: web::Data<Reports>, bearer: Bearer) -> Result<HttpResponse, Denied> {
    bearer.require_scope("reports:read")?;
    let own = reports.of(&bearer.verified().claims().sub);
    let no_store = (CACHE_CONTROL, "no-store");
    Ok(HttpResponse::Ok().insert_header(no_store).json(json!({ "reports": own })))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewReport {
    title: String,
}

async fn create(
    app: web::Data<App>,
    reports: web::Data<Reports>,
    bearer: Bearer,
    Json(new): Json<NewReport>,
) -> Result<HttpResponse, Denied> {
    bearer.require_scope("reports:write")?;
    if !(1..=200).contains(&new.title.chars().count()) {
        let detail = "A title has 1 to 200 characters.";
        return Ok(problem(ProblemCode::InvalidRequest, detail));
    }
    let now = app.verifier.clock().now();
    let report = reports.add(&bearer.verified().claims().sub, new.title, now);
    Ok(HttpResponse::Created().json(report))
}

async fn delete(
    reports: web::Data<Reports>,
    bearer: Bearer,
    id: web::Path<String>,
) -> Result<HttpResponse, Denied> {
    bearer.require_scope("reports:write")?;
    bearer.require_recent_login(RECENT)?;
    let removed =
        Uuid::try_parse(&id).is_ok_and(|id| reports.remove(&bearer.verified().claims().sub, id));
    Ok(if removed {
        HttpResponse::NoContent().finish()
    } else {
        problem(ProblemCode::NotFound, "You have no report of this id.")
    })
}

/// RFC 9728.
async fn protected_resource(protection: web::Data<Protection>) -> impl Responder {
    let expectations = protection.verifier().expectations();
    HttpResponse::Ok()
        .insert_header((CACHE_CONTROL, "public, max-age=3600"))
        .insert_header((ETAG, "\"1\""))
        .json(json!({
            "resource": expectations.audience,
            "authorization_servers": [expectations.issuer],
            "scopes_supported": ["reports:read", "reports:write"],
            "bearer_methods_supported": ["header"],
        }))
}

async fn metrics(app: web::Data<App>) -> impl Responder {
    telemetry::revocations(&app.verifier);
    telemetry::metrics().await
}

async fn live() -> impl Responder {
    HttpResponse::Ok().insert_header((CACHE_CONTROL, "no-store")).json(json!({ "status": "live" }))
}

/// Ready when a token could be accepted: keys loaded, revocations fresh.
async fn ready(app: web::Data<App>) -> impl Responder {
    let age = app.verifier.revocation_age().map(|age| age.as_millis());
    let (mut answer, status) = match app.verifier.ready() {
        _ if app.draining() => (HttpResponse::ServiceUnavailable(), "stopping".to_owned()),
        Ok(()) => (HttpResponse::Ok(), "ready".to_owned()),
        Err(why) => (HttpResponse::ServiceUnavailable(), why.to_string()),
    };
    answer
        .insert_header((CACHE_CONTROL, "no-store"))
        .json(json!({ "status": status, "revocation_age_ms": age }))
}
