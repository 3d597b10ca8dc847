//! The store on SQLite: one writer at a time, each write one statement or one `BEGIN IMMEDIATE`
//! transaction, committed to the disk before it is acknowledged (`synchronous=FULL`).
//!
//! Writes run with `execute` or `fetch_all`. `fetch_one` and `fetch_optional` stop at the first
//! row; the commit then happens when the statement is reset, and sqlx 0.9 drops its error.

use std::fs::OpenOptions;
use std::io::{self, ErrorKind};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::str::FromStr as _;
use std::time::Duration;

use claims::{Timestamp, UserId};
use sqlx::migrate::Migrator;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous};
use sqlx::{query, query_as, query_scalar};
use uuid::Uuid;
use verifier::Clock;

use super::records::{Credentials, EndReason, NewUser, UserRecord};
use super::revocations::RevocationReader;
use super::rows::{self, credentials_columns};
use super::{OpenError, PURGED_AT_ONCE, StoreError};
use crate::identity::names::NameKey;

#[derive(Debug)]
pub(super) struct Sqlite {
    /// One connection: writers take turns here rather than by "database is locked".
    writer: Pool,
    readers: Pool,
    clock: Clock,
}

/// The time at which a statement judges: this process's clock, `$4` or as named.
macro_rules! clock {
    ($now:literal) => {
        concat!("clock as (select ", $now, " as now)")
    };
}

// After the macro, so that they know it.
mod admin;
mod keys;
mod limit;
mod pool;
mod sessions;
mod trail;

