//! What connections share: bounds for all of them, and the count of those that were cut off.

use std::cell::{Cell, RefCell};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::Instant;

use super::waiting::{Closed, Waiting};
use crate::stop::Ending;

/// Unfinished requests of one listener.
const MAX_UNFINISHED: usize = 8192;
/// What they hold together. A service has two listeners.
const MAX_UNFINISHED_BYTES: usize = 16 << 20;
/// Answers of one listener that their clients do not read.
const MAX_UNREAD: usize = 8192;
/// What they hold together. Several services that start at once, on a slow network, must each get the
/// whole list of revocations, which may be some megabytes.
const MAX_UNREAD_BYTES: usize = 64 << 20;
/// What is read at once.
pub(crate) const READ_BYTES: usize = 8 * 1024;
/// Why connections are cut off. Each is counted from the start: where a series begins with its first
/// event, whoever watches its rate does not see that event.
const REASONS: [&str; 8] = [
    "too-many",
    "too-much",
    "crowded",
    "head-too-long",
    "body-too-long",
    "too-slow",
    "unread",
    "unanswered",
];
/// Between two lines of the log about connections that were cut off.
const TELL_EVERY: Duration = Duration::from_secs(10);

/// What all connections of one listener share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) unfinished: Waiting,
    pub(crate) unread: Waiting,
    pub(crate) ending: Ending,
    /// Connections closed for the sake of others, not yet told.
    untold: AtomicU64,
}

impl Shared {
    /// For a listener that ends so.
    pub(crate) fn new(ending: Ending) -> Self {
        let unfinished = Waiting::new(MAX_UNFINISHED, MAX_UNFINISHED_BYTES);
        let unread = Waiting::new(MAX_UNREAD, MAX_UNREAD_BYTES);
        for reason in REASONS {
            count(reason, 0);
        }
        Self { unfinished, unread, ending, untold: AtomicU64::new(0) }
    }
}

/// What all connections of one worker share.
#[derive(Debug)]
pub(crate) struct Worker {
    pub(crate) shared: Arc<Shared>,
    pub(crate) idle: Waiting,
    /// Open connections, and from how many on the one that was idle longest is closed, so that
    /// there is always room for another.
    pub(crate) open: Cell<usize>,
    crowded: usize,
    /// What is read goes through here, so that a connection that waits has no buffer.
    pub(crate) buffer: RefCell<Box<[u8]>>,
    told: Cell<Option<Instant>>,
}

impl Worker {
    /// A worker that accepts up to `most` connections at a time.
    pub(crate) fn new(shared: Arc<Shared>, most: usize) -> Self {
        Self {
            shared,
            idle: Waiting::new(usize::MAX, usize::MAX),
            open: Cell::new(0),
            crowded: most - most / 16,
            buffer: RefCell::new(vec![0; READ_BYTES].into()),
            told: Cell::new(None),
        }
    }

    /// If there is hardly any room for others, closes a connection that is idle, or else one whose
    /// answer is not read.
    pub(crate) fn make_room(&self) {
        let crowded = self.open.get() > self.crowded;
        if crowded && (self.idle.close_first() || self.shared.unread.close_first()) {
            self.closed("crowded", 1);
        }
    }

    /// Counts connections that were closed for the sake of others. The log has a line now and then.
    pub(crate) fn closed_for_others(&self, closed: &Closed) {
        self.closed("too-many", closed.too_many);
        self.closed("too-much", closed.too_much);
    }

    fn closed(&self, reason: &'static str, number: u64) {
        if number == 0 {
            return;
        }
        count(reason, number);
        let untold = self.shared.untold.fetch_add(number, Ordering::Relaxed) + number;
        if self.told.get().is_none_or(|told| told.elapsed() >= TELL_EVERY) {
            self.told.set(Some(Instant::now()));
            self.shared.untold.fetch_sub(untold, Ordering::Relaxed);
            tracing::warn!(
                reason,
                connections = untold,
                "too many connections wait, or hold too much: those that waited longest were closed; \
                 a proxy in front should limit connections by address"
            );
        }
    }
}

/// Counts connections that were cut off, and why.
pub(crate) fn count(reason: &'static str, number: u64) {
    metrics::counter!("latchkey_connections_cut_total", "reason" => reason).increment(number);
}
