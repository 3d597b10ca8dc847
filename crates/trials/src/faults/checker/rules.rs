//! The rules, one operation after the other.

use super::super::history::{
    AccessToken, BOUND, Ending, Event, Grant, Operation, Outcome, RefreshToken, WINDOW,
};
use super::causes::SLACK;
use super::{Case, Report, Rule};

/// What holds for every answer.
pub(super) fn everywhere(event: &Event, report: Report<'_>) {
    match &event.outcome {
        Outcome::Odd(text) => report(Rule::Documented, text.clone()),
        Outcome::Refused { status, code, .. }
            if !is_documented(&event.operation, *status, code) =>
        {
            report(Rule::Documented, format!("{status} {code} is not a documented answer"));
        }
        _ => {}
    }
}

/// What the documentation (`openapi/`) lets each route answer to whoever asks what they may ask.
fn is_documented(operation: &Operation, status: u16, code: &str) -> bool {
    if (status, code) == (503, "unavailable") {
        return true;
    }
    match operation {
        Operation::Register => (status, code) == (409, "conflict"),
        Operation::LogIn => (status, code) == (401, "invalid-credentials"),
        Operation::Refresh(_) => {
            status == 401 && matches!(code, "session-revoked" | "session-expired" | "token-reused")
        }
        Operation::LogOut(_, Ending::Current) => false,
        Operation::LogOut(_, _) => (status, code) == (401, "invalid-token"),
        Operation::Use(_) => {
            matches!((status, code), (401, "invalid-token") | (503, "revocation-stale"))
        }
    }
}

/// Whoever asks gets an answer about themselves, and always the same one.
pub(super) fn identity(case: &Case<'_>, username: &str, event: &Event, report: Report<'_>) {
    let first = case.0.iter().find_map(|event| match &event.outcome {
        Outcome::Granted(grant) => Some(&*grant.access.subject),
        _ => None,
    });
    let (named, subject) = match &event.outcome {
        Outcome::Granted(grant) => (&*grant.access.username, &*grant.access.subject),
        Outcome::Accepted { subject, username, .. } => (username.as_str(), subject.as_str()),
        _ => return,
    };
    if named != username {
        report(Rule::OwnSubject, format!("this is about {named}"));
    }
    if first.is_some_and(|first| first != subject) {
        report(Rule::OwnSubject, format!("the subject was another one before {subject}"));
    }
}

/// A name is taken only by an earlier attempt.
pub(super) fn register(case: &Case<'_>, event: &Event, report: Report<'_>) {
    let tried = case
        .0
        .iter()
        .any(|other| matches!(other.operation, Operation::Register) && other.begun < event.begun);
    if event.outcome.is_refused_as("conflict") && !tried {
        report(Rule::CanLogIn, "the name was never used before".to_owned());
    }
}

/// Whoever is registered gets in, into a session that is new.
pub(super) fn log_in(case: &Case<'_>, event: &Event, report: Report<'_>) {
    if let Outcome::Granted(grant) = &event.outcome {
        sound(grant, &grant.session, report);
        if case.opened(&grant.session).is_some_and(|opened| !std::ptr::eq(opened, event)) {
            report(Rule::OwnSubject, "another login was given the same session".to_owned());
        }
    }
    let registered = case.0.iter().any(|other| {
        matches!(other.operation, Operation::Register)
            && (other.outcome == Outcome::Done || other.outcome.is_refused_as("conflict"))
            && other.over <= event.begun
    });
    if event.outcome.is_refused_as("invalid-credentials") && registered {
        report(Rule::CanLogIn, "the user is registered, and this is the password".to_owned());
    }
}

/// A grant is of one session.
fn sound(grant: &Grant, session: &str, report: Report<'_>) {
    if *grant.session != *session
        || *grant.access.session != *session
        || *grant.refresh.session != *session
    {
        report(Rule::OwnSubject, format!("it is of session {}", grant.session));
    }
}

