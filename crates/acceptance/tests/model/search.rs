//! A breadth-first search through everything that can happen in a small world.

use std::collections::HashSet;
use std::fmt::Debug;
use std::hash::Hash;
use std::rc::Rc;

use crate::rule::{Answer, Limits, Operation, State};

/// The rule, or a wrong one.
pub(crate) type Rule = fn(Limits, &State, Operation) -> (State, Answer);

/// A world that can be searched.
pub(crate) trait World {
    /// All that the future depends on.
    type Place: Clone + Eq + Hash + Debug;
    /// Something that somebody may do.
    type Move: Copy + Debug;
    /// What must never be broken.
    type Promise: Debug;

    fn start(&self) -> Self::Place;

    /// What can be done there. Bounds of the search are set here.
    fn moves(&self, place: &Self::Place) -> Vec<Self::Move>;

    /// Where it leads, or the promise that it breaks.
    fn make(&self, place: &Self::Place, made: Self::Move) -> Result<Self::Place, Self::Promise>;

    /// Looks at a place for itself.
    fn inspect(&self, place: &Self::Place) -> Result<(), Self::Promise>;
}

/// What a search saw.
pub(crate) struct Searched<W: World> {
    pub(crate) states: usize,
    pub(crate) transitions: usize,
    /// The promise that was broken first, and the shortest way there.
    pub(crate) broken: Option<(W::Promise, Vec<W::Move>)>,
}

impl<W: World> Searched<W> {
    /// Says how much there was, and checks that it was much and good.
    #[track_caller]
    pub(crate) fn assert_kept(&self, name: &str, at_least: usize) {
        println!("{name}: {} states, {} transitions", self.states, self.transitions);
        if let Some((promise, way)) = &self.broken {
            panic!("{name}: {promise:?} is broken by {way:#?}");
        }
        assert!(self.states >= at_least, "{name}: only {} states", self.states);
    }
}

struct Visited<W: World> {
    place: Rc<W::Place>,
    from: Option<(usize, W::Move)>,
}

/// Goes everywhere, or until a promise is broken.
pub(crate) fn search<W: World>(world: &W) -> Searched<W> {
    let start = Rc::new(world.start());
    let mut known = HashSet::from([Rc::clone(&start)]);
    let mut visited: Vec<Visited<W>> = vec![Visited { place: start, from: None }];
    let mut transitions = 0;
    let mut next = 0;
    let mut broken = None;
    'search: while let Some(Visited { place, .. }) = visited.get(next) {
        let place = Rc::clone(place);
        if let Err(promise) = world.inspect(&place) {
            broken = Some((promise, way(&visited, next)));
            break;
        }
        for made in world.moves(&place) {
            transitions += 1;
            match world.make(&place, made) {
                Ok(place) => {
                    let place = Rc::new(place);
                    if known.insert(Rc::clone(&place)) {
                        visited.push(Visited { place, from: Some((next, made)) });
                    }
                }
                Err(promise) => {
                    let mut way = way(&visited, next);
                    way.push(made);
                    broken = Some((promise, way));
                    break 'search;
                }
            }
        }
        next += 1;
    }
    Searched { states: visited.len(), transitions, broken }
}

fn way<W: World>(visited: &[Visited<W>], to: usize) -> Vec<W::Move> {
    let mut way = Vec::new();
    let mut at = to;
    while let Some((from, made)) = visited[at].from {
        way.push(made);
        at = from;
    }
    way.reverse();
    way
}
