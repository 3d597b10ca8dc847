//! The list of addresses that clients know, as a balancer keeps it: what is to be replaced is taken out first.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use super::Version;

/// Two services that do the same.
#[derive(Debug)]
pub(super) struct Addresses([Address; 2]);

#[derive(Debug)]
struct Address {
    url: String,
    serves: AtomicBool,
    is_ours: AtomicBool,
    /// Requests that are not answered yet.
    in_flight: AtomicUsize,
    /// Requests that a service of each version was sent.
    sent: [AtomicU64; 2],
}

/// A service that is asked, and waited for by whoever takes it out of the list.
#[derive(Debug)]
pub(super) struct Asked<'a>(&'a Address);

impl Asked<'_> {
    pub(super) fn url(&self, path: &str) -> String {
        format!("{}{path}", self.0.url)
    }

    pub(super) fn version(&self) -> Version {
        self.0.version()
    }
}

impl Drop for Asked<'_> {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Address {
    fn version(&self) -> Version {
        if self.is_ours.load(Ordering::SeqCst) { Version::Ours } else { Version::Before }
    }
}

impl Addresses {
    /// None of them serves yet.
    pub(super) fn new(urls: [String; 2]) -> Self {
        Self(urls.map(|url| Address {
            url,
            serves: AtomicBool::new(false),
            is_ours: AtomicBool::new(false),
            in_flight: AtomicUsize::new(0),
            sent: [AtomicU64::new(0), AtomicU64::new(0)],
        }))
    }

    /// Either of them.
    ///
    /// # Panics
    /// When neither serves: whoever replaces them keeps one.
    pub(super) fn any(&self) -> Asked<'_> {
        let first = fastrand::usize(..2);
        let found = self.at(first).or_else(|| self.at(1 - first));
        // One may have come back and the other have been taken out between the two looks.
        found.or_else(|| self.at(first)).expect("one of them serves")
    }

    /// That one, if it serves.
    pub(super) fn at(&self, number: usize) -> Option<Asked<'_>> {
        let address = &self.0[number];
        // First counted and then looked at: whoever takes it out looks at the count afterwards.
        address.in_flight.fetch_add(1, Ordering::SeqCst);
        let asked = Asked(address);
        if !address.serves.load(Ordering::SeqCst) {
            return None;
        }
        address.sent[address.version() as usize].fetch_add(1, Ordering::Relaxed);
        Some(asked)
    }

    /// Sends nobody there any more, and waits until whoever was sent there has their answer.
    pub(super) async fn take_out(&self, number: usize) {
        let address = &self.0[number];
        address.serves.store(false, Ordering::SeqCst);
        while address.in_flight.load(Ordering::SeqCst) > 0 {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    pub(super) fn put_in(&self, number: usize, version: Version) {
        let address = &self.0[number];
        address.is_ours.store(version == Version::Ours, Ordering::SeqCst);
        address.serves.store(true, Ordering::SeqCst);
    }

    /// How many requests the services of a version were sent.
    pub(super) fn sent(&self, version: Version) -> u64 {
        self.0.iter().map(|address| address.sent[version as usize].load(Ordering::Relaxed)).sum()
    }
}
