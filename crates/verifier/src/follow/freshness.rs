//! Whether the feed at one address is fresh enough to stay with.

use std::time::Duration;

/// A feed reads its database four times a second; one that did not read for so long has lost it.
const NO_READ: Duration = Duration::from_secs(1);
/// Of two moments, by how much the later must be later to have been another read of the database. A
/// read is told of in whole milliseconds, and answers are delayed by different times.
const SAME_READ: Duration = Duration::from_millis(20);

/// What the answers of one address said of their age.
#[derive(Debug, Default)]
pub(super) struct Freshness {
    /// When the newest database read that an answer told of began at the latest, and when that
    /// answer came.
    newest: Option<(Duration, Duration)>,
}

/// Why an address should be left, although it answers.
#[derive(Debug, thiserror::Error)]
pub(super) enum Stale {
    #[error("what it knows is {} ms old", .0.as_millis())]
    Old(Duration),
    #[error("it has not read its database for {} ms", .0.as_millis())]
    NoRead(Duration),
}

impl Freshness {
    /// Judges an answer to a question that was sent at `sent` and came at `received`, with an `age`
    /// by its own account, for a follower that may be `bound` behind.
    pub(super) fn judge(
        &mut self,
        sent: Duration,
        received: Duration,
        age: Duration,
        bound: Duration,
    ) -> Result<(), Stale> {
        let old = received.saturating_sub(sent) + age;
        if old > bound / 3 {
            return Err(Stale::Old(old));
        }
        let read = received.saturating_sub(age);
        match self.newest {
            Some((before, since)) if read <= before + SAME_READ => {
                let without = received.saturating_sub(since);
                if without >= NO_READ { Err(Stale::NoRead(without)) } else { Ok(()) }
            }
            _ => {
                self.newest = Some((read, received));
                Ok(())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUND: Duration = Duration::from_secs(30);

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn a_feed_that_reads_its_database_is_stayed_with() {
        let mut freshness = Freshness::default();
        // Its answers come after 0 to 1000 ms, each with what the read every 250 ms made of the age.
        for n in 0..100 {
            let sent = ms(10_000 + n * 1000);
            let received = sent + ms(n * 377 % 1000);
            let age = ms(u64::try_from(received.as_millis()).unwrap() % 250 + 1);
            assert!(freshness.judge(sent, received, age, BOUND).is_ok(), "{n}");
        }
        // Many answers between two reads are no sign of anything.
        let at = ms(200_000);
        for n in 0..200 {
            assert!(freshness.judge(at + ms(n), at + ms(n), ms(n + 1), BOUND).is_ok(), "{n}");
        }
    }

    #[test]
    fn an_age_above_a_third_of_the_bound_is_stale_whatever_it_is_made_of() {
        let at = ms(50_000);
        let judge = |took, age| Freshness::default().judge(at, at + ms(took), ms(age), BOUND);
        assert!(judge(1000, 9000).is_ok());
        assert!(matches!(judge(0, 10_001), Err(Stale::Old(_))));
        assert!(matches!(judge(1100, 9000), Err(Stale::Old(_))));
    }

    #[test]
    fn an_age_that_grows_by_the_time_passed_is_stale_after_a_second() {
        for every in [10, 100, 1000] {
            let (mut freshness, begun) = (Freshness::default(), ms(50_000));
            let asked = (0..).map(|n| n * every);
            let left = asked.take(300).find(|passed| {
                let at = begun + ms(*passed);
                freshness.judge(at, at, ms(40 + passed), BOUND).is_err()
            });
            assert_eq!(left, Some(1000), "asked every {every} ms");
        }
    }
}
