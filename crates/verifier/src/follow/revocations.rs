//! The revocation feed, by long poll.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use latchkey_claims::revocation::KINDS;
use latchkey_claims::{RevocationBatch, Timestamp};

use super::Sources;
use super::fetch::{SILENCE, ask};
use super::freshness::Freshness;
use super::trouble::{Failure, Trouble};
use crate::feed_secret::FeedSecret;
use crate::verify::Verifier;

/// A million revocations within a quarter of an hour.
const MAX_BATCH_BYTES: usize = 128 * 1024 * 1024;
/// Between questions until an answer counts, at first. The feed reads the database when somebody new
/// asks, and the next answer tells of that read.
const STARTING_PAUSE: Duration = Duration::from_millis(10);
/// And at the most.
const STARTING_TIMEOUT: Duration = Duration::from_millis(250);
/// The least time between two questions where the answers have entries and no news in them.
const PAUSE_WITHOUT_NEWS: Duration = Duration::from_millis(20);
/// So many unknown kinds are named in the log.
const MAX_STRANGE_KINDS: usize = 8;

pub(super) async fn follow_revocations(
    verifier: Arc<Verifier>,
    http: reqwest::Client,
    sources: Sources,
    secret: Option<Arc<FeedSecret>>,
) {
    let bound = verifier.expectations().max_staleness;
    let long = (bound / 30).clamp(Duration::from_millis(100), Duration::from_secs(20));
    let addresses = sources.feed_urls.len();
    let mut trouble = Trouble::new("revocation feed");
    let mut freshness = Freshness::default();
    let mut strange = HashSet::new();
    let mut cursor = String::new();
    let mut address = 0;
    let mut starting = STARTING_PAUSE;
    verifier.revocations().begin(verifier.clock().elapsed());
    // So that the read that the first question causes is begun after this, as is seen from here.
    tokio::time::sleep(STARTING_PAUSE).await;
    loop {
        let url = &sources.feed_urls[address];
        // While something is wrong, soon to hear that it is over.
        let well = verifier.revocation_age().is_some() && trouble.failures == 0;
        let wait = if well { long } else { Duration::ZERO };
        let sent = verifier.clock().elapsed();
        // Whatever comes later tells of what is too long ago.
        let request = http.get(url).timeout(bound);
        let leave = match batch(request, secret.as_deref(), &cursor, wait).await {
            Ok((batch, unknown)) => {
                passed_over(unknown, &mut strange);
                // Stale or not, it is true, and adds to what is known.
                let news = learn(&verifier, &batch, sent);
                let (received, age) =
                    (verifier.clock().elapsed(), Duration::from_millis(batch.age_ms));
                let stale = freshness.judge(sent, received, age, bound).err();
                let pause = if verifier.revocation_age().is_none() {
                    // As of before we began.
                    let pause = starting;
                    starting = (starting * 2).min(STARTING_TIMEOUT);
                    pause
                } else if !news && !batch.entries.is_empty() {
                    PAUSE_WITHOUT_NEWS
                } else {
                    Duration::ZERO
                };
                if batch.reset && !cursor.is_empty() {
                    // A feed that begins anew may be that of a restored database, which has other keys.
                    verifier.keys().doubt();
                }
                // Every feed understands the cursor of every other.
                cursor = batch.cursor;
                // Where there is nobody else to ask, what is stale is the best there is.
                let stale = stale.filter(|_| addresses > 1);
                if stale.is_none() {
                    trouble.over();
                    tokio::time::sleep(pause).await;
                }
                stale.map(Failure::from)
            }
            Err(error) => Some(error),
        };
        if let Some(why) = leave {
            let pause = trouble.met(url, &why);
            address = (address + 1) % addresses;
            freshness = Freshness::default();
            tokio::time::sleep(pause).await;
        }
    }
}

/// One answer of a feed, with how many entries of kinds that are not known were skipped in it.
async fn batch(
    request: reqwest::RequestBuilder,
    secret: Option<&FeedSecret>,
    cursor: &str,
    wait: Duration,
) -> Result<(RevocationBatch, BTreeMap<String, u64>), Failure> {
    // A feed of the first version ignores what it does not know.
    let (wait_ms, kinds) = (wait.as_millis().to_string(), KINDS.join(","));
    let request = request.query(&[("cursor", cursor), ("wait", &wait_ms), ("kinds", &kinds)]);
    let json = ask(request, secret, cursor, wait + SILENCE, MAX_BATCH_BYTES).await?;
    Ok(RevocationBatch::parse(&json)?)
}

/// The age is counted from when the request was *sent*: whatever the network did to the answer,
/// the knowledge in it is at least as fresh as that. Says whether there was anything new in it.
fn learn(verifier: &Verifier, batch: &RevocationBatch, sent: Duration) -> bool {
    let now = verifier.clock().elapsed();
    let list = verifier.revocations();
    let news = list.add(&batch.entries, now);
    let seconds = i64::try_from(batch.now).unwrap_or(i64::MAX / 1000);
    let as_of = sent.saturating_sub(Duration::from_millis(batch.age_ms));
    list.complete(as_of, Timestamp(seconds.saturating_mul(1000)), now);
    if batch.reset {
        metrics::counter!("latchkey_feed_resets_total", "side" => "taken").increment(1);
    }
    news
}

/// Counts the entries of kinds that this version does not know, and names each kind once.
fn passed_over(unknown: BTreeMap<String, u64>, told: &mut HashSet<String>) {
    for (kind, entries) in unknown {
        metrics::counter!("latchkey_feed_entries_skipped_total").increment(entries);
        if told.len() < MAX_STRANGE_KINDS && told.insert(kind.clone()) {
            tracing::warn!(
                ?kind,
                "the revocation feed has entries of a kind that this version does not know; they are skipped"
            );
        }
    }
}
