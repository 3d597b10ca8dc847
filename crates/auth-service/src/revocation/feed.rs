//! The revocations this replica knows, for its own verifier and for those that follow it.
//!
//! They come by one path only: a poll of the database, every quarter of a second and at once after
//! a commit here or, as far as Redis carries word of it, at another replica. Followers are served
//! from memory.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use claims::RevocationBatch;
use tokio::sync::{Notify, watch};
use tokio::time::Instant;
use verifier::Verifier;

use crate::background::clock_watch::ClockWatch;
use crate::background::outage::Outage;
use crate::identity::random;
use crate::store::{RevocationRead, Store};

use super::cursor::Cursor;
use super::log::Log;

const POLL_EVERY: Duration = Duration::from_millis(250);
/// Against whatever an incremental read might miss.
const READ_ALL_EVERY: Duration = Duration::from_secs(10);
const READ_TIMEOUT: Duration = Duration::from_secs(6);
/// The least time between two reads because somebody else asks for one, however often they do.
const READ_AT_MOST_EVERY: Duration = Duration::from_millis(5);

/// What followers are served from.
#[derive(Debug)]
pub struct Feed {
    /// Names this run of this replica.
    replica: String,
    log: Mutex<Log>,
    /// The number of the newest entry.
    newest: watch::Sender<u64>,
    wanted: Notify,
    /// As the last read found them.
    keys: Mutex<Option<String>>,
    keys_changed: Notify,
    verifier: Arc<Verifier>,
}

/// What a follower does not have yet.
enum Missing {
    /// Everything: its cursor says nothing here.
    All,
    /// What this replica learnt after this number.
    After(u64),
    /// What transactions from this one on have written.
    From(u64),
}

impl Feed {
    /// An empty feed that also teaches `verifier`.
    #[must_use]
    pub fn new(verifier: Arc<Verifier>) -> Self {
        let replica = URL_SAFE_NO_PAD.encode(random::bytes::<9>());
        let (newest, wanted, keys_changed) = (watch::Sender::new(0), Notify::new(), Notify::new());
        let (log, keys) = (Mutex::default(), Mutex::default());
        Self { replica, log, newest, wanted, keys, keys_changed, verifier }
    }

    /// Waits until a key of either purpose is added, deleted or enters another state, whoever did that.
    pub async fn keys_changed(&self) {
        self.keys_changed.notified().await;
    }

    /// Has the database read now; while it is being read, once more afterwards.
    pub fn read_now(&self) {
        self.wanted.notify_one();
    }

    /// What a follower at `cursor` does not know yet, waiting up to `wait` for news; everything where
    /// the cursor says nothing here. `None` until the first read.
    pub async fn after(&self, cursor: &str, wait: Duration) -> Option<RevocationBatch> {
        let cursor = Cursor::parse(cursor).unwrap_or_default();
        if let Some(seen) = self.quiet_until_after(&cursor) {
            let mut newest = self.newest.subscribe();
            let news = newest.wait_for(|newest| *newest > seen);
            // A time-out is an answer too: nothing new, and a fresh age.
            let _ = tokio::time::timeout(wait, news).await;
        }
        let batch = self.batch(cursor);
        if batch.as_ref().is_some_and(|batch| batch.reset) {
            // Somebody starts, and will ask again for what was revoked before that.
            self.read_now();
        }
        batch
    }

    /// The number after which there is something to tell, if there is nothing yet.
    fn quiet_until_after(&self, cursor: &Cursor) -> Option<u64> {
        let (log, now) = (self.log(), self.verifier.clock().elapsed());
        match self.missing(&log, cursor) {
            Missing::All => None,
            Missing::After(number) => Some(number),
            Missing::From(xid) => log.since_xid(xid, now).is_empty().then_some(log.newest),
        }
    }

    fn missing(&self, log: &Log, cursor: &Cursor) -> Missing {
        if let Some(number) = cursor.number(&self.replica) {
            // One that was never given is not ours after all.
            return if number <= log.newest { Missing::After(number) } else { Missing::All };
        }
        match (&cursor.horizon, &log.horizon) {
            (Some(theirs), Some(ours)) if theirs.epoch == ours.epoch => Missing::From(theirs.xid),
            _ => Missing::All,
        }
    }

