//! The database, as the verbs of the domain.
//!
//! [`Store`] is one type; which database is behind it is chosen once, from the URL. A verb is a method of it, in the file
//! of what it is about (`users`, `names`, `search`, `import`, `deletion`, `export`, `invitations`, `sessions`, `clients`,
//! `keys`, `revocations`, `audit`), and is written once: a statement of its own, or a transaction (`transaction`). What
//! every refresh and logout needs is written twice, in `postgres/` and `sqlite/`, where on Postgres it is one statement each.
//!
//! Every verb runs in a task of its own: a client that goes away drops the handler's future, and no write with it. It
//! gives its name to what runs it, for traces (`traced`).
//!
//! No verb writes `revocations`: triggers of the database do, in the same commit, whatever path a
//! change takes. A verb only wakes the reader here, so that it need not wait for its next poll.

mod acting;
mod announcement;
mod audit;
mod clients;
mod deletion;
mod events;
mod export;
mod fault;
mod idempotency;
mod import;
mod inspection;
mod invitations;
mod keys;
mod migrations;
mod names;
mod postgres;
mod records;
mod restored;
mod revocations;
mod rotation;
mod rows;
mod schema;
mod search;
mod sending;
mod sessions;
mod sqlite;
mod statement;
mod traced;
mod transaction;
mod turns;
mod usage;
mod users;
mod views;
mod watched;
mod writes;

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use secrecy::ExposeSecret as _;
use tokio::runtime::Handle;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinError;
use tokio_util::task::TaskTracker;
use tracing::Instrument as _;
use verifier::Clock;

use crate::config;

pub use acting::Acting;
pub use audit::{AuditEntry, AuditEvent, SurplusEvents};
pub use clients::{Client, ClientKind};
pub use events::{EventFilter, EventPage, EventRecord};
pub use export::{ExportedEvent, ExportedInvitation, ExportedSession, ExportedUser};
pub use fault::{FaultKind, StoreError};
pub use idempotency::{Done, Once};
pub use import::{Holder, ImportedUser};
pub use inspection::{Inspection, Protection};
pub use invitations::{
    Invitation, InvitationDigest, InvitationId, InvitationState, InvitedRegistration, NewInvitation,
};
pub use keys::{KeyPurpose, KeyRead, KeyRevocation, KeyState, NewKey, Publication, StoredKey};
use postgres::Lane;
pub use records::{
    Caller, Credentials, EndReason, Grant, Listed, NameChange, NewNames, NewPassword, NewSession,
    NewUser, OtherSessions, Presented, Removal, Renaming, Requester, Target, UserChange,
    UserChanged, UserRecord, Versions,
};
pub use revocations::{Horizon, RevocationRead, RevocationReader, RevocationRow};
pub use rotation::{Reuse, RotationOutcome};
use rows::Row;
pub use sessions::{NoPlace, SessionEnding, SessionPage, SessionPlace};
pub use sqlite::{CopyError, backup, restore};
use statement::Value;
use transaction::{Tx, in_transaction};
use turns::Turns;
pub use usage::PoolUsage;
pub use views::{EventView, SessionView, UserView};
use writes::Writes;

/// Longer than every time-out of the server's, so that a server that is there gives up first, and a
/// statement is not left running behind an answer. One that fell silent is left to itself.
const WORK_TIMEOUT: Duration = Duration::from_secs(9);
/// A little longer, to hear of that.
const TIMEOUT: Duration = Duration::from_secs(10);
/// How long a write waits for others of the same user. With [`TIMEOUT`] after it, the answer comes before
/// the listener gives its connection up.
const TURN_TIMEOUT: Duration = Duration::from_secs(8);
const CLOSING_TIMEOUT: Duration = Duration::from_secs(15);
const MOST_TOLD_AT_ONCE: usize = 16;
/// How many sessions one statement ends: its locks are held for a fraction of a second.
const ENDED_AT_ONCE: i64 = 2000;

/// Why the database cannot be used at all.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// It cannot be reached or read.
    #[error("database.url: cannot connect: {}", because(.0))]
    Connect(sqlx::Error),
    /// It is elsewhere, and nobody said how the way to it is protected.
    #[error(
        "database.url leads to another machine, and nothing says whether the connection is protected: set \
         database.tls to \"verify-full\", which checks who the server is, or to \"disable\", which sends \
         everything in the clear"
    )]
    Unprotected,
    /// The schema is older than this program, or there is none.
    #[error(
        "the database schema is not this program's: {0}; run `auth-service migrate` (in compose \
             `docker compose run --rm migrate`)"
    )]
    Schema(String),
    /// The schema is newer than this program, which may not serve it.
    #[error(
        "the database schema is newer than this program: {0}; use the version of auth-service that \
         made it, or a later one"
    )]
    NewerSchema(String),
    #[error("the database cannot be migrated: {0}")]
    Migrate(#[from] sqlx::migrate::MigrateError),
    /// The server answered at first.
    #[error("the database stopped answering; try again when it does")]
    Silent,
    /// It is not as it must be; the text says what to do.
    #[error("the database cannot be used: {0}")]
    Unfit(String),
}

