//! Lines of the log that say the same again and again: the first few of a second are written, and the others
//! counted. Whoever sends a flood of requests must not fill a disk with it.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// So many lines of a kind are written in a second.
const WRITTEN: u32 = 10;
/// For how long others are counted before their number is told.
const SECOND: Duration = Duration::from_secs(1);

/// What was written and left out lately, by kinds of lines, of which there must be a bounded number.
#[derive(Debug)]
pub struct Repeats<K>(Mutex<HashMap<K, Lately>>);

#[derive(Debug)]
struct Lately {
    since: Instant,
    written: u32,
    left_out: u64,
}

/// What to do with a line.
#[derive(Debug, PartialEq, Eq)]
enum Line {
    Write,
    /// It was counted.
    LeaveOut,
    /// The same, and it is the first one: how many they were is to be told in a [`SECOND`].
    LeaveOutAndTell,
}

impl<K> Default for Repeats<K> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<K: Clone + Eq + Hash + Send + 'static> Repeats<K> {
    /// Has `line` written, unless there were many of this kind within the last second. Then it is counted, and
    /// `others` has the number written. On a runtime, which does that later.
    pub fn write(&'static self, kind: K, line: impl FnOnce(&K), others: fn(&K, u64)) {
        match self.judge(kind.clone(), Instant::now()) {
            Line::Write => line(&kind),
            Line::LeaveOut => {}
            Line::LeaveOutAndTell => {
                tokio::spawn(async move {
                    tokio::time::sleep(SECOND).await;
                    others(&kind, self.left_out(&kind));
                });
            }
        }
    }

    /// Whether to write a line of this kind now.
    fn judge(&self, kind: K, now: Instant) -> Line {
        let mut kinds = self.kinds();
        let new = || Lately { since: now, written: 0, left_out: 0 };
        let lately = kinds.entry(kind).or_insert_with(new);
        if now.saturating_duration_since(lately.since) >= SECOND {
            (lately.since, lately.written) = (now, 0);
        }
        if lately.written < WRITTEN {
            lately.written += 1;
            return Line::Write;
        }
        lately.left_out += 1;
        if lately.left_out == 1 { Line::LeaveOutAndTell } else { Line::LeaveOut }
    }

    /// How many lines of this kind were left out since this was asked last.
    fn left_out(&self, kind: &K) -> u64 {
        let mut kinds = self.kinds();
        kinds.get_mut(kind).map_or(0, |lately| std::mem::take(&mut lately.left_out))
    }

    fn kinds(&self) -> MutexGuard<'_, HashMap<K, Lately>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_of_a_second_are_written_and_the_others_counted_each_kind_for_itself() {
        let (repeats, begun) = (Repeats::default(), Instant::now());
        let judge = |kind: &'static str, after: u64| {
            repeats.judge(kind, begun + Duration::from_millis(after))
        };
        for _ in 0..WRITTEN {
            assert_eq!(judge("a", 0), Line::Write);
        }
        assert_eq!(judge("a", 10), Line::LeaveOutAndTell);
        assert_eq!(judge("a", 999), Line::LeaveOut);
        assert_eq!(judge("b", 999), Line::Write);
        assert_eq!(judge("a", 1000), Line::Write, "another second");
        assert_eq!((repeats.left_out(&"a"), repeats.left_out(&"a")), (2, 0));
        for _ in 1..WRITTEN {
            assert_eq!(judge("a", 1001), Line::Write);
        }
        assert_eq!(judge("a", 1001), Line::LeaveOutAndTell, "the count was told meanwhile");
        assert_eq!((repeats.left_out(&"a"), repeats.left_out(&"b")), (1, 0));
    }
}
