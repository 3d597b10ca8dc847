//! What is counted: for whom, by which rule.

use std::fmt;

use super::rule::Rule;
use crate::identity::pseudonyms::Pseudonym;

/// What a bucket counts, and whose.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Key {
    /// The name of the policy, as clients, metrics and Redis see it.
    pub policy: &'static str,
    pub whose: Pseudonym,
}

impl fmt::Display for Key {
    /// The key in Redis.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "limit:{}:{}", self.policy, self.whose)
    }
}

/// A counter and its rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bucket {
    pub key: Key,
    pub rule: Rule,
    /// Count only where the bucket before this one in the list was empty: so the first attempt at
    /// each of many things is counted without a list of them.
    pub only_after_empty: bool,
    /// Whether success shows that all attempts so far were honest, not only this one.
    pub success_clears: bool,
}

/// A bucket that was charged for an attempt, and what is needed to undo that.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Charge {
    pub bucket: Bucket,
    /// When, by the clock that counts.
    pub at: u64,
    /// When the attempt before this one was, where the rule cares.
    pub last_before: u64,
}

/// Whether an attempt may be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It may; the buckets that were charged for it.
    Admitted(Vec<Charge>),
    /// It may not, and nothing was charged.
    Refused {
        /// The bucket that takes longest, by its place in the list.
        bucket: usize,
        /// For how long.
        wait_ms: u64,
        /// Whether every bucket that refuses has attempts in flight: what becomes of those decides.
        in_flight: bool,
    },
}

/// What became of an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It was wrong, and counts.
    Failed,
    /// It was right: it does not count, and where the bucket says so, nothing before it does.
    Succeeded,
    /// It was not made, and does not count.
    Void,
}

/// What is done to one bucket when it is known what became of an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Effect {
    Keep,
    /// The charge is taken back.
    GiveBack,
    Clear,
}

impl Outcome {
    pub(super) const fn effect_on(self, bucket: &Bucket) -> Effect {
        match self {
            Self::Failed => Effect::Keep,
            Self::Succeeded if bucket.success_clears => Effect::Clear,
            Self::Succeeded | Self::Void => Effect::GiveBack,
        }
    }
}

/// The buckets that refuse one attempt, seen one after the other.
#[derive(Debug, Default)]
pub(super) struct Worst {
    decided: Option<(usize, u64)>,
    in_flight: Option<(usize, u64)>,
}

impl Worst {
    pub(super) fn refused(&mut self, bucket: usize, wait_ms: u64, in_flight: bool) {
        let worst = if in_flight { &mut self.in_flight } else { &mut self.decided };
        if worst.is_none_or(|(_, longest)| wait_ms > longest) {
            *worst = Some((bucket, wait_ms));
        }
    }

    /// The one that takes longest of those that are decided, else of those that are not.
    pub(super) fn verdict(&self) -> Option<Verdict> {
        let (bucket, wait_ms) = self.decided.or(self.in_flight)?;
        Some(Verdict::Refused { bucket, wait_ms, in_flight: self.decided.is_none() })
    }
}
