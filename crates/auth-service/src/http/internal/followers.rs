//! Who may ask on the internal listener, and how they know that the answer is ours.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use actix_web::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use actix_web::{HttpRequest, HttpResponse};
use aws_lc_rs::constant_time::verify_slices_are_equal;
use secrecy::ExposeSecret as _;
use verifier::actix::authorization;
use verifier::{FeedSecret, MAC_HEADER, bearer_token};

use crate::error::Error;
use crate::policy::app::App;

/// How often a secret that is not ours is told of: a follower that has one asks twice a second.
const TOLD_EVERY: Duration = Duration::from_mins(1);

/// Lets in who knows the feed's secret; everybody where there is none.
pub(crate) fn admit(app: &App, request: &HttpRequest) -> Result<(), Error> {
    let feed = &app.config.feed;
    let secret = feed.secret.expose_secret();
    if secret.is_empty() {
        return Ok(());
    }
    let given = bearer_token(authorization(request)).map_err(|_| stranger(app, "no secret"))?;
    if FeedSecret::new(secret).is_bearer(given) {
        return Ok(());
    }
    // As followers of the first version show it.
    let plain = verify_slices_are_equal(given, secret.as_bytes()).is_ok();
    if plain && feed.accept_plain_secret {
        metrics::counter!("latchkey_feed_plain_secret_total").increment(1);
        return Ok(());
    }
    Err(stranger(app, "another secret than feed.secret of this service"))
}

/// Somebody who is not let in, and probably should be: nobody else reaches this listener.
fn stranger(app: &App, showed: &str) -> Error {
    static TOLD: Mutex<Option<Duration>> = Mutex::new(None);
    let now = app.verifier.clock().elapsed();
    let mut told = TOLD.lock().unwrap_or_else(PoisonError::into_inner);
    if told.is_none_or(|told| now >= told + TOLD_EVERY) {
        *told = Some(now);
        tracing::warn!(
            "a follower showed {showed}, and is refused; give every service that follows this one its feed.secret"
        );
    }
    Error::InvalidToken
}

/// Refuses what is no nonce. 128 bits are 22 characters of base64url or 32 hexadecimal digits.
pub(crate) fn check_nonce(nonce: Option<&str>) -> Result<(), Error> {
    let good = nonce.is_none_or(|nonce| {
        let known = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        (22..=64).contains(&nonce.len()) && nonce.bytes().all(known)
    });
    if good {
        return Ok(());
    }
    Err(Error::InvalidRequest("nonce has 22 to 64 letters, digits, hyphens and underlines.".into()))
}

/// An answer, with its code for who sent a nonce.
pub(crate) fn answer(
    app: &App,
    nonce: Option<&str>,
    cursor: &str,
    media_type: &'static str,
    body: Vec<u8>,
) -> HttpResponse {
    let secret = app.config.feed.secret.expose_secret();
    let mut answer = HttpResponse::Ok();
    answer.insert_header((CACHE_CONTROL, "no-store")).insert_header((CONTENT_TYPE, media_type));
    if let Some(nonce) = nonce.filter(|_| !secret.is_empty()) {
        answer.insert_header((MAC_HEADER, FeedSecret::new(secret).code(nonce, cursor, &body)));
    }
    answer.body(body)
}
