//! One request and its answer, within bounds.

use std::time::Duration;

use tokio::time::timeout;

use super::trouble::Failure;

/// For the beginning of an answer, beside what was asked to be waited, and for each piece of it. A
/// long list takes its time on a slow network; a silent one is given up soon.
pub(super) const SILENCE: Duration = Duration::from_secs(1);

/// The body of a successful answer that begins within `patience`, read to the bound and no further.
pub(super) async fn fetch(
    request: reqwest::RequestBuilder,
    patience: Duration,
    max_bytes: usize,
) -> Result<Vec<u8>, Failure> {
    let mut response = timeout(patience, request.send()).await??.error_for_status()?;
    if !response.status().is_success() {
        return Err(format!("unexpected status {}", response.status()).into());
    }
    let mut body = Vec::new();
    while let Some(chunk) = timeout(SILENCE, response.chunk()).await?? {
        if body.len() + chunk.len() > max_bytes {
            return Err(format!("the answer is longer than {max_bytes} bytes").into());
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}
