//! The database, as the verbs of the domain.
//!
//! [`Store`] is one type; which database is behind it is chosen once, from the URL. Every verb is
//! one statement on Postgres and one statement or transaction on SQLite, and runs in a task of its
//! own: a client that goes away drops the handler's future, and a write must not go with it.
//!
//! No verb writes `revocations`: triggers of the database do, in the same commit, whatever path a
//! change takes. A verb only wakes the reader here, so that it need not wait for its next poll.

/// Calls the same verb on whichever database there is, in a task that nobody can cancel.
macro_rules! on_backend {
    ($store:expr, $db:ident => $call:expr) => {
        match $store.backend.clone() {
            // Only a server across a network can fall silent in the middle.
            Backend::Postgres($db) => $store.detached(bounded(async move { $call })).await,
            Backend::Sqlite($db) => $store.detached(async move { $call }).await,
        }
    };
}

// After the macro, so that they know it.
mod admin;
mod ending;
mod keys;
mod limit;
mod lowered;
mod migrations;
mod postgres;
mod records;
mod revocations;
mod rotation;
mod rows;
mod schema;
mod sqlite;
mod trail;
mod turns;
mod views;
mod watched;
mod writes;

use std::cmp::Reverse;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use claims::{SessionId, Timestamp, UserId};
use secrecy::ExposeSecret as _;
use tokio::runtime::Handle;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinError;
use tokio_util::task::TaskTracker;
use verifier::Clock;

use crate::config;
use crate::identity::names::NameKey;

pub use admin::{Inspection, Listed};
pub use keys::{KeyRead, KeyState, NewKey, Purpose, StoredKey};
pub use records::{
    Caller, Client, Credentials, EndReason, Grant, NewPassword, NewSession, NewUser, OtherSessions,
    Presented, Removal, UserRecord,
};
pub use revocations::{Horizon, RevocationRead, RevocationReader, RevocationRow};
pub use rotation::{Reuse, Rotation};
pub use trail::{Happening, TrailEntry};
use turns::Turns;
pub use views::{EventView, SessionView, UserView};
use writes::Writes;

/// Longer than every time-out of the server's, so that a server that is there gives up first, and a
/// statement is not left running behind an answer. One that fell silent is left to itself.
const WORK_PATIENCE: Duration = Duration::from_secs(9);
/// A little longer, to hear of that.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long a write waits for others of the same user. With [`PATIENCE`] after it, the answer comes before
/// the listener gives its connection up.
const TURN_PATIENCE: Duration = Duration::from_secs(8);
const CLOSING_PATIENCE: Duration = Duration::from_secs(15);
const MOST_TOLD_AT_ONCE: usize = 16;
/// Revocations are small, and there may be one for each logout of two hours.
const PURGED_AT_ONCE: i64 = 10_000;
/// How many sessions one statement ends: its locks are held for a fraction of a second.
const ENDED_AT_ONCE: i64 = 2000;

/// The database does not answer, or not in time. What was asked for may or may not have happened.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// It reported an error.
    #[error("the database does not answer")]
    Database(#[from] sqlx::Error),
    /// It said nothing.
    #[error("the database did not answer in time")]
    Timeout,
    /// The row kept changing under every attempt.
    #[error("the session or the account is being changed too often at once")]
    Contended,
}

/// Why the database cannot be used at all.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// It cannot be reached or read.
    #[error("database.url: cannot connect: {0}")]
    Connect(#[source] sqlx::Error),
    /// The schema is older than this program, or there is none.
    #[error("the database schema is not this program's: {0}; run `auth-service migrate`")]
    Schema(String),
    /// The schema is newer than this program, which may not serve it.
    #[error(
        "the database schema is newer than this program: {0}; use the version of auth-service that \
         made it, or a later one"
    )]
    NewerSchema(String),
    /// The migrations failed.
    #[error("the database cannot be migrated: {0}")]
    Migrate(#[from] sqlx::migrate::MigrateError),
    /// The server answered at first.
    #[error("the database stopped answering; try again when it does")]
    Silent,
    /// It is not as it must be; the text says what to do.
    #[error("the database cannot be used: {0}")]
    Unfit(String),
}

/// The users, sessions, revocations and keys.
#[derive(Debug, Clone)]
pub struct Store {
    backend: Backend,
    runtime: Handle,
    tasks: TaskTracker,
    /// Places for what is told of without being waited for.
    telling: Arc<Semaphore>,
    /// Who writes to the sessions of which user.
    turns: Turns,
    /// Told whenever a revocation or a change of keys was committed here.
    commits: watch::Sender<()>,
    newer_schema: Option<i64>,
    writes: Arc<Writes>,
}

#[derive(Debug, Clone)]
enum Backend {
    Postgres(Arc<postgres::Postgres>),
    Sqlite(Arc<sqlite::Sqlite>),
}

