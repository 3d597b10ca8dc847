//! The revocations this replica knows, for its own verifier and for those that follow it.
//!
//! They come by one path only: a poll of the database, every quarter of a second and at once after
//! a commit of this replica's own. Followers are served from memory.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use claims::{RevocationBatch, RevocationEntry, Revoked, Timestamp};
use tokio::sync::watch;
use tokio::time::Instant;
use verifier::Verifier;

use crate::random;
use crate::store::{RevocationRead, Store};

const POLL_EVERY: Duration = Duration::from_millis(250);
/// Against whatever an incremental read might miss.
const READ_ALL_EVERY: Duration = Duration::from_secs(10);
const READ_PATIENCE: Duration = Duration::from_secs(6);

/// What followers are served from.
#[derive(Debug)]
pub struct Feed {
    /// Names this run of this replica; cursors of another run are not known here.
    replica: String,
    log: Mutex<Log>,
    /// The number of the newest entry.
    newest: watch::Sender<u64>,
    verifier: Arc<Verifier>,
}

#[derive(Debug, Default)]
struct Log {
    entries: VecDeque<Logged>,
    /// The number under which each entry stands, so that a repeat is no news.
    numbers: HashMap<Revoked, u64>,
    newest: u64,
    /// When the last complete read was begun, and what the database's clock showed.
    read: Option<(Duration, Timestamp)>,
    prune_at: Duration,
}

#[derive(Debug)]
struct Logged {
    number: u64,
    revoked: Revoked,
    /// On the clock that cannot be set; `None`: for ever.
    until: Option<Duration>,
}

impl Feed {
    /// An empty feed that also teaches `verifier`.
    #[must_use]
    pub fn new(verifier: Arc<Verifier>) -> Self {
        let replica = URL_SAFE_NO_PAD.encode(random::bytes::<9>());
        Self { replica, log: Mutex::default(), newest: watch::Sender::new(0), verifier }
    }

    /// What a follower at `cursor` does not know yet, waiting up to `wait` for news; everything
    /// where the cursor is not of this run. `None` until the first read.
    pub async fn after(&self, cursor: &str, wait: Duration) -> Option<RevocationBatch> {
        let seen = self.number_of(cursor);
        if let Some(seen) = seen {
            let mut newest = self.newest.subscribe();
            let news = newest.wait_for(|newest| *newest > seen);
            // A time-out is an answer too: the same cursor, and a fresh age.
            let _ = tokio::time::timeout(wait, news).await;
        }
        self.batch(seen)
    }

    fn number_of(&self, cursor: &str) -> Option<u64> {
        let (replica, number) = cursor.split_once('.')?;
        let number = number.parse().ok()?;
        let log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        (replica == self.replica && number <= log.newest).then_some(number)
    }

    fn batch(&self, seen: Option<u64>) -> Option<RevocationBatch> {
        let now = self.verifier.clock().elapsed();
        let log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        let (read_at, database_time) = log.read?;
        let since = now.saturating_sub(read_at);
        let from = log.entries.partition_point(|entry| entry.number <= seen.unwrap_or(0));
        let entries = log.entries.range(from..).filter_map(|entry| entry.left(now)).collect();
        Some(RevocationBatch {
            cursor: format!("{}.{}", self.replica, log.newest),
            age_ms: u64::try_from(since.as_millis()).unwrap_or(u64::MAX),
            now: database_time.unix_seconds() + since.as_secs(),
            reset: seen.is_none(),
            entries,
        })
    }

    /// Takes in a complete read that was begun at `begun`.
    fn learn(&self, read: &RevocationRead, begun: Duration) {
        let now = self.verifier.clock().elapsed();
        self.verifier.revocations().add(&read.entries, now);
        self.verifier.revocations().complete(begun, read.now, now);
        let newest = {
            let mut log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
            for entry in &read.entries {
                log.add(entry, now);
            }
            log.read = Some((begun, read.now));
            log.prune(now);
            log.newest
        };
        self.newest.send_if_modified(|number| std::mem::replace(number, newest) != newest);
    }
}

impl Logged {
    fn left(&self, now: Duration) -> Option<RevocationEntry> {
        let expires_in = match self.until {
            // Rounded up: an entry must not leave a follower early.
            Some(until) => {
                Some(until.checked_sub(now).filter(|left| !left.is_zero())?.as_secs() + 1)
            }
            None => None,
        };
        Some(RevocationEntry { revoked: self.revoked.clone(), expires_in })
    }
}

