//! What anyone may know of this service: its public keys (RFC 7517) and its metadata (RFC 8414).

use actix_web::http::header::{
    ACCESS_CONTROL_ALLOW_ORIGIN, CACHE_CONTROL, CONTENT_TYPE, ETAG, HeaderValue, IF_NONE_MATCH,
};
use actix_web::{HttpRequest, HttpResponse, web};
use aws_lc_rs::digest;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use claims::{JwkSet, jwk};
use serde::Serialize;
use utoipa::ToSchema;

use crate::policy::app::App;
use crate::tokens::clients;

/// RFC 8414. What would have no elements is left out (§3.2), such as `response_types_supported`: there is no authorization
/// endpoint. What has a default in §2 that would not be true here is there.
#[derive(Serialize, ToSchema)]
pub struct Metadata {
    /// As in the `iss` of tokens.
    pub issuer: String,
    /// Where the public keys are.
    pub jwks_uri: String,
    /// What tokens may allow.
    pub scopes_supported: Vec<String>,
    /// What tokens are given for: a name and a password, at `POST /login`, and a refresh token, at `POST /refresh`. There is
    /// no token endpoint.
    pub grant_types_supported: [&'static str; 2],
    /// Nobody proves there which client they are.
    pub token_endpoint_auth_methods_supported: [&'static str; 1],
    /// Who may make an account by `POST /register`: `open` (whoever comes), `invite` (whoever has an
    /// invitation) or `closed` (nobody). This service's own; RFC 8414 does not have it.
    pub account_registration: &'static str,
}

pub(crate) async fn jwks(app: web::Data<App>, request: HttpRequest) -> HttpResponse {
    let set = JwkSet { keys: app.keyring.now().public.clone() };
    let body = serde_json::to_vec(&set).unwrap_or_default();
    // Whoever keeps it that long still meets no key unprepared.
    let seconds = (app.config.keys.publish_seconds / 4).min(300);
    public(&request, jwk::MEDIA_TYPE, &format!("public, max-age={seconds}"), body)
}

pub(crate) async fn authorization_server(
    app: web::Data<App>,
    request: HttpRequest,
) -> HttpResponse {
    let issuer = &app.config.issuer;
    let document = Metadata {
        issuer: issuer.clone(),
        jwks_uri: format!("{issuer}/.well-known/jwks.json"),
        scopes_supported: app.config.tokens.scopes.values().map(str::to_owned).collect(),
        grant_types_supported: clients::GRANTS,
        token_endpoint_auth_methods_supported: ["none"],
        account_registration: app.config.registration_mode().as_str(),
    };
    let body = serde_json::to_vec(&document).unwrap_or_default();
    public(&request, "application/json", "public, max-age=3600", body)
}

/// A document that pages of any origin may read.
fn public(
    request: &HttpRequest,
    media_type: &'static str,
    cache: &str,
    body: Vec<u8>,
) -> HttpResponse {
    let mut response = held(request, media_type, cache, body.into());
    let everybody = HeaderValue::from_static("*");
    response.headers_mut().insert(ACCESS_CONTROL_ALLOW_ORIGIN, everybody);
    response
}

/// A document, and 304 for whoever has it already.
pub(crate) fn held(
    request: &HttpRequest,
    media_type: &'static str,
    cache: &str,
    body: web::Bytes,
) -> HttpResponse {
    let hash = digest::digest(&digest::SHA256, &body);
    let etag = format!("\"{}\"", URL_SAFE_NO_PAD.encode(&hash.as_ref()[..16]));
    let held = request.headers().get(IF_NONE_MATCH).and_then(|value| value.to_str().ok());
    let known = held.is_some_and(|held| held.split(',').any(|one| names(one.trim(), &etag)));
    let mut response = if known { HttpResponse::NotModified() } else { HttpResponse::Ok() };
    response.insert_header((ETAG, etag)).insert_header((CACHE_CONTROL, cache));
    if known {
        return response.finish();
    }
    response.insert_header((CONTENT_TYPE, media_type)).body(body)
}

/// Whether `If-None-Match` means this document: a proxy that compresses makes a tag weak, and that
/// is all the same here (RFC 9110 §13.1.2).
fn names(held: &str, etag: &str) -> bool {
    held == "*" || held.strip_prefix("W/").unwrap_or(held) == etag
}
