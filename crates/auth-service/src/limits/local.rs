//! Counting in this process: what Redis does, while there is none.

use std::sync::{Mutex, MutexGuard, PoisonError};

use quick_cache::unsync::Cache;

use super::bucket::{Bucket, Key, Verdict};
use super::rule::State;

/// A bounded number of buckets. The one not used for longest goes first, which forgives whoever
/// tried least; keeping all of them would let anybody fill the memory with invented names.
pub struct Local(Mutex<Cache<Key, State>>);

impl std::fmt::Debug for Local {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Local")
    }
}

impl Local {
    /// For so many buckets, some hundred bytes each.
    #[must_use]
    pub fn new(capacity: usize) -> Self {
        Self(Mutex::new(Cache::new(capacity)))
    }

    /// Charges all of the buckets, or none.
    #[must_use]
    pub fn take(&self, buckets: &[Bucket], now: u64) -> Verdict {
        let mut states = self.states();
        let (mut taken, mut worst) = (Vec::new(), None::<(usize, u64)>);
        let mut before_was_empty = true;
        for (at, bucket) in buckets.iter().enumerate() {
            let state = states.get(&bucket.key).copied().unwrap_or_default();
            let charged = !bucket.only_after_empty || before_was_empty;
            before_was_empty = bucket.rule.is_empty(state, now);
            let state = charged.then(|| bucket.rule.take(state, now)).transpose();
            match state {
                Ok(state) => taken.push(state),
                Err(wait) => {
                    if worst.is_none_or(|(_, longest)| wait > longest) {
                        worst = Some((at, wait));
                    }
                }
            }
        }
        if let Some((bucket, wait_ms)) = worst {
            return Verdict::Refused { bucket, wait_ms };
        }
        for (bucket, state) in buckets.iter().zip(&taken) {
            if let Some(state) = state {
                states.insert(bucket.key, *state);
            }
        }
        Verdict::Admitted(taken.iter().map(Option::is_some).collect())
    }

    /// Takes one attempt back from each bucket, or, where it says so, all of them.
    pub fn give_back(&self, buckets: &[(Bucket, bool)], now: u64) {
        let mut states = self.states();
        for (bucket, all) in buckets {
            let Some(state) = states.get(&bucket.key).copied() else { continue };
            let state = if *all { State::default() } else { bucket.rule.give_back(state, now) };
            if bucket.rule.is_empty(state, now) {
                states.remove(&bucket.key);
            } else {
                states.insert(bucket.key, state);
            }
        }
    }

    fn states(&self) -> MutexGuard<'_, Cache<Key, State>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
