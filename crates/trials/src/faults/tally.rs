//! What happened, in numbers.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Mutex, PoisonError};

use super::history::Outcome;

/// Counts by two names.
#[derive(Debug, Default)]
pub struct Tally(Mutex<BTreeMap<(&'static str, String), u64>>);

impl Tally {
    /// Counts an answered operation.
    pub fn count(&self, operation: &'static str, outcome: &Outcome) {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *counts.entry((operation, outcome.name())).or_default() += 1;
    }

    /// How often the operation had that outcome.
    #[must_use]
    pub fn of(&self, operation: &str, outcome: &str) -> u64 {
        let counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let same = counts.iter().filter(|((of, came), _)| *of == operation && came == outcome);
        same.map(|(_, count)| count).sum()
    }

    /// All of them.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).values().sum()
    }
}

/// A line for each operation.
impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut last = "";
        for ((operation, outcome), count) in counts.iter() {
            if *operation == last {
                write!(f, ", {outcome} {count}")?;
            } else {
                let end = if last.is_empty() { "" } else { "\n" };
                write!(f, "{end}  {operation:<14} {outcome} {count}")?;
            }
            last = operation;
        }
        Ok(())
    }
}
