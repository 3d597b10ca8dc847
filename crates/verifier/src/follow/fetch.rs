//! One question and its answer, within bounds, and proven where there is a secret.

use std::time::Duration;

use aws_lc_rs::rand;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use reqwest::header::HeaderMap;
use reqwest::{RequestBuilder, StatusCode};
use tokio::time::timeout;

use super::trouble::Failure;
use crate::feed_secret::{FeedSecret, MAC_HEADER};

/// For the beginning of an answer, beside what was asked to be waited, and for each piece of it. A
/// long list takes its time on a slow network; a silent one is given up soon.
pub(super) const SILENCE: Duration = Duration::from_secs(1);

/// Asks the internal listener of an auth-service. Where there is a secret, nothing of an answer comes
/// out of here before its code was found to be right.
pub(super) async fn ask(
    request: RequestBuilder,
    secret: Option<&FeedSecret>,
    cursor: &str,
    patience: Duration,
    max_bytes: usize,
) -> Result<Vec<u8>, Failure> {
    let nonce = nonce()?;
    // Without a secret too: no two questions are the same, so that no cache on the way answers one
    // with what it answered another.
    let request = request.query(&[("nonce", &nonce)]);
    let Some(secret) = secret else {
        return Ok(fetch(request, patience, max_bytes).await?.1);
    };
    let request = request.bearer_auth(secret.bearer());
    let (headers, body) = fetch(request, patience, max_bytes).await?;
    let Some(code) = headers.get(MAC_HEADER) else {
        let what = "the answer has no x-latchkey-mac: it is not the auth-service's, or that has no \
            feed.secret, or is of an older version; auth-services are upgraded before the services \
            that follow them";
        return Err(what.into());
    };
    if !secret.proves(code.as_bytes(), &nonce, cursor, &body) {
        let what = "the answer's x-latchkey-mac is wrong: it was changed on the way, or is an \
            answer to another question, or feed.secret is not the same at both ends";
        return Err(what.into());
    }
    Ok(body)
}

/// The headers and the body of a successful answer that begins within `patience`, read to the bound
/// and no further.
pub(super) async fn fetch(
    request: RequestBuilder,
    patience: Duration,
    max_bytes: usize,
) -> Result<(HeaderMap, Vec<u8>), Failure> {
    // The address is told beside the error, and without what differs from question to question.
    let told = reqwest::Error::without_url;
    let late = |_| "there was no answer in time";
    let mut response = timeout(patience, request.send()).await.map_err(late)?.map_err(told)?;
    if response.status() == StatusCode::UNAUTHORIZED {
        let what = "refused with 401: feed.secret is not the same at both ends, or the auth-service \
            is of an older version; auth-services are upgraded before the services that follow them";
        return Err(what.into());
    }
    if !response.status().is_success() {
        return Err(format!("unexpected status {}", response.status()).into());
    }
    let headers = std::mem::take(response.headers_mut());
    let mut body = Vec::new();
    while let Some(chunk) = timeout(SILENCE, response.chunk()).await.map_err(late)?.map_err(told)? {
        if body.len() + chunk.len() > max_bytes {
            return Err(format!("the answer is longer than {max_bytes} bytes").into());
        }
        body.extend_from_slice(&chunk);
    }
    Ok((headers, body))
}

/// 128 random bits.
fn nonce() -> Result<String, Failure> {
    let mut bytes = [0; 16];
    rand::fill(&mut bytes).map_err(|_| "there is no randomness to be had")?;
    Ok(URL_SAFE_NO_PAD.encode(bytes))
}
