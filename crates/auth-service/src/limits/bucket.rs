//! What is counted: for whom, by which rule.

use std::fmt;

use super::rule::Rule;
use crate::pseudonyms::Pseudonym;

/// What a bucket counts, and whose.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Key {
    /// The name of the policy, as clients, metrics and Redis see it.
    pub policy: &'static str,
    /// Whose.
    pub whose: Pseudonym,
}

impl fmt::Display for Key {
    /// The key in Redis.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "limit:{}:{}", self.policy, self.whose)
    }
}

/// A counter and its rule.
#[derive(Debug, Clone, Copy)]
pub struct Bucket {
    /// Which.
    pub key: Key,
    /// How it counts.
    pub rule: Rule,
    /// Count only where the bucket before this one in the list was empty: so the first attempt at
    /// each of many things is counted without a list of them.
    pub only_after_empty: bool,
    /// Whether success shows that all attempts so far were honest, not only this one.
    pub success_clears: bool,
}

/// What became of an attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It may be made; which of the buckets were charged for it.
    Admitted(Vec<bool>),
    /// It may not, and nothing was charged.
    Refused {
        /// The one that takes longest, by its place in the list.
        bucket: usize,
        /// For how long.
        wait_ms: u64,
    },
}
