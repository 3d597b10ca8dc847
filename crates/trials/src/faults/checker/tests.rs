//! For each rule a history that breaks it, and one that nearly does.

use std::time::Duration;

use claims::Transport;

use super::super::history::{
    AccessToken, Ending, Episode, Event, Grant, Moment, Operation, Outcome, RefreshToken,
};
use super::{Rule, check};

fn at(milliseconds: u64) -> Moment {
    Duration::from_millis(milliseconds)
}

fn refresh_token(session: &str, generation: u32) -> RefreshToken {
    let text = format!("{session} {generation}").into();
    RefreshToken { text, session: session.into(), generation, transport: Transport::Body }
}

fn access_token(session: &str) -> AccessToken {
    AccessToken {
        text: session.into(),
        session: session.into(),
        subject: "sub".into(),
        username: "ada".into(),
        good_until: at(500_000),
    }
}

fn granted(session: &str, generation: u32) -> Outcome {
    let (refresh, access) = (refresh_token(session, generation), access_token(session));
    Outcome::Granted(Box::new(Grant { session: session.into(), refresh, access }))
}

fn refused(status: u16, code: &str) -> Outcome {
    Outcome::Refused { status, code: code.to_owned(), reason: None }
}

fn revoked(reason: &str) -> Outcome {
    let (code, reason) = ("session-revoked".to_owned(), Some(reason.to_owned()));
    Outcome::Refused { status: 401, code, reason }
}

fn accepted(session: &str) -> Outcome {
    let (subject, username) = ("sub".to_owned(), "ada".to_owned());
    Outcome::Accepted { subject, username, session: session.to_owned() }
}

/// A history, and what it says, one event after the other; times in milliseconds.
struct Told(Vec<Event>);

impl Told {
    /// A user who is registered and has the session "a".
    fn new() -> Self {
        let told = Self(Vec::new());
        told.event(0, 10, Operation::Register, Outcome::Done).login(20, 30, granted("a", 1))
    }

    fn event(mut self, begun: u64, over: u64, operation: Operation, outcome: Outcome) -> Self {
        self.0.push(Event { begun: at(begun), over: at(over), at: 0, operation, outcome });
        self
    }

    fn login(self, begun: u64, over: u64, outcome: Outcome) -> Self {
        self.event(begun, over, Operation::LogIn, outcome)
    }

    fn refresh(self, begun: u64, over: u64, generation: u32, outcome: Outcome) -> Self {
        self.event(begun, over, Operation::Refresh(refresh_token("a", generation)), outcome)
    }

    /// By the first token of that session.
    fn logout(self, begun: u64, over: u64, by: &str, ending: Ending, outcome: Outcome) -> Self {
        self.event(begun, over, Operation::LogOut(refresh_token(by, 1), ending), outcome)
    }

    fn used(self, begun: u64, over: u64, session: &str, outcome: Outcome) -> Self {
        self.event(begun, over, Operation::Use(access_token(session)), outcome)
    }

    fn breaks(self) -> Vec<Rule> {
        let episode = Episode { actor: "test", username: "ada".to_owned(), events: self.0 };
        check(&episode).into_iter().map(|violation| violation.rule).collect()
    }
}

#[test]
fn one_generation_is_one_token_with_one_successor() {
    let twice = || Told::new().refresh(40, 60, 1, granted("a", 2));
    assert_eq!(twice().refresh(45, 65, 1, granted("a", 2)).breaks(), []);
    let leap = twice().refresh(45, 65, 1, granted("a", 3)).breaks();
    assert!(leap.contains(&Rule::OneSuccessor), "{leap:?}");
    let fork = |generation| {
        let mut fork = refresh_token("a", generation);
        fork.text = "another".into();
        let access = access_token("a");
        Outcome::Granted(Box::new(Grant { session: "a".into(), refresh: fork, access }))
    };
    assert_eq!(twice().refresh(45, 65, 1, fork(2)).breaks(), [Rule::OneSuccessor; 2]);
    assert_eq!(twice().refresh(70, 80, 2, fork(2)).breaks(), [Rule::OneSuccessor; 2]);
}

