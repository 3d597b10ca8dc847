//! Keeps a verifier current over HTTP: the key set on a schedule, revocations by long poll.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use claims::revocation::KINDS;
use claims::{RevocationBatch, Timestamp};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::keys::KeySet;
#[cfg(feature = "planted-bugs")]
use crate::planted::{self, Bug};
use crate::verify::Verifier;

/// No honest key set is larger.
const MAX_KEY_SET_BYTES: usize = 256 * 1024;
/// A million revocations within a quarter of an hour.
const MAX_BATCH_BYTES: usize = 128 * 1024 * 1024;

/// So many unknown kinds are named in the log.
const MAX_STRANGE_KINDS: usize = 8;

/// For a key set, from the question to the end of the answer.
const KEY_SET_PATIENCE: Duration = Duration::from_secs(5);
/// For the beginning of an answer, beside what was asked to be waited, and for each piece of it. A
/// long list takes its time on a slow network; a silent one is given up soon.
const SILENCE: Duration = Duration::from_secs(1);
/// Between questions until an answer counts, at first. The feed reads the database when somebody new
/// asks, and the next answer tells of that read.
const STARTING_PAUSE: Duration = Duration::from_millis(10);
/// And at the most.
const STARTING_PATIENCE: Duration = Duration::from_millis(250);
/// The least time between two questions where the answers have entries and no news in them.
const PAUSE_WITHOUT_NEWS: Duration = Duration::from_millis(20);

/// Where to get what a verifier needs.
#[derive(Clone)]
pub struct Sources {
    /// The key set (`jwks_uri`, RFC 8414). Configured apart from the issuer, because inside a
    /// network the issuer's public name may not be reachable.
    pub jwks_url: String,
    /// The revocation feeds; when one fails or is slow, the next is asked.
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
    pub fn new(jwks_url: String, feed_urls: Vec<String>, feed_secret: Option<String>) -> Self {
        Self {
            jwks_url,
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
    let keys = follow_keys(Arc::clone(verifier), http.clone(), sources.clone());
    let revocations = follow_revocations(Arc::clone(verifier), http, sources);
    Ok(Follower { tasks: [tokio::spawn(keys), tokio::spawn(revocations)] })
}

async fn follow_keys(verifier: Arc<Verifier>, http: reqwest::Client, sources: Sources) {
    let mut trouble = Trouble::new("key set");
    let mut cause = "schedule";
    loop {
        let request = http.get(&sources.jwks_url).timeout(KEY_SET_PATIENCE);
        let answer = fetch(request, KEY_SET_PATIENCE, MAX_KEY_SET_BYTES).await;
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
                }
            }
            Err(error) => {
                metrics::counter!(
                    "latchkey_key_set_fetches_total", "outcome" => "failed", "cause" => cause
                )
                .increment(1);
                let pause = trouble.met(&sources.jwks_url, &error);
                // A key set in force serves on; there is no hurry to replace it.
                let least = if verifier.keys().loaded() { sources.key_cooldown } else { pause };
                tokio::time::sleep(pause.max(least)).await;
            }
        }
    }
}

async fn follow_revocations(verifier: Arc<Verifier>, http: reqwest::Client, sources: Sources) {
    let max_staleness = verifier.expectations().max_staleness;
    let wait = (max_staleness / 30).clamp(Duration::from_millis(100), Duration::from_secs(20));
    let kinds = KINDS.join(",");
    let mut trouble = Trouble::new("revocation feed");
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
        let wait = if well { wait } else { Duration::ZERO };
        let sent = verifier.clock().elapsed();
        let mut request = http
            .get(url)
            .query(&[("cursor", cursor.as_str()), ("wait", &wait.as_millis().to_string())])
            // A feed of the first version ignores what it does not know.
            .query(&[("kinds", &kinds)])
            // Whatever comes later tells of what is too long ago.
            .timeout(max_staleness);
        if let Some(secret) = &sources.feed_secret {
            request = request.bearer_auth(secret);
        }
        let batch = fetch(request, wait + SILENCE, MAX_BATCH_BYTES)
            .await
            .and_then(|json| Ok(RevocationBatch::parse(&json)?));
        match batch {
            Ok((batch, unknown)) => {
                trouble.over();
                passed_over(unknown, &mut strange);
                let news = learn(&verifier, &batch, sent);
                if verifier.revocation_age().is_none() {
                    // As of before we began.
                    tokio::time::sleep(starting).await;
                    starting = (starting * 2).min(STARTING_PATIENCE);
                } else if !news && !batch.entries.is_empty() {
                    tokio::time::sleep(PAUSE_WITHOUT_NEWS).await;
                }
                cursor = batch.cursor;
            }
            Err(error) => {
                let pause = trouble.met(url, &error);
                address = (address + 1) % sources.feed_urls.len();
                tokio::time::sleep(pause).await;
            }
        }
    }
}

/// The age is counted from when the request was *sent*: whatever the network did to the answer,
/// the knowledge in it is at least as fresh as that. Says whether there was anything new in it.
fn learn(verifier: &Verifier, batch: &RevocationBatch, sent: Duration) -> bool {
    let now = verifier.clock().elapsed();
    #[cfg(feature = "planted-bugs")]
    let sent = if planted::is(Bug::AgeFromReceipt) { now } else { sent };
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

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// The body of a successful answer that begins within `patience`, read to the bound and no further.
async fn fetch(
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

/// Says once that something fails and once that it is over; in between, waits longer and longer.
struct Trouble {
    what: &'static str,
    failures: u32,
}

impl Trouble {
    const fn new(what: &'static str) -> Self {
        Self { what, failures: 0 }
    }

    /// How long to wait before the next try: 50 ms doubling to half a second.
    fn met(&mut self, url: &str, error: &Failure) -> Duration {
        if self.failures == 0 {
            let cause = error.source().map(ToString::to_string).unwrap_or_default();
            tracing::warn!(url, error = %error, cause, "the {} cannot be fetched", self.what);
        }
        self.failures = self.failures.saturating_add(1);
        Duration::from_millis(50 << self.failures.min(5) >> 1).min(Duration::from_millis(500))
    }

    fn over(&mut self) {
        if self.failures > 0 {
            tracing::info!(failures = self.failures, "the {} is fetched again", self.what);
        }
        self.failures = 0;
    }
}
