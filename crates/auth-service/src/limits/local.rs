//! Counting in this process: what Redis does, while there is none.

use std::sync::{Mutex, MutexGuard, PoisonError};

use quick_cache::unsync::Cache;

use super::bucket::{Bucket, Charge, Effect, Key, Outcome, Verdict, Worst};
use super::rule::{Flights, State};

/// A bounded number of buckets. The one not used for longest goes first, which forgives whoever
/// tried least; keeping all of them would let anybody fill the memory with invented names.
pub struct Local(Mutex<Cache<Key, (State, Flights)>>);

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
        let mut known = self.known();
        let (mut taken, mut worst) = (Vec::new(), Worst::default());
        let mut before_was_empty = true;
        for (at, bucket) in buckets.iter().enumerate() {
            let (state, flights) = known.get(&bucket.key).copied().unwrap_or_default();
            let charged = !bucket.only_after_empty || before_was_empty;
            before_was_empty = bucket.rule.is_empty(state, now);
            if !charged {
                continue;
            }
            match bucket.rule.take(state, now) {
                Ok(next) => {
                    let last_before = bucket.rule.last(state, now);
                    let charge = Charge { bucket: *bucket, at: now, last_before };
                    taken.push((charge, next, flights.begin(now)));
                }
                Err(wait_ms) => worst.refused(at, wait_ms, flights.any(now)),
            }
        }
        if let Some(refused) = worst.verdict() {
            return refused;
        }
        for (charge, state, flights) in &taken {
            known.insert(charge.bucket.key, (*state, *flights));
        }
        Verdict::Admitted(taken.into_iter().map(|(charge, ..)| charge).collect())
    }

    /// Ends an attempt's flight, and undoes what it was charged unless it failed.
    pub fn settle(&self, charges: &[Charge], outcome: Outcome, now: u64) {
        let mut known = self.known();
        for Charge { bucket, at, last_before } in charges {
            let Some((state, flights)) = known.get(&bucket.key).copied() else { continue };
            let state = match outcome.effect_on(bucket) {
                Effect::Keep => state,
                Effect::GiveBack => bucket.rule.give_back(state, now, *at, *last_before),
                Effect::Clear => State::default(),
            };
            let flights = flights.end(*at, now);
            if bucket.rule.is_empty(state, now) && !flights.any(now) {
                known.remove(&bucket.key);
            } else {
                known.insert(bucket.key, (state, flights));
            }
        }
    }

    fn known(&self) -> MutexGuard<'_, Cache<Key, (State, Flights)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
