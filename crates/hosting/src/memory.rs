//! Gives memory back to the system when the process has grown and what made it grow may be over.

use std::thread;
use std::time::Duration;

use rustix::param::page_size;

/// How often the process looks at itself.
const PAUSE: Duration = Duration::from_secs(10);
/// A process that has grown by less than this keeps it: it would soon ask for it again.
const GROWTH_BYTES: usize = 4 * 1024 * 1024;
/// After a request that gave back next to nothing, so many looks pass without another one.
const LOOKS_AFTER_NOTHING: u32 = 2;

/// Looks after the memory of this process for as long as it lives, on a thread of its own.
///
/// What is in use is not touched. A process that really needs more is asked again every half a minute.
pub(crate) fn look_after() {
    let look = || {
        let mut growth = Growth::default();
        while let Some(resident) = resident_bytes() {
            if growth.is_worth_asking(resident) {
                let given_back = heap::give_back();
                let left = resident_bytes().unwrap_or(resident);
                growth.asked(resident, left);
                tracing::debug!(
                    memory.before_bytes = resident,
                    memory.after_bytes = left,
                    given_back,
                    "gave memory back to the system"
                );
            }
            thread::sleep(PAUSE);
        }
    };
    // Where there is no such thread, more memory is kept than is needed, and nothing else.
    let _ = thread::Builder::new().name("memory".to_owned()).stack_size(128 * 1024).spawn(look);
}

/// What earlier looks have seen.
#[derive(Default)]
struct Growth {
    /// The least that was resident at a look, bytes.
    ///
    /// What is left after asking is no measure. In the middle of a flood that is what the flood uses, and
    /// a process that took it for the normal would keep it when the flood is gone.
    least: Option<usize>,
    /// Looks that pass before the next request.
    pass: u32,
}

impl Growth {
    fn is_worth_asking(&mut self, resident: usize) -> bool {
        let least = self.least.map_or(resident, |least| least.min(resident));
        self.least = Some(least);
        if resident <= least + GROWTH_BYTES {
            self.pass = 0;
        } else if self.pass > 0 {
            self.pass -= 1;
        } else {
            return true;
        }
        false
    }

    fn asked(&mut self, before: usize, after: usize) {
        let gained = before.saturating_sub(after);
        self.pass = if gained < GROWTH_BYTES / 8 { LOOKS_AFTER_NOTHING } else { 0 };
    }
}

/// What the system holds in memory for this process. Only Linux says it.
pub(crate) fn resident_bytes() -> Option<usize> {
    let statm = std::fs::read_to_string("/proc/self/statm").ok()?;
    let pages: usize = statm.split(' ').nth(1)?.parse().ok()?;
    Some(pages * page_size())
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: usize = 1024 * 1024;

    /// Looks, each with what is resident and what of that is in use: what is resident after each.
    fn looks(growth: &mut Growth, seen: &[(usize, usize)]) -> Vec<usize> {
        let look = |&(resident, used): &(usize, usize)| {
            if !growth.is_worth_asking(resident * MIB) {
                return resident;
            }
            growth.asked(resident * MIB, used * MIB);
            used
        };
        seen.iter().map(look).collect()
    }

    #[test]
    fn what_a_long_flood_used_is_given_back_when_it_is_gone() {
        let mut growth = Growth::default();
        let flood = [(15, 15), (86, 80), (86, 80), (84, 82), (84, 83)];
        assert_eq!(looks(&mut growth, &flood).last(), Some(&83));
        // It is gone, and a look or two later so is what it took.
        let after = looks(&mut growth, &[(83, 18), (83, 18), (83, 18)]);
        assert_eq!(after.last(), Some(&18));
    }

    #[test]
    fn a_process_that_needs_what_it_has_is_asked_every_half_a_minute() {
        let mut growth = Growth::default();
        assert!(!growth.is_worth_asking(15 * MIB));
        let asked = (0..30).filter(|_| {
            let asks = growth.is_worth_asking(400 * MIB);
            if asks {
                growth.asked(400 * MIB, 400 * MIB);
            }
            asks
        });
        assert_eq!(asked.count(), 10);
        // New growth waits no longer than that.
        assert_eq!(looks(&mut growth, &[(500, 400); 3]).last(), Some(&400));
    }

    #[test]
    fn a_little_growth_is_kept() {
        let mut growth = Growth::default();
        assert_eq!(looks(&mut growth, &[(15, 15), (18, 15), (19, 15)]), [15, 18, 19]);
        assert_eq!(looks(&mut growth, &[(20, 15)]), [15]);
    }
}
