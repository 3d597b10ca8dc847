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

/// How many attempts of a bucket are in flight: charged, and not settled yet. Each is counted in the
/// span of time in which it was charged, and a span is forgotten with the end of the next one, so that
/// a replica that dies with attempts in flight makes nobody wait for them for longer than that.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Flights {
    span: u64,
    in_this: u64,
    in_the_last: u64,
}

/// The length of a span, in milliseconds: longer than a login takes on the busiest machine.
pub(super) const SPAN_MS: u64 = 30_000;

impl Flights {
    pub(super) fn begin(self, now: u64) -> Self {
        let now = self.current(now);
        Self { in_this: now.in_this + 1, ..now }
    }

    /// One that was charged at `at` is over.
    pub(super) fn end(self, at: u64, now: u64) -> Self {
        let mut now = self.current(now);
        if at / SPAN_MS == now.span {
            now.in_this = now.in_this.saturating_sub(1);
        } else if at / SPAN_MS + 1 == now.span {
            now.in_the_last = now.in_the_last.saturating_sub(1);
        }
        now
    }

    pub(super) fn any(self, now: u64) -> bool {
        let now = self.current(now);
        now.in_this + now.in_the_last > 0
    }

    fn current(self, now: u64) -> Self {
        let span = now / SPAN_MS;
        if self.span == span {
            self
        } else {
            let in_the_last = if self.span + 1 == span { self.in_this } else { 0 };
            Self { span, in_this: 0, in_the_last }
        }
    }
}

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

    /// The state as if the attempt of time `at` had not been. Who waits, waits since the one before it,
    /// unless there was another one meanwhile.
    pub(super) fn give_back(self, state: State, now: u64, at: u64, last_before: u64) -> State {
        let State(first, last) = self.current(state, now);
        match self {
            Self::Rate { interval_ms, .. } => State(first.saturating_sub(interval_ms).max(now), 0),
            Self::Growing { .. } => {
                State(first.saturating_sub(1), if last == at { last_before } else { last })
            }
        }
    }

    /// When the last attempt was, where the rule cares and there was one.
    pub(super) fn last(self, state: State, now: u64) -> u64 {
        match (self, self.current(state, now)) {
            (Self::Rate { .. }, _) | (Self::Growing { .. }, State(0, _)) => 0,
            (Self::Growing { .. }, State(_, last)) => last,
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
        let back = RATE.give_back(next, 1100, 1100, 0);
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
        assert!(GROWING.is_empty(GROWING.give_back(one, now, now, 0), now));
    }

    #[test]
    fn what_is_given_back_makes_nobody_wait() {
        let mut state = State::default();
        for at in [1000, 1010] {
            state = GROWING.take(state, at).unwrap();
        }
        assert_eq!(GROWING.take(state, 1100), Err(10));
        let charged = GROWING.take(state, 1110).unwrap();
        assert_eq!(GROWING.take(charged, 1120), Err(190));
        let back = GROWING.give_back(charged, 1120, 1110, GROWING.last(state, 1110));
        assert_eq!(back, state);
        assert!(GROWING.take(back, 1120).is_ok());
        // Another one came meanwhile, and that is the last then.
        let another = GROWING.take(back, 2000).unwrap();
        assert_eq!(GROWING.give_back(another, 2000, 1110, 1010), State(2, 2000));
    }

    #[test]
    fn what_is_in_flight_is_forgotten_with_the_next_span() {
        let two = Flights::default().begin(SPAN_MS).begin(2 * SPAN_MS - 1);
        let one = two.end(SPAN_MS, 2 * SPAN_MS);
        assert!(one.any(2 * SPAN_MS) && one.any(3 * SPAN_MS - 1) && !one.any(3 * SPAN_MS));
        assert!(!one.end(2 * SPAN_MS - 1, 2 * SPAN_MS).any(2 * SPAN_MS));
        // What is settled when it is forgotten takes nothing from another one.
        let other = one.begin(3 * SPAN_MS);
        assert!(other.end(SPAN_MS, 3 * SPAN_MS).any(3 * SPAN_MS));
        assert!(!two.any(0), "the clock stepped back");
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
