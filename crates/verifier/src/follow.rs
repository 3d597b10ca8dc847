//! Keeps a verifier current over HTTP: the key set on a schedule, revocations by long poll.

mod fetch;
mod freshness;
mod keys;
mod revocations;
mod sources;
mod trouble;

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinHandle;

use crate::feed_secret::FeedSecret;
use crate::verify::Verifier;

pub use sources::{FollowError, Sources};

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
    sources.check()?;
    let mut http = reqwest::Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .connect_timeout(Duration::from_secs(1))
        // Inside the network, and with a secret: not by way of whatever `http_proxy` names.
        .no_proxy();
    // A container may have no certificate authorities, and where nothing is fetched by https nobody needs one.
    if !sources.need_authorities() {
        http = http.tls_certs_only([]);
    }
    let http = http.build().map_err(FollowError::Client)?;
    let secret = sources.feed_secret.as_deref().map(FeedSecret::new).map(Arc::new);
    let keys =
        keys::follow_keys(Arc::clone(verifier), http.clone(), sources.clone(), secret.clone());
    let revocations = revocations::follow_revocations(Arc::clone(verifier), http, sources, secret);
    Ok(Follower { tasks: [tokio::spawn(keys), tokio::spawn(revocations)] })
}
