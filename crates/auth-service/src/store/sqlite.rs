//! SQLite: how to connect to it, and what is asked of it most often. There is one writer at a time,
//! and each write is committed to the disk before it is acknowledged (`synchronous=FULL`).
//!
//! Writes run with `execute` or `fetch_all`. `fetch_one` and `fetch_optional` stop at the first
//! row; the commit then happens when the statement is reset, and sqlx 0.9 drops its error.

use std::fs::OpenOptions;
use std::io::{self, ErrorKind};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::str::FromStr as _;
use std::time::Duration;

use sqlx::migrate::Migrator;
use sqlx::query;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous};
use verifier::Clock;

use super::watched::Watched;
use super::{OpenError, PoolUsage, StoreError};

/// How long a connection waits for a lock that another process holds.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

#[derive(Debug)]
pub(super) struct Sqlite {
    /// One connection: writers take turns here rather than by "database is locked".
    writer: Pool,
    readers: Pool,
    clock: Clock,
}

mod contents;
mod copies;
mod inspection;
mod migrating;
mod pool;
mod sessions;

pub use copies::{CopyError, backup, restore};
pub(super) use pool::Pool;
pub(super) use sessions::{advance, end_each, look};

impl Sqlite {
    /// Only with `create` is a file made that is not there.
    pub(super) async fn open(url: &str, clock: Clock, create: bool) -> Result<Self, OpenError> {
        let options = SqliteConnectOptions::from_str(url).map_err(OpenError::Connect)?;
        if create {
            make_private(options.get_filename())
                .map_err(|error| OpenError::Connect(error.into()))?;
        }
        let options = options
            .create_if_missing(create)
            .journal_mode(SqliteJournalMode::Wal)
            // NORMAL may forget the last commits at a power cut, and a spent token would live again.
            .synchronous(SqliteSynchronous::Full)
            .foreign_keys(true)
            .busy_timeout(BUSY_TIMEOUT);
        let writer = migrating::connect(1, &options).await.map_err(OpenError::Connect)?;
        writer.acquire().await.map_err(|error| match error {
            sqlx::Error::Configuration(why) => OpenError::Unfit(why.to_string()),
            error => OpenError::Connect(error),
        })?;
        let readers = Pool::connect_lazy(4, options.read_only(true).create_if_missing(false));
        Ok(Self { writer, readers, clock })
    }

    pub(super) async fn migrate(&self, migrator: &Migrator) -> Result<(), OpenError> {
        // One stays open, so that nobody else is the last to close the file, which would take the log away under the
        // next connection of the writer.
        let _open = self.readers.acquire().await.map_err(OpenError::Connect)?;
        let mut connection = self.writer.acquire().await.map_err(OpenError::Connect)?;
        Ok(migrating::run(connection.unwatched(), migrator).await?)
    }

    pub(super) async fn close(&self) {
        self.readers.close().await;
        self.writer.close().await;
    }

    /// How busy the connections are.
    pub(super) fn pools(&self) -> [PoolUsage; 2] {
        [self.writer.usage("writer"), self.readers.usage("readers")]
    }

    /// A connection that writes, of which there is one.
    pub(super) async fn writer(&self) -> Result<Watched<sqlx::Sqlite>, sqlx::Error> {
        self.writer.acquire().await
    }

    /// A connection that only reads.
    pub(super) async fn reader(&self) -> Result<Watched<sqlx::Sqlite>, sqlx::Error> {
        self.readers.acquire().await
    }

    /// Connections that only read, for as long as somebody keeps them.
    pub(super) fn readers(&self) -> Pool {
        self.readers.clone()
    }

    pub(super) fn clock(&self) -> Clock {
        self.clock.clone()
    }

    /// Writes what nobody reads: a little, or as much as a login writes at most.
    pub(super) async fn probe(&self, thorough: bool) -> Result<(), StoreError> {
        query("update write_probe set filler = randomblob($1)")
            .bind(if thorough { 32 * 1024 } else { 16 })
            .execute(&mut self.writer.acquire().await?)
            .await?;
        Ok(())
    }
}

/// Password hashes are for nobody else's eyes. The files that SQLite puts beside it take its mode.
fn make_private(path: &Path) -> io::Result<()> {
    match OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => Err(error),
        _ => Ok(()),
    }
}
