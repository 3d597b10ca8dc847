//! The tabs of a browser, which share one jar of cookies, or the calls of a page, which share one
//! place in its storage: requests and replies overtake each other in every order.

use crate::rule::{self, Limits, Operation, State};

use crate::search::{Rule, World, search};
use crate::wrong::only_the_parent_has_a_window;

const WINDOW: i64 = 3;
const LAST_TIME: i64 = 12;
const LAST_GENERATION: u32 = 5;

struct Browser {
    rule: Rule,
    tabs: usize,
    /// The longest that a request and its reply may take together.
    slowest: i64,
    /// Whether a session may not end for any token, or only not for one that was current less than
    /// a window ago.
    ever: bool,
    /// Whether an older token never takes the place of a newer one.
    newest: bool,
    /// Whether requests are sent only at the moment of a burst, and the next burst comes when a
    /// window is over since the last reply.
    bursts: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Place {
    state: State,
    jar: u32,
    tabs: Vec<Tab>,
    /// When each generation but the current one was spent.
    spent: Vec<i64>,
    /// When the last burst was.
    burst: i64,
}

/// What a tab waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Tab {
    Nothing,
    /// Its request is under way, with what was in the jar.
    Request {
        token: u32,
        since: i64,
    },
    Reply {
        token: u32,
        since: i64,
    },
}

#[derive(Debug, Clone, Copy)]
enum Move {
    /// The tab sends what is in the jar.
    Send(usize),
    /// The service answers it.
    Serve(usize),
    /// The reply reaches the jar.
    Receive(usize),
    Wait,
}

/// What may never happen.
#[derive(Debug, PartialEq, Eq)]
enum Promise {
    /// What was current less than a window ago is given something, and ends no session.
    NoTabIsRefused,
}

impl World for Browser {
    type Place = Place;
    type Move = Move;
    type Promise = Promise;

    fn start(&self) -> Place {
        let operation = Operation::Open { replaces: None };
        let (state, _) = rule::apply(limits(), &State::default(), operation);
        Place { state, jar: 1, tabs: vec![Tab::Nothing; self.tabs], spent: Vec::new(), burst: 0 }
    }

    fn moves(&self, place: &Place) -> Vec<Move> {
        let mut moves = Vec::new();
        let now = place.state.now;
        let mut may_wait = now < LAST_TIME;
        let quiet = place.tabs.iter().all(|tab| *tab == Tab::Nothing);
        let may_send = place.jar <= LAST_GENERATION
            && (!self.bursts
                || now == place.burst
                || (quiet && now - place.burst >= WINDOW + self.slowest));
        for (number, tab) in place.tabs.iter().enumerate() {
            match tab {
                Tab::Nothing if may_send => moves.push(Move::Send(number)),
                Tab::Nothing => {}
                Tab::Request { .. } => moves.push(Move::Serve(number)),
                Tab::Reply { .. } => moves.push(Move::Receive(number)),
            }
            if let Tab::Request { since, .. } | Tab::Reply { since, .. } = tab {
                may_wait &= now + 1 - since <= self.slowest;
            }
        }
        if may_wait {
            moves.push(Move::Wait);
        }
        moves
    }

    fn make(&self, place: &Place, made: Move) -> Result<Place, Promise> {
        let mut next = place.clone();
        match made {
            Move::Send(number) => {
                next.tabs[number] = Tab::Request { token: next.jar, since: next.state.now };
                next.burst = if self.bursts { next.state.now } else { 0 };
            }
            Move::Serve(number) => {
                let Tab::Request { token, since } = place.tabs[number] else { return Ok(next) };
                let refresh = Operation::Refresh { session: 0, generation: token };
                let (state, answer) = (self.rule)(limits(), &place.state, refresh);
                let spent = place.spent.get(token as usize - 1);
                let recent = spent.is_none_or(|at| state.now - at < WINDOW);
                let entitled = (self.ever || recent) && place.state.is_live(0);
                if state.sessions[0].row != place.state.sessions[0].row {
                    next.spent.push(state.now);
                }
                next.state = state;
                next.tabs[number] = match answer.grant() {
                    Some(grant) => Tab::Reply { token: grant.generation, since },
                    None if entitled => return Err(Promise::NoTabIsRefused),
                    None => Tab::Nothing,
                };
            }
            Move::Receive(number) => {
                let Tab::Reply { token, .. } = place.tabs[number] else { return Ok(next) };
                next.jar = if self.newest { token.max(next.jar) } else { token };
                next.tabs[number] = Tab::Nothing;
            }
            Move::Wait => next.state.now += 1,
        }
        // It does not matter which tab is which.
        next.tabs.sort_unstable();
        Ok(next)
    }

    fn inspect(&self, _: &Place) -> Result<(), Promise> {
        Ok(())
    }
}

fn limits() -> Limits {
    Limits { window: WINDOW, idle: 1000, absolute: 1000 }
}

fn browser(rule: Rule) -> Browser {
    Browser { rule, tabs: 3, slowest: WINDOW - 1, ever: false, newest: false, bursts: false }
}

#[test]
fn tabs_that_share_a_jar_are_never_refused_inside_the_window() {
    search(&browser(rule::apply)).assert_kept("three tabs", 100_000);
}

/// In reality a reply may even be overtaken by that to a later request, just as the window ends.
/// The jar then goes back to a token that is spent, and if no tab refreshes soon, it is too late.
#[test]
fn a_reply_that_is_overtaken_at_the_end_of_the_window_can_cost_the_session() {
    let searched = search(&Browser { slowest: 1, ever: true, ..browser(rule::apply) });
    let (_, way) = searched.broken.expect("this is a limit of the design");
    println!("a limit, after {} states: {way:?}", searched.states);
}

/// The same with a client that never puts an older token in the place of a newer one: whatever is
/// lost or overtaken, its session never ends, if a request and its reply take less than half the
/// window.
#[test]
fn who_keeps_the_newest_token_is_never_logged_out() {
    let world = Browser { slowest: WINDOW / 2, ever: true, newest: true, ..browser(rule::apply) };
    search(&world).assert_kept("three calls that keep the newest", 30_000);
}

/// The same with the usual page, which keeps the token that came last: it makes its calls together,
/// and the next ones when its access token has run out, which is long after the window.
#[test]
fn who_refreshes_in_bursts_is_never_logged_out() {
    let world =
        Browser { tabs: 4, slowest: WINDOW / 2, ever: true, bursts: true, ..browser(rule::apply) };
    search(&world).assert_kept("three calls in bursts", 3000);
}

#[test]
fn with_a_window_for_the_parent_only_tabs_are_refused() {
    let searched = search(&browser(only_the_parent_has_a_window));
    let (promise, way) = searched.broken.expect("the search finds it");
    println!("{promise:?} after {} states by {way:?}", searched.states);
    assert_eq!(promise, Promise::NoTabIsRefused);
    let bursts = Browser {
        slowest: WINDOW / 2,
        ever: true,
        bursts: true,
        ..browser(only_the_parent_has_a_window)
    };
    assert!(search(&bursts).broken.is_some(), "a burst of calls is refused");
}
