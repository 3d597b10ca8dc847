//! What was found out about the owners of accounts, and is remembered for a moment, so that a flood of
//! refusals does not ask the database for each.

use std::sync::Arc;

use claims::SessionId;
use quick_cache::sync::Cache;

use super::{Lane, Looks};
use crate::identity::pseudonyms::Pseudonym;
use crate::store::UserRecord;

/// Accounts and sessions that something is remembered of.
const CAPACITY: usize = 5_000;
/// Names that somebody has logged in by from a network: some megabytes.
const AT_HOME: usize = 50_000;

/// Networks, each with a session that was opened from there.
pub(crate) type Networks = Arc<[(Vec<u8>, SessionId)]>;

/// What was found out about owners, and is remembered.
pub(crate) struct Owners {
    /// Whose a session is.
    pub(crate) sessions: Looks<Arc<UserRecord>>,
    /// From which networks the live sessions of an account were opened.
    pub(crate) accounts: Looks<Networks>,
    /// Names together with networks from which they have logged in, so far as this process knows.
    pub(crate) at_home: Cache<Pseudonym, ()>,
    /// For those who show a session.
    pub(crate) shown: Lane,
    /// For accounts at which somebody has failed too often: as many as have been guessed at.
    pub(crate) besieged: Lane,
    /// For all other names.
    pub(crate) others: Lane,
}

impl Owners {
    pub(crate) fn new() -> Self {
        Self {
            sessions: Looks::new(CAPACITY),
            accounts: Looks::new(CAPACITY),
            at_home: Cache::new(AT_HOME),
            shown: Lane::new(2),
            besieged: Lane::new(2),
            others: Lane::new(1),
        }
    }

    /// Remembers that somebody has logged in by a name from a network.
    pub(crate) fn got_in(&self, home: Pseudonym) {
        self.at_home.insert(home, ());
    }
}
