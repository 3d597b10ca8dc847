//! Whether a name has a session on a network, remembered for a moment, so that a flood asks the database
//! once.

use std::sync::{Mutex, PoisonError};

use claims::SessionId;
use quick_cache::unsync::Cache;

use crate::pseudonyms::Pseudonym;

/// What was found for a name and a network, and when.
pub(crate) struct Neighbours(Mutex<Cache<Pseudonym, (u64, Option<SessionId>)>>);

impl std::fmt::Debug for Neighbours {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Neighbours")
    }
}

impl Neighbours {
    pub(crate) fn new(capacity: usize) -> Self {
        Self(Mutex::new(Cache::new(capacity)))
    }

    pub(crate) fn known(&self, pair: Pseudonym) -> Option<(u64, Option<SessionId>)> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.get(&pair).copied()
    }

    pub(crate) fn remember(&self, pair: Pseudonym, now: u64, session: Option<SessionId>) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.insert(pair, (now, session));
    }
}
