//! The revocations in the order in which this replica learnt of them.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use claims::{RevocationEntry, Revoked, Timestamp};

use crate::store::{Horizon, RevocationRead};

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
    /// `None`: for ever.
    until: Option<Duration>,
}

impl Log {
    /// Takes in a complete read that was begun at `begun`.
    pub(super) fn add(&mut self, read: RevocationRead, begun: Duration, now: Duration) {
        for (xid, entry) in read.entries {
            let until = entry.expires_in.map(|seconds| now + Duration::from_secs(seconds));
            self.add_one(xid, entry.revoked, until);
        }
        self.read = Some((begun, read.now));
        self.horizon = read.horizon;
        self.prune(now);
    }

    fn add_one(&mut self, mut xid: u64, revoked: Revoked, until: Option<Duration>) {
        if let Some(number) = self.numbers.get(&revoked) {
            let index = self.index_after(number - 1);
            if let Some(known) = self.entries.get_mut(index) {
                known.xid = known.xid.max(xid);
                if !lasts_longer(until, known.until) {
                    return;
                }
                // Announced again, to last longer: that is news.
                xid = known.xid;
                self.entries.remove(index);
            }
        }
        self.newest += 1;
        self.numbers.insert(revoked.clone(), self.newest);
        self.entries.push_back(Logged { number: self.newest, xid, revoked, until });
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

/// By more than what rounding to seconds and the way from the database make of the same end.
fn lasts_longer(until: Option<Duration>, known: Option<Duration>) -> bool {
    match (until, known) {
        (_, None) => false,
        (None, Some(_)) => true,
        (Some(until), Some(known)) => until > known + Duration::from_secs(5),
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

    fn read(xid: u64, session: u8, expires_in: u64) -> RevocationRead {
        let revoked = Revoked::Session { id: SessionId::from_bytes([session; 16]) };
        let entry = RevocationEntry { revoked, expires_in: Some(expires_in) };
        RevocationRead { entries: vec![(xid, entry)], now: Timestamp(0), horizon: None }
    }

    #[test]
    fn what_is_announced_again_to_last_longer_is_news() {
        let (mut log, second) = (Log::default(), Duration::from_secs(1));
        log.add(read(5, 1, 10), second, second);
        log.add(read(6, 2, 10), second, second);
        log.add(read(9, 1, 12), second, second);
        assert_eq!((log.newest, log.after_number(0, second).len()), (2, 2), "no news");
        assert_eq!(log.since_xid(7, second).len(), 1, "but of a later transaction");
        log.add(read(8, 1, 100), second, second);
        let news = log.after_number(2, second);
        assert_eq!((news.len(), news[0].expires_in), (1, Some(101)));
        assert_eq!(log.after_number(0, second).len(), 2, "and not twice");
        assert_eq!(log.since_xid(9, second).len(), 1);
        log.add(read(5, 3, 10), second * 50, second * 50);
        assert_eq!(log.entries.len(), 2, "what is over is forgotten");
        assert_eq!(log.numbers.len(), 2);
    }
}
