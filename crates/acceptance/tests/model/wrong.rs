//! Rules that are wrong: the search must say so, or it would prove nothing.

use crate::rule::{self, Answer, Limits, Operation, State};

use crate::promises::{Promise, one_session};
use crate::search::{Rule, search};

/// The promise that the search finds broken, if it does.
fn broken_by(rule: Rule) -> Option<Promise> {
    let searched = search(&one_session(rule));
    searched.broken.map(|(promise, way)| {
        println!("{promise:?} after {} states by {way:?}", searched.states);
        promise
    })
}

/// The session, where the token that is presented is the parent of its current one.
fn presented_by_parent(state: &State, operation: Operation) -> Option<usize> {
    let Operation::Refresh { session, generation, .. } = operation else { return None };
    let parent = generation + 1 == state.sessions.get(session)?.row.generation;
    (parent && state.is_live(session)).then_some(session)
}

/// What the rule was by body: the parent has a window, and the current token rotates whenever it is
/// presented.
pub(crate) fn only_the_parent_has_a_window(
    limits: Limits,
    state: &State,
    operation: Operation,
) -> (State, Answer) {
    let Operation::Refresh { session, generation } = operation else {
        return rule::apply(limits, state, operation);
    };
    let current = state.sessions.get(session).map(|found| found.row.generation);
    let window = if current == Some(generation) { 0 } else { limits.window };
    rule::apply(Limits { window, ..limits }, state, operation)
}

#[test]
fn a_session_does_not_rotate_twice_in_a_window() {
    let broken = broken_by(only_the_parent_has_a_window);
    assert_eq!(broken, Some(Promise::OneRotationInAWindow));
}

#[test]
fn a_token_that_was_spent_long_ago_is_not_only_refused() {
    fn forgiving(limits: Limits, state: &State, operation: Operation) -> (State, Answer) {
        match rule::apply(limits, state, operation) {
            (_, Answer::Reused) => (state.clone(), Answer::TooFarAhead),
            applied => applied,
        }
    }
    assert_eq!(broken_by(forgiving), Some(Promise::TheLongSpentEnd));
}

#[test]
fn one_generation_behind_is_not_always_fine() {
    fn lenient(limits: Limits, state: &State, operation: Operation) -> (State, Answer) {
        match presented_by_parent(state, operation) {
            Some(session) => (state.clone(), Answer::Repeated(state.sessions[session].grant())),
            None => rule::apply(limits, state, operation),
        }
    }
    assert_eq!(broken_by(lenient), Some(Promise::OneLineage));
}

#[test]
fn a_retry_is_not_given_a_sibling() {
    fn fertile(limits: Limits, state: &State, operation: Operation) -> (State, Answer) {
        let given = rule::apply(limits, state, operation);
        let (Some(session), Answer::Repeated(grant)) =
            (presented_by_parent(state, operation), given.1)
        else {
            return given;
        };
        let strict = Limits { window: 0, ..limits };
        let generation = grant.generation;
        rule::apply(strict, state, Operation::Refresh { session, generation })
    }
    assert_eq!(broken_by(fertile), Some(Promise::OneSuccessor));
}

#[test]
fn a_retry_is_not_taken_for_a_theft() {
    fn strict(limits: Limits, state: &State, operation: Operation) -> (State, Answer) {
        rule::apply(Limits { window: 0, ..limits }, state, operation)
    }
    assert_eq!(broken_by(strict), Some(Promise::TheHonestAreServed));
}

#[test]
fn a_token_that_is_ahead_does_not_end_the_session() {
    fn suspicious(limits: Limits, state: &State, operation: Operation) -> (State, Answer) {
        let (mut next, answer) = rule::apply(limits, state, operation);
        if let (Answer::FastForwarded(_), Operation::Refresh { session, .. }) = (answer, operation)
        {
            next.sessions[session].ended = Some(rule::Reason::Reuse);
            return (next, Answer::Reused);
        }
        (next, answer)
    }
    assert_eq!(broken_by(suspicious), Some(Promise::OnlySpentTokensEnd));
}

#[test]
fn a_logout_is_not_forgotten() {
    fn deaf(limits: Limits, state: &State, operation: Operation) -> (State, Answer) {
        match operation {
            Operation::EndAll(_) => (state.clone(), Answer::Done),
            _ => rule::apply(limits, state, operation),
        }
    }
    assert_eq!(broken_by(deaf), Some(Promise::AnEndIsAnEnd));
}

#[test]
fn a_refresh_does_not_move_the_absolute_end() {
    fn generous(limits: Limits, state: &State, operation: Operation) -> (State, Answer) {
        let mut state = state.clone();
        if let Operation::Refresh { session, .. } = operation {
            state.sessions[session].absolute_end = state.now + limits.absolute;
        }
        rule::apply(limits, &state, operation)
    }
    assert_eq!(broken_by(generous), Some(Promise::TheAbsoluteEndStays));
}
