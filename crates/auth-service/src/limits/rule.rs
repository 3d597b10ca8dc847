//! The two rules by which attempts are counted, as arithmetic on two numbers and the time.
//!
//! `script.lua` says the same once more, for Redis; a test holds them together.

/// How much is admitted. All times are in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rule {
    /// `burst` at once, and one more for every `interval_ms` that has passed (GCRA).
    Rate {
        /// At once.
        burst: u64,
        /// Until the next one.
        interval_ms: u64,
    },
    /// `free` attempts without a wait; from then on each must wait since the last one, twice as long
    /// every time. For what a person gets wrong a few times and a machine for ever.
    Growing {
        /// Without a wait.
        free: u64,
        /// The first wait.
        first_ms: u64,
        /// The longest wait.
        most_ms: u64,
        /// After so long without an attempt all is forgotten.
        forget_ms: u64,
    },
}

/// What is remembered of a bucket. Nothing remembered is the default.
///
/// Of a rate: when it will be empty. Of growing waits: how many attempts, and when the last was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct State(pub(super) u64, pub(super) u64);

/// Doubled no more often than this: twice the longest wait that can be set, and far from an overflow.
const DOUBLINGS: u64 = 30;

impl Rule {
    /// The state after one more attempt, or how long to wait before it. A refused attempt changes
    /// nothing: whoever asks too early waits no longer for it.
    pub(super) fn take(self, state: State, now: u64) -> Result<State, u64> {
        let State(first, last) = self.current(state, now);
        match self {
            Self::Rate { burst, interval_ms } => {
                let empty_at = first + interval_ms;
                match empty_at.saturating_sub(now + burst * interval_ms) {
                    0 => Ok(State(empty_at, 0)),
                    wait => Err(wait),
                }
            }
            Self::Growing { free, first_ms, most_ms, .. } => {
                let wait = first
                    .checked_sub(free)
                    .map_or(0, |over| most_ms.min(first_ms << over.min(DOUBLINGS)));
                match (last + wait).saturating_sub(now) {
                    0 => Ok(State(first + 1, now)),
                    wait => Err(wait),
                }
            }
        }
    }

    /// The state as if one attempt had not been.
    pub(super) fn give_back(self, state: State, now: u64) -> State {
        let State(first, last) = self.current(state, now);
        match self {
            Self::Rate { interval_ms, .. } => State(first.saturating_sub(interval_ms).max(now), 0),
            Self::Growing { .. } => State(first.saturating_sub(1), last),
        }
    }

    /// Whether nothing counts any more.
    pub(super) fn is_empty(self, state: State, now: u64) -> bool {
        let State(first, _) = self.current(state, now);
        match self {
            Self::Rate { .. } => first == now,
            Self::Growing { .. } => first == 0,
        }
    }

    /// What is left of a state now. A clock that stepped back must not make anybody wait longer.
    fn current(self, State(first, last): State, now: u64) -> State {
        match self {
            Self::Rate { burst, interval_ms } => {
                State(first.clamp(now, now + burst * interval_ms), 0)
            }
            Self::Growing { forget_ms, .. } => {
                let last = last.min(now);
                State(if now - last >= forget_ms { 0 } else { first }, last)
            }
        }
    }

    /// How many are admitted at once, for `RateLimit-Policy`.
    pub(super) const fn quota(self) -> u64 {
        match self {
            Self::Rate { burst, .. } => burst,
            Self::Growing { free, .. } => free,
        }
    }

    /// After how long without an attempt that many are admitted again.
    pub(super) const fn window_ms(self) -> u64 {
        match self {
            Self::Rate { burst, interval_ms } => burst * interval_ms,
            Self::Growing { forget_ms, .. } => forget_ms,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: Rule = Rule::Rate { burst: 3, interval_ms: 100 };
    const GROWING: Rule = Rule::Growing { free: 2, first_ms: 100, most_ms: 350, forget_ms: 10_000 };

    #[test]
    fn a_rate_admits_a_burst_and_then_one_for_each_interval() {
        let mut state = State::default();
        for _ in 0..3 {
            state = RATE.take(state, 1000).unwrap();
        }
        assert_eq!(RATE.take(state, 1000), Err(100));
        assert_eq!(RATE.take(state, 1070), Err(30));
        let next = RATE.take(state, 1100).unwrap();
        assert_eq!(RATE.take(next, 1100), Err(100));
        let back = RATE.give_back(next, 1100);
        assert!(RATE.take(back, 1100).is_ok());
        assert!(RATE.is_empty(next, 1400) && !RATE.is_empty(next, 1399));
    }

    #[test]
    fn waits_grow_to_the_most_and_are_forgotten() {
        let (mut state, mut now, mut waits) = (State::default(), 50_000, Vec::new());
        for _ in 0..6 {
            if let Err(wait) = GROWING.take(state, now) {
                assert_eq!(GROWING.take(state, now + wait - 1), Err(1), "not a moment earlier");
                waits.push(wait);
                now += wait;
            }
            state = GROWING.take(state, now).unwrap();
        }
        assert_eq!(waits, [100, 200, 350, 350]);
        assert!(!GROWING.is_empty(state, now + 9_999) && GROWING.is_empty(state, now + 10_000));
        let one = GROWING.take(State::default(), now).unwrap();
        assert!(GROWING.is_empty(GROWING.give_back(one, now), now));
    }

    #[test]
    fn a_clock_that_steps_back_makes_nobody_wait_longer() {
        let mut rate = State::default();
        let mut growing = State::default();
        for _ in 0..3 {
            rate = RATE.take(rate, 1_000_000).unwrap();
            growing = GROWING.take(growing, 1_000_000).unwrap_or(growing);
        }
        assert_eq!(RATE.take(rate, 5_000), Err(100));
        assert_eq!(GROWING.take(growing, 5_000), Err(100));
    }
}
