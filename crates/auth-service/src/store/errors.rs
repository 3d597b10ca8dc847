//! How a verb can fail.

/// The database does not answer, or not in time. What was asked for may or may not have happened.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// It reported an error.
    #[error("the database does not answer")]
    Database(#[from] sqlx::Error),
    #[error("the database did not answer in time")]
    Timeout,
    /// The row kept changing under every attempt.
    #[error("the session or the account is being changed too often at once")]
    Contended,
    /// Whoever acts has no session any more; nothing was changed.
    #[error("the administrator's session is over")]
    NotActing,
    /// The account has a role that allows more than whoever acts may; nothing was changed.
    #[error("the account may do more than the administrator")]
    OutOfReach,
}

impl StoreError {
    /// With its causes, for the log.
    pub(crate) fn in_full(&self) -> String {
        let mut text = self.to_string();
        let mut cause = std::error::Error::source(self);
        while let Some(error) = cause {
            text = format!("{text}: {error}");
            cause = error.source();
        }
        text
    }
}