    fn batch(&self, cursor: Cursor) -> Option<RevocationBatch> {
        let (log, now) = (self.log(), self.verifier.clock().elapsed());
        let (read_at, database_time) = log.read?;
        let since = now.saturating_sub(read_at);
        let missing = self.missing(&log, &cursor);
        let entries = match missing {
            Missing::All => log.after_number(0, now),
            Missing::After(number) => log.after_number(number, now),
            Missing::From(xid) => log.since_xid(xid, now),
        };
        let cursor = cursor.after(&self.replica, log.newest, log.horizon.clone());
        Some(RevocationBatch {
            cursor: cursor.to_string(),
            // Rounded up: it is to be no younger than it is.
            age_ms: u64::try_from(since.as_millis()).unwrap_or(u64::MAX - 1) + 1,
            now: database_time.unix_seconds() + since.as_secs(),
            reset: matches!(missing, Missing::All),
            entries,
        })
    }

    /// Takes in a complete read that was begun at `begun`.
    fn learn(&self, read: RevocationRead, begun: Duration) {
        let now = self.verifier.clock().elapsed();
        let database_time = read.now;
        let keys = Some(read.keys.clone());
        if std::mem::replace(&mut *self.keys(), keys.clone()) != keys {
            self.keys_changed.notify_one();
        }
        let (news, newest) = {
            let mut log = self.log();
            (log.add(read, begun, now), log.newest)
        };
        self.verifier.revocations().add(&news, now);
        self.verifier.revocations().complete(begun, database_time, now);
        self.newest.send_if_modified(|number| std::mem::replace(number, newest) != newest);
    }

