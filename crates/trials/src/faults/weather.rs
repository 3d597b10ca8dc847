//! What was in trouble and when, so that it can be judged who ought to have been served meanwhile.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::RwLock;

use super::history::Moment;

/// How long after the end of its troubles a service may still answer 503: time to notice, to connect
/// anew and, for a resource-service, to find a replica that is well.
pub const RECOVERY: Duration = Duration::from_secs(5);

/// How far back a report looks.
const SHOWN: Duration = Duration::from_secs(15);

/// Whom a fault concerns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Concern {
    /// One auth-service: its process, or its way to the database; or it got too little of the machine.
    Replica(usize),
    /// One resource-service: its process, or its way to everybody.
    Resource(usize),
    /// Every auth-service: the database itself.
    Database,
    /// Who asks about certain sessions: their rows are locked.
    Rows,
}

#[derive(Debug)]
struct Spell {
    /// `None`: it excuses nobody.
    concern: Option<Concern>,
    what: String,
    begun: Moment,
    /// `None`: it is not over yet.
    over: Option<Moment>,
}

impl Spell {
    fn meets(&self, from: Moment, until: Moment) -> bool {
        self.begun <= until && self.over.is_none_or(|over| over >= from)
    }
}

/// The troubles of a run.
#[derive(Debug, Default)]
pub struct Weather {
    spells: Mutex<Vec<Spell>>,
    /// Held for reading by each fault while it lasts, and for writing by one that must be alone.
    pub calm: RwLock<()>,
}

impl Weather {
    /// A trouble begins, and this is what it is. Answers by what it is named when it ends.
    pub fn begin(&self, concern: Option<Concern>, what: &str, now: Moment) -> usize {
        let mut spells = self.spells.lock().unwrap_or_else(PoisonError::into_inner);
        spells.push(Spell { concern, what: what.to_owned(), begun: now, over: None });
        spells.len() - 1
    }

    /// A trouble is over.
    pub fn end(&self, which: usize, now: Moment) {
        let mut spells = self.spells.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(spell) = spells.get_mut(which) {
            spell.over = Some(now);
        }
    }

    /// Whether a resource-service had no trouble of its own, and one replica that had none either, at
    /// any time from [`RECOVERY`] before `from` until `until`.
    #[must_use]
    pub fn could_follow(&self, resource: usize, from: Moment, until: Moment) -> bool {
        let well = |concern| self.was_well(concern, from, until);
        well(Concern::Resource(resource))
            && well(Concern::Database)
            && (0..2).any(|replica| well(Concern::Replica(replica)))
    }

    /// Whether an auth-service, its database and all rows had no trouble in that time.
    #[must_use]
    pub fn could_serve(&self, replica: usize, from: Moment, until: Moment) -> bool {
        let concerns = [Concern::Replica(replica), Concern::Database, Concern::Rows];
        concerns.into_iter().all(|concern| self.was_well(concern, from, until))
    }

    /// What was in trouble in a while before `until` and until then, a line each.
    #[must_use]
    pub fn before(&self, until: Moment) -> String {
        let spells = self.spells.lock().unwrap_or_else(PoisonError::into_inner);
        let met = spells.iter().filter(|spell| spell.meets(until.saturating_sub(SHOWN), until));
        let line = |spell: &Spell| {
            let over =
                spell.over.map_or("-".to_owned(), |over| format!("{:.3}", over.as_secs_f64()));
            let whom = spell.concern.map_or("nobody".to_owned(), |whom| format!("{whom:?}"));
            format!("{:>13.3} to {over:>9}  {}, of {whom}\n", spell.begun.as_secs_f64(), spell.what)
        };
        met.map(line).collect()
    }

    fn was_well(&self, concern: Concern, from: Moment, until: Moment) -> bool {
        let from = from.saturating_sub(RECOVERY);
        let spells = self.spells.lock().unwrap_or_else(PoisonError::into_inner);
        !spells.iter().any(|spell| spell.concern == Some(concern) && spell.meets(from, until))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn one_replica_that_is_well_is_enough_and_it_must_be_the_same_all_the_time() {
        let weather = Weather::default();
        let begin = |concern, at| weather.begin(Some(concern), "", at);
        let could = |from: u32, until: u32| weather.could_follow(0, SECOND * from, SECOND * until);
        let first = begin(Concern::Replica(0), SECOND * 10);
        assert!(could(12, 13));
        weather.end(first, SECOND * 14);
        let second = begin(Concern::Replica(1), SECOND * 17);
        assert!(!could(18, 18), "the first has only just recovered");
        assert!(could(20, 21));
        begin(Concern::Resource(0), SECOND * 30);
        assert!(!could(31, 31));
        assert!(weather.could_follow(1, SECOND * 31, SECOND * 31));
        weather.end(second, SECOND * 40);
        begin(Concern::Database, SECOND * 50);
        assert!(!weather.could_follow(1, SECOND * 51, SECOND * 51));
    }
}
