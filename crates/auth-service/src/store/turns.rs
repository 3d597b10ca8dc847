//! The writes of one user take turns in the process before they take a connection.
//!
//! Writes to a user's sessions lock the user's row first. Without turns, many requests of one user
//! would each hold a connection while they wait for that row, and everybody else would wait for a
//! connection. With turns a user holds at most one connection of this process.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use claims::UserId;
use tokio::sync::{Mutex as Line, OwnedMutexGuard};

use super::StoreError;

type Lines = Mutex<HashMap<UserId, Arc<Line<()>>>>;

/// Who waits, by user. Only users with a write under way have an entry.
#[derive(Debug, Clone)]
pub(super) struct Turns {
    lines: Arc<Lines>,
    patience: Duration,
}

/// A user's turn: it lasts until the value is dropped.
#[derive(Debug)]
pub(super) struct Turn {
    // The order matters: the line is released before the place in it is given up.
    _held: OwnedMutexGuard<()>,
    place: Place,
}

impl Turns {
    /// Lines in which [`Self::wait`] waits for `patience` at the most.
    pub(super) fn new(patience: Duration) -> Self {
        Self { lines: Arc::default(), patience }
    }

    /// Waits for the user's turn, first come, first served. Whoever stops waiting gives up their
    /// place: nothing was begun for them.
    pub(super) async fn wait(&self, user: UserId) -> Result<Turn, StoreError> {
        tokio::time::timeout(self.patience, self.next(user)).await.map_err(|_| StoreError::Timeout)
    }

    /// The same, however long it takes: for whoever stops waiting by themselves, or never.
    pub(super) async fn next(&self, user: UserId) -> Turn {
        let place = self.place(user);
        let held = Arc::clone(&place.line).lock_owned().await;
        Turn { _held: held, place }
    }

    fn place(&self, user: UserId) -> Place {
        let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        let line = Arc::clone(lines.entry(user).or_default());
        Place { lines: Arc::clone(&self.lines), user, line }
    }
}

impl Turn {
    /// Whose it is.
    pub(super) fn user(&self) -> UserId {
        self.place.user
    }
}

/// A place in a user's line. The last one out removes the line.
#[derive(Debug)]
struct Place {
    lines: Arc<Lines>,
    user: UserId,
    line: Arc<Line<()>>,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        // Under the lock, so that of two that leave at once the second one sees the first gone.
        self.line = Arc::default();
        if lines.get(&self.user).is_some_and(|line| Arc::strong_count(line) == 1) {
            lines.remove(&self.user);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use futures_util::future::join_all;
    use uuid::Uuid;

    use super::*;

    fn turns() -> Turns {
        Turns::new(Duration::from_millis(300))
    }

    fn waiting(turns: &Turns) -> usize {
        turns.lines.lock().unwrap().len()
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn one_users_turns_follow_each_other_and_leave_nothing() {
        let (turns, user) = (turns(), UserId(Uuid::from_u128(1)));
        let (inside, most) = (AtomicUsize::new(0), AtomicUsize::new(0));
        join_all((0..200).map(|_| async {
            let _turn = turns.wait(user).await.unwrap();
            most.fetch_max(inside.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            tokio::task::yield_now().await;
            inside.fetch_sub(1, Ordering::SeqCst);
        }))
        .await;
        assert_eq!((most.into_inner(), waiting(&turns)), (1, 0));
    }

    #[tokio::test]
    async fn another_user_does_not_wait() {
        let turns = turns();
        let _one = turns.wait(UserId(Uuid::from_u128(1))).await.unwrap();
        let _two = turns.wait(UserId(Uuid::from_u128(2))).await.unwrap();
        assert_eq!(waiting(&turns), 2);
    }

    #[tokio::test]
    async fn whoever_waits_too_long_is_told_and_leaves_nothing() {
        let (turns, user) = (turns(), UserId(Uuid::from_u128(1)));
        let held = turns.wait(user).await.unwrap();
        let all = join_all((0..10).map(|_| turns.wait(user))).await;
        assert!(all.iter().all(|one| matches!(one, Err(StoreError::Timeout))));
        drop(held);
        assert_eq!(waiting(&turns), 0);
        drop(turns.wait(user).await.unwrap());
        assert_eq!(waiting(&turns), 0);
    }

    #[tokio::test]
    async fn whoever_goes_away_is_skipped() {
        let (turns, user) = (turns(), UserId(Uuid::from_u128(1)));
        let held = turns.wait(user).await.unwrap();
        {
            let mut gone = pin!(turns.wait(user));
            assert!(futures_util::poll!(&mut gone).is_pending());
        }
        drop(held);
        drop(turns.wait(user).await.unwrap());
        assert_eq!(waiting(&turns), 0);
    }
}
