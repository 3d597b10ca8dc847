//! The revocations in the order in which this replica learnt of them.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use claims::time::REVOCATION_TTL_SECONDS;
use claims::{RevocationEntry, Revoked, Timestamp};

use crate::store::{Horizon, RevocationRead, RevocationRow};

/// How long an entry is kept from when this replica first saw it, whatever the database's clock says: no
/// token that it could kill lives longer.
const KEEP: Duration = Duration::from_secs(REVOCATION_TTL_SECONDS);
/// Walking over the whole log holds up whoever reads it.
const PRUNE_EVERY: Duration = Duration::from_secs(30);

/// Everything unexpired, numbered. Times are on the clock that cannot be set.
#[derive(Debug, Default)]
pub(super) struct Log {
    entries: VecDeque<Logged>,
    /// The number under which each entry stands, so that a repeat is no news.
    numbers: HashMap<Revoked, u64>,
    /// The number of the newest entry.
    pub(super) newest: u64,
    /// When the last complete read was begun, and what the database's clock showed.
    pub(super) read: Option<(Duration, Timestamp)>,
    /// Every entry below it is here.
    pub(super) horizon: Option<Horizon>,
    prune_at: Duration,
}

#[derive(Debug)]
struct Logged {
    number: u64,
    /// Of the transaction that wrote it, within the epoch of the horizon.
    xid: u64,
    revoked: Revoked,
    /// As the database has it; it only tells a repeat from a new announcement.
    expires_at: Option<Timestamp>,
    until: Option<Duration>,
}

impl Log {
    /// Takes in a complete read that was begun at `begun`, and says what was new in it.
    pub(super) fn add(
        &mut self,
        read: RevocationRead,
        begun: Duration,
        now: Duration,
    ) -> Vec<RevocationEntry> {
        let before = self.newest;
        for row in read.rows {
            self.add_one(row, now);
        }
        self.read = Some((begun, read.now));
        self.horizon = read.horizon;
        let news = self.after_number(before, now);
        self.prune(now);
        news
    }

    fn add_one(&mut self, row: RevocationRow, now: Duration) {
        let RevocationRow { mut xid, revoked, expires_at } = row;
        if let Some(number) = self.numbers.get(&revoked) {
            let index = self.index_after(number - 1);
            if let Some(known) = self.entries.get_mut(index) {
                known.xid = known.xid.max(xid);
                if !lasts_longer(expires_at, known.expires_at) {
                    return;
                }
                // Announced again, to last longer: that is news.
                xid = known.xid;
                self.entries.remove(index);
            }
        }
        self.newest += 1;
        self.numbers.insert(revoked.clone(), self.newest);
        let until = expires_at.map(|_| now + KEEP);
        self.entries.push_back(Logged { number: self.newest, xid, revoked, expires_at, until });
    }

    /// What was learnt after the entry of this number.
    pub(super) fn after_number(&self, number: u64, now: Duration) -> Vec<RevocationEntry> {
        let range = self.entries.range(self.index_after(number)..);
        range.filter_map(|entry| entry.left(now)).collect()
    }

    /// What transactions from `xid` on have written.
    pub(super) fn since_xid(&self, xid: u64, now: Duration) -> Vec<RevocationEntry> {
        let entries = self.entries.iter().filter(|entry| entry.xid >= xid);
        entries.filter_map(|entry| entry.left(now)).collect()
    }

    fn index_after(&self, number: u64) -> usize {
        self.entries.partition_point(|entry| entry.number <= number)
    }

    fn prune(&mut self, now: Duration) {
        if now < self.prune_at {
            return;
        }
        self.prune_at = now + PRUNE_EVERY;
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

fn lasts_longer(expires_at: Option<Timestamp>, known: Option<Timestamp>) -> bool {
    match (expires_at, known) {
        (_, None) => false,
        (None, Some(_)) => true,
        (Some(expires_at), Some(known)) => expires_at > known,
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

#[cfg(test)]
mod tests {
    use claims::SessionId;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn read(xid: u64, session: u8, expires_at: i64) -> RevocationRead {
        let revoked = Revoked::Session { id: SessionId::from_bytes([session; 16]) };
        let rows = vec![RevocationRow { xid, revoked, expires_at: Some(Timestamp(expires_at)) }];
        RevocationRead { rows, now: Timestamp(0), horizon: None, keys: String::new() }
    }

    #[test]
    fn what_is_announced_again_to_last_longer_is_news() {
        let mut log = Log::default();
        log.add(read(5, 1, 10), SECOND, SECOND);
        log.add(read(6, 2, 10), SECOND, SECOND);
        log.add(read(9, 1, 10), SECOND, SECOND);
        assert_eq!((log.newest, log.after_number(0, SECOND).len()), (2, 2), "no news");
        assert_eq!(log.since_xid(7, SECOND).len(), 1, "but of a later transaction");
        let news = log.add(read(8, 1, 100), SECOND * 9, SECOND * 9);
        assert_eq!((news.len(), news[0].expires_in), (1, Some(991)));
        assert_eq!(log.after_number(0, SECOND).len(), 2, "and not twice");
        assert_eq!(log.since_xid(9, SECOND).len(), 1);
        log.add(read(5, 3, 10), SECOND * 999, SECOND * 999);
        assert_eq!(log.entries.len(), 1, "what is over is forgotten");
        assert_eq!(log.numbers.len(), 1);
    }

    /// The clock of the database may be hours ahead when a replica starts, and right a moment later.
    #[test]
    fn an_entry_is_kept_from_first_sight_whatever_the_databases_clock_says() {
        for database_time in [0, 7_200_000, -7_200_000] {
            let mut log = Log::default();
            let read = |now| RevocationRead { now: Timestamp(now), ..read(5, 1, 990_000) };
            assert_eq!(log.add(read(database_time), SECOND, SECOND).len(), 1);
            assert_eq!(
                log.add(read(0), SECOND * 500, SECOND * 500).len(),
                0,
                "a repeat is no news"
            );
            assert_eq!(log.after_number(0, SECOND * 990).len(), 1);
            assert_eq!(log.after_number(0, SECOND * 991).len(), 0);
        }
    }
}
