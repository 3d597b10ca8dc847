//! How long sessions live.

use std::time::Duration;

use super::Tokens;

/// How long a session lives, and how long a spent refresh token of it is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SessionLimits {
    /// For how long it may lie unused.
    pub idle: Duration,
    /// When it ends in any case, counted from when it was opened.
    pub absolute: Duration,
    /// The window in which it rotates at most once; zero: every refresh rotates.
    pub grace: Duration,
}

impl Tokens {
    /// As the settings have them.
    #[must_use]
    pub fn session_limits(&self) -> SessionLimits {
        let seconds = |seconds: u32| Duration::from_secs(seconds.into());
        SessionLimits {
            idle: seconds(self.idle_seconds),
            absolute: seconds(self.absolute_seconds),
            grace: seconds(self.grace_seconds),
        }
    }
}