pub(super) use pool::Pool;
use pool::Write;

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
            .busy_timeout(Duration::from_secs(5));
        let writer = Pool::connect(1, options.clone()).await.map_err(OpenError::Connect)?;
        writer.acquire().await.map_err(|error| match error {
            sqlx::Error::Configuration(why) => OpenError::Unfit(why.to_string()),
            error => OpenError::Connect(error),
        })?;
        let readers = Pool::connect_lazy(4, options.read_only(true).create_if_missing(false));
        Ok(Self { writer, readers, clock })
    }

    pub(super) async fn migrate(&self, migrator: &Migrator) -> Result<(), OpenError> {
        let mut connection = self.writer.acquire().await.map_err(OpenError::Connect)?;
        Ok(migrator.run(connection.unwatched()).await?)
    }

    /// The numbers of the migrations that were applied.
    pub(super) async fn applied(&self) -> Result<Vec<i64>, StoreError> {
        let versions = query_scalar("select version from _sqlx_migrations where success")
            .fetch_all(&mut self.readers.acquire().await?)
            .await?;
        Ok(versions)
    }

    /// What migrations say of older programs: their number, and that of the oldest program.
    pub(super) async fn compatible(&self) -> Result<Vec<(i64, i64)>, StoreError> {
        let marks = query_as("select version, oldest_program from schema_compatibility")
            .fetch_all(&mut self.readers.acquire().await?)
            .await?;
        Ok(marks)
    }

    pub(super) async fn close(&self) {
        self.readers.close().await;
        self.writer.close().await;
    }

    pub(super) fn revocation_reader(&self) -> RevocationReader {
        RevocationReader::on_sqlite(self.readers.clone(), self.clock.clone())
    }

    pub(super) async fn ping(&self) -> Result<(), StoreError> {
        query("select 1").fetch_all(&mut self.readers.acquire().await?).await?;
        Ok(())
    }

    /// Writes what nobody reads: a little, or as much as a login writes at most.
    pub(super) async fn probe(&self, thorough: bool) -> Result<(), StoreError> {
        query("update write_probe set filler = randomblob($1)")
            .bind(if thorough { 32 * 1024 } else { 16 })
            .execute(&mut self.writer.acquire().await?)
            .await?;
        Ok(())
    }

    pub(super) async fn create_user(&self, new: NewUser) -> Result<Option<UserRecord>, StoreError> {
        let (email, email_key) = new.email.unzip();
        let found = query(
            "insert into users \
                (id, username, username_key, email, email_key, password_hash, roles, created_at) \
             values ($1, $2, $3, $4, $5, $6, $7, $8) on conflict do nothing \
             returning id as user_id, username, email, roles, created_at as user_created_at",
        )
        .bind(Uuid::now_v7().to_string())
        .bind(new.username)
        .bind(new.username_key.as_str())
        .bind(email)
        .bind(email_key.as_ref().map(NameKey::as_str))
        .bind(new.password_hash)
        .bind(new.roles.join(" "))
        .bind(self.clock.now().0)
        .fetch_all(&mut self.writer.acquire().await?)
        .await?;
        Ok(found.first().map(rows::user).transpose()?)
    }

    pub(super) async fn credentials(
        &self,
        key: &NameKey,
    ) -> Result<Option<Credentials>, StoreError> {
        let found = query(concat!(
            "select ",
            credentials_columns!(),
            " from users u where u.username_key = $1 or u.email_key = $1"
        ))
        .bind(key.as_str())
        .fetch_all(&mut self.readers.acquire().await?)
        .await?;
        Ok(found.first().map(rows::credentials).transpose()?)
    }

    pub(super) async fn credentials_of(
        &self,
        user: UserId,
    ) -> Result<Option<Credentials>, StoreError> {
        let sql = concat!("select ", credentials_columns!(), " from users u where u.id = $1");
        let found =
            query(sql).bind(user.to_string()).fetch_all(&mut self.readers.acquire().await?).await?;
        Ok(found.first().map(rows::credentials).transpose()?)
    }

    pub(super) async fn rehash_password(
        &self,
        user: UserId,
        old: &str,
        new: &str,
    ) -> Result<bool, StoreError> {
        let sql = "update users set password_hash = $3 where id = $1 and password_hash = $2";
        let changed = query(sql)
            .bind(user.to_string())
            .bind(old)
            .bind(new)
            .execute(&mut self.writer.acquire().await?)
            .await?;
        Ok(changed.rows_affected() > 0)
    }

    pub(super) async fn purge_sessions(
        &self,
        before: Timestamp,
        after: &str,
        batch: i64,
    ) -> Result<Option<String>, StoreError> {
        let (mut write, _) = self.begin().await?;
        let next: Option<String> = query_scalar(
            "select max(id) from (select id from sessions where id > $1 order by id limit $2)",
        )
        .bind(after)
        .bind(batch)
        .fetch_one(&mut *write)
        .await?;
        query(
            "delete from sessions where id > $1 and id <= $2 \
             and min(coalesce(revoked_at, idle_expires_at), idle_expires_at) < $3",
        )
        .bind(after)
        .bind(&next)
        .bind(before.0)
        .execute(&mut *write)
        .await?;
        write.commit().await?;
        Ok(next)
    }

    pub(super) async fn lower_ends(
        &self,
        idle_ms: i64,
        absolute_ms: i64,
        after: &str,
        batch: i64,
    ) -> Result<Option<String>, StoreError> {
        let (mut write, _) = self.begin().await?;
        let next: Option<String> = query_scalar(
            "select max(id) from (select id from sessions where id > $1 order by id limit $2)",
        )
        .bind(after)
        .bind(batch)
        .fetch_one(&mut *write)
        .await?;
        query(
            "update sessions set expires_at = min(expires_at, created_at + $4), \
                idle_expires_at = min(idle_expires_at, created_at + $4, \
                    coalesce(rotated_at, created_at) + $3) \
             where id > $1 and id <= $2 and revoked_at is null and \
                (expires_at > created_at + $4 or \
                 idle_expires_at > coalesce(rotated_at, created_at) + $3)",
        )
        .bind(after)
        .bind(&next)
        .bind(idle_ms)
        .bind(absolute_ms)
        .execute(&mut *write)
        .await?;
        write.commit().await?;
        Ok(next)
    }

    pub(super) async fn purge_revocations(&self, before: Timestamp) -> Result<(), StoreError> {
        let oldest = "delete from revocations where seq in \
            (select seq from revocations where expires_at < $1 order by seq limit $2)";
        query(oldest)
            .bind(before.0)
            .bind(PURGED_AT_ONCE)
            .execute(&mut self.writer.acquire().await?)
            .await?;
        Ok(())
    }

    /// Begins a write and reads the clock: after the lock, so that waiting does not age the time.
    async fn begin(&self) -> Result<(Write, Timestamp), StoreError> {
        let write = self.writer.begin().await?;
        Ok((write, self.clock.now()))
    }
}

/// Password hashes are for nobody else's eyes. The files that SQLite puts beside it take its mode.
fn make_private(path: &Path) -> io::Result<()> {
    match OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => Err(error),
        _ => Ok(()),
    }
}

/// Makes every session of the user one of a former version; `false` when there is no such user.
async fn raise_version(
    write: &mut Write,
    user: &str,
    why: EndReason,
    now: Timestamp,
) -> Result<bool, sqlx::Error> {
    let raised = query(
        "update users set version = version + 1, version_reason = $2, changed_at = $3 where id = $1",
    )
    .bind(user)
    .bind(why.as_str())
    .bind(now.0)
    .execute(&mut **write)
    .await?;
    Ok(raised.rows_affected() > 0)
}