impl Log {
    fn add(&mut self, entry: &RevocationEntry, now: Duration) {
        if self.numbers.contains_key(&entry.revoked) {
            return;
        }
        self.newest += 1;
        let until = entry.expires_in.map(|seconds| now + Duration::from_secs(seconds));
        self.numbers.insert(entry.revoked.clone(), self.newest);
        let (number, revoked) = (self.newest, entry.revoked.clone());
        self.entries.push_back(Logged { number, revoked, until });
    }

    fn prune(&mut self, now: Duration) {
        if now < self.prune_at {
            return;
        }
        self.prune_at = now + Duration::from_secs(30);
        let Self { entries, numbers, .. } = self;
        entries.retain(|entry| {
            let keep = entry.until.is_none_or(|until| until > now);
            if !keep {
                numbers.remove(&entry.revoked);
            }
            keep
        });
    }
}

/// Keeps `feed` current until the task is aborted.
pub async fn poll(feed: Arc<Feed>, store: Store) {
    let mut reader = store.revocation_reader();
    let mut read_all_at = Instant::now();
    let mut failing = false;
    loop {
        let full = Instant::now() >= read_all_at;
        let begun = feed.verifier.clock().elapsed();
        let read = tokio::time::timeout(READ_PATIENCE, reader.read(full)).await;
        match read {
            Ok(Ok(read)) => {
                feed.learn(&read, begun);
                if full {
                    read_all_at = Instant::now() + READ_ALL_EVERY;
                }
                if std::mem::take(&mut failing) {
                    tracing::info!("revocations are read again");
                }
            }
            failure => {
                // A read that was cut off may have left its connection in the middle of an answer.
                reader.reset();
                read_all_at = Instant::now();
                if !std::mem::replace(&mut failing, true) {
                    let error = failure.map_or_else(
                        |_| "no answer in time".to_owned(),
                        |read| read.map_or_else(|error| error.to_string(), |_| String::new()),
                    );
                    tracing::warn!(error, "revocations cannot be read");
                }
            }
        }
        metrics::gauge!("latchkey_revocations").set(to_f64(feed.verifier.revocations().len()));
        tokio::select! {
            () = tokio::time::sleep(POLL_EVERY) => {}
            () = store.revoked() => {}
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "a gauge; no count reaches 2^52")]
fn to_f64(count: usize) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use claims::SessionId;
    use verifier::{Clock, Expectations};

    fn feed() -> Feed {
        let expectations = Expectations {
            issuer: String::new(),
            audience: String::new(),
            max_staleness: Duration::from_secs(30),
        };
        Feed::new(Arc::new(Verifier::new(expectations, Clock::default())))
    }

    fn read(sessions: &[u8]) -> RevocationRead {
        let entry = |byte: &u8| RevocationEntry {
            revoked: Revoked::Session { id: SessionId::from_bytes([*byte; 16]) },
            expires_in: Some(100),
        };
        RevocationRead { entries: sessions.iter().map(entry).collect(), now: Timestamp(0) }
    }

    #[tokio::test]
    async fn a_follower_gets_what_is_new_and_a_stranger_everything() {
        let feed = feed();
        assert!(feed.after("", Duration::ZERO).await.is_none(), "nothing before the first read");
        feed.learn(&read(&[1, 2]), Duration::ZERO);
        let first = feed.after("", Duration::ZERO).await.unwrap();
        assert!(first.reset && first.entries.len() == 2);
        feed.learn(&read(&[2, 3]), Duration::ZERO);
        let second = feed.after(&first.cursor, Duration::ZERO).await.unwrap();
        assert!(!second.reset && second.entries.len() == 1, "a repeat is no news");
        let stranger = feed.after("elsewhere.1", Duration::ZERO).await.unwrap();
        assert!(stranger.reset && stranger.entries.len() == 3);
    }

    #[tokio::test]
    async fn a_waiting_follower_is_answered_at_once_when_there_is_news() {
        let feed = Arc::new(feed());
        feed.learn(&read(&[]), Duration::ZERO);
        let cursor = feed.after("", Duration::ZERO).await.unwrap().cursor;
        let waiting = tokio::spawn({
            let feed = Arc::clone(&feed);
            async move { feed.after(&cursor, Duration::from_mins(1)).await }
        });
        tokio::task::yield_now().await;
        feed.learn(&read(&[1]), Duration::ZERO);
        assert_eq!(waiting.await.unwrap().unwrap().entries.len(), 1);
    }
}
