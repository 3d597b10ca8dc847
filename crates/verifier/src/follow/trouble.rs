//! Failing, again and again.

use std::time::Duration;

/// Why an answer could not be had or used.
pub(super) type Failure = Box<dyn std::error::Error + Send + Sync>;

/// So many reasons are named in the log before it is over.
const MOST_REASONS: usize = 8;

/// Says once that something fails, once for each reason, and once that it is over; in between, waits longer and
/// longer.
pub(super) struct Trouble {
    what: &'static str,
    /// Since the last success.
    pub(super) failures: usize,
    /// The reasons since then, as far as they were told. The first may be that a service has not started yet, and
    /// the next that it lets nobody in.
    told: Vec<String>,
}

impl Trouble {
    pub(super) const fn new(what: &'static str) -> Self {
        Self { what, failures: 0, told: Vec::new() }
    }

    /// How long to wait before the next try: 50 ms doubling to half a second.
    pub(super) fn met(&mut self, url: &str, error: &Failure) -> Duration {
        if self.told.len() < MOST_REASONS {
            let (error, cause) = (error.to_string(), causes(error));
            // An age and the like differ each time.
            let reason = format!("{error} {cause}").replace(|it: char| it.is_ascii_digit(), "");
            let reason = format!("{url} {reason}");
            if !self.told.contains(&reason) {
                tracing::warn!(url, error, cause, "the {} cannot be fetched", self.what);
                self.told.push(reason);
            }
        }
        self.failures = self.failures.saturating_add(1);
        Duration::from_millis(50 << self.failures.min(5) >> 1).min(Duration::from_millis(500))
    }

    pub(super) fn over(&mut self) {
        if self.failures > 0 {
            tracing::info!(failures = self.failures, "the {} is fetched again", self.what);
        }
        self.failures = 0;
        self.told.clear();
    }
}

/// What caused it, and what caused that: an error of the client says no more than that it is one.
fn causes(error: &Failure) -> String {
    let mut text = String::new();
    let mut next = error.source();
    while let Some(cause) = next {
        let told = cause.to_string();
        if !text.contains(&told) {
            text.push_str(if text.is_empty() { "" } else { ": " });
            text.push_str(&told);
        }
        next = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_reason_is_told_once_until_it_is_over() {
        let mut trouble = Trouble::new("feed");
        let met = |trouble: &mut Trouble, url: &str, reason: &str| {
            let _ = trouble.met(url, &Failure::from(reason));
            trouble.told.len()
        };
        assert_eq!(met(&mut trouble, "a", "refused"), 1);
        assert_eq!(met(&mut trouble, "a", "refused"), 1);
        assert_eq!(met(&mut trouble, "a", "401"), 2);
        assert_eq!(met(&mut trouble, "b", "401"), 3);
        assert_eq!(met(&mut trouble, "b", "it is 12 s old"), 4);
        assert_eq!(met(&mut trouble, "b", "it is 13 s old"), 4);
        for letter in 'a'..='z' {
            met(&mut trouble, "a", &letter.to_string());
        }
        assert_eq!(trouble.told.len(), MOST_REASONS);
        trouble.over();
        assert_eq!(met(&mut trouble, "a", "refused"), 1);
    }
}
