//! An honest client whose replies get lost, and a thief who holds every token that ever was: all
//! that they can do to a user's sessions, and what the rule promises meanwhile.

use crate::rule::{self, Answer, Caller, Limits, Operation, Reason, State};

use crate::search::{Rule, World, search};

/// What is kept in every state that can be reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Promise {
    /// Two parties cannot both go on refreshing one session.
    OneLineage,
    /// Whoever is given something for a token is given the same.
    OneSuccessor,
    /// Nothing is given for a session that was ended.
    AnEndIsAnEnd,
    /// No refresh moves the absolute end, or succeeds after it.
    TheAbsoluteEndStays,
    /// A client that nobody interferes with is never refused, if it retries within the window and
    /// the database forgot no more than one rotation.
    TheHonestAreServed,
    /// Only a token that was spent a window ago or more ends a session, or one that a failover made
    /// twice spent sooner.
    OnlySpentTokensEnd,
    /// And such a token ends it, whatever happened before.
    TheLongSpentEnd,
    /// A session rotates at most once in a window, unless a failover lost a rotation.
    OneRotationInAWindow,
}

/// A small world.
pub(crate) struct Parties {
    pub(crate) rule: Rule,
    pub(crate) limits: Limits,
    pub(crate) sessions: usize,
    /// No later generation and no later time is looked at.
    pub(crate) last_generation: u32,
    pub(crate) last_time: i64,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Place {
    state: State,
    lines: Vec<Line>,
}

/// What is known of a session from outside.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Line {
    /// The newest token that reached the honest client.
    held: u32,
    /// When the honest client first presented that without hearing back.
    unheard_since: Option<i64>,
    /// Whether nobody else has moved the session on since.
    alone: bool,
    /// What was given for each generation, by its number.
    successors: Vec<Option<u32>>,
    /// The newest of the tokens ever made.
    newest: u32,
    /// When each generation was spent, by its number; a failover can undo that.
    spent: Vec<Option<i64>>,
    /// Whether a failover lost a rotation.
    forgot: bool,
    /// Whether it was ended.
    over: bool,
}

#[derive(Debug, Clone, Copy)]
pub(crate) enum Move {
    /// The honest client refreshes, or tries again; its reply may be lost.
    Honest {
        session: usize,
        reply_lost: bool,
    },
    /// The thief presents one of the tokens that ever were.
    Thief {
        session: usize,
        generation: u32,
    },
    /// The session is ended.
    End(usize),
    /// All but the first are.
    EndOthers,
    EndAll,
    /// A failover loses the last rotation.
    Forget(usize),
    Wait,
}

impl World for Parties {
    type Place = Place;
    type Move = Move;
    type Promise = Promise;

    fn start(&self) -> Place {
        let mut state = State::default();
        for _ in 0..self.sessions {
            state = rule::apply(self.limits, &state, Operation::Open { replaces: None }).0;
        }
        let line = Line {
            held: 1,
            unheard_since: None,
            alone: true,
            successors: vec![None; self.last_generation as usize + 2],
            newest: 1,
            spent: vec![None; self.last_generation as usize + 2],
            forgot: false,
            over: false,
        };
        Place { state, lines: vec![line; self.sessions] }
    }

    fn moves(&self, place: &Place) -> Vec<Move> {
        let mut moves = Vec::new();
        for (session, line) in place.lines.iter().enumerate() {
            if line.newest <= self.last_generation {
                moves.extend([true, false].map(|reply_lost| Move::Honest { session, reply_lost }));
                moves.extend(
                    (1..=line.newest).map(|generation| Move::Thief { session, generation }),
                );
            }
            moves.extend([Move::End(session), Move::Forget(session)]);
        }
        moves.push(Move::EndAll);
        if self.sessions > 1 {
            moves.push(Move::EndOthers);
        }
        if place.state.now < self.last_time {
            moves.push(Move::Wait);
        }
        moves
    }

    fn make(&self, place: &Place, made: Move) -> Result<Place, Promise> {
        let first = Caller { session: 0, generation: None };
        let operation = match made {
            Move::Honest { session, reply_lost } => {
                let held = place.lines[session].held;
                return self.refresh(place, session, held, Some(reply_lost));
            }
            Move::Thief { session, generation } => {
                return self.refresh(place, session, generation, None);
            }
            Move::End(session) => Operation::End(session, Reason::Logout),
            Move::EndOthers => Operation::EndOthers(first),
            Move::EndAll => Operation::EndAll(first),
            Move::Forget(session) => Operation::ForgetRotation(session),
            Move::Wait => Operation::Advance(1),
        };
        let (state, answer) = (self.rule)(self.limits, &place.state, operation);
        let mut next = Place { state, lines: place.lines.clone() };
        for (session, line) in next.lines.iter_mut().enumerate() {
            line.over |= answer == Answer::Done
                && match made {
                    Move::End(ended) => ended == session,
                    Move::EndOthers => session != 0,
                    Move::EndAll => true,
                    _ => false,
                };
            let row = next.state.sessions[session].row;
            if row != place.state.sessions[session].row {
                line.forgot = true;
                line.spent[row.generation as usize..].fill(None);
            }
        }
        Ok(next)
    }