/// In plain words where it is TLS that failed.
fn because(error: &sqlx::Error) -> String {
    let text = error.to_string();
    config::explain(&text).map_or(text, str::to_owned)
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
    /// On whose behalf it writes; `None`: nobody is to be named.
    acting: Option<Arc<Acting>>,
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
            // What negotiates TLS is large.
            let db = Box::pin(postgres::Postgres::open(settings, clock)).await?;
            Backend::Postgres(Arc::new(db))
        };
        let (runtime, tasks) = (Handle::current(), TaskTracker::new());
        let telling = Arc::new(Semaphore::new(MOST_TOLD_AT_ONCE));
        let (turns, commits) = (Turns::new(TURN_TIMEOUT), watch::Sender::new(()));
        Ok(Self {
            backend,
            runtime,
            tasks,
            telling,
            turns,
            commits,
            newer_schema: None,
            writes,
            acting: None,
        })
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
        if tokio::time::timeout(CLOSING_TIMEOUT, all).await.is_err() {
            tracing::warn!("the database did not let go in time");
        }
    }

    /// One statement that reads: all of its rows.
    async fn read(
        &self,
        verb: &'static str,
        lane: Lane,
        sql: &'static str,
        values: Vec<Value>,
    ) -> Result<Vec<Row>, StoreError> {
        let backend = self.backend.clone();
        let work = async move {
            let mut tx = Tx::to_read(&backend, lane).await?;
            Ok(tx.fetch_all(sql, &values).await?)
        };
        self.run(verb, work.boxed()).await
    }

    /// One statement that writes: how many rows it changed. `held` is kept until it is over.
    async fn write(
        &self,
        verb: &'static str,
        lane: Lane,
        held: impl Send + 'static,
        sql: &'static str,
        values: Vec<Value>,
    ) -> Result<u64, StoreError> {
        if self.acting.is_some() {
            return self
                .transaction(verb, lane, held, move |tx| {
                    async move { Ok(tx.execute(sql, &values).await?) }.boxed()
                })
                .await;
        }
        let (backend, writes) = (self.backend.clone(), Arc::clone(&self.writes));
        let work = async move {
            let _held = held;
            let mut tx = Tx::to_write(&backend, lane).await?;
            let changed = tx.execute(sql, &values).await?;
            if changed > 0 {
                writes.worked();
            }
            Ok(changed)
        };
        self.run(verb, work.boxed()).await
    }

    /// A transaction, which is committed where `work` gives a result. `held` is kept until it is over.
    async fn transaction<T, W>(
        &self,
        verb: &'static str,
        lane: Lane,
        held: impl Send + 'static,
        work: W,
    ) -> Result<T, StoreError>
    where
        T: Send + 'static,
        W: for<'t> FnOnce(&'t mut Tx) -> BoxFuture<'t, Result<T, StoreError>> + Send + 'static,
    {
        let (backend, writes) = (self.backend.clone(), Arc::clone(&self.writes));
        let acting = self.acting.clone();
        let work = async move {
            let _held = held;
            let (done, changed) = in_transaction(&backend, lane, move |tx| {
                async move {
                    let Some(acting) = acting else { return work(tx).await };
                    acting.begin(tx).await?;
                    let done = work(&mut *tx).await?;
                    tx.act_for_nobody().await?;
                    Ok(done)
                }
                .boxed()
            })
            .await?;
            if changed {
                writes.worked();
            }
            Ok(done)
        };
        self.run(verb, work.boxed()).await
    }

    /// Runs work on the database to its end. Only a server across a network can fall silent in the
    /// middle, and is given up then. It comes in a box: whoever waits for it should not be large.
    async fn run<T: Send + 'static>(
        &self,
        verb: &'static str,
        work: BoxFuture<'static, Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        let span = self.span(verb);
        let work = work.instrument(span.clone());
        let done = match self.backend {
            Backend::Postgres(_) => self.detached(bounded(work)).await,
            Backend::Sqlite(_) => self.detached(work).await,
        };
        done.inspect_err(|error| traced::failed(&span, error))
    }

    /// Runs `work` to its end, whatever becomes of whoever asked for it.
    async fn detached<T, F>(&self, work: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, StoreError>> + Send + 'static,
    {
        let task = self.tasks.spawn_on(work, &self.runtime);
        match tokio::time::timeout(TIMEOUT, task).await {
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

/// Gives `work` up when it takes too long. It may be dropped at any moment: a statement or a transaction
/// happened or it did not, and a connection on which one has not ended never serves again.
async fn bounded<T>(work: impl Future<Output = Result<T, StoreError>>) -> Result<T, StoreError> {
    tokio::time::timeout(WORK_TIMEOUT, work).await.unwrap_or(Err(StoreError::Timeout))
}
