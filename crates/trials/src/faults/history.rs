//! What was asked and what was answered, on one clock, for one user.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use claims::Transport;

/// Time since the harness started, by its own clock.
pub type Moment = Duration;

/// The grace window of the auth-services here. Longer than any fault, and shorter than the service's
/// default, or a session would hardly ever rotate twice in a run.
pub const WINDOW: Duration = Duration::from_secs(10);
/// How old a resource-service's knowledge may be in this harness.
pub const BOUND: Duration = Duration::from_secs(2);

/// A refresh token as it was answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefreshToken {
    pub text: Arc<str>,
    /// The session it was answered for.
    pub session: Arc<str>,
    /// The generation that it names.
    pub generation: u32,
    pub transport: Transport,
}

/// An access token and what it says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccessToken {
    pub text: Arc<str>,
    pub session: Arc<str>,
    pub subject: Arc<str>,
    pub username: Arc<str>,
    /// Before this moment it is not expired.
    pub good_until: Moment,
}

/// What a login or a refresh gave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    /// `session_id` of the answer.
    pub session: Arc<str>,
    pub refresh: RefreshToken,
    pub access: AccessToken,
}

/// Which sessions a logout ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    Current,
    /// All but the caller's own.
    Others,
    All,
}

/// What was asked.
#[derive(Debug, Clone)]
pub enum Operation {
    /// The user is made.
    Register,
    /// A session is opened.
    LogIn,
    /// A refresh token is presented.
    Refresh(RefreshToken),
    /// Sessions are ended by a refresh token.
    LogOut(RefreshToken, Ending),
    /// An access token is presented to a resource-service.
    Use(AccessToken),
}

impl Operation {
    /// One word.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Register => "register",
            Self::LogIn => "login",
            Self::Refresh(_) => "refresh",
            Self::LogOut(_, Ending::Current) => "logout",
            Self::LogOut(_, Ending::Others) => "logout others",
            Self::LogOut(_, Ending::All) => "logout all",
            Self::Use(_) => "use",
        }
    }
}

/// What was answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    Done,
    Granted(Box<Grant>),
    /// A resource-service took the access token.
    Accepted {
        /// `sub`
        subject: String,
        /// `username`
        username: String,
        /// `session_id`
        session: String,
    },
    Refused {
        /// The status.
        status: u16,
        /// `code`
        code: String,
        /// `reason`
        reason: Option<String>,
    },
    /// Nothing: it may have happened, it may happen yet, or never.
    Lost,
    /// Something that no client expects; said in words.
    Odd(String),
}

impl Outcome {
    /// One or two words.
    #[must_use]
    pub fn name(&self) -> String {
        match self {
            Self::Done => "done".to_owned(),
            Self::Granted(_) => "granted".to_owned(),
            Self::Accepted { .. } => "accepted".to_owned(),
            Self::Refused { status, code, .. } => format!("{status} {code}"),
            Self::Lost => "lost".to_owned(),
            Self::Odd(_) => "odd".to_owned(),
        }
    }

    /// Whether what was asked may have happened, or may happen yet, although nobody said so: 503
    /// says that the database did not answer, not that it did nothing.
    #[must_use]
    pub fn is_open(&self) -> bool {
        matches!(self, Self::Lost | Self::Odd(_) | Self::Refused { status: 503, .. })
    }

    /// Whether it is a refusal with this code.
    #[must_use]
    pub fn is_refused_as(&self, wanted: &str) -> bool {
        matches!(self, Self::Refused { code, .. } if code == wanted)
    }
}

/// One operation.
#[derive(Debug, Clone)]
pub struct Event {
    /// Before the request was sent.
    pub begun: Moment,
    /// After the answer was there, or was given up.
    pub over: Moment,
    /// Which replica or which resource-service.
    pub at: usize,
    pub operation: Operation,
    pub outcome: Outcome,
}

/// Everything that one user did.
#[derive(Debug, Clone)]
pub struct Episode {
    /// What kind of user.
    pub actor: &'static str,
    pub username: String,
    /// In the order in which they were over.
    pub events: Vec<Event>,
}

impl Episode {
    /// The history as lines to read, around the event of that index.
    #[must_use]
    pub fn around(&self, index: usize, lines: usize) -> String {
        let session = self.events.get(index).and_then(session_of);
        let first = index.saturating_sub(lines);
        let mut text = String::new();
        for (number, event) in self.events.iter().enumerate().skip(first).take(2 * lines) {
            let own = number == index || session_of(event) == session;
            // Uses are many, and those of other sessions say nothing.
            if own || !matches!(event.operation, Operation::Use(_)) {
                let mark = if number == index { ">" } else { " " };
                let _ = writeln!(text, "  {mark} {}", line(event));
            }
        }
        text
    }
}

fn session_of(event: &Event) -> Option<&str> {
    match (&event.operation, &event.outcome) {
        (Operation::Refresh(token) | Operation::LogOut(token, _), _) => Some(&token.session),
        (Operation::Use(token), _) => Some(&token.session),
        (Operation::LogIn, Outcome::Granted(grant)) => Some(&grant.session),
        _ => None,
    }
}

fn line(event: &Event) -> String {
    let short = |session: &str| session.chars().take(6).collect::<String>();
    let what = match &event.operation {
        Operation::Refresh(token) | Operation::LogOut(token, _) => {
            format!(" of {} generation {}", short(&token.session), token.generation)
        }
        Operation::Use(token) => format!(" of {}", short(&token.session)),
        Operation::Register | Operation::LogIn => String::new(),
    };
    let came = match &event.outcome {
        Outcome::Granted(grant) => {
            format!("{} generation {}", short(&grant.session), grant.refresh.generation)
        }
        Outcome::Refused { status, code, reason } => {
            format!("{status} {code} {}", reason.as_deref().unwrap_or_default())
        }
        Outcome::Odd(text) => format!("odd: {text}"),
        other => other.name(),
    };
    let (begun, over) = (event.begun.as_secs_f64(), event.over.as_secs_f64());
    format!("{begun:9.3} to {over:9.3}  at {} {}{what}: {came}", event.at, event.operation.name())
}