    fn log(&self) -> MutexGuard<'_, Log> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn keys(&self) -> MutexGuard<'_, Option<String>> {
        self.keys.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Waits until a read is asked for, and for the moment.
async fn asked_for(feed: &Feed, earliest: Instant) {
    tokio::time::sleep_until(earliest).await;
    feed.wanted.notified().await;
}

/// Keeps `feed` current until the task is aborted, and `watch` informed of the database's clock.
pub(crate) async fn poll(feed: Arc<Feed>, store: Store, watch: Arc<ClockWatch>) {
    let mut reader = store.revocation_reader();
    let mut commits = store.commits();
    let mut read_all_at = Instant::now();
    let mut outage =
        Outage::new("revocations", "revocations cannot be read", "revocations are read again");
    loop {
        let full = Instant::now() >= read_all_at;
        let earliest = Instant::now() + READ_AT_MOST_EVERY;
        let begun = feed.verifier.clock().elapsed();
        let read = tokio::time::timeout(READ_TIMEOUT, reader.read(full)).await;
        match read {
            Ok(Ok(read)) => {
                watch.observe(read.now, &store);
                feed.learn(read, begun);
                if full {
                    read_all_at = Instant::now() + READ_ALL_EVERY;
                }
                outage.works();
            }
            failure => {
                // A read that was cut off may have left its connection in the middle of an answer.
                reader.reset();
                read_all_at = Instant::now();
                let error = failure.map_or_else(
                    |_| "no answer in time".to_owned(),
                    |read| read.map_or_else(|error| error.in_full(), |_| String::new()),
                );
                outage.failed(&error);
            }
        }
        tokio::select! {
            () = tokio::time::sleep(POLL_EVERY) => {}
            _ = commits.changed() => {}
            () = asked_for(&feed, earliest) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use claims::{Revoked, SessionId, Timestamp};
    use verifier::{Clock, Expectations};

    use super::*;
    use crate::store::{Horizon, RevocationRow};

    fn feed() -> Feed {
        let expectations = Expectations::new("", "", Duration::from_secs(30));
        Feed::new(Arc::new(Verifier::new(expectations, Clock::default())))
    }

    /// Each session was ended by the transaction of its number.
    fn read(sessions: &[u8], horizon: u64) -> RevocationRead {
        let row = |number: &u8| RevocationRow {
            xid: u64::from(*number),
            revoked: Revoked::Session { id: SessionId::from_bytes([*number; 16]) },
            expires_at: Some(Timestamp(100_000)),
        };
        RevocationRead {
            rows: sessions.iter().map(row).collect(),
            now: Timestamp(0),
            horizon: Some(Horizon { epoch: "e".to_owned(), xid: horizon }),
            keys: String::new(),
        }
    }

    async fn told(feed: &Feed, cursor: &str) -> RevocationBatch {
        feed.after(cursor, Duration::ZERO).await.unwrap()
    }

    #[tokio::test]
    async fn a_follower_gets_what_is_new_and_a_stranger_everything() {
        let feed = feed();
        assert!(feed.after("", Duration::ZERO).await.is_none(), "nothing before the first read");
        feed.learn(read(&[1, 2], 3), Duration::ZERO);
        let first = told(&feed, "").await;
        assert!(first.reset && first.entries.len() == 2);
        feed.learn(read(&[2, 3], 4), Duration::ZERO);
        let second = told(&feed, &first.cursor).await;
        assert!(!second.reset && second.entries.len() == 1, "a repeat is no news");
        let stranger = told(&feed, "elsewhere.1").await;
        assert!(stranger.reset && stranger.entries.len() == 3);
        let never_given = format!("e.4.{}.4", feed.replica);
        assert!(told(&feed, &never_given).await.reset);
    }

    #[tokio::test]
    async fn a_stranger_makes_the_database_be_read_and_nobody_else_does() {
        let feed = feed();
        feed.learn(read(&[1], 2), Duration::ZERO);
        let wanted = async || tokio::time::timeout(Duration::ZERO, feed.wanted.notified()).await;
        let cursor = told(&feed, "").await.cursor;
        assert!(wanted().await.is_ok());
        told(&feed, &cursor).await;
        assert!(wanted().await.is_err());
    }

    #[tokio::test]
    async fn whoever_keeps_the_keys_is_woken_by_every_change_of_them_and_by_nothing_else() {
        let feed = feed();
        let woken =
            async || tokio::time::timeout(Duration::ZERO, feed.keys_changed()).await.is_ok();
        feed.learn(read(&[], 1), Duration::ZERO);
        assert!(woken().await, "they may have changed since the start");
        feed.learn(read(&[1, 2], 3), Duration::ZERO);
        assert!(!woken().await);
        for keys in ["a active", "a revoked,b active"] {
            feed.learn(RevocationRead { keys: keys.to_owned(), ..read(&[], 3) }, Duration::ZERO);
            assert!(woken().await, "{keys}");
            feed.learn(RevocationRead { keys: keys.to_owned(), ..read(&[], 3) }, Duration::ZERO);
            assert!(!woken().await, "{keys}");
        }
    }

    #[tokio::test]
    async fn a_waiting_follower_is_answered_at_once_when_there_is_news() {
        let feed = Arc::new(feed());
        feed.learn(read(&[], 1), Duration::ZERO);
        let cursor = told(&feed, "").await.cursor;
        let waiting = tokio::spawn({
            let feed = Arc::clone(&feed);
            async move { feed.after(&cursor, Duration::from_mins(1)).await }
        });
        tokio::task::yield_now().await;
        feed.learn(read(&[1], 2), Duration::ZERO);
        assert_eq!(waiting.await.unwrap().unwrap().entries.len(), 1);
    }

    #[tokio::test]
    async fn a_follower_of_another_replica_goes_on_from_the_horizon() {
        let (one, other) = (feed(), feed());
        // Transaction 4 was still open when each of them read.
        one.learn(read(&[1, 2, 5], 4), Duration::ZERO);
        other.learn(read(&[1, 2, 5, 6], 4), Duration::ZERO);
        let cursor = told(&one, "").await.cursor;
        let moved = told(&other, &cursor).await;
        assert!(!moved.reset);
        assert_eq!(moved.entries.len(), 2, "what the horizon does not cover, some of it again");
        // Sent to and fro, it is told nothing twice, although the horizon does not move.
        assert_eq!(told(&one, &moved.cursor).await.entries, []);
        let back = told(&other, &told(&one, &moved.cursor).await.cursor).await;
        assert_eq!(back.entries, []);
        one.learn(read(&[4, 5, 6], 7), Duration::ZERO);
        assert_eq!(told(&one, &back.cursor).await.entries.len(), 2, "4, and 6 from the other");
    }

    #[tokio::test]
    async fn a_follower_ahead_of_this_replica_waits_for_what_is_new_to_it() {
        let (ahead, behind) = (feed(), Arc::new(feed()));
        ahead.learn(read(&[1, 2, 3], 4), Duration::ZERO);
        behind.learn(read(&[1], 2), Duration::ZERO);
        let cursor = told(&ahead, "").await.cursor;
        let quiet = told(&behind, &cursor).await;
        assert!(!quiet.reset && quiet.entries.is_empty());
        behind.learn(read(&[2, 3], 4), Duration::ZERO);
        behind.learn(read(&[4], 5), Duration::ZERO);
        let news = told(&behind, &quiet.cursor).await;
        assert_eq!(news.entries.len(), 3, "the first two again: they were news to this replica");
        let after = Horizon { epoch: "another".to_owned(), xid: 2 };
        let restored = RevocationRead { horizon: Some(after), ..read(&[], 0) };
        let other = self::feed();
        other.learn(restored, Duration::ZERO);
        assert!(told(&other, &cursor).await.reset, "numbers of another epoch mean nothing");
    }
}
