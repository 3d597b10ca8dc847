//! Attempts that wait for what becomes of others: a queue for each bucket that refuses.
//!
//! Only the first of a queue asks again, so whoever came first goes first, and a crowd does not ask
//! Redis all at once. Who waits holds nothing but the request: no place for hashing and no connection.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use super::Refusal;
use super::bucket::{Bucket, Charge, Key};

/// How many wait in all: a request is some kilobytes.
const MOST: usize = 1024;
/// How many of them share a bucket: one network, or the strangers who besiege one name, must not take
/// all places. The rest of a crowd is refused as if nothing were in flight.
const MOST_OF_ONE: usize = 128;

/// The queues of this process.
#[derive(Debug, Default)]
pub(super) struct Queues(Mutex<Inner>);

#[derive(Debug, Default)]
struct Inner {
    queues: HashMap<Key, Queue>,
    /// How many of those who wait would be charged to a bucket.
    shares: HashMap<Key, usize>,
    all: usize,
}

#[derive(Debug)]
struct Queue {
    waiting: VecDeque<Arc<Notify>>,
    /// What the first was told last.
    refusal: Refusal,
}

/// A place in a queue, given up when it is dropped.
#[derive(Debug)]
pub(super) struct Turn {
    queues: Arc<Queues>,
    key: Key,
    called: Arc<Notify>,
    shares: Vec<Key>,
}

impl Queues {
    /// What somebody who waits for one of these buckets was told last: whoever comes now is behind them.
    pub(super) fn before(&self, buckets: &[Bucket]) -> Option<Refusal> {
        let inner = self.inner();
        if inner.all == 0 {
            return None;
        }
        buckets.iter().find_map(|bucket| inner.queues.get(&bucket.key)).map(|queue| queue.refusal)
    }

    /// The last place in the queue of the bucket that refused. `None` where too many wait already.
    pub(super) fn join(self: &Arc<Self>, refusal: Refusal, buckets: &[Bucket]) -> Option<Turn> {
        let shares: Vec<_> = buckets.iter().map(|bucket| bucket.key).collect();
        let (key, called) = (refusal.key(), Arc::new(Notify::new()));
        let mut inner = self.inner();
        let is_full = |key: &Key| inner.shares.get(key).is_some_and(|share| *share >= MOST_OF_ONE);
        if inner.all >= MOST || shares.iter().any(is_full) {
            return None;
        }
        inner.all += 1;
        for share in &shares {
            *inner.shares.entry(*share).or_default() += 1;
        }
        let empty = || Queue { waiting: VecDeque::new(), refusal };
        inner.queues.entry(key).or_insert_with(empty).waiting.push_back(Arc::clone(&called));
        Some(Turn { queues: Arc::clone(self), key, called, shares })
    }

    /// Something became of an attempt that was charged so: whoever is first may ask again.
    pub(super) fn wake(&self, charges: &[Charge]) {
        let inner = self.inner();
        if inner.all == 0 {
            return;
        }
        for charge in charges {
            let queue = inner.queues.get(&charge.bucket.key);
            if let Some(first) = queue.and_then(|queue| queue.waiting.front()) {
                first.notify_one();
            }
        }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Turn {
    pub(super) fn is_first(&self) -> bool {
        let inner = self.queues.inner();
        let first = inner.queues.get(&self.key).and_then(|queue| queue.waiting.front());
        first.is_some_and(|first| Arc::ptr_eq(first, &self.called))
    }

    /// Waits until it may be worth asking: having become the first, or, as the first, when something
    /// became of an attempt.
    pub(super) async fn called(&self) {
        self.called.notified().await;
    }

    /// Remembers what the first was told.
    pub(super) fn told(&self, refusal: Refusal) {
        if let Some(queue) = self.queues.inner().queues.get_mut(&self.key) {
            queue.refusal = refusal;
        }
    }

    /// What the first was told last.
    pub(super) fn refusal(&self) -> Option<Refusal> {
        self.queues.inner().queues.get(&self.key).map(|queue| queue.refusal)
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let mut inner = self.queues.inner();
        inner.all -= 1;
        for share in &self.shares {
            if let Some(count) = inner.shares.get_mut(share) {
                *count -= 1;
                if *count == 0 {
                    inner.shares.remove(share);
                }
            }
        }
        let Some(queue) = inner.queues.get_mut(&self.key) else { return };
        queue.waiting.retain(|one| !Arc::ptr_eq(one, &self.called));
        match queue.waiting.front() {
            Some(first) => first.notify_one(),
            None => drop(inner.queues.remove(&self.key)),
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::super::rule::Rule;
    use super::*;
    use crate::identity::pseudonyms::Pseudonyms;

    fn bucket(name: u64) -> Bucket {
        let whose = Pseudonyms::new(&[1; 32]).of("test", &[&name.to_be_bytes()]);
        let rule = Rule::Rate { burst: 1, interval_ms: 1000 };
        let key = Key { policy: "test", whose };
        Bucket { key, rule, only_after_empty: false, success_clears: false }
    }

    fn refused(bucket: Bucket) -> Refusal {
        Refusal { bucket, wait_ms: 1, in_flight: true }
    }

    #[test]
    fn who_came_first_is_called_first_also_when_somebody_goes_away() {
        let (queues, bucket) = (Arc::new(Queues::default()), bucket(0));
        assert!(queues.before(&[bucket]).is_none());
        let mut turns: Vec<_> =
            (0..4).map(|_| queues.join(refused(bucket), &[bucket]).unwrap()).collect();
        assert!(queues.before(&[bucket]).is_some());
        assert!(turns[0].is_first() && !turns[1].is_first());
        drop(turns.remove(2));
        drop(turns.remove(0));
        assert!(turns[0].is_first() && turns[0].called().now_or_never().is_some());
        assert!(turns[1].called().now_or_never().is_none());
        queues.wake(&[Charge { bucket, at: 0, last_before: 0 }]);
        assert!(turns[0].called().now_or_never().is_some());
        turns.clear();
        let inner = queues.inner();
        assert!(inner.queues.is_empty() && inner.shares.is_empty() && inner.all == 0);
    }

    #[test]
    fn one_bucket_never_takes_all_places_and_there_is_a_last_one() {
        let queues = Arc::new(Queues::default());
        let mut turns = Vec::new();
        // Wherever they wait: what they share is the first bucket.
        for own in 0..MOST_OF_ONE as u64 {
            let both = [bucket(0), bucket(1 + own)];
            turns.push(queues.join(refused(both[1]), &both).unwrap());
        }
        assert!(queues.join(refused(bucket(0)), &[bucket(0)]).is_none());
        for other in 0.. {
            let Some(turn) = queues.join(refused(bucket(9999 + other)), &[bucket(9999 + other)])
            else {
                break;
            };
            turns.push(turn);
        }
        assert_eq!(turns.len(), MOST);
        turns.pop();
        assert!(queues.join(refused(bucket(7777)), &[bucket(7777)]).is_some());
    }
}
