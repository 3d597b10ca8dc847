//! Limits on attempts: who tries too often is told how long to wait.
//!
//! An attempt is charged before it is made, so that many at once cannot slip through together, and
//! given back when it turns out to be good. Several buckets are charged together or not at all.
//! Counted in Redis for all replicas, and in this process while there is none: never not at all, and
//! no login fails because Redis is away. Names and addresses are counted under pseudonyms, the same
//! whether or not there is such an account.

mod bucket;
mod local;
mod neighbours;
mod rule;
mod shared;

use std::sync::Arc;

use tokio::sync::Semaphore;
use verifier::Clock;

use crate::config;

pub use bucket::{Bucket, Key, Verdict};
pub use local::Local;
pub use rule::Rule;
pub use shared::{PATIENCE, Shared};

/// Buckets counted here: some ten megabytes when an attack has filled them.
const CAPACITY: usize = 100_000;
/// How many refusals are held back at once, see `http/hold.rs`.
const MOST_HELD: usize = 1024;

/// What is counted, and where.
#[derive(Debug)]
pub struct Limits {
    pub(crate) settings: config::Limits,
    shared: Option<Arc<Shared>>,
    attempts: Local,
    /// Apart, because every refresh is counted: sessions must not push attempts out.
    tokens: Local,
    /// What the log was told of.
    told: Local,
    pub(crate) neighbours: neighbours::Neighbours,
    clock: Clock,
    /// Places for refusals that are held back.
    pub(crate) held: Semaphore,
}

/// An attempt that was admitted and charged.
#[derive(Debug)]
pub(crate) struct Attempt {
    charged: Vec<Bucket>,
    shared: bool,
}

/// What became of an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// It was wrong, and counts.
    Failed,
    /// It was right.
    Succeeded,
    /// It was not made: what it was charged is given back.
    Void,
}

/// Why, and how long, an attempt must wait.
#[derive(Debug, Clone, Copy)]
pub struct Refusal {
    bucket: Bucket,
    pub(crate) wait_ms: u64,
}

impl Refusal {
    /// By which policy, and whose attempt.
    pub(crate) const fn key(&self) -> Key {
        self.bucket.key
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
    /// Counts in `shared` where that is given and answers.
    #[must_use]
    pub fn new(settings: config::Limits, shared: Option<Arc<Shared>>, clock: Clock) -> Self {
        Self {
            settings,
            shared,
            attempts: Local::new(CAPACITY),
            tokens: Local::new(CAPACITY),
            told: Local::new(CAPACITY / 10),
            neighbours: neighbours::Neighbours::new(CAPACITY / 10),
            clock,
            held: Semaphore::new(MOST_HELD),
        }
    }

    pub(crate) async fn attempt(&self, buckets: Vec<Bucket>) -> Result<Attempt, Refusal> {
        let answer = match &self.shared {
            Some(shared) => shared.take(&buckets).await,
            None => None,
        };
        let shared = answer.is_some();
        let verdict = match answer {
            Some((verdict, _)) => verdict,
            None => self.attempts.take(&buckets, self.now()),
        };
        let charged = admitted(&buckets, &verdict)?;
        let charged = buckets.into_iter().zip(charged).filter(|(_, charged)| *charged);
        Ok(Attempt { charged: charged.map(|(bucket, _)| bucket).collect(), shared })
    }

    /// To be called when it is known what became of an attempt. One that is never settled counts.
    pub(crate) async fn settle(&self, attempt: Attempt, outcome: Outcome) {
        let all = |bucket: &Bucket| outcome == Outcome::Succeeded && bucket.success_clears;
        let back: Vec<_> = attempt.charged.into_iter().map(|it| (it, all(&it))).collect();
        if outcome == Outcome::Failed || back.is_empty() {
            return;
        }
        match &self.shared {
            // Where it was charged; a Redis that went away meanwhile forgives nothing.
            Some(shared) if attempt.shared => drop(shared.give_back(&back).await),
            _ => self.attempts.give_back(&back, self.now()),
        }
    }

    /// Counts in this process only, where asking Redis would cost more than what is limited.
    pub(crate) fn token(&self, bucket: Option<Bucket>) -> Result<(), Refusal> {
        let Some(bucket) = bucket else { return Ok(()) };
        admitted(&[bucket], &self.tokens.take(&[bucket], self.now())).map(drop)
    }

    /// Whether the log and the trail are to hear of this refusal: once for each key and wait.
    pub(crate) fn is_news(&self, Refusal { bucket, wait_ms }: Refusal) -> bool {
        let rule = Rule::Rate { burst: 1, interval_ms: wait_ms.max(bucket.rule.window_ms()) };
        let once = Bucket { rule, only_after_empty: false, ..bucket };
        matches!(self.told.take(&[once], self.now()), Verdict::Admitted(_))
    }

    /// Time that nobody can set, with the offset of a test.
    pub(crate) fn now(&self) -> u64 {
        let elapsed = u64::try_from(self.clock.elapsed().as_millis()).unwrap_or(u64::MAX / 2);
        elapsed.saturating_add_signed(self.clock.offset_millis())
    }
}

fn admitted(buckets: &[Bucket], verdict: &Verdict) -> Result<Vec<bool>, Refusal> {
    match verdict {
        Verdict::Admitted(charged) => Ok(charged.clone()),
        Verdict::Refused { bucket, wait_ms } => {
            Err(Refusal { bucket: buckets[*bucket], wait_ms: *wait_ms })
        }
    }
}
