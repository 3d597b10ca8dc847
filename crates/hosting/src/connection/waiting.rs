//! Who waits, in the order in which they began. If they are too many, or hold too much, the one who
//! has waited longest is closed first: whoever means it needs less time than the others.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Waker};

/// A connection, as it is seen by others that wait.
#[derive(Debug, Default)]
pub(crate) struct Place {
    closed: AtomicBool,
    waker: Mutex<Option<Waker>>,
}

impl Place {
    /// Whether it has to close; if not, wakes the task when it has.
    pub(crate) fn is_closed(&self, cx: &Context<'_>) -> bool {
        let mut waker = locked(&self.waker);
        if waker.as_ref().is_none_or(|waker| !waker.will_wake(cx.waker())) {
            *waker = Some(cx.waker().clone());
        }
        drop(waker);
        self.was_closed()
    }

    /// Whether it has to close. Who waits nowhere is not closed any more, unless it was already.
    pub(crate) fn was_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    fn close(&self) {
        self.closed.store(true, Ordering::Release);
        if let Some(waker) = locked(&self.waker).take() {
            waker.wake();
        }
    }
}

/// Connections that wait for the same thing.
#[derive(Debug)]
pub(crate) struct Waiting {
    most: usize,
    most_bytes: usize,
    all: Mutex<All>,
}

#[derive(Debug, Default)]
struct All {
    next: u64,
    bytes: usize,
    places: BTreeMap<u64, (Arc<Place>, usize)>,
    /// What those hold that were closed and have not left yet.
    closed_bytes: usize,
    closed: BTreeMap<u64, usize>,
}

/// Where a connection stands. It is given back with [`Waiting::leave`].
#[derive(Debug)]
pub(crate) struct Turn(u64);

/// Why others were closed when somebody came, and how many.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Closed {
    /// Because there were too many.
    pub(crate) too_many: u64,
    /// Because all together held too much.
    pub(crate) too_much: u64,
}

impl Waiting {
    /// At most so many, and so many bytes in all.
    pub(crate) fn new(most: usize, most_bytes: usize) -> Self {
        Self { most, most_bytes, all: Mutex::default() }
    }

    /// From now on this one waits, and holds `bytes`.
    pub(crate) fn enter(&self, place: &Arc<Place>, bytes: usize) -> (Turn, Closed) {
        let mut all = locked(&self.all);
        let turn = all.next;
        all.next += 1;
        all.bytes += bytes;
        all.places.insert(turn, (Arc::clone(place), bytes));
        (Turn(turn), self.keep_to_the_bounds(&mut all))
    }

    /// It now holds `bytes`.
    pub(crate) fn holds(&self, turn: &Turn, bytes: usize) -> Closed {
        let mut all = locked(&self.all);
        let Some((_, held)) = all.places.get_mut(&turn.0) else { return Closed::default() };
        let before = std::mem::replace(held, bytes);
        all.bytes = all.bytes - before + bytes;
        self.keep_to_the_bounds(&mut all)
    }

    /// It waits no longer.
    pub(crate) fn leave(&self, turn: &Turn) {
        let mut all = locked(&self.all);
        if let Some((_, bytes)) = all.places.remove(&turn.0) {
            all.bytes -= bytes;
        } else if let Some(bytes) = all.closed.remove(&turn.0) {
            all.closed_bytes -= bytes;
        }
    }

    /// Whether those that were closed still hold so much that nobody should take more before they have
    /// left: each leaves when its task runs, and thousands of tasks may run before it.
    pub(crate) fn is_full(&self) -> bool {
        locked(&self.all).closed_bytes > self.most_bytes / 8
    }

    /// Closes the one who has waited longest.
    pub(crate) fn close_first(&self) -> bool {
        locked(&self.all).close_first()
    }

    fn keep_to_the_bounds(&self, all: &mut All) -> Closed {
        let mut closed = Closed::default();
        while all.places.len() > self.most && all.close_first() {
            closed.too_many += 1;
        }
        while all.bytes > self.most_bytes && all.close_first() {
            closed.too_much += 1;
        }
        closed
    }
}

impl All {
    fn close_first(&mut self) -> bool {
        let Some((turn, (place, bytes))) = self.places.pop_first() else { return false };
        self.bytes -= bytes;
        self.closed_bytes += bytes;
        self.closed.insert(turn, bytes);
        place.close();
        true
    }
}

/// No panic leaves the data behind these locks half changed, so a poisoned lock may be used.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places<const N: usize>() -> [Arc<Place>; N] {
        std::array::from_fn(|_| Arc::default())
    }

    fn closed(places: &[Arc<Place>]) -> Vec<bool> {
        let cx = Context::from_waker(Waker::noop());
        places.iter().map(|place| place.is_closed(&cx)).collect()
    }

    #[test]
    fn who_was_closed_counts_until_it_has_left() {
        let waiting = Waiting::new(10, 800);
        let all = places::<4>();
        let turns: Vec<_> = all.iter().map(|place| waiting.enter(place, 300).0).collect();
        assert_eq!(closed(&all), [true, true, false, false]);
        assert!(waiting.is_full(), "1200 bytes are held");
        waiting.leave(&turns[3]);
        waiting.leave(&turns[0]);
        assert!(waiting.is_full(), "one is left that holds too much");
        waiting.leave(&turns[1]);
        assert!(!waiting.is_full());
        // A little more than the bound is all right: nobody waits for the last of them.
        let (turn, _) = waiting.enter(&all[3], 100);
        waiting.close_first();
        waiting.close_first();
        assert!(waiting.is_full());
        waiting.leave(&turns[2]);
        assert!(!waiting.is_full());
        waiting.leave(&turn);
    }

    #[test]
    fn of_too_many_the_one_who_waits_longest_is_closed() {
        let waiting = Waiting::new(2, 100);
        let all = places::<4>();
        let (first, _) = waiting.enter(&all[0], 1);
        waiting.enter(&all[1], 1);
        waiting.leave(&first);
        assert_eq!(waiting.enter(&all[2], 1).1, Closed::default());
        assert_eq!(closed(&all), [false; 4]);
        assert_eq!(waiting.enter(&all[3], 1).1, Closed { too_many: 1, too_much: 0 });
        assert_eq!(closed(&all), [false, true, false, false]);
    }

    #[test]
    fn of_those_who_hold_too_much_in_all_the_one_who_waits_longest_is_closed() {
        let waiting = Waiting::new(10, 100);
        let all = places::<3>();
        let (first, _) = waiting.enter(&all[0], 10);
        let (second, _) = waiting.enter(&all[1], 60);
        assert_eq!(waiting.enter(&all[2], 30).1, Closed::default());
        // Whoever it was that took more.
        assert_eq!(waiting.holds(&second, 61), Closed { too_many: 0, too_much: 1 });
        assert_eq!(closed(&all), [true, false, false]);
        assert_eq!(waiting.holds(&second, 70), Closed::default());
        // One that is closed already counts for nothing.
        assert_eq!(waiting.holds(&first, 1000), Closed::default());
        waiting.leave(&first);
        waiting.leave(&second);
        assert!(waiting.close_first());
        assert!(!waiting.close_first(), "nobody is left");
        assert_eq!(closed(&all), [true, false, true]);
    }
}