impl Store {
    /// Connects, and migrates where the settings say so. Must be called on the runtime that is to
    /// do the database work; it must outlive every handler.
    pub async fn open(settings: &config::Database, clock: Clock) -> Result<Self, OpenError> {
        let mut store = Self::connect(settings, clock, true).await?;
        if settings.migrate_on_start {
            store.migrate().await?;
        }
        store.newer_schema = store.check_schema().await?;
        Ok(store)
    }

    /// The same on a database that is there, and as it is: nothing is made and nothing is migrated.
    pub async fn open_existing(
        settings: &config::Database,
        clock: Clock,
    ) -> Result<Self, OpenError> {
        let mut store = Self::connect(settings, clock, false).await?;
        store.newer_schema = store.check_schema().await?;
        Ok(store)
    }

    async fn connect(
        settings: &config::Database,
        clock: Clock,
        create: bool,
    ) -> Result<Self, OpenError> {
        let url = settings.url.expose_secret();
        let writes = Arc::new(Writes::new(clock.clone()));
        let backend = if url.starts_with("sqlite:") {
            Backend::Sqlite(Arc::new(sqlite::Sqlite::open(url, clock, create).await?))
        } else {
            let db = postgres::Postgres::open(url, settings.max_connections, clock).await?;
            Backend::Postgres(Arc::new(db))
        };
        let (runtime, tasks) = (Handle::current(), TaskTracker::new());
        let telling = Arc::new(Semaphore::new(MOST_TOLD_AT_ONCE));
        let (turns, commits) = (Turns::new(TURN_PATIENCE), watch::Sender::new(()));
        Ok(Self { backend, runtime, tasks, telling, turns, commits, newer_schema: None, writes })
    }

    /// Adds a user; `None` when the name or the address is taken.
    pub async fn create_user(&self, user: NewUser) -> Result<Option<UserRecord>, StoreError> {
        let writes = Arc::clone(&self.writes);
        on_backend!(self, db => writes.made(db.create_user(user).await, Option::is_some))
    }

    /// What is needed to check a password, by name or address.
    pub async fn credentials(&self, key: NameKey) -> Result<Option<Credentials>, StoreError> {
        on_backend!(self, db => db.credentials(&key).await)
    }

    /// The same for a user who is known.
    pub async fn credentials_of(&self, user: UserId) -> Result<Option<Credentials>, StoreError> {
        on_backend!(self, db => db.credentials_of(user).await)
    }

    /// Opens a session, ends the one it replaces, and ends what the user then has beyond the most
    /// sessions that they may have; unless the account changed since its credentials were read: then
    /// `None`.
    pub async fn open_session(&self, session: NewSession) -> Result<Option<Grant>, StoreError> {
        let turn = self.turns.wait(session.credentials.user).await?;
        let ends = session.replaces.is_some() || session.max_sessions > 0;
        let announcement = ends.then(|| self.announcement());
        let writes = Arc::clone(&self.writes);
        on_backend!(self, db => {
            let _held = (turn, announcement);
            writes.made(db.open_session(session).await, Option::is_some)
        })
    }

    /// Decides what a presented refresh token gets, and does it. The database decides races: of any
    /// number of refreshes of one token exactly one rotates, and the others learn its result.
    pub async fn rotate(&self, presented: Presented) -> Result<Rotation, StoreError> {
        let (announcement, writes) = (self.announcement(), Arc::clone(&self.writes));
        on_backend!(self, db => {
            let rotated = rotation::rotate(&*db, &presented).await;
            let rotated = writes.made(rotated, |it| matches!(it, Rotation::Rotated(_)));
            if !matches!(rotated, Ok(Rotation::Reused(_)) | Err(_)) {
                announcement.withdraw();
            }
            rotated
        })
    }

    /// Ends every session of the caller's user, the caller's included; `false` when that was over.
    pub async fn end_all_sessions(&self, caller: Caller) -> Result<bool, StoreError> {
        let Some(turn) = self.turn_of(&caller).await? else { return Ok(false) };
        let announcement = self.announcement();
        on_backend!(self, db => {
            let _held = (turn, announcement);
            db.end_all_sessions(&caller).await
        })
    }

    /// Ends one session of the caller's user.
    pub async fn remove_session(
        &self,
        caller: Caller,
        target: SessionId,
    ) -> Result<Removal, StoreError> {
        let Some(turn) = self.turn_of(&caller).await? else { return Ok(Removal::CallerEnded) };
        let announcement = self.announcement();
        on_backend!(self, db => {
            let _held = (turn, announcement);
            db.remove_session(&caller, target).await
        })
    }

