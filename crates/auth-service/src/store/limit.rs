//! How many sessions a user may have, and how very many are ended: in steps, so that no statement
//! holds its locks for long and no request fails because there are too many.

use std::time::Duration;

use claims::UserId;

use super::records::{Caller, NewPassword};
use super::turns::Turn;
use super::{Backend, ENDED_AT_ONCE, Store, StoreError, TURN_PATIENCE, bounded};

/// How long a request waits until very many sessions are ended: 200,000 take some ten seconds. The
/// listener gives a connection without an answer up a little later, and so do usual proxies.
const MANY_PATIENCE: Duration = Duration::from_secs(40);

impl Store {
    /// Ends every other session of the caller's user; `false` when the caller's own is over.
    ///
    /// More than 2000 are ended in several steps. They go on to their end also when nobody waits for
    /// the answer any more, or when it was [`StoreError::Timeout`], after forty seconds.
    pub async fn end_other_sessions(&self, caller: Caller) -> Result<bool, StoreError> {
        let all = async {
            let Some(mut turn) = self.next_turn_of(&caller).await? else { return Ok(false) };
            let store = self.clone();
            let steps = async move {
                let mut caller = caller;
                let user = turn.user();
                loop {
                    match store.end_some_others(caller, turn).await? {
                        Some(ended) if ended >= ENDED_AT_ONCE => {}
                        ended => return Ok(ended.is_some()),
                    }
                    // Its token was judged at the first step; a refresh since then does no harm.
                    caller.generation = None;
                    turn = store.turns.next(user).await;
                }
            };
            self.outcome(self.tasks.spawn_on(steps, &self.runtime).await)
        };
        tokio::time::timeout(MANY_PATIENCE, all).await.unwrap_or(Err(StoreError::Timeout))
    }

    async fn end_some_others(&self, caller: Caller, turn: Turn) -> Result<Option<i64>, StoreError> {
        let announcement = self.announcement();
        on_backend!(self, db => {
            let _held = (turn, announcement);
            db.end_other_sessions(&caller, ENDED_AT_ONCE).await
        })
    }

    /// Changes the password and ends sessions as asked; `false` when the caller's session is over or
    /// the password was changed meanwhile.
    ///
    /// More than 2000 sessions are ended in several steps, as by [`Self::end_other_sessions`]. The last
    /// step changes the password and leaves no other session: with the old password nothing is opened
    /// that survives it.
    pub async fn change_password(&self, change: NewPassword) -> Result<bool, StoreError> {
        let all = async {
            let mut turn = self.turns.next(change.user).await;
            let store = self.clone();
            let steps = async move {
                loop {
                    match store.change_password_or_end_some(change.clone(), turn).await? {
                        Some(ended) if ended >= ENDED_AT_ONCE => {}
                        ended => return Ok(ended.is_some()),
                    }
                    turn = store.turns.next(change.user).await;
                }
            };
            self.outcome(self.tasks.spawn_on(steps, &self.runtime).await)
        };
        tokio::time::timeout(MANY_PATIENCE, all).await.unwrap_or(Err(StoreError::Timeout))
    }

    async fn change_password_or_end_some(
        &self,
        change: NewPassword,
        turn: Turn,
    ) -> Result<Option<i64>, StoreError> {
        let announcement = self.announcement();
        on_backend!(self, db => {
            let _held = (turn, announcement);
            db.change_password(&change, ENDED_AT_ONCE).await
        })
    }

    /// Of the next `batch` users after `after`: who has more than `most` sessions, and where to go
    /// on; `None` at the end.
    pub async fn crowded_users(
        &self,
        after: Option<UserId>,
        most: u32,
        batch: i64,
    ) -> Result<(Vec<UserId>, Option<UserId>), StoreError> {
        let looked_at =
            on_backend!(self, db => db.crowded_users(after, i64::from(most), batch).await)?;
        let next = looked_at.last().map(|(user, _)| *user);
        let crowded = looked_at.into_iter().filter(|(_, crowded)| *crowded);
        Ok((crowded.map(|(user, _)| user).collect(), next))
    }

    /// Ends what the user has beyond `most` live sessions, at most `batch` of it, as a login does.
    /// Says how many were ended.
    pub async fn trim_sessions(
        &self,
        user: UserId,
        most: u32,
        batch: i64,
    ) -> Result<i64, StoreError> {
        let turn = self.turns.wait(user).await?;
        let announcement = self.announcement();
        on_backend!(self, db => {
            let _held = (turn, announcement);
            db.trim_sessions(user, i64::from(most), batch).await
        })
    }

    /// The turn of the caller's user, waited for at most eight seconds; `None` when the caller's session is
    /// not there.
    pub(super) async fn turn_of(&self, caller: &Caller) -> Result<Option<Turn>, StoreError> {
        // Both together: whoever is asked for the owner may be slow too.
        let turn = self.next_turn_of(caller);
        tokio::time::timeout(TURN_PATIENCE, turn).await.unwrap_or(Err(StoreError::Timeout))
    }

    /// The same, however long it takes.
    async fn next_turn_of(&self, caller: &Caller) -> Result<Option<Turn>, StoreError> {
        let user = match caller.user {
            Some(user) => Some(user),
            None => self.owner_of(*caller).await?,
        };
        match user {
            Some(user) => Ok(Some(self.turns.next(user).await)),
            None => Ok(None),
        }
    }

    async fn owner_of(&self, caller: Caller) -> Result<Option<UserId>, StoreError> {
        on_backend!(self, db => db.owner_of(caller.session).await)
    }
}
