//! What password hashing may cost on this machine.

use std::fmt;
use std::time::{Duration, Instant};

use crate::config::MAX_WORK;
use crate::passwords::{permits, run_once};

/// OWASP's floor.
const LEAST_MEMORY_KIB: u32 = 19_456;
const LEAST_ITERATIONS: u32 = 2;
/// Memory is raised first, because it is what hurts an attacker's hardware; more than this crowds
/// the machine's other work out of its caches and permits out of the 128 MiB for all.
const MOST_MEMORY_KIB: u32 = 64 * 1024;
const STEP_KIB: u32 = 1024;
const ROUNDS: usize = 5;

/// The parameters found, and what they take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Calibration {
    /// `passwords.memory_kib`
    pub(super) memory_kib: u32,
    pub(super) iterations: u32,
    /// One hash on one idle core.
    pub(super) takes: Duration,
    /// What was asked for.
    pub(super) target: Duration,
}

/// Measures on this machine.
#[must_use]
pub(super) fn measure(target: Duration) -> Calibration {
    let mut arena = Vec::new();
    search(target, |memory_kib, iterations| {
        run_once(memory_kib, iterations, &mut arena);
        let times = (0..ROUNDS).map(|_| {
            let begun = Instant::now();
            run_once(memory_kib, iterations, &mut arena);
            begun.elapsed()
        });
        // The fastest: whatever else runs here now makes the others slower.
        times.min().unwrap_or_default()
    })
}

/// The costliest parameters that take no longer than `target`, but at least the floor.
pub(super) fn search(target: Duration, mut takes: impl FnMut(u32, u32) -> Duration) -> Calibration {
    let (mut memory_kib, mut iterations) = (LEAST_MEMORY_KIB, LEAST_ITERATIONS);
    let mut best = takes(memory_kib, iterations);
    // Halves the distance, in steps, between what is good and what is too much.
    let (mut good, mut too_much) = (0, (MOST_MEMORY_KIB - LEAST_MEMORY_KIB) / STEP_KIB + 1);
    while best <= target && too_much - good > 1 {
        let middle = good.midpoint(too_much);
        let tried = LEAST_MEMORY_KIB + middle * STEP_KIB;
        let took = takes(tried, iterations);
        if took <= target {
            (good, memory_kib, best) = (middle, tried, took);
        } else {
            too_much = middle;
        }
    }
    while memory_kib == MOST_MEMORY_KIB
        && u64::from(memory_kib) * u64::from(iterations + 1) <= MAX_WORK
    {
        let took = takes(memory_kib, iterations + 1);
        if took > target {
            break;
        }
        (iterations, best) = (iterations + 1, took);
    }
    Calibration { memory_kib, iterations, takes: best, target }
}

impl fmt::Display for Calibration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { memory_kib, iterations, takes, target } = *self;
        let milliseconds = |time: Duration| time.as_secs_f64() * 1000.0;
        let permits = permits(memory_kib);
        let at_once = u32::try_from(permits).map_or(f64::MAX, f64::from);
        let logins = at_once / takes.as_secs_f64();
        if takes > target {
            writeln!(
                f,
                "# {:.0} ms is below the floor: these are the least that OWASP recommends.",
                milliseconds(target)
            )?;
        }
        writeln!(
            f,
            "# {:.1} ms for one hash; {permits} at once; {logins:.0} logins a second at most.",
            milliseconds(takes)
        )?;
        writeln!(f, "AUTH__PASSWORDS__MEMORY_KIB={memory_kib}")?;
        write!(f, "AUTH__PASSWORDS__ITERATIONS={iterations}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A machine on which a MiB takes this many microseconds in each pass.
    fn on_a_machine(micros: u32, target_ms: u64) -> Calibration {
        search(Duration::from_millis(target_ms), |memory_kib, iterations| {
            Duration::from_micros((u64::from(memory_kib) * u64::from(iterations * micros)) / 1024)
        })
    }

    fn parameters(found: Calibration) -> (u32, u32) {
        (found.memory_kib, found.iterations)
    }

    #[test]
    fn the_floor_is_kept_and_said() {
        let found = on_a_machine(1000, 20);
        assert_eq!(parameters(found), (19_456, 2));
        assert_eq!(found.takes, Duration::from_millis(38));
        assert!(found.to_string().starts_with("# 20 ms is below the floor"), "{found}");
        assert_eq!(parameters(on_a_machine(1000, 38)), (19_456, 2));
        assert!(!on_a_machine(1000, 38).to_string().contains("floor"));
    }

    #[test]
    fn memory_is_raised_first_and_passes_after_it() {
        assert_eq!(parameters(on_a_machine(500, 50)), (50 * 1024, 2));
        assert_eq!(parameters(on_a_machine(500, 63)), (63 * 1024, 2));
        assert_eq!(parameters(on_a_machine(500, 64)), (64 * 1024, 2));
        assert_eq!(parameters(on_a_machine(500, 100)), (64 * 1024, 3));
        assert_eq!(parameters(on_a_machine(1, 60_000)), (64 * 1024, 16), "as much as is allowed");
    }

    #[test]
    fn the_settings_can_be_copied() {
        let text = on_a_machine(500, 50).to_string();
        assert!(text.contains("# 50.0 ms for one hash; "), "{text}");
        assert!(
            text.ends_with("AUTH__PASSWORDS__MEMORY_KIB=51200\nAUTH__PASSWORDS__ITERATIONS=2"),
            "{text}"
        );
    }
}