#[test]
fn a_session_rotates_once_in_a_window() {
    // What a login made rotates at once.
    assert_eq!(Told::new().refresh(40, 60, 1, granted("a", 1)).breaks(), [Rule::OneRotation]);
    let once = || Told::new().refresh(40, 60, 1, granted("a", 2));
    assert_eq!(once().refresh(70, 80, 2, granted("a", 2)).breaks(), []);
    assert_eq!(once().refresh(70, 80, 2, granted("a", 3)).breaks(), [Rule::OneRotation]);
    assert_eq!(once().refresh(9900, 9980, 2, granted("a", 3)).breaks(), [Rule::OneRotation]);
    assert_eq!(once().refresh(9900, 10_010, 2, granted("a", 3)).breaks(), []);
    assert_eq!(once().refresh(10_100, 10_120, 2, granted("a", 2)).breaks(), []);
    assert_eq!(once().refresh(10_120, 10_130, 2, granted("a", 2)).breaks(), [Rule::OneRotation]);
    // A presentation that nobody heard of may have made it long before.
    let lost = Told::new().refresh(35, 38, 1, Outcome::Lost);
    let heard = lost.refresh(9000, 9010, 1, granted("a", 2));
    assert_eq!(heard.refresh(10_040, 10_100, 2, granted("a", 3)).breaks(), []);
}

#[test]
fn nobody_is_given_what_is_no_longer_current() {
    let twice = || {
        Told::new().refresh(40, 60, 1, granted("a", 2)).refresh(10_100, 10_110, 2, granted("a", 3))
    };
    assert_eq!(twice().refresh(10_105, 10_115, 2, granted("a", 3)).breaks(), []);
    assert_eq!(twice().refresh(10_115, 10_120, 2, granted("a", 3)).breaks(), []);
    let back = twice().refresh(10_115, 10_120, 2, granted("a", 2)).breaks();
    assert!(back.contains(&Rule::Current), "{back:?}");
}

#[test]
fn what_ended_does_not_refresh() {
    let out = || Told::new().logout(40, 50, "a", Ending::Current, Outcome::Done);
    assert_eq!(out().refresh(50, 60, 1, granted("a", 2)).breaks(), [Rule::EndedIsEnded]);
    // It began before, and may have been first.
    assert_eq!(out().refresh(49, 60, 1, granted("a", 2)).breaks(), []);
    assert_eq!(out().refresh(55, 60, 1, revoked("logout")).breaks(), []);
    // Nobody was told that this logout was done.
    let lost = Told::new().logout(40, 50, "a", Ending::Current, Outcome::Lost);
    assert_eq!(lost.refresh(60, 70, 1, granted("a", 2)).breaks(), []);
}

#[test]
fn a_logout_of_others_and_of_all_ends_what_was_open() {
    let two = || Told::new().login(35, 45, granted("b", 1));
    let others = || two().logout(60, 70, "b", Ending::Others, Outcome::Done);
    assert_eq!(others().refresh(80, 90, 1, granted("a", 2)).breaks(), [Rule::EndedIsEnded]);
    assert_eq!(others().used(5000, 5010, "b", accepted("b")).breaks(), []);
    assert_eq!(
        others().used(5000, 5010, "b", refused(401, "invalid-token")).breaks(),
        [Rule::GoodIsGood]
    );
    let all = || two().logout(60, 70, "b", Ending::All, Outcome::Done);
    assert_eq!(all().refresh(80, 90, 1, granted("a", 2)).breaks(), [Rule::EndedIsEnded]);
    // A login that raced it may be on either side.
    let raced = || {
        Told::new().login(35, 65, granted("b", 1)).logout(60, 70, "a", Ending::All, Outcome::Done)
    };
    assert_eq!(raced().used(5000, 5010, "b", accepted("b")).breaks(), []);
    assert_eq!(raced().used(5000, 5010, "b", refused(401, "invalid-token")).breaks(), []);
    let told = raced().login(66, 69, refused(401, "invalid-credentials"));
    assert_eq!(told.breaks(), [Rule::CanLogIn], "no password is wrong because of that");
    let later = all().login(71, 80, granted("c", 1));
    assert_eq!(later.used(90, 95, "c", refused(401, "invalid-token")).breaks(), [Rule::GoodIsGood]);
    let later = all().login(71, 80, refused(401, "invalid-credentials"));
    assert_eq!(later.breaks(), [Rule::CanLogIn]);
}

#[test]
fn a_logout_of_all_that_was_lost_may_end_what_is_opened_later() {
    let lost = Told::new().logout(60, 70, "a", Ending::All, refused(503, "unavailable"));
    let later = lost.login(80, 90, granted("b", 1));
    assert_eq!(later.used(95, 99, "b", refused(401, "invalid-token")).breaks(), []);
    // By a token that was refused, nothing was ended.
    let refused_one = Told::new()
        .refresh(35, 38, 1, granted("a", 2))
        .refresh(10_100, 10_110, 2, granted("a", 3))
        .logout(10_120, 10_130, "a", Ending::All, refused(401, "invalid-token"));
    let later = refused_one.refresh(10_140, 10_150, 3, revoked("logout"));
    assert_eq!(later.breaks(), [Rule::LivesOn]);
    let good = Told::new().logout(60, 70, "a", Ending::All, refused(401, "invalid-token"));
    assert_eq!(good.breaks(), [Rule::LivesOn]);
}

