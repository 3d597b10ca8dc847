//! The routes, each protected by what it needs.

use std::time::Duration;

use actix_web::http::header::{CACHE_CONTROL, ETAG};
use actix_web::web::{self, ServiceConfig};
use actix_web::{HttpResponse, Responder};
use hosting::docs::{self, Docs};
use hosting::routes::{delete, get};
use hosting::{Json, Workers, allow, problem, telemetry};
use problem::ProblemCode;
use uuid::Uuid;
use verifier::{Bearer, Challenge, Protection};

use crate::answers::{Live, Metadata, NewReport, Ready, ReportList, WhoAmI};
use crate::app::App;
use crate::reports::Reports;

/// How long ago a login may be for something to be deleted.
const RECENT: Duration = Duration::from_mins(5);

/// What the public listener says of itself.
pub(crate) fn docs(issuer: &str, audience: &str) -> Docs {
    const DOCUMENT: &str = include_str!("../../../openapi/resource-service.json");
    const PAGES: &str = include_str!("../../../openapi/resource-service.html");
    /// Where the auth-service and this one are, in these texts.
    const DEFAULTS: [&str; 2] = ["http://127.0.0.1:8080", "http://127.0.0.1:8081"];
    Docs::new(DOCUMENT, PAGES, &[(DEFAULTS[0], issuer), (DEFAULTS[1], audience)])
}

/// The public listener.
pub(crate) fn public(routes: &mut ServiceConfig) {
    let reports = web::resource("/reports")
        .route(web::get().to(list))
        .route(web::head().to(list))
        .route(web::post().to(create))
        .default_service(allow("GET, HEAD, POST"));
    routes
        .service(get("/whoami", whoami))
        .service(reports)
        .service(delete("/reports/{id}", remove))
        .service(get("/.well-known/oauth-protected-resource", protected_resource))
        .configure(docs::routes)
        .configure(health);
}

/// The internal listener.
pub(crate) fn internal(routes: &mut ServiceConfig) {
    routes.service(get("/metrics", metrics)).configure(health);
}

fn health(routes: &mut ServiceConfig) {
    routes.service(get("/health/live", live)).service(get("/health/ready", ready));
}

async fn whoami(bearer: Bearer) -> impl Responder {
    let claims = bearer.verified().claims().clone();
    HttpResponse::Ok().insert_header((CACHE_CONTROL, "no-store")).json(WhoAmI {
        sub: claims.sub,
        username: claims.preferred_username,
        client_id: claims.client_id,
        scope: claims.scope,
        roles: claims.roles,
        session_id: claims.sid,
        expires_in: bearer.expires_in(),
    })
}

async fn list(reports: web::Data<Reports>, bearer: Bearer) -> Result<HttpResponse, Challenge> {
    bearer.require_scope("reports:read")?;
    let reports = reports.of(&bearer.verified().claims().sub);
    let no_store = (CACHE_CONTROL, "no-store");
    Ok(HttpResponse::Ok().insert_header(no_store).json(ReportList { reports }))
}

async fn create(
    app: web::Data<App>,
    reports: web::Data<Reports>,
    bearer: Bearer,
    Json(new): Json<NewReport>,
) -> Result<HttpResponse, Challenge> {
    bearer.require_scope("reports:write")?;
    if !(1..=200).contains(&new.title.chars().count()) {
        let detail = "A title has 1 to 200 characters.";
        return Ok(problem(ProblemCode::InvalidRequest, detail));
    }
    let now = app.verifier.clock().now();
    let report = reports.add(&bearer.verified().claims().sub, new.title, now);
    Ok(HttpResponse::Created().json(report))
}

async fn remove(
    reports: web::Data<Reports>,
    bearer: Bearer,
    id: web::Path<String>,
) -> Result<HttpResponse, Challenge> {
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
        .json(Metadata {
            resource: expectations.audience.clone(),
            authorization_servers: [expectations.issuer.clone()],
            scopes_supported: ["reports:read", "reports:write"],
            bearer_methods_supported: ["header"],
        })
}

async fn metrics(app: web::Data<App>) -> impl Responder {
    telemetry::revocations(app.verifier.revocations().len(), app.verifier.revocation_age());
    telemetry::metrics().await
}

async fn live() -> impl Responder {
    HttpResponse::Ok().insert_header((CACHE_CONTROL, "no-store")).json(Live { status: "live" })
}

/// Ready when every thread of the public listener serves and a token could be accepted: keys loaded,
/// revocations fresh.
async fn ready(app: web::Data<App>, public: web::Data<Workers>) -> impl Responder {
    let age =
        app.verifier.revocation_age().map(|age| u64::try_from(age.as_millis()).unwrap_or(u64::MAX));
    let (mut answer, status) = match app.verifier.ready() {
        _ if app.draining() => (HttpResponse::ServiceUnavailable(), "stopping".to_owned()),
        _ if !public.answer().await => {
            (HttpResponse::ServiceUnavailable(), "public listener unavailable".to_owned())
        }
        Ok(()) => (HttpResponse::Ok(), "ready".to_owned()),
        Err(why) => (HttpResponse::ServiceUnavailable(), why.to_string()),
    };
    answer.insert_header((CACHE_CONTROL, "no-store")).json(Ready { status, revocation_age_ms: age })
}
