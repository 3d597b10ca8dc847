//! What is said of the steps and of each check.

use std::time::Instant;

use crate::Result;
use crate::outcome::Outcome;

/// The sum of the checks so far.
pub(super) struct Report {
    pub(super) outcome: Outcome,
    begun: Instant,
}

impl Report {
    pub(super) fn new() -> Self {
        Self { outcome: Outcome::default(), begun: Instant::now() }
    }

    /// Ends a step, and says how long it took.
    pub(super) fn step(&mut self, name: &str) {
        println!("{:>7.1} s  {name}", self.begun.elapsed().as_secs_f64());
        self.begun = Instant::now();
    }

    /// A check; `seen` is what there was instead of what `name` says.
    pub(super) fn check(&mut self, name: &str, right: bool, seen: &str) {
        if right {
            self.outcome.add(Outcome::passed());
        } else {
            let how = format!("compose: {name}; seen: {}", seen.trim());
            println!("FAILED  {how}");
            self.outcome.add(Outcome::failed(how));
        }
    }

    /// A check that something is done; what is got of it.
    pub(super) fn done<T>(&mut self, name: &str, result: Result<T>) -> Option<T> {
        match result {
            Ok(value) => {
                self.outcome.add(Outcome::passed());
                Some(value)
            }
            Err(error) => {
                self.check(name, false, &error.to_string());
                None
            }
        }
    }
}