#[test]
fn nothing_is_accepted_after_the_bound() {
    let out = || Told::new().logout(40, 50, "a", Ending::Current, Outcome::Done);
    assert_eq!(out().used(2050, 2060, "a", accepted("a")).breaks(), []);
    assert_eq!(out().used(2051, 2060, "a", accepted("a")).breaks(), [Rule::Bound]);
    assert_eq!(out().used(2051, 2060, "a", refused(503, "revocation-stale")).breaks(), []);
    // The request was sent in time and was answered late, by a service that was paused.
    assert_eq!(out().used(2049, 9000, "a", accepted("a")).breaks(), []);
    let reused = Told::new()
        .refresh(40, 50, 1, granted("a", 2))
        .refresh(10_060, 10_070, 2, granted("a", 3))
        .refresh(10_080, 10_090, 1, refused(401, "token-reused"));
    assert_eq!(reused.used(12_091, 12_100, "a", accepted("a")).breaks(), [Rule::Bound]);
}

#[test]
fn what_was_refused_stays_refused() {
    let refused = || {
        let out = Told::new().logout(40, 50, "a", Ending::Current, Outcome::Done);
        out.used(60, 70, "a", refused(401, "invalid-token"))
    };
    assert_eq!(refused().used(70, 80, "a", accepted("a")).breaks(), [Rule::StaysRefused]);
    assert_eq!(refused().used(65, 80, "a", accepted("a")).breaks(), [], "both at once");
    let mut elsewhere = refused().used(70, 80, "a", accepted("a"));
    elsewhere.0.last_mut().unwrap().at = 1;
    assert_eq!(elsewhere.breaks(), []);
}

#[test]
fn an_honest_retry_is_never_refused_in_the_window() {
    let lost = || Told::new().refresh(40, 4000, 1, Outcome::Lost);
    assert_eq!(lost().refresh(4010, 4020, 1, granted("a", 2)).breaks(), []);
    let refusal = || refused(401, "token-reused");
    assert_eq!(lost().refresh(4010, 4020, 1, refusal()).breaks(), [Rule::ReuseNeedsReuse]);
    let expired = refused(401, "session-expired");
    assert_eq!(lost().refresh(4010, 4020, 1, expired).breaks(), [Rule::LivesOn]);
    // The fault outlasted the window.
    assert_eq!(lost().refresh(10_100, 10_200, 1, refusal()).breaks(), []);
    // The first presentation of all has nothing to be a replay of.
    assert_eq!(Told::new().refresh(40_000, 40_010, 1, refusal()).breaks(), [Rule::ReuseNeedsReuse]);
}

#[test]
fn a_session_dies_of_reuse_only_after_a_replay() {
    let on = || Told::new().refresh(40, 50, 1, granted("a", 2));
    assert_eq!(on().refresh(60, 70, 2, revoked("reuse")).breaks(), [Rule::ReuseNeedsReuse]);
    // A lost presentation may arrive when its token is long spent.
    let late = || Told::new().refresh(35, 38, 1, Outcome::Lost).refresh(40, 50, 1, granted("a", 2));
    let later = || late().refresh(10_060, 10_070, 2, granted("a", 3));
    assert_eq!(later().refresh(10_080, 10_090, 3, revoked("reuse")).breaks(), []);
    let refusal = || refused(401, "invalid-token");
    assert_eq!(later().used(10_080, 10_090, "a", refusal()).breaks(), []);
    // But not before the window was over.
    assert_eq!(late().refresh(60, 70, 2, revoked("reuse")).breaks(), [Rule::ReuseNeedsReuse]);
    let early = late().refresh(9900, 9950, 2, revoked("reuse"));
    assert_eq!(early.breaks(), [Rule::ReuseNeedsReuse]);
    assert_eq!(late().used(45, 49, "a", refusal()).breaks(), [Rule::GoodIsGood]);
    // Whoever was given the same again spent nothing.
    let again = on().refresh(60, 70, 2, granted("a", 2));
    let refused = again.refresh(10_200, 10_210, 2, refused(401, "token-reused"));
    assert_eq!(refused.breaks(), [Rule::ReuseNeedsReuse]);
    assert_eq!(on().refresh(60, 70, 2, revoked("password")).breaks(), [Rule::LivesOn]);
    assert_eq!(on().refresh(60, 70, 2, revoked("logout")).breaks(), [Rule::LivesOn]);
}

