//! The rule of sessions and their refresh tokens, as a pure function from a state and an operation
//! to the next state and an answer.
//!
//! Written from the design and not from the store: it is what the store is compared with. Where
//! the store must win races, this only has to be plain. Times are seconds since the user registered.

/// The limits, in seconds.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// For how long after a rotation its result is given again and the session does not rotate. 0: there
    /// is no window, and every refresh rotates.
    pub(crate) window: i64,
    /// How long a session lasts unused.
    pub(crate) idle: i64,
    /// How long it lasts in any case.
    pub(crate) absolute: i64,
}

/// One user and their sessions.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct State {
    pub(crate) now: i64,
    /// Sessions of a lower version are over.
    pub(crate) version: u32,
    /// Why the version was raised last.
    pub(crate) raised_for: Option<Reason>,
    /// Whether the user may log in.
    pub(crate) enabled: bool,
    /// The sessions, in the order in which they were opened.
    pub(crate) sessions: Vec<Session>,
}

/// A session.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Session {
    /// What a refresh changes.
    pub(crate) row: Row,
    /// The row before the last rotation, while a failover can lose that.
    pub(crate) before: Option<Row>,
    /// When it ends in any case.
    pub(crate) absolute_end: i64,
    /// Why it was ended, if it was.
    pub(crate) ended: Option<Reason>,
    /// The user's version when it was opened.
    pub(crate) subject_version: u32,
}

/// What a refresh changes of a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Row {
    /// The generation of the token that is good now.
    pub(crate) generation: u32,
    /// When a rotation made that; `None` when the login did.
    pub(crate) rotated_at: Option<i64>,
    /// When it ends unless used.
    pub(crate) idle_end: i64,
}

/// Why a session ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Reason {
    /// The user logged out.
    Logout,
    /// The password was changed.
    Password,
    /// An administrator ended it.
    Admin,
    /// The user was disabled.
    Disabled,
    /// A spent token was presented.
    Reuse,
}

/// Who acts: a session, by a refresh token of that generation, or by an access token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Caller {
    pub(crate) session: usize,
    /// The refresh token's generation; `None` with an access token.
    pub(crate) generation: Option<u32>,
}

/// Which sessions a password change ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ends {
    /// All but the caller's.
    Others,
    All,
    None,
}

/// What can happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Operation {
    /// A login, perhaps in place of another session.
    Open {
        /// The session that ends because of it.
        replaces: Option<usize>,
    },
    /// A refresh token is presented.
    Refresh {
        /// Its session.
        session: usize,
        /// Its generation.
        generation: u32,
    },
    /// A session is ended, whoever asks.
    End(usize, Reason),
    /// The caller ends one session of theirs.
    Remove(Caller, usize),
    /// The caller ends all their sessions but their own.
    EndOthers(Caller),
    /// The caller ends all their sessions.
    EndAll(Caller),
    /// The password is changed from that session.
    ChangePassword(usize, Ends),
    /// An administrator disables the user.
    Disable,
    /// An administrator enables the user.
    Enable,
    Advance(i64),
    /// An asynchronous failover loses the last rotation of the session.
    ForgetRotation(usize),
}

/// What it is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Answer {
    /// It happened, or there was nothing to do.
    Done,
    /// Refused: the user is disabled, or the caller's session is over.
    Refused,
    /// The caller has no such session.
    NotFound,
    /// The session was opened, or the token rotated: this is its successor.
    Granted(Grant),
    /// The token that was given before is given again; nothing changed.
    Repeated(Grant),
    /// As granted, and the database was brought forward.
    FastForwarded(Grant),
    /// The token was spent, so the session was ended.
    Reused,
    /// The session was ended before.
    Ended(Reason),
    /// The session is past one of its ends.
    Expired,
    /// No failover explains the token.
    TooFarAhead,
    /// There is no such session.
    Unknown,
}

/// A token that is good, and until when.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Grant {
    pub(crate) generation: u32,
    /// When the session ends unless used.
    pub(crate) idle_end: i64,
    /// When it ends in any case.
    pub(crate) absolute_end: i64,
}

impl Answer {
    /// The token, where one is given.
    pub(crate) fn grant(self) -> Option<Grant> {
        match self {
            Self::Granted(grant) | Self::Repeated(grant) | Self::FastForwarded(grant) => {
                Some(grant)
            }
            _ => None,
        }
    }
}

/// The rule.
pub(crate) fn apply(limits: Limits, state: &State, operation: Operation) -> (State, Answer) {
    let mut next = state.clone();
    let answer = next.step(limits, operation);
    (next, answer)
}

impl Default for State {
    /// A user who has just registered.
    fn default() -> Self {
        Self { now: 0, version: 1, raised_for: None, enabled: true, sessions: Vec::new() }
    }
}

impl State {
    /// Whether the session is good now.
    pub(crate) fn is_live(&self, session: usize) -> bool {
        self.sessions.get(session).is_some_and(|session| self.refusal(session).is_none())
    }

    /// Why nothing is given for any token of the session. What was done to it comes before what
    /// time did.
    fn refusal(&self, session: &Session) -> Option<Answer> {
        if let Some(reason) = session.ended {
            return Some(Answer::Ended(reason));
        }
        if !self.enabled {
            return Some(Answer::Ended(Reason::Disabled));
        }
        if session.subject_version != self.version {
            return Some(Answer::Ended(self.raised_for.unwrap_or(Reason::Admin)));
        }
        (self.now >= session.row.idle_end.min(session.absolute_end)).then_some(Answer::Expired)
    }

