//! Keeps a verifier current over HTTP: the key set on a schedule, revocations by long poll.

mod fetch;
mod freshness;
mod keys;
mod revocations;
mod trouble;

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinHandle;

use crate::verify::Verifier;

/// Where to get what a verifier needs.
#[derive(Clone)]
pub struct Sources {
    /// Where the key set is (`jwks_uri`, RFC 8414); when one address fails, the next is asked.
    /// Configured apart from the issuer, because inside a network the issuer's public name may not be
    /// reachable.
    pub jwks_urls: Vec<String>,
    /// The revocation feeds; when one fails, is slow or has lost its database, the next is asked.
    pub feed_urls: Vec<String>,
    /// The bearer secret of the feed.
    pub feed_secret: Option<String>,
    /// How often the key set is fetched when nothing asks for it sooner.
    pub key_refresh: Duration,
    /// The least time between two fetches of the key set, however many unknown keys are named.
    pub key_cooldown: Duration,
}

impl Sources {
    /// The usual settings: keys every five minutes, and at most every ten seconds.
    #[must_use]
    pub fn new(
        jwks_urls: Vec<String>,
        feed_urls: Vec<String>,
        feed_secret: Option<String>,
    ) -> Self {
        Self {
            jwks_urls,
            feed_urls,
            feed_secret,
            key_refresh: Duration::from_mins(5),
            key_cooldown: Duration::from_secs(10),
        }
    }
}

/// The sources cannot be used as configured.
#[derive(Debug, thiserror::Error)]
pub enum FollowError {
    /// There is no address of a key set.
    #[error("no address of a key set is configured")]
    NoKeySet,
    /// There is no feed address.
    #[error("no revocation feed is configured")]
    NoFeed,
    /// The HTTP client could not be set up.
    #[error("the HTTP client could not be set up")]
    Client(#[source] reqwest::Error),
}

/// Follows until it is dropped.
#[derive(Debug)]
pub struct Follower {
    tasks: [JoinHandle<()>; 2],
}

impl Drop for Follower {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

/// Starts following on the current tokio runtime.
pub fn follow(verifier: &Arc<Verifier>, sources: Sources) -> Result<Follower, FollowError> {
    if sources.jwks_urls.is_empty() {
        return Err(FollowError::NoKeySet);
    }
    if sources.feed_urls.is_empty() {
        return Err(FollowError::NoFeed);
    }
    let http = reqwest::Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .connect_timeout(Duration::from_secs(1))
        // Inside the network, and with a secret: not by way of whatever `http_proxy` names.
        .no_proxy()
        .build()
        .map_err(FollowError::Client)?;
    let keys = keys::follow_keys(Arc::clone(verifier), http.clone(), sources.clone());
    let revocations = revocations::follow_revocations(Arc::clone(verifier), http, sources);
    Ok(Follower { tasks: [tokio::spawn(keys), tokio::spawn(revocations)] })
}