#[test]
fn a_spent_token_is_refused_and_ends_the_session() {
    let once = || Told::new().refresh(40, 50, 1, granted("a", 2));
    assert_eq!(once().refresh(10_040, 10_060, 1, granted("a", 2)).breaks(), []);
    assert_eq!(once().refresh(10_200, 10_210, 1, granted("a", 2)).breaks(), [Rule::SpentIsSpent]);
    let spent = || once().refresh(10_060, 10_070, 2, granted("a", 3));
    assert_eq!(spent().refresh(10_069, 10_080, 1, granted("a", 2)).breaks(), []);
    let late = spent().refresh(10_071, 10_080, 1, granted("a", 2)).breaks();
    assert!(late.contains(&Rule::SpentIsSpent), "{late:?}");
    let dead = || spent().refresh(10_080, 10_090, 1, refused(401, "token-reused"));
    assert_eq!(dead().refresh(10_100, 10_110, 3, revoked("reuse")).breaks(), []);
    let alive = dead().refresh(30_100, 30_110, 3, granted("a", 4));
    assert_eq!(alive.breaks(), [Rule::EndedIsEnded]);
}

#[test]
fn a_good_token_is_not_called_invalid() {
    let refusal = || refused(401, "invalid-token");
    assert_eq!(Told::new().used(40, 50, "a", refusal()).breaks(), [Rule::GoodIsGood]);
    assert_eq!(Told::new().used(500_000, 500_010, "a", refusal()).breaks(), []);
    let racing = Told::new().logout(45, 60, "a", Ending::Current, Outcome::Lost);
    assert_eq!(racing.used(40, 50, "a", refusal()).breaks(), []);
    let later = Told::new().logout(51, 60, "a", Ending::Current, Outcome::Done);
    assert_eq!(later.used(40, 50, "a", refusal()).breaks(), [Rule::GoodIsGood]);
}

#[test]
fn answers_are_about_the_caller() {
    assert_eq!(Told::new().used(40, 50, "a", accepted("b")).breaks(), [Rule::OwnSubject]);
    let (username, session) = ("bob".to_owned(), "a".to_owned());
    let other = Outcome::Accepted { subject: "sub".to_owned(), username, session };
    assert_eq!(Told::new().used(40, 50, "a", other).breaks(), [Rule::OwnSubject]);
    let (username, session) = ("ada".to_owned(), "a".to_owned());
    let other = Outcome::Accepted { subject: "another".to_owned(), username, session };
    assert_eq!(Told::new().used(40, 50, "a", other).breaks(), [Rule::OwnSubject]);
    assert_eq!(Told::new().login(40, 50, granted("a", 1)).breaks(), [Rule::OwnSubject]);
    let theirs = Told::new().refresh(40, 50, 1, granted("b", 2)).breaks();
    assert!(theirs.contains(&Rule::OwnSubject), "{theirs:?}");
}

#[test]
fn whoever_is_registered_gets_in() {
    let refusal = || refused(401, "invalid-credentials");
    assert_eq!(Told::new().login(40, 50, refusal()).breaks(), [Rule::CanLogIn]);
    let unsure = Told(Vec::new()).event(0, 10, Operation::Register, Outcome::Lost);
    assert_eq!(unsure.login(20, 30, refusal()).breaks(), []);
    let taken = || refused(409, "conflict");
    let unsure = Told(Vec::new()).event(0, 10, Operation::Register, Outcome::Lost);
    assert_eq!(unsure.event(20, 30, Operation::Register, taken()).breaks(), []);
    let first = Told(Vec::new()).event(0, 10, Operation::Register, taken());
    assert_eq!(first.breaks(), [Rule::CanLogIn]);
}

#[test]
fn only_what_is_documented_is_answered() {
    assert_eq!(Told::new().login(40, 50, refused(503, "unavailable")).breaks(), []);
    assert_eq!(Told::new().login(40, 50, refused(500, "unavailable")).breaks(), [Rule::Documented]);
    let odd = Outcome::Odd("200 <html>".to_owned());
    assert_eq!(Told::new().used(40, 50, "a", odd).breaks(), [Rule::Documented]);
    let out = Told::new().logout(40, 50, "a", Ending::Current, refused(401, "invalid-token"));
    assert_eq!(out.breaks(), [Rule::Documented]);
    let stale = Told::new().refresh(40, 50, 1, refused(503, "revocation-stale"));
    assert!(stale.breaks().contains(&Rule::Documented));
}