    fn in_window(&self, limits: Limits, session: &Session) -> bool {
        session.row.rotated_at.is_some_and(|at| self.now - at < limits.window)
    }

    fn step(&mut self, limits: Limits, operation: Operation) -> Answer {
        match operation {
            Operation::Open { replaces } => return self.open(limits, replaces),
            Operation::Refresh { session, generation } => {
                return self.refresh(limits, session, generation);
            }
            Operation::End(session, reason) => self.end(session, reason),
            Operation::Remove(caller, target) => {
                if !self.is_caller(limits, caller) {
                    return Answer::Refused;
                }
                if target >= self.sessions.len() {
                    return Answer::NotFound;
                }
                self.end(target, Reason::Logout);
            }
            Operation::EndOthers(caller) => {
                if !self.is_caller(limits, caller) {
                    return Answer::Refused;
                }
                self.end_others(caller.session, Reason::Logout);
            }
            Operation::EndAll(caller) => {
                if !self.is_caller(limits, caller) {
                    return Answer::Refused;
                }
                self.raise_version(Reason::Logout);
            }
            Operation::ChangePassword(session, ends) => {
                if !self.is_live(session) {
                    return Answer::Refused;
                }
                match ends {
                    Ends::Others => self.end_others(session, Reason::Password),
                    Ends::All => self.raise_version(Reason::Password),
                    Ends::None => {}
                }
            }
            Operation::Disable => {
                if self.enabled {
                    self.raise_version(Reason::Disabled);
                }
                self.enabled = false;
            }
            Operation::Enable => self.enabled = true,
            Operation::Advance(seconds) => self.now += seconds,
            Operation::ForgetRotation(session) => self.forget(session),
        }
        Answer::Done
    }

    fn open(&mut self, limits: Limits, replaces: Option<usize>) -> Answer {
        if !self.enabled {
            return Answer::Refused;
        }
        if let Some(replaced) = replaces {
            self.end(replaced, Reason::Logout);
        }
        let absolute_end = self.now + limits.absolute;
        let idle_end = absolute_end.min(self.now + limits.idle);
        let session = Session {
            row: Row { generation: 1, rotated_at: None, idle_end },
            before: None,
            absolute_end,
            ended: None,
            subject_version: self.version,
        };
        let grant = session.grant();
        self.sessions.push(session);
        Answer::Granted(grant)
    }

    /// The table of the design, row by row.
    fn refresh(&mut self, limits: Limits, session: usize, presented: u32) -> Answer {
        let Some(found) = self.sessions.get(session) else { return Answer::Unknown };
        if let Some(refusal) = self.refusal(found) {
            return refusal;
        }
        let in_window = self.in_window(limits, found);
        let now = self.now;
        let found = &mut self.sessions[session];
        match i64::from(found.row.generation) - i64::from(presented) {
            0 | 1 if in_window => Answer::Repeated(found.grant()),
            0 => Answer::Granted(found.rotate_from(presented, now, limits)),
            1.. => {
                found.ended = Some(Reason::Reuse);
                Answer::Reused
            }
            -1 => Answer::FastForwarded(found.rotate_from(presented, now, limits)),
            _ => Answer::TooFarAhead,
        }
    }

    /// A caller's session must be live, and a refresh token one that a refresh would be given
    /// something for.
    fn is_caller(&self, limits: Limits, caller: Caller) -> bool {
        let Some(session) = self.sessions.get(caller.session) else { return false };
        let good = caller.generation.is_none_or(|generation| {
            let parent = generation + 1 == session.row.generation;
            generation == session.row.generation || (parent && self.in_window(limits, session))
        });
        good && self.refusal(session).is_none()
    }

    /// The first reason counts.
    fn end(&mut self, session: usize, reason: Reason) {
        if let Some(session) = self.sessions.get_mut(session) {
            session.ended.get_or_insert(reason);
        }
    }

    fn end_others(&mut self, kept: usize, reason: Reason) {
        for session in (0..self.sessions.len()).filter(|session| *session != kept) {
            // Those of a former version are over already, and it is known why.
            if self.sessions[session].subject_version == self.version {
                self.end(session, reason);
            }
        }
    }

    fn raise_version(&mut self, reason: Reason) {
        self.version += 1;
        self.raised_for = Some(reason);
    }

    /// Only the last write can be lost without what came after it.
    fn forget(&mut self, session: usize) {
        let Some(session) = self.sessions.get_mut(session) else { return };
        if session.ended.is_none()
            && let Some(before) = session.before.take()
        {
            session.row = before;
        }
    }
}

impl Session {
    /// The token that is good now.
    pub(crate) fn grant(&self) -> Grant {
        let Row { generation, idle_end, .. } = self.row;
        Grant { generation, idle_end, absolute_end: self.absolute_end }
    }

    /// Spends the presented token; the session is used now, and no rotation moves its absolute end.
    fn rotate_from(&mut self, presented: u32, now: i64, limits: Limits) -> Grant {
        self.before = Some(self.row);
        self.row = Row {
            generation: presented + 1,
            rotated_at: Some(now),
            idle_end: self.absolute_end.min(now + limits.idle),
        };
        self.grant()
    }
}
