//! What anyone may know.

use auth_service::config::RegistrationMode;
use auth_service::schemas::{Health, Metadata};
use auth_service::tokens::clients::GRANTS;
use claims::jwk::{self, Algorithm, Jwk, JwkSet};
use problem::ProblemCode as Code;

use crate::document::{ParameterIn, Route};

const TAG: &str = "Metadata";
const TAG_TEXT: &str = "Names this version of the document.";
const HELD: &str = "The `ETag` of the document that you have.";

pub(super) fn routes() -> Vec<Route> {
    let health = |status: &str| Health { status: status.to_owned() };
    vec![
        Route::get("/.well-known/jwks.json", "keys", "Public keys")
            .says(
                TAG,
                "What access tokens are verified with (RFC 7517). A key is here for an hour before it signs, so \
                 keep the set for as long as `Cache-Control` says.",
            )
            .parameter(ParameterIn::Header, "If-None-Match", HELD, "\"0m3VxRBMcrPKu8GnKBfaPw\"")
            .answers_as(jwk::MEDIA_TYPE, 200, "The keys.", &keys())
            .header(200, "ETag", TAG_TEXT)
            .header(200, "Cache-Control", "How long they may be kept.")
            .empty(304, "You have them already."),
        Route::get("/.well-known/oauth-authorization-server", "metadata", "Metadata")
            .says(TAG, "What this service is, for OAuth clients (RFC 8414), and who may make an account.")
            .parameter(ParameterIn::Header, "If-None-Match", HELD, "\"0m3VxRBMcrPKu8GnKBfaPw\"")
            .answers(200, "The metadata.", &metadata())
            .header(200, "ETag", TAG_TEXT)
            .header(200, "Cache-Control", "How long it may be kept.")
            .empty(304, "You have it already."),
        Route::get("/health/live", "live", "Does it run?")
            .says(TAG, "For whoever restarts it. It touches nothing.")
            .answers(200, "It runs.", &health("live")),
        Route::get("/health/ready", "ready", "Can it serve?")
            .says(TAG, "For whoever sends it requests: it has its keys, and a write works.")
            .answers(200, "It can.", &health("ready"))
            .answers(503, "It cannot, or is about to stop.", &health("database unavailable")),
        Route::get("/problems", "problems", "Everything that can go wrong")
            .says("Documentation", "The codes, each with a page.")
            .text("text/html", "The page.", "<!doctype html>"),
        Route::get("/problems/{code}", "problem", "What a problem means")
            .says("Documentation", "The `type` of every problem leads to such a page, for people.")
            .parameter(ParameterIn::Path, "code", "The `code` of a problem.", "token-reused")
            .text("text/html", "The page.", "<!doctype html>")
            .problems(&[Code::NotFound]),
    ]
}

fn keys() -> JwkSet {
    let key = Jwk {
        kty: "EC".to_owned(),
        usage: "sig".to_owned(),
        alg: Algorithm::Es256,
        kid: "17".parse().expect("a key id"),
        crv: Some("P-256".to_owned()),
        x: Some("f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU".to_owned()),
        y: Some("x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0".to_owned()),
        n: None,
        e: None,
    };
    JwkSet { keys: vec![key] }
}

fn metadata() -> Metadata {
    let scopes = ["profile", "email", "reports:read", "reports:write"];
    Metadata {
        issuer: super::ISSUER.to_owned(),
        jwks_uri: format!("{}/.well-known/jwks.json", super::ISSUER),
        scopes_supported: scopes.map(str::to_owned).to_vec(),
        grant_types_supported: GRANTS,
        token_endpoint_auth_methods_supported: ["none"],
        account_registration: RegistrationMode::Open.as_str(),
    }
}
