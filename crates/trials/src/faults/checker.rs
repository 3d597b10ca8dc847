//! The judge: a pure function from one user's history to what the services broke in it.
//!
//! It knows nothing of faults. A request without an answer, and one that was answered 503, may have
//! done its work, may do it much later (a network that held it back delivers it) or never; every
//! rule here holds whichever it was. What is answered is judged between the moment before the
//! request was sent and the moment after the answer was there.

mod causes;
mod rules;
#[cfg(test)]
mod tests;

use super::history::{Episode, Event, Operation, Outcome, RefreshToken};

/// What was broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rule {
    /// A generation is one token, byte for byte, and is followed by the next one.
    OneSuccessor,
    /// Every success gives the token that is current at that moment.
    Current,
    /// A session rotates at most once in a window, and a refresh after the window does rotate.
    OneRotation,
    /// No refresh that starts after a session's acknowledged end succeeds.
    EndedIsEnded,
    /// No token is accepted whose session's end was acknowledged longer ago than the bound.
    Bound,
    /// A resource-service that refused a token does not accept it again, started anew or not.
    StaysRefused,
    /// A session that nobody ended refreshes; nothing acknowledged is forgotten.
    LivesOn,
    /// A session dies of reuse only if a spent token was really presented.
    ReuseNeedsReuse,
    /// A token that was spent for certain is refused.
    SpentIsSpent,
    /// An access token that nothing could have ended is not called invalid.
    GoodIsGood,
    /// Nobody gets an answer that is about somebody else.
    OwnSubject,
    /// Who was registered can log in, and nobody is told that they cannot.
    CanLogIn,
    /// Only what is documented is answered, and no 5xx but 503.
    Documented,
    /// Within five seconds after everything was healed, everything is answered.
    Heals,
    /// A service that cannot write does not call itself ready.
    Ready,
    /// A service that has no trouble, and of whose database or feeds one has none, does not answer 503.
    Serves,
}

/// A rule that was broken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    pub rule: Rule,
    pub event: usize,
    /// Why this breaks it.
    pub because: String,
}

/// Judges a history.
#[must_use]
pub fn check(episode: &Episode) -> Vec<Violation> {
    let case = Case(&episode.events);
    let mut found = Vec::new();
    for (index, event) in episode.events.iter().enumerate() {
        let mut report = |rule, because| found.push(Violation { rule, event: index, because });
        rules::everywhere(event, &mut report);
        rules::identity(&case, &episode.username, event, &mut report);
        match &event.operation {
            Operation::Register => rules::register(&case, event, &mut report),
            Operation::LogIn => rules::log_in(&case, event, &mut report),
            Operation::Refresh(token) => rules::refresh(&case, event, token, &mut report),
            Operation::LogOut(token, ending) => {
                rules::log_out(&case, event, token, *ending, &mut report);
            }
            Operation::Use(token) => rules::used(&case, event, token, &mut report),
        }
    }
    found
}

/// Where a rule says that it was broken.
type Report<'a> = &'a mut dyn FnMut(Rule, String);

/// A history with questions to it; see `causes`.
struct Case<'a>(&'a [Event]);

impl<'a> Case<'a> {
    /// Every refresh token of the session that was given, and when.
    fn given(&self, session: &str) -> impl Iterator<Item = (&'a Event, &'a RefreshToken)> {
        self.0.iter().filter_map(move |event| match &event.outcome {
            Outcome::Granted(grant) if *grant.session == *session => Some((event, &grant.refresh)),
            _ => None,
        })
    }

    /// Every presentation of a refresh token of the session for a new one.
    fn refreshes(&self, session: &str) -> impl Iterator<Item = (&'a Event, &'a RefreshToken)> {
        self.0.iter().filter_map(move |event| match &event.operation {
            Operation::Refresh(token) if *token.session == *session => Some((event, token)),
            _ => None,
        })
    }
}