    fn inspect(&self, place: &Place) -> Result<(), Promise> {
        let all = place.lines.iter().enumerate();
        for (session, line) in all.filter(|(session, _)| place.state.is_live(*session)) {
            let lineages =
                || (1..=line.newest).flat_map(|a| (1..=line.newest).map(move |b| [a, b]));
            if lineages().any(|tokens| self.both_go_on(&place.state, session, tokens)) {
                return Err(Promise::OneLineage);
            }
        }
        Ok(())
    }
}

impl Parties {
    /// A token is presented; by the honest client, who may not hear back, or else by the thief.
    fn refresh(
        &self,
        place: &Place,
        session: usize,
        generation: u32,
        honest: Option<bool>,
    ) -> Result<Place, Promise> {
        let operation = Operation::Refresh { session, generation };
        let (state, answer) = (self.rule)(self.limits, &place.state, operation);
        self.check(place, session, generation, honest.is_some(), answer)?;

        let (before, now) = (place.state.sessions[session].row, state.now);
        let moved = state.sessions[session].row != before;
        let mut next = Place { state, lines: place.lines.clone() };
        let line = &mut next.lines[session];
        line.over |= answer == Answer::Reused;
        if moved {
            let young = before.rotated_at.is_some_and(|at| now - at < self.limits.window);
            if young && generation == before.generation && answer != Answer::Reused {
                return Err(Promise::OneRotationInAWindow);
            }
            line.spent[generation as usize] = Some(now);
            line.alone &= honest.is_some();
        }
        let Some(grant) = answer.grant() else { return Ok(next) };
        line.newest = line.newest.max(grant.generation);
        if grant.generation != generation {
            line.successors[generation as usize] = Some(grant.generation);
        }
        match honest {
            Some(true) => line.unheard_since = line.unheard_since.or(Some(now)),
            Some(false) => {
                (line.held, line.unheard_since, line.alone) = (grant.generation, None, true);
            }
            None => {}
        }
        Ok(next)
    }

    /// What each single answer must keep.
    fn check(
        &self,
        place: &Place,
        session: usize,
        generation: u32,
        honest: bool,
        answer: Answer,
    ) -> Result<(), Promise> {
        let (now, line) = (place.state.now, &place.lines[session]);
        let window = self.limits.window;
        let kept = |is_kept: bool, promise| if is_kept { Ok(()) } else { Err(promise) };
        if let Some(grant) = answer.grant() {
            let end = self.limits.absolute;
            kept(!line.over, Promise::AnEndIsAnEnd)?;
            kept(grant.absolute_end == end && now < end, Promise::TheAbsoluteEndStays)?;
            kept(grant.idle_end <= end, Promise::TheAbsoluteEndStays)?;
            let again = grant.generation == generation && matches!(answer, Answer::Repeated(_));
            let successor = line.successors[generation as usize].unwrap_or(generation + 1);
            kept(again || grant.generation == successor, Promise::OneSuccessor)?;
        }
        let in_time = line.unheard_since.is_none_or(|since| now - since < window);
        let remembered = line.held <= place.state.sessions[session].row.generation + 1;
        let alone = honest && line.alone && remembered;
        let entitled = alone && in_time && place.state.is_live(session);
        kept(!entitled || answer.grant().is_some(), Promise::TheHonestAreServed)?;
        let long_spent = line.spent[generation as usize].is_some_and(|at| now - at >= window);
        let twice = line.spent[generation as usize + 1..].iter().any(Option::is_some);
        kept(
            answer != Answer::Reused || long_spent || (line.forgot && twice),
            Promise::OnlySpentTokensEnd,
        )?;
        let must_end = long_spent && place.state.is_live(session);
        kept(!must_end || answer == Answer::Reused, Promise::TheLongSpentEnd)
    }

    /// Whether two parties who never hurry, each with one of the tokens, could refresh in turn for
    /// ever. The ends in time are set aside.
    fn both_go_on(&self, state: &State, session: usize, mut tokens: [u32; 2]) -> bool {
        const LONG: i64 = 1_000_000;
        let limits = Limits { idle: LONG, absolute: LONG, ..self.limits };
        let mut state = state.clone();
        state.sessions[session].absolute_end = LONG;
        state.sessions[session].row.idle_end = LONG;
        for turn in 0..6 {
            state.now += limits.window.max(1);
            let token = &mut tokens[turn % 2];
            let operation = Operation::Refresh { session, generation: *token };
            let (next, answer) = (self.rule)(limits, &state, operation);
            let Some(grant) = answer.grant() else { return false };
            (*token, state) = (grant.generation, next);
        }
        true
    }
}

/// One session.
pub(crate) fn one_session(rule: Rule) -> Parties {
    let limits = Limits { window: 2, idle: 5, absolute: 8 };
    Parties { rule, limits, sessions: 1, last_generation: 4, last_time: 8 }
}

#[test]
fn one_session_keeps_every_promise() {
    search(&one_session(rule::apply)).assert_kept("one session", 100_000);
}

#[test]
fn one_session_keeps_every_promise_without_a_window() {
    let mut strict = one_session(rule::apply);
    strict.limits.window = 0;
    search(&strict).assert_kept("one session, no window", 100_000);
}

#[test]
fn two_sessions_keep_every_promise() {
    let limits = Limits { window: 1, idle: 2, absolute: 2 };
    let rule = rule::apply;
    let world = Parties { rule, limits, sessions: 2, last_generation: 2, last_time: 2 };
    search(&world).assert_kept("two sessions", 100_000);
}