/// The heart of it.
pub(super) fn refresh(case: &Case<'_>, event: &Event, token: &RefreshToken, report: Report<'_>) {
    let session = &*token.session;
    match &event.outcome {
        Outcome::Granted(grant) => {
            sound(grant, session, report);
            successor(case, event, token, grant, report);
            if case.known_over(session).is_some_and(|over| over <= event.begun) {
                report(Rule::EndedIsEnded, "the session was known to be over".to_owned());
            }
            if case.surely_spent(token, event.begun) {
                report(Rule::SpentIsSpent, "the token was spent long before".to_owned());
            }
        }
        Outcome::Refused { code, reason, .. } => match (code.as_str(), reason.as_deref()) {
            ("token-reused", _) if !case.may_be_spent(event, token, event.over) => {
                report(
                    Rule::ReuseNeedsReuse,
                    "the token was not spent, or in its window".to_owned(),
                );
            }
            ("session-revoked", Some("reuse")) if !case.may_be_replayed(session, event.over) => {
                report(Rule::ReuseNeedsReuse, "no spent token was presented".to_owned());
            }
            ("session-revoked", Some("logout")) if !case.may_be_logged_out(session, event.over) => {
                report(Rule::LivesOn, "nobody logged out of it".to_owned());
            }
            ("session-revoked", Some("logout" | "reuse")) | ("token-reused" | "unavailable", _) => {
            }
            ("session-revoked", _) => {
                report(Rule::LivesOn, "nobody ended it for that reason".to_owned());
            }
            _ => report(Rule::LivesOn, "the session was opened, and cannot be gone".to_owned()),
        },
        _ => {}
    }
}

/// Every presentation is given the token that is current at that moment: itself while it is new, or
/// its successor.
fn successor(
    case: &Case<'_>,
    event: &Event,
    token: &RefreshToken,
    grant: &Grant,
    report: Report<'_>,
) {
    let (given, session) = (&grant.refresh, &token.session);
    if given.generation != token.generation && given.generation != token.generation + 1 {
        report(Rule::OneSuccessor, format!("it leapt to generation {}", given.generation));
    }
    let mut known = case.given(session).map(|(_, known)| known).chain([token]);
    if known.any(|known| known.generation == given.generation && known.text != given.text) {
        report(Rule::OneSuccessor, "a generation is two different tokens".to_owned());
    }
    let newer = case
        .given(session)
        .any(|(other, known)| known.generation > given.generation && other.over <= event.begun);
    if newer {
        report(Rule::Current, "a newer one was given before".to_owned());
    }
    if given.generation == token.generation {
        let made = case.made_after(session, token.generation);
        let old = case.given(session).any(|(other, known)| {
            known.generation == token.generation && other.over + WINDOW + SLACK < event.begun
        });
        if made.is_none() || old {
            report(Rule::OneRotation, "it did not go on".to_owned());
        }
    } else if let Some(made) = case.made_after(session, token.generation)
        && event.over + SLACK < made + WINDOW
    {
        report(Rule::OneRotation, "it went on within the window".to_owned());
    }
}

/// Ending others needs a good token; a refusal needs a bad one.
pub(super) fn log_out(
    case: &Case<'_>,
    event: &Event,
    token: &RefreshToken,
    ending: Ending,
    report: Report<'_>,
) {
    let refused = event.outcome.is_refused_as("invalid-token");
    if refused
        && ending != Ending::Current
        && !case.may_be_over(&token.session, event.over)
        && !case.may_be_spent(event, token, event.over)
    {
        report(Rule::LivesOn, "the token was good".to_owned());
    }
    if ending == Ending::Current || event.outcome != Outcome::Done {
        return;
    }
    if case.known_over(&token.session).is_some_and(|over| over <= event.begun) {
        report(Rule::EndedIsEnded, "the session was known to be over".to_owned());
    }
    if case.surely_spent(token, event.begun) {
        report(Rule::SpentIsSpent, "the token was spent long before".to_owned());
    }
}

/// Accepted while it is good, and not much longer.
pub(super) fn used(case: &Case<'_>, event: &Event, token: &AccessToken, report: Report<'_>) {
    match &event.outcome {
        Outcome::Accepted { session, .. } => {
            if **session != *token.session {
                report(Rule::OwnSubject, format!("it was taken for session {session}"));
            }
            let refused_before = case.0.iter().any(|other| {
                matches!(&other.operation, Operation::Use(same) if same.text == token.text)
                    && other.at == event.at
                    && other.over <= event.begun
                    && other.outcome.is_refused_as("invalid-token")
            });
            if refused_before {
                report(Rule::StaysRefused, "it was refused here before".to_owned());
            }
            let late = case.known_over(&token.session).and_then(|over| {
                event.begun.checked_sub(over + BOUND).filter(|late| !late.is_zero())
            });
            if let Some(late) = late {
                let late = late.as_millis();
                report(Rule::Bound, format!("{late} ms after the bound the token is accepted"));
            }
        }
        Outcome::Refused { status: 401, .. } => {
            let fresh = event.over < token.good_until;
            if fresh && !case.may_be_over(&token.session, event.over) {
                report(Rule::GoodIsGood, "nothing could have ended its session".to_owned());
            }
        }
        _ => {}
    }
}
