//! Limits on attempts: who tries too often is told how long to wait.
//!
//! An attempt is charged before it is made, so that many at once cannot slip through together, and
//! given back when it turns out to be good. Whoever is refused only for what is in flight waits for what
//! becomes of that, so that honest people who come at the same moment are not refused for each other.
//! Several buckets are charged together or not at all. Counted in Redis for all replicas, and in this
//! process while there is none: never not at all, and no login fails because Redis is away. Names and
//! addresses are counted under pseudonyms, the same whether or not there is such an account.

mod bucket;
mod counter;
mod local;
mod looks;
pub(crate) mod owners;
mod queue;
mod rule;
mod shared;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;
use verifier::Clock;

use crate::config;
use counter::Counter;

pub use bucket::{Bucket, Charge, Key, Outcome, Verdict};
pub(crate) use counter::Attempt;
pub use local::Local;
pub(crate) use looks::{Lane, Looks};
pub use rule::Rule;
pub use shared::{Shared, TIMEOUT};

/// Buckets counted here: some ten megabytes when an attack has filled them.
const CAPACITY: usize = 100_000;
/// How many refusals are held back at once, see `http/hold.rs`.
const MOST_HELD: usize = 1024;

/// What is counted, and where.
#[derive(Debug)]
pub struct Limits {
    pub(crate) settings: config::Limits,
    /// How long an attempt waits for what is in flight.
    max_wait: Duration,
    attempts: Arc<Counter>,
    /// Apart, because every refresh is counted: sessions must not push attempts out.
    tokens: Local,
    /// What the log was told of.
    told: Local,
    clock: Clock,
    /// Places for refusals that are held back.
    pub(crate) held: Semaphore,
}

/// Why, and how long, an attempt must wait.
#[derive(Debug, Clone, Copy)]
pub struct Refusal {
    bucket: Bucket,
    pub(crate) wait_ms: u64,
    /// Whether what becomes of other attempts may let it in all the same.
    in_flight: bool,
}

impl Refusal {
    /// By which policy, and whose attempt.
    pub(crate) const fn key(&self) -> Key {
        self.bucket.key
    }

    /// Whether it refused only for the sake of attempts that were being checked at that moment.
    pub(crate) const fn is_in_flight(&self) -> bool {
        self.in_flight
    }

    /// Whole seconds, rounded up.
    #[must_use]
    pub fn retry_after(&self) -> u64 {
        self.wait_ms.div_ceil(1000).max(1)
    }

    /// `RateLimit-Policy` and `RateLimit` (draft-ietf-httpapi-ratelimit-headers).
    #[must_use]
    pub fn headers(&self) -> (String, String) {
        let (policy, rule) = (self.bucket.key.policy, self.bucket.rule);
        let window = rule.window_ms().div_ceil(1000);
        (
            format!("\"{policy}\";q={};w={window}", rule.quota()),
            format!("\"{policy}\";r=0;t={}", self.retry_after()),
        )
    }
}

impl Limits {
    /// Counts in `shared` where that is given and answers. To be called on the main runtime.
    #[must_use]
    pub fn new(
        settings: config::Limits,
        max_wait: Duration,
        shared: Option<Arc<Shared>>,
        clock: Clock,
    ) -> Self {
        Self {
            settings,
            max_wait,
            attempts: Counter::new(shared, Local::new(CAPACITY), clock.clone()),
            tokens: Local::new(CAPACITY),
            told: Local::new(CAPACITY / 10),
            clock,
            held: Semaphore::new(MOST_HELD),
        }
    }

    /// Admits and charges an attempt, and waits where that depends on what is in flight.
    pub(crate) async fn attempt(&self, buckets: &[Bucket]) -> Result<Attempt, Refusal> {
        let begun = self.elapsed();
        match self.attempt_at_once(buckets, begun).await {
            Err(refusal) => self.wait(buckets, refusal, begun).await,
            admitted => admitted,
        }
    }

    /// The same without waiting, for somebody who came at `begun`.
    pub(crate) async fn attempt_at_once(
        &self,
        buckets: &[Bucket],
        begun: Duration,
    ) -> Result<Attempt, Refusal> {
        self.attempts.charge(buckets, begun).await
    }

    /// Waits, where `refusal` depends on what is in flight.
    pub(crate) async fn wait(
        &self,
        buckets: &[Bucket],
        refusal: Refusal,
        begun: Duration,
    ) -> Result<Attempt, Refusal> {
        self.attempts.wait(buckets, refusal, (begun, begun + self.max_wait)).await
    }

    /// Counts in this process only, where asking Redis would cost more than what is limited.
    pub(crate) fn token(&self, bucket: Option<Bucket>) -> Result<(), Refusal> {
        let Some(bucket) = bucket else { return Ok(()) };
        match self.tokens.take(&[bucket], self.now()) {
            Verdict::Admitted(_) => Ok(()),
            Verdict::Refused { wait_ms, .. } => Err(Refusal { bucket, wait_ms, in_flight: false }),
        }
    }

    /// Whether the log and the audit log are to hear of this refusal: once for each key and wait.
    pub(crate) fn is_news(&self, Refusal { bucket, wait_ms, .. }: Refusal) -> bool {
        let rule = Rule::Rate { burst: 1, interval_ms: wait_ms.max(bucket.rule.window_ms()) };
        let once = Bucket { rule, only_after_empty: false, ..bucket };
        matches!(self.told.take(&[once], self.now()), Verdict::Admitted(_))
    }

    /// Time that nobody can set, for `begun`.
    pub(crate) fn elapsed(&self) -> Duration {
        self.clock.elapsed()
    }

    /// Time that nobody can set, with the offset of a test.
    pub(crate) fn now(&self) -> u64 {
        counter::now(&self.clock)
    }
}