    /// The live sessions of the caller's user, newest first, at most 100, the caller's own always
    /// among them; `None` when that is over.
    pub async fn list_sessions(
        &self,
        caller: Caller,
    ) -> Result<Option<Vec<SessionView>>, StoreError> {
        // It looks at all of them, however many they are.
        let Some(turn) = self.turn_of(&caller).await? else { return Ok(None) };
        let views = on_backend!(self, db => {
            let _turn = turn;
            db.list_sessions(&caller).await
        })?;
        Ok(views.map(|mut views| {
            views.sort_by_key(|view| (Reverse(view.created_at), view.id));
            views
        }))
    }

    /// The live sessions of the user with this name or address, newest first, at most 100.
    pub async fn live_sessions(&self, key: NameKey) -> Result<Vec<SessionView>, StoreError> {
        on_backend!(self, db => db.live_sessions(&key).await)
    }

    /// The caller's user; `None` when the caller's session is over.
    pub async fn user_of(&self, caller: Caller) -> Result<Option<UserRecord>, StoreError> {
        on_backend!(self, db => db.user_of(&caller).await)
    }

    /// Puts a new hash of the same password in the place of the old one; `false` when that is not
    /// there any more. It is no password change: logins in flight go on.
    pub async fn rehash_password(
        &self,
        user: UserId,
        old: String,
        new: String,
    ) -> Result<bool, StoreError> {
        let turn = self.turns.wait(user).await?;
        on_backend!(self, db => {
            let _turn = turn;
            db.rehash_password(user, &old, &new).await
        })
    }

    /// Deletes those of the next `batch` sessions after `after` that were over `before` that moment, and
    /// says where to go on; `None` at the end.
    pub async fn purge_sessions(
        &self,
        before: Timestamp,
        after: Option<String>,
        batch: i64,
    ) -> Result<Option<String>, StoreError> {
        let after = after.unwrap_or_default();
        on_backend!(self, db => db.purge_sessions(before, &after, batch).await)
    }

    /// Deletes the oldest revocations that expired `before` that moment, at most 10,000.
    pub async fn purge_revocations(&self, before: Timestamp) -> Result<(), StoreError> {
        on_backend!(self, db => db.purge_revocations(before).await)
    }

    /// A reader of revocations with a connection of its own.
    #[must_use]
    pub fn revocation_reader(&self) -> RevocationReader {
        match &self.backend {
            Backend::Postgres(db) => db.revocation_reader(),
            Backend::Sqlite(db) => db.revocation_reader(),
        }
    }

    /// Changes whenever a revocation or a change of keys was committed through this store.
    #[must_use]
    pub fn commits(&self) -> watch::Receiver<()> {
        self.commits.subscribe()
    }

    /// Waits for the work begun, and disconnects.
    pub async fn close(&self) {
        self.tasks.close();
        let all = async {
            self.tasks.wait().await;
            match &self.backend {
                Backend::Postgres(db) => db.close().await,
                Backend::Sqlite(db) => db.close().await,
            }
        };
        if tokio::time::timeout(CLOSING_PATIENCE, all).await.is_err() {
            tracing::warn!("the database did not let go in time");
        }
    }

    fn announcement(&self) -> Announcement {
        Announcement(Some(self.commits.clone()))
    }

    /// Runs `work` to its end, whatever becomes of whoever asked for it.
    async fn detached<T, F>(&self, work: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, StoreError>> + Send + 'static,
    {
        let task = self.tasks.spawn_on(work, &self.runtime);
        match tokio::time::timeout(PATIENCE, task).await {
            Ok(done) => self.outcome(done),
            Err(_) => Err(StoreError::Timeout),
        }
    }

    /// What became of a task.
    fn outcome<T>(&self, done: Result<Result<T, StoreError>, JoinError>) -> Result<T, StoreError> {
        match done {
            Ok(result) => self.writes.made(result, |_| false),
            Err(failed) => match failed.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                // The process ends and takes its runtime with it.
                Err(_) => Err(StoreError::Timeout),
            },
        }
    }
}

/// Gives `work` up when it takes too long. A single statement may be dropped: it happened or it did
/// not, and its connection is tested before it serves again.
async fn bounded<T>(work: impl Future<Output = Result<T, StoreError>>) -> Result<T, StoreError> {
    tokio::time::timeout(WORK_PATIENCE, work).await.unwrap_or(Err(StoreError::Timeout))
}

/// Wakes the readers of revocations when a write is over, in the write's own task: also after a
/// failure, because it may have been committed all the same.
struct Announcement(Option<watch::Sender<()>>);

impl Announcement {
    /// There turned out to be nothing to announce.
    fn withdraw(mut self) {
        self.0 = None;
    }
}

impl Drop for Announcement {
    fn drop(&mut self) {
        if let Some(commits) = &self.0 {
            commits.send_replace(());
        }
    }
}
