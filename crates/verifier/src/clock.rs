//! The only place in the system that reads a clock.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use latchkey_claims::Timestamp;
use rustix::time::{ClockId, clock_gettime};

/// Wall time with a test offset, and elapsed time that no one can set.
///
/// Clones share the offset, so a test that holds one moves the time of everything built from it.
#[derive(Debug, Clone, Default)]
pub struct Clock {
    offset_millis: Arc<AtomicI64>,
}

impl Clock {
    /// A clock that is `seconds` ahead of the system's.
    #[must_use]
    pub fn with_offset(seconds: i64) -> Self {
        let clock = Self::default();
        clock.advance(seconds);
        clock
    }

    /// Moves this clock and its clones by `seconds`.
    pub fn advance(&self, seconds: i64) {
        self.offset_millis.fetch_add(seconds * 1000, Ordering::Relaxed);
    }

    /// How far ahead of the system's wall clock this one is, in milliseconds.
    #[must_use]
    pub fn offset_millis(&self) -> i64 {
        self.offset_millis.load(Ordering::Relaxed)
    }

    /// The wall time.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        let system = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let millis = i64::try_from(system.as_millis()).unwrap_or(i64::MAX);
        Timestamp(millis.saturating_add(self.offset_millis()))
    }

    /// Time since an arbitrary origin that never steps and, on Linux, goes on while the machine
    /// sleeps (`CLOCK_BOOTTIME`): a process that was stopped does not believe it is still fresh.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        #[cfg(target_os = "linux")]
        let id = ClockId::Boottime;
        #[cfg(not(target_os = "linux"))]
        let id = ClockId::Monotonic;
        let time = clock_gettime(id);
        Duration::new(
            u64::try_from(time.tv_sec).unwrap_or(0),
            u32::try_from(time.tv_nsec).unwrap_or(0),
        )
    }
}
