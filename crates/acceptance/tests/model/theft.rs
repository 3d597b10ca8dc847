//! How long a thief and a victim who hold the same refresh token both live, by how often each of
//! them refreshes.
//!
//! Whoever goes first spends the token. The other one is given its successor within the window, and
//! after that ends the session. Neither knows when the other one refreshes.

use crate::rule::{self, Limits, Operation, State};
use fastrand::Rng;

use crate::search::Rule;
use crate::wrong::only_the_parent_has_a_window;

/// All times are seconds.
const WINDOW: i64 = 30;
const ABSOLUTE: i64 = 30 * 24 * 3600;
const THEFTS: u64 = 1000;
/// The victim's access tokens last ten minutes.
const VICTIM: i64 = 600;

/// How long the two live from the theft on; at most a day.
fn both_live(rule: Rule, [victim, thief]: [i64; 2], rng: &mut Rng) -> i64 {
    const DAY: i64 = 24 * 3600;
    let limits = Limits { window: WINDOW, idle: ABSOLUTE, absolute: ABSOLUTE };
    let (mut state, _) = rule(limits, &State::default(), Operation::Open { replaces: None });
    // As clients do, each refreshes up to 5 % early.
    let next = |rng: &mut Rng, every: i64| every - rng.i64(0..=every / 20);
    // The victim refreshed a while ago, and the thief took what that gave.
    let mut tokens = [1; 2];
    let mut due = [rng.i64(1..=victim), rng.i64(1..=thief)];
    let stolen = 1000;
    state.now = stolen - (victim - due[0]);
    state = rule(limits, &state, Operation::Refresh { session: 0, generation: 1 }).0;
    tokens.fill(2);
    loop {
        let who = usize::from(due[1] < due[0]);
        state.now = stolen + due[who];
        let refresh = Operation::Refresh { session: 0, generation: tokens[who] };
        let (after, answer) = rule(limits, &state, refresh);
        state = after;
        match answer.grant() {
            Some(grant) if due[who] < DAY => tokens[who] = grant.generation,
            _ => return due[who],
        }
        due[who] += next(rng, [victim, thief][who]);
    }
}

/// The mean and the longest of many thefts.
fn measured(rule: Rule, every: [i64; 2]) -> (i64, i64) {
    let times = (0..THEFTS)
        .map(|seed| both_live(rule, every, &mut Rng::with_seed(seed)))
        .collect::<Vec<_>>();
    let thefts = i64::try_from(THEFTS).expect("few");
    (times.iter().sum::<i64>() / thefts, *times.iter().max().expect("there are some"))
}

#[test]
fn a_thief_and_a_victim_do_not_live_together_for_long() {
    println!("seconds that both live after a theft, the victim refreshing every {VICTIM} s:");
    println!(
        "thief refreshes every   one rule: mean, longest   parent's window only: mean, longest"
    );
    for thief in [5, 20, 45, 120, 300, 600, 1800] {
        let new = measured(rule::apply, [VICTIM, thief]);
        let old = measured(only_the_parent_has_a_window, [VICTIM, thief]);
        println!("{thief:>21} {:>16}, {:>7} {:>30}, {:>7}", new.0, new.1, old.0, old.1);
    }
    // Whoever does not come back within the window after the other one is found out at once.
    for thief in [5, 20, 45, 120, 300] {
        let (_, longest) = measured(rule::apply, [VICTIM, thief]);
        assert!(longest <= 2 * VICTIM + WINDOW, "{thief}: {longest}");
    }
    // Two who both refresh more often than once in a window are not told apart.
    let (hasty, _) = measured(rule::apply, [20, 20]);
    let (before, _) = measured(only_the_parent_has_a_window, [20, 20]);
    println!("both every 20 s: {hasty} s by the one rule (a day is looked at), {before} s before");
}
