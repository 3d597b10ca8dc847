//! Failing, again and again.

use std::time::Duration;

/// Why an answer could not be had or used.
pub(super) type Failure = Box<dyn std::error::Error + Send + Sync>;

/// Says once that something fails and once that it is over; in between, waits longer and longer.
pub(super) struct Trouble {
    what: &'static str,
    /// Since the last success.
    pub(super) failures: usize,
}

impl Trouble {
    pub(super) const fn new(what: &'static str) -> Self {
        Self { what, failures: 0 }
    }

    /// How long to wait before the next try: 50 ms doubling to half a second.
    pub(super) fn met(&mut self, url: &str, error: &Failure) -> Duration {
        if self.failures == 0 {
            let cause = error.source().map(ToString::to_string).unwrap_or_default();
            tracing::warn!(url, error = %error, cause, "the {} cannot be fetched", self.what);
        }
        self.failures = self.failures.saturating_add(1);
        Duration::from_millis(50 << self.failures.min(5) >> 1).min(Duration::from_millis(500))
    }

    pub(super) fn over(&mut self) {
        if self.failures > 0 {
            tracing::info!(failures = self.failures, "the {} is fetched again", self.what);
        }
        self.failures = 0;
    }
}
