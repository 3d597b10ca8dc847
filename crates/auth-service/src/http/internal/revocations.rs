//! `GET /internal/revocations`: the feed that verifiers follow.

use std::time::Duration;

use actix_web::http::ConnectionType;
use actix_web::{HttpRequest, HttpResponse, ResponseError as _, web};
use claims::revocation::FIRST_KINDS;
use serde::Deserialize;

use super::followers;
use crate::error::Error;
use crate::policy::app::App;

const MAX_WAIT_MS: u64 = 20_000;
/// Beyond this age an answer without entries is 503, so that followers ask another replica.
const MAX_QUIET_AGE_MS: u64 = 2_000;
/// Room for thirty kinds and more.
const MAX_KINDS_BYTES: usize = 512;

#[derive(Deserialize)]
struct Query {
    #[serde(default)]
    cursor: String,
    #[serde(default)]
    wait: u64,
    /// The kinds of entries that the follower understands, with commas between them. Names that are
    /// not known here mean nothing.
    kinds: Option<String>,
    /// Random text of the follower's, which the code of the answer depends on.
    nonce: Option<String>,
}

pub(crate) async fn feed(app: web::Data<App>, request: HttpRequest) -> Result<HttpResponse, Error> {
    followers::admit(&app, &request)?;
    let Ok(query) = web::Query::<Query>::from_query(request.query_string()) else {
        return Err(Error::InvalidRequest(
            "cursor, kinds and nonce are text, wait is a number.".to_owned(),
        ));
    };
    if query.wait > MAX_WAIT_MS {
        return Err(Error::InvalidRequest(format!("wait is at most {MAX_WAIT_MS} ms.")));
    }
    let kinds = query.kinds.as_deref();
    if kinds.is_some_and(|kinds| kinds.len() > MAX_KINDS_BYTES) {
        return Err(Error::InvalidRequest(format!("kinds has at most {MAX_KINDS_BYTES} bytes.")));
    }
    followers::check_nonce(query.nonce.as_deref())?;
    // Followers of the first version, which name none, must be gone before a new kind means anything.
    let named = if kinds.is_some() { "named" } else { "not named" };
    metrics::counter!("latchkey_feed_requests_total", "kinds" => named).increment(1);
    let wait = Duration::from_millis(query.wait);
    let batch = tokio::select! {
        batch = app.feed.after(&query.cursor, wait) => batch,
        // About to stop: answer, so that the follower goes on elsewhere.
        () = app.stopping() => app.feed.after(&query.cursor, Duration::ZERO).await,
    };
    let mut batch = batch.ok_or(Error::NotReady)?;
    batch.entries.retain(|entry| is_understood(entry.revoked.kind(), kinds));
    if batch.reset {
        metrics::counter!("latchkey_feed_resets_total", "side" => "given").increment(1);
    }
    let stale = batch.age_ms > MAX_QUIET_AGE_MS;
    let mut answer = if stale && batch.entries.is_empty() {
        Error::RevocationsUnread.error_response()
    } else {
        let body = serde_json::to_vec(&batch).expect("entries are plain data");
        let nonce = query.nonce.as_deref();
        followers::answer(&app, nonce, &query.cursor, "application/json", body)
    };
    if stale {
        // Where one address reaches any replica, a new connection may reach another.
        answer.head_mut().set_connection_type(ConnectionType::Close);
    }
    Ok(answer)
}

/// Whether a follower that names these kinds can read an entry of this one.
fn is_understood(kind: &str, named: Option<&str>) -> bool {
    FIRST_KINDS.contains(&kind)
        || named.is_some_and(|named| named.split(',').any(|name| name == kind))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kind_beyond_the_first_is_for_those_who_name_it() {
        for named in [None, Some(""), Some(","), Some("session,subject,token,key"), Some("other")] {
            for first in FIRST_KINDS {
                assert!(is_understood(first, named), "{first} {named:?}");
            }
            assert!(!is_understood("claims", named), "{named:?}");
        }
        for named in ["claims", "session,claims", "claims,,other"] {
            assert!(is_understood("claims", Some(named)), "{named}");
            assert!(!is_understood("client", Some(named)), "{named}");
        }
        for near in ["claim", "claimsx", "Claims", " claims", "claims;client"] {
            assert!(!is_understood("claims", Some(near)), "{near}");
        }
    }
}
