//! Whether the clock can be trusted with what cannot be undone.
//!
//! The database's clock judges sessions and keys. A clock that is wrong for a moment (before NTP has
//! set it, or after somebody has set it by hand) may refuse people for that moment; it must not delete
//! rows or make keys retire. So the clock is compared with the time since boot, which nobody can set:
//! where the two do not advance alike, the clock was stepped. Deleting and moving keys wait until
//! there was no step for a while, and until the process has run for as long.
//!
//! A clock that is wrong by the same amount since the process began cannot be seen in this way.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use claims::Timestamp;
use verifier::Clock;

use crate::store::{AuditEntry, AuditEvent, Store};

/// What the clock may advance more or less than the time since boot before that is a step. It is more
/// than two readings of a slow database are apart, and more than NTP corrects without a step.
const LEAST_STEP_MS: i64 = 60_000;
/// How long a reading is compared with. Clocks of two machines drift apart by less than a second in
/// this time; steps that are each too small to be noticed add up.
const COMPARED_FOR: Duration = Duration::from_hours(1);
const BETWEEN_LOOKS: Duration = Duration::from_secs(1);

/// Compares the clock that judges with the time since boot.
#[derive(Debug)]
pub(crate) struct ClockWatch {
    clock: Clock,
    /// How long nothing is deleted after the start and after each step.
    settle: Duration,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// When the process began or the clock was last stepped.
    since: Duration,
    /// What later readings are compared with.
    reference: Option<Reading>,
    latest: Option<Reading>,
}

/// What the clock showed at a moment of the time since boot.
#[derive(Debug, Clone, Copy)]
struct Reading {
    wall: Timestamp,
    at: Duration,
}

impl Reading {
    /// What the clock shows at `now` if it was not stepped since.
    fn expected_at(self, now: Duration) -> Timestamp {
        let passed = i64::try_from(now.saturating_sub(self.at).as_millis()).unwrap_or(i64::MAX);
        Timestamp(self.wall.0.saturating_add(passed))
    }
}

impl ClockWatch {
    /// Begins to watch. `clock` gives the time since boot; `settle` is how long nothing may be deleted
    /// after the start and after a step.
    #[must_use]
    pub(crate) fn new(clock: Clock, settle: Duration) -> Self {
        let state = State { since: clock.elapsed(), reference: None, latest: None };
        Self { clock, settle, state: Mutex::new(state) }
    }

    /// Takes in what the clock that judges shows now. A step is told in the log, the metrics and the
    /// audit log.
    pub(crate) fn observe(&self, wall: Timestamp, store: &Store) {
        let Some(stepped) = self.step_to(wall) else { return };
        // Rounded: the readings are some milliseconds apart.
        let by = format!("{:+} s", (stepped + 500 * stepped.signum()) / 1000);
        metrics::counter!("latchkey_clock_steps_total").increment(1);
        tracing::warn!(
            event.name = AuditEvent::ClockStepped.as_str(),
            by,
            settle_seconds = self.settle.as_secs(),
            "the clock was stepped; nothing is deleted and no key moves until it has settled"
        );
        let reason = Some(by.into());
        store.record_later(AuditEntry { reason, ..AuditEntry::new(AuditEvent::ClockStepped) });
    }

    /// Takes in a reading. Answers by how many milliseconds it was stepped
    /// since the last reading, if it was; forward is positive.
    fn step_to(&self, wall: Timestamp) -> Option<i64> {
        let now = self.clock.elapsed();
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let reading = Reading { wall, at: now };
        state.latest = Some(reading);
        let reference = *state.reference.get_or_insert(reading);
        let stepped = wall.0.saturating_sub(reference.expected_at(now).0);
        if stepped.saturating_abs() > LEAST_STEP_MS {
            state.since = now;
            state.reference = Some(reading);
            return Some(stepped);
        }
        if now.saturating_sub(reference.at) > COMPARED_FOR {
            state.reference = Some(reading);
        }
        None
    }

    /// Waits until the clock is trusted with what cannot be undone, and says what time it is.
    pub(crate) async fn trusted(&self) -> Timestamp {
        loop {
            if let Some(now) = self.trusted_time() {
                return now;
            }
            tokio::time::sleep(BETWEEN_LOOKS).await;
        }
    }

    /// The time to judge by what cannot be undone; `None` while the clock is not trusted with that. It
    /// is reckoned from the last reading, so that a step that was not noticed yet does no harm.
    pub(crate) fn trusted_time(&self) -> Option<Timestamp> {
        let now = self.clock.elapsed();
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let settled = now.saturating_sub(state.since) >= self.settle;
        state.latest.filter(|_| settled).map(|latest| latest.expected_at(now))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn watch(settle: Duration) -> (Clock, ClockWatch) {
        let clock = Clock::default();
        (clock.clone(), ClockWatch::new(clock, settle))
    }

    #[test]
    fn a_step_is_noticed_in_either_direction_and_a_drift_is_none() {
        for step in [7_200_000, -7_200_000, 61_000, -61_000] {
            let (clock, watch) = watch(Duration::ZERO);
            let wall = clock.now();
            assert_eq!(watch.step_to(wall), None);
            assert_eq!(watch.step_to(Timestamp(wall.0 + 500)), None);
            let noticed = watch.step_to(Timestamp(wall.0 + step)).expect("a step");
            assert!((noticed - step).abs() < 500, "{noticed}");
            assert_eq!(watch.step_to(Timestamp(wall.0 + step)), None, "one step is told once");
        }
    }

    #[test]
    fn small_steps_add_up() {
        let (clock, watch) = watch(Duration::ZERO);
        let wall = clock.now();
        assert_eq!(watch.step_to(wall), None);
        assert_eq!(watch.step_to(Timestamp(wall.0 + 40_000)), None);
        assert!(watch.step_to(Timestamp(wall.0 + 80_000)).is_some());
    }

    #[test]
    fn the_time_is_not_trusted_until_it_has_settled() {
        let (clock, watch) = watch(Duration::from_mins(1));
        watch.step_to(clock.now());
        assert_eq!(watch.trusted_time(), None, "the process has only begun");
        let (clock, watch) = self::watch(Duration::ZERO);
        assert_eq!(watch.trusted_time(), None, "nobody has read the clock yet");
        let wall = clock.now();
        watch.step_to(wall);
        let trusted = watch.trusted_time().expect("settled");
        assert!((trusted.0 - wall.0).abs() < 500);
    }
}
