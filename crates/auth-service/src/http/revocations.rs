//! `GET /internal/revocations`: the feed that verifiers follow.

use std::time::Duration;

use actix_web::http::header::CACHE_CONTROL;
use actix_web::{HttpRequest, HttpResponse, web};
use aws_lc_rs::constant_time::verify_slices_are_equal;
use secrecy::ExposeSecret as _;
use serde::Deserialize;
use verifier::actix::bearer_token;

use crate::app::App;
use crate::error::Error;

const MAX_WAIT_MS: u64 = 20_000;

#[derive(Deserialize)]
struct Query {
    #[serde(default)]
    cursor: String,
    #[serde(default)]
    wait: u64,
}

pub(super) async fn feed(app: web::Data<App>, request: HttpRequest) -> Result<HttpResponse, Error> {
    check_secret(&app, &request)?;
    let Ok(query) = web::Query::<Query>::from_query(request.query_string()) else {
        return Err(Error::InvalidRequest("cursor is text and wait a number.".to_owned()));
    };
    if query.wait > MAX_WAIT_MS {
        return Err(Error::InvalidRequest(format!("wait is at most {MAX_WAIT_MS} ms.")));
    }
    let wait = Duration::from_millis(query.wait);
    let batch = tokio::select! {
        batch = app.feed.after(&query.cursor, wait) => batch,
        // About to stop: answer, so that the follower goes on elsewhere.
        () = app.stopping() => app.feed.after(&query.cursor, Duration::ZERO).await,
    };
    let batch = batch.ok_or(Error::NotReady)?;
    if batch.reset {
        metrics::counter!("latchkey_feed_resets_total", "side" => "given").increment(1);
    }
    Ok(HttpResponse::Ok().insert_header((CACHE_CONTROL, "no-store")).json(batch))
}

fn check_secret(app: &App, request: &HttpRequest) -> Result<(), Error> {
    let secret = app.config.feed.secret.expose_secret();
    if secret.is_empty() {
        return Ok(());
    }
    let given = bearer_token(request).map_err(|_| Error::InvalidToken)?;
    verify_slices_are_equal(given, secret.as_bytes()).map_err(|_| Error::InvalidToken)
}
