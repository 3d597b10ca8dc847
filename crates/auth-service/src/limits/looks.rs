//! What was looked up in the database for those who are refused, and is remembered for a moment.
//!
//! However many ask for one thing at the same time, the database is asked once, and not again for a
//! while. So a flood that besieges one account costs it next to nothing, from however many networks it
//! comes, and takes nothing from the owner, whose question has the same answer.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use quick_cache::unsync::Cache;
use tokio::sync::{Semaphore, watch};
use tokio::time::timeout;

use crate::identity::pseudonyms::Pseudonym;

/// How long it is remembered what was found.
const REMEMBERED_MS: u64 = 5_000;
/// How long somebody waits for the database; what it answers later is remembered all the same.
const TIMEOUT: Duration = Duration::from_secs(1);

/// What was found, by what it was looked up for; a bounded number.
pub(crate) struct Looks<T>(Mutex<Cache<Pseudonym, Look<T>>>);

struct Look<T> {
    at: u64,
    /// Closed when the look is over; nothing was found where it is empty then.
    found: watch::Receiver<Option<T>>,
}

/// Who stands in line for the same connections: so many ask the database at once, in the order in
/// which they came.
#[derive(Debug, Clone)]
pub(crate) struct Lane(Arc<Semaphore>);

impl Lane {
    pub(crate) fn new(at_once: usize) -> Self {
        Self(Arc::new(Semaphore::new(at_once)))
    }
}

impl<T> std::fmt::Debug for Looks<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Looks")
    }
}

impl<T: Clone + Send + Sync + 'static> Looks<T> {
    pub(crate) fn new(capacity: usize) -> Self {
        Self(Mutex::new(Cache::new(capacity)))
    }

    /// What is remembered of `key`, or else what `look` finds, where that is `allowed`. A look that was
    /// begun goes on, also when nobody waits for it any more: else a client that goes away again and
    /// again would have each of its requests begin another.
    pub(crate) async fn get(
        &self,
        key: Pseudonym,
        now: u64,
        lane: &Lane,
        allowed: impl FnOnce() -> bool,
        look: impl Future<Output = Option<T>> + Send + 'static,
    ) -> Option<T> {
        let mut found = match self.known(key, now) {
            Some(found) => found,
            None => allowed().then(|| self.begin(key, now, lane.clone(), look))?,
        };
        let found = timeout(TIMEOUT, found.wait_for(Option::is_some)).await.ok()?.ok()?;
        found.clone()
    }

    fn known(&self, key: Pseudonym, now: u64) -> Option<watch::Receiver<Option<T>>> {
        let looks = self.looks();
        let look = looks.get(&key).filter(|look| now < look.at + REMEMBERED_MS)?;
        Some(look.found.clone())
    }

    fn begin(
        &self,
        key: Pseudonym,
        now: u64,
        lane: Lane,
        look: impl Future<Output = Option<T>> + Send + 'static,
    ) -> watch::Receiver<Option<T>> {
        let (tell, found) = watch::channel(None);
        self.looks().insert(key, Look { at: now, found: found.clone() });
        tokio::spawn(async move {
            let Ok(_place) = lane.0.acquire().await else { return };
            tell.send_replace(look.await);
        });
        found
    }

    fn looks(&self) -> MutexGuard<'_, Cache<Pseudonym, Look<T>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use futures_util::future::join_all;
    use tokio::sync::oneshot;

    use super::*;
    use crate::identity::pseudonyms::Pseudonyms;

    fn key(name: &str) -> Pseudonym {
        Pseudonyms::new(&[1; 32]).of("test", &[name.as_bytes()])
    }

    #[tokio::test]
    async fn the_database_is_asked_once_for_all_and_again_after_a_while() {
        let (looks, lane, asked) = (Looks::new(10), Lane::new(1), Arc::new(AtomicUsize::new(0)));
        let look = |found: Option<usize>| {
            let asked = Arc::clone(&asked);
            async move {
                asked.fetch_add(1, Ordering::SeqCst);
                found
            }
        };
        let all = (0..50).map(|_| looks.get(key("ada"), 100, &lane, || true, look(Some(7))));
        assert_eq!(join_all(all).await, vec![Some(7); 50]);
        // Also that there is nothing.
        for _ in 0..3 {
            assert_eq!(looks.get(key("bob"), 100, &lane, || true, look(None)).await, None);
        }
        assert_eq!(asked.load(Ordering::SeqCst), 2);
        let later = 100 + REMEMBERED_MS;
        assert_eq!(looks.get(key("ada"), later, &lane, || false, look(Some(8))).await, None);
        assert_eq!(looks.get(key("ada"), later, &lane, || true, look(Some(8))).await, Some(8));
        assert_eq!(asked.load(Ordering::SeqCst), 3);
    }

    #[tokio::test]
    async fn a_look_goes_on_when_whoever_asked_for_it_goes_away() {
        let (looks, lane) = (Looks::new(10), Lane::new(1));
        let (answer, answered) = oneshot::channel();
        let look = async move { answered.await.ok() };
        let gone = looks.get(key("ada"), 0, &lane, || true, look);
        assert!(timeout(Duration::ZERO, gone).await.is_err());
        answer.send(7).unwrap();
        let again = looks.get(key("ada"), 1, &lane, || panic!("it was begun"), async { None });
        assert_eq!(again.await, Some(7));
    }
}
