//! Pages with the usual interceptor and no lock: each of ten calls that are refused takes the newest
//! refresh token out of the storage, refreshes by itself, and puts there what it is given. Every
//! request and every reply meets a delay of its own, as on a phone.

use crate::rule::{self, Answer, Limits, Operation, State};
use fastrand::Rng;

use crate::search::Rule;
use crate::wrong::only_the_parent_has_a_window;

const PAGES: u64 = 3000;
const CALLS: usize = 10;
/// The longest delay, milliseconds; the limits are in milliseconds here too.
const DELAY: i64 = 1500;
const WINDOW: i64 = 30_000;
const LONG: i64 = 10_000_000;

/// What happens to a call at its next moment.
#[derive(Clone, Copy)]
enum Step {
    /// Its refusal arrives, and it takes the token out of the storage.
    Take,
    /// Its refresh reaches the service.
    Refresh(u32),
    /// The reply arrives, and goes into the storage.
    Keep(u32),
    Done,
}

/// Whether the session of the page lives on after all its calls, and long after.
fn stays_logged_in(rule: Rule, rng: &mut Rng) -> bool {
    let limits = Limits { window: WINDOW, idle: LONG, absolute: LONG };
    let (mut state, _) = rule(limits, &State::default(), Operation::Open { replaces: None });
    state.now = 600_000;
    let refresh = |state: &mut State, at: i64, generation: u32| -> Answer {
        state.now = at;
        let operation = Operation::Refresh { session: 0, generation };
        let (next, answer) = rule(limits, state, operation);
        *state = next;
        answer
    };
    let mut storage = 1;
    let begun = state.now;
    // The call and its refusal take a request and a reply.
    let mut calls: Vec<_> =
        (0..CALLS).map(|_| (begun + rng.i64(0..DELAY) + rng.i64(0..DELAY), Step::Take)).collect();
    loop {
        let next = calls.iter_mut().filter(|(_, step)| !matches!(step, Step::Done));
        let Some((at, step)) = next.min_by_key(|(at, _)| *at) else { break };
        match *step {
            Step::Take => (*at, *step) = (*at + rng.i64(0..DELAY), Step::Refresh(storage)),
            Step::Refresh(token) => match refresh(&mut state, *at, token).grant() {
                Some(grant) => {
                    (*at, *step) = (*at + rng.i64(0..DELAY), Step::Keep(grant.generation));
                }
                None => *step = Step::Done,
            },
            Step::Keep(token) => (storage, *step) = (token, Step::Done),
            Step::Done => {}
        }
    }
    let later = state.now + 600_000;
    refresh(&mut state, later, storage).grant().is_some()
}

fn logged_out(rule: Rule) -> u64 {
    let lost = (0..PAGES).filter(|seed| !stays_logged_in(rule, &mut Rng::with_seed(*seed)));
    lost.count().try_into().expect("few")
}

#[test]
fn no_page_that_calls_without_a_lock_is_logged_out() {
    let lost = logged_out(rule::apply);
    println!("ten calls without a lock, delays up to {DELAY} ms: {lost} of {PAGES} logged out");
    assert_eq!(lost, 0);
}

#[test]
fn with_a_window_for_the_parent_only_most_such_pages_are_logged_out() {
    let lost = logged_out(only_the_parent_has_a_window);
    println!("with a window for the parent only: {lost} of {PAGES} logged out");
    assert!(lost > PAGES / 2, "{lost}");
}
