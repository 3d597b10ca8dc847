//! The key set, on a schedule, when a token names a key that is not in it, and when the feed begins anew.

use std::sync::Arc;
use std::time::Duration;

use super::Sources;
use super::fetch::{ask, fetch};
use super::trouble::Trouble;
use crate::feed_secret::FeedSecret;
use crate::keys::KeySet;
use crate::verify::Verifier;

/// No honest key set is larger.
const MAX_KEY_SET_BYTES: usize = 256 * 1024;
/// For a key set, from the question to the end of the answer.
const KEY_SET_TIMEOUT: Duration = Duration::from_secs(5);

pub(super) async fn follow_keys(
    verifier: Arc<Verifier>,
    http: reqwest::Client,
    sources: Sources,
    secret: Option<Arc<FeedSecret>>,
) {
    let addresses = sources.jwks_urls.len();
    let mut trouble = Trouble::new("key set");
    let mut cause = "schedule";
    let mut address = 0;
    loop {
        let url = &sources.jwks_urls[address];
        let request = http.get(url).timeout(KEY_SET_TIMEOUT);
        let proof = secret.as_deref().filter(|_| sources.proves_keys(url));
        // A key set that everybody may read is asked for as everybody does, and may be cached.
        let answer = match proof {
            Some(_) => ask(request, proof, "", KEY_SET_TIMEOUT, MAX_KEY_SET_BYTES).await,
            None => fetch(request, KEY_SET_TIMEOUT, MAX_KEY_SET_BYTES).await.map(|(_, json)| json),
        };
        match answer.and_then(|json| Ok(KeySet::parse(&json)?)) {
            Ok(set) => {
                verifier.keys().replace(set);
                metrics::counter!(
                    "latchkey_key_set_fetches_total", "outcome" => "ok", "cause" => cause
                )
                .increment(1);
                trouble.over();
                let cooled = tokio::time::Instant::now() + sources.key_cooldown;
                tokio::select! {
                    () = tokio::time::sleep(sources.key_refresh) => cause = "schedule",
                    () = verifier.keys().wanted() => {
                        cause = "unknown key";
                        tokio::time::sleep_until(cooled).await;
                    }
                    () = verifier.keys().doubted() => {
                        cause = "feed";
                        tokio::time::sleep_until(cooled).await;
                    }
                }
            }
            Err(error) => {
                metrics::counter!(
                    "latchkey_key_set_fetches_total", "outcome" => "failed", "cause" => cause
                )
                .increment(1);
                let pause = trouble.met(url, &error);
                address = (address + 1) % addresses;
                // A key set in force serves on; once every address has failed, there is no hurry to
                // replace it.
                let no_hurry =
                    verifier.keys().loaded() && trouble.failures.is_multiple_of(addresses);
                let least = if no_hurry { sources.key_cooldown } else { pause };
                tokio::time::sleep(pause.max(least)).await;
            }
        }
    }
}
