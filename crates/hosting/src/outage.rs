//! Tells once that something is away, and why, and once that it is back, however often it is asked meanwhile.

use std::error::Error;
use std::time::Duration;

use crate::causes;
use tokio::time::Instant;

/// Another reason is told as well: a server that comes back may be another one. Reasons with a number in them would
/// have no end.
const MOST_REASONS: usize = 4;

/// What the log is told of something that may be away.
#[derive(Debug)]
pub struct Outage {
    task: &'static str,
    /// What is away, and what that means.
    away: &'static str,
    back: &'static str,
    /// How long it must work before it counts as back. With none, one that fails again and again would
    /// fill the log.
    holds_after: Duration,
    /// Why it is away, as far as that was told; empty while it is not away.
    told: Vec<String>,
    works_since: Option<Instant>,
}

impl Outage {
    /// Nothing is away yet. `task` is the log's field of that name; `away` and `back` are its messages.
    #[must_use]
    pub const fn new(task: &'static str, away: &'static str, back: &'static str) -> Self {
        let holds_after = Duration::ZERO;
        Self { task, away, back, holds_after, told: Vec::new(), works_since: None }
    }

    /// It counts as back only after it has worked for as long as this.
    #[must_use]
    pub fn back_after(self, holds_after: Duration) -> Self {
        Self { holds_after, ..self }
    }

    /// To be called whenever it fails. Answers whether it had worked for long enough before.
    pub fn failed(&mut self, error: &dyn Error) -> bool {
        let held = self.held();
        self.works_since = None;
        if self.told.len() < MOST_REASONS {
            let error = causes(error);
            if !self.told.contains(&error) {
                tracing::warn!(task = self.task, error, "{}", self.away);
                self.told.push(error);
            }
        }
        held
    }

    /// To be called whenever it works.
    pub fn works(&mut self) {
        self.works_since.get_or_insert_with(Instant::now);
        if self.is_on() && self.held() {
            self.told.clear();
            tracing::info!(task = self.task, "{}", self.back);
        }
    }

    /// Whether it failed, and is not back yet.
    #[must_use]
    pub const fn is_on(&self) -> bool {
        !self.told.is_empty()
    }

    fn held(&self) -> bool {
        self.works_since.is_some_and(|since| since.elapsed() >= self.holds_after)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(text: &str) -> Box<dyn Error> {
        text.into()
    }

    #[test]
    fn each_reason_is_told_once_and_reasons_without_an_end_are_not() {
        let mut outage = Outage::new("test", "it is away", "it is back");
        for reason in ["refused", "refused", "a cluster", "refused"] {
            outage.failed(&*error(reason));
        }
        assert_eq!(outage.told, ["refused", "a cluster"]);
        for number in 0..100 {
            outage.failed(&*error(&number.to_string()));
        }
        assert_eq!(outage.told.len(), MOST_REASONS);
        outage.works();
        outage.failed(&*error("refused"));
        assert_eq!(outage.told, ["refused"], "it is another time");
    }

    #[test]
    fn it_is_away_from_the_first_failure_until_it_works_again() {
        let mut outage = Outage::new("test", "it is away", "it is back");
        assert!(!outage.failed(&*error("at the start")), "it had never worked");
        assert!(outage.is_on());
        outage.failed(&*error("again"));
        outage.works();
        assert!(!outage.is_on());
        assert!(outage.failed(&*error("once more")));
    }

    #[test]
    fn one_that_works_for_a_moment_only_is_still_away() {
        let hour = Duration::from_hours(1);
        let mut outage = Outage::new("test", "it is away", "it is back").back_after(hour);
        outage.works();
        assert!(!outage.is_on(), "it never was away");
        assert!(!outage.failed(&*error("after a moment")));
        outage.works();
        assert!(outage.is_on());
    }
}
