//! What may have ended a session, and what must have.

use std::time::Duration;

use super::super::history::{Ending, Event, Moment, Operation, Outcome, RefreshToken, WINDOW};
use super::Case;

/// The database rounds to milliseconds, and its clock may be drawn nearer to the true time.
pub(super) const SLACK: Duration = Duration::from_millis(50);

impl Case<'_> {
    /// Whether a logout that began before `until` may have ended the session.
    pub(super) fn may_be_logged_out(&self, session: &str, until: Moment) -> bool {
        self.0.iter().any(|event| {
            let Operation::LogOut(by, ending) = &event.operation else { return false };
            // Only 2xx and "nobody knows" can have changed anything.
            let effective = event.outcome == Outcome::Done || event.outcome.is_open();
            if event.begun >= until || !effective {
                return false;
            }
            match ending {
                Ending::Current => *by.session == *session,
                Ending::Others if *by.session == *session => false,
                // What was opened after it was acknowledged is none of its business.
                Ending::Others | Ending::All => {
                    event.outcome != Outcome::Done
                        || self.opened(session).is_none_or(|opened| opened.begun < event.over)
                }
            }
        })
    }

    /// Whether a presentation that began before `until` may have been taken for a replay, which
    /// ends the session.
    pub(super) fn may_be_replayed(&self, session: &str, until: Moment) -> bool {
        self.refreshes(session).any(|(event, token)| {
            let answered = event.outcome.is_refused_as("token-reused");
            let judged_by = if answered { event.over.min(until) } else { until };
            let may_have_judged = answered || event.outcome.is_open();
            may_have_judged && event.begun < judged_by && self.may_be_spent(event, token, judged_by)
        })
    }

    /// Whether the token of this presentation may have been spent, and not be forgiven any more, when
    /// it was judged `judged_by` at the latest: by another presentation of it longer ago than the
    /// window. That is also so where its successor was spent too, since a session rotates at most
    /// once in a window.
    pub(super) fn may_be_spent(
        &self,
        presentation: &Event,
        token: &RefreshToken,
        judged_by: Moment,
    ) -> bool {
        self.refreshes(&token.session).any(|(other, presented)| {
            // A refusal changed nothing, and neither did being given the same again.
            let spends = match &other.outcome {
                Outcome::Granted(grant) => grant.refresh.generation > token.generation,
                outcome => outcome.is_open(),
            };
            spends
                && presented.generation == token.generation
                && !std::ptr::eq(other, presentation)
                && other.begun + WINDOW < judged_by + SLACK
        })
    }

    /// Whether the session may be over before `until`, for whatever reason.
    pub(super) fn may_be_over(&self, session: &str, until: Moment) -> bool {
        self.may_be_logged_out(session, until) || self.may_be_replayed(session, until)
    }

    /// The first moment at which somebody was told that the session is over, or that what they
    /// asked for was done which ends it.
    pub(super) fn known_over(&self, session: &str) -> Option<Moment> {
        let told = self.0.iter().filter(|event| match (&event.operation, &event.outcome) {
            (Operation::LogOut(by, Ending::Current), Outcome::Done) => *by.session == *session,
            (Operation::LogOut(by, Ending::Others), Outcome::Done) => {
                *by.session != *session && self.was_open(session, event.begun)
            }
            (Operation::LogOut(_, Ending::All), Outcome::Done) => {
                self.was_open(session, event.begun)
            }
            (Operation::Refresh(token), outcome) => {
                *token.session == *session
                    && (outcome.is_refused_as("token-reused")
                        || outcome.is_refused_as("session-revoked"))
            }
            _ => false,
        });
        told.map(|event| event.over).min()
    }

    /// Whether the token was spent for certain, and not forgiven any more, before `begun`.
    pub(super) fn surely_spent(&self, token: &RefreshToken, begun: Moment) -> bool {
        self.given(&token.session).any(|(other, given)| {
            let ahead = given.generation.saturating_sub(token.generation);
            // The one that came of it was spent too, or it was spent longer ago than the window.
            let twice = ahead >= 2 && other.over <= begun;
            let late = ahead == 1 && other.over + WINDOW + SLACK < begun;
            twice || late
        })
    }

    /// The first moment at which a rotation may have made the generation; `None` for the one that the
    /// login made.
    pub(super) fn made_after(&self, session: &str, generation: u32) -> Option<Moment> {
        let makers = self.refreshes(session).filter(|(event, presented)| {
            let effective = matches!(event.outcome, Outcome::Granted(_)) || event.outcome.is_open();
            effective && presented.generation + 1 == generation
        });
        makers.map(|(event, _)| event.begun).min()
    }

    /// Whether the session's login was answered before that moment.
    fn was_open(&self, session: &str, before: Moment) -> bool {
        self.opened(session).is_some_and(|opened| opened.over <= before)
    }

    /// The login that opened the session.
    pub(super) fn opened(&self, session: &str) -> Option<&Event> {
        self.0.iter().find(|event| match (&event.operation, &event.outcome) {
            (Operation::LogIn, Outcome::Granted(grant)) => *grant.session == *session,
            _ => false,
        })
    }
}
