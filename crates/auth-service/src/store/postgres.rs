//! The store on Postgres: every write is one statement, and a transaction is never begun.
//!
//! Dropping a half-begun transaction poisons its connection in sqlx 0.9: later, unrelated writes
//! are then acknowledged and lost. A single statement has no half.

use std::str::FromStr as _;
use std::time::Duration;

use claims::{Timestamp, UserId};
use sqlx::migrate::Migrator;
use sqlx::postgres::PgConnectOptions;
use sqlx::{Connection as _, PgConnection, query, query_as, query_scalar};
use uuid::Uuid;
use verifier::Clock;

use super::records::{Credentials, NewUser, UserRecord};
use super::revocations::RevocationReader;
use super::rows::{self, credentials_columns};
use super::{OpenError, PURGED_AT_ONCE, StoreError, WORK_PATIENCE, bounded};
use crate::identity::names::NameKey;

/// For the server, which otherwise keeps connections for two hours whose client is gone without a
/// word, and the lock with them of one that was migrating. Also keeps firewalls from forgetting a
/// connection on which a long statement runs.
const NOTICE_SILENCE: [(&str, &str); 4] = [
    ("tcp_keepalives_idle", "30s"),
    ("tcp_keepalives_interval", "10s"),
    ("tcp_keepalives_count", "3"),
    ("tcp_user_timeout", "60s"),
];

pub(super) struct Postgres {
    pool: Pool,
    /// A lane of its own for logins and registrations: a flood of them waits here, and refresh, logout
    /// and health do not wait behind it.
    logins: Pool,
    serving: Pins,
    migrating: Pins,
    trust: Trust,
    clock: Clock,
}

impl std::fmt::Debug for Postgres {
    /// Not how it connects: that holds the password.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Postgres")
    }
}

/// The database's own time, with the offset of a test. Replicas' clocks decide nothing.
macro_rules! clock {
    ($offset:literal) => {
        concat!("clock as materialized (select latchkey_now(", $offset, ") as now)")
    };
}

// After the macro, so that they know it.
mod admin;
mod keys;
mod limit;
mod migrating;
mod pins;
mod pool;
mod sessions;
mod trail;

pub(super) use pins::Pins;
use pins::{MIGRATING, Place, SERVING};
use pool::Pool;
pub(super) use pool::Trust;

impl Postgres {
    pub(super) async fn open(
        url: &str,
        max_connections: u32,
        clock: Clock,
    ) -> Result<Self, OpenError> {
        let options = PgConnectOptions::from_str(url).map_err(OpenError::Connect)?;
        let options = options.application_name("latchkey").options(NOTICE_SILENCE);
        let trust = Trust::default();
        let place = match first_look(&options).await {
            Err(OpenError::Connect(error)) => {
                return Err(OpenError::Connect(cause(&options, error).await));
            }
            place => place?,
        };
        let (serving, migrating) =
            (Pins::new(&options, &place, SERVING), Pins::new(&options, &place, MIGRATING));
        let for_logins = (max_connections / 4).max(1);
        let most = max_connections - for_logins;
        let pool = in_time(Pool::connect(most, serving.clone(), trust.clone())).await?;
        let logins = Pool::connect_lazy(for_logins, serving.clone(), trust.clone());
        in_time(pool.acquire()).await?;
        Ok(Self { pool, logins, serving, migrating, trust, clock })
    }

    /// On a connection without the time limits.
    pub(super) async fn migrate(&self, migrator: &Migrator) -> Result<(), OpenError> {
        let mut connection = in_time(self.migrating.connect()).await?;
        let backend = query_scalar("select pg_backend_pid()").fetch_one(&mut connection);
        let backend = in_time(backend).await?;
        tokio::select! {
            biased;
            done = migrating::run(&mut connection, migrator) => done?,
            () = self.lost(backend) => return Err(OpenError::Silent),
        }
        in_time(connection.close()).await
    }

    /// Ends when the server has no such backend any more or cannot be asked: whoever waits for what
    /// it does would never be told.
    async fn lost(&self, backend: i32) {
        let mut unanswered = 0;
        while unanswered < 3 {
            tokio::time::sleep(Duration::from_secs(2)).await;
            match bounded(self.has(backend)).await {
                Ok(true) => unanswered = 0,
                Ok(false) => return,
                Err(_) => unanswered += 1,
            }
        }
    }

    async fn has(&self, backend: i32) -> Result<bool, StoreError> {
        let found = query_scalar("select exists (select from pg_stat_activity where pid = $1)")
            .bind(backend)
            .fetch_one(&mut *self.pool.acquire().await?)
            .await?;
        Ok(found)
    }

    /// The numbers of the migrations that were applied.
    pub(super) async fn applied(&self) -> Result<Vec<i64>, StoreError> {
        let versions = query_scalar("select version from _sqlx_migrations where success")
            .fetch_all(&mut *self.pool.acquire().await?)
            .await?;
        Ok(versions)
    }

    /// What migrations say of older programs: their number, and that of the oldest program.
    pub(super) async fn compatible(&self) -> Result<Vec<(i64, i64)>, StoreError> {
        let marks = query_as("select version, oldest_program from schema_compatibility")
            .fetch_all(&mut *self.pool.acquire().await?)
            .await?;
        Ok(marks)
    }

    pub(super) async fn close(&self) {
        tokio::join!(self.pool.close(), self.logins.close());
    }

    pub(super) fn revocation_reader(&self) -> RevocationReader {
        RevocationReader::on_postgres(self.serving.clone(), self.trust.clone(), self.clock.clone())
    }

    pub(super) async fn ping(&self) -> Result<(), StoreError> {
        query("select 1").execute(&mut *self.pool.acquire().await?).await?;
        Ok(())
    }

    /// Takes a lock that nothing but a key's revocation minds. Like any write it needs a server that
    /// writes, and it is on the disk before it is answered; but no row is made or changed.
    pub(super) async fn probe(&self, _thorough: bool) -> Result<(), StoreError> {
        query("select id from keys order by id limit 1 for key share skip locked")
            .execute(&mut *self.pool.acquire().await?)
            .await?;
        Ok(())
    }

    pub(super) async fn create_user(&self, new: NewUser) -> Result<Option<UserRecord>, StoreError> {
        let (email, email_key) = new.email.unzip();
        let row = query(concat!(
            "insert into users as u \
                (id, username, username_key, email, email_key, password_hash, roles, created_at) \
             values ($1, $2, $3, $4, $5, $6, $7, latchkey_now($8)) on conflict do nothing returning ",
            rows::user_columns!()
        ))
        .bind(Uuid::now_v7())
        .bind(new.username)
        .bind(new.username_key.as_str())
        .bind(email)
        .bind(email_key.as_ref().map(NameKey::as_str))
        .bind(new.password_hash)
        .bind(new.roles.join(" "))
        .bind(self.offset())
        .fetch_optional(&mut *self.logins.acquire().await?)
        .await?;
        Ok(row.as_ref().map(rows::user).transpose()?)
    }

    pub(super) async fn credentials(
        &self,
        key: &NameKey,
    ) -> Result<Option<Credentials>, StoreError> {
        // A name has no @ and an address has one, so at most one row is found.
        let row = query(concat!(
            "select ",
            credentials_columns!(),
            " from users u where u.username_key = $1 or u.email_key = $1"
        ))
        .bind(key.as_str())
        .fetch_optional(&mut *self.logins.acquire().await?)
        .await?;
        Ok(row.as_ref().map(rows::credentials).transpose()?)
    }

    pub(super) async fn credentials_of(
        &self,
        user: UserId,
    ) -> Result<Option<Credentials>, StoreError> {
        let sql = concat!("select ", credentials_columns!(), " from users u where u.id = $1");
        let row =
            query(sql).bind(user.0).fetch_optional(&mut *self.logins.acquire().await?).await?;
        Ok(row.as_ref().map(rows::credentials).transpose()?)
    }

    pub(super) async fn rehash_password(
        &self,
        user: UserId,
        old: &str,
        new: &str,
    ) -> Result<bool, StoreError> {
        let sql = "update users set password_hash = $3 where id = $1 and password_hash = $2";
        let changed = query(sql)
            .bind(user.0)
            .bind(old)
            .bind(new)
            .execute(&mut *self.logins.acquire().await?)
            .await?;
        Ok(changed.rows_affected() > 0)
    }

    pub(super) async fn purge_sessions(
        &self,
        before: Timestamp,
        after: &str,
        batch: i64,
    ) -> Result<Option<String>, StoreError> {
        let next = query_scalar(
            "with batch as materialized ( \
                select id from sessions where id > $1 order by id limit $2), \
             gone as ( \
                delete from sessions where id in ( \
                    select s.id from sessions s join batch using (id) \
                    where least(coalesce(s.revoked_at, s.idle_expires_at), s.idle_expires_at) < $3 \
                    order by s.id for update of s skip locked)) \
             select max(id) from batch",
        )
        .bind(after)
        .bind(batch)
        .bind(before.0)
        .fetch_one(&mut *self.pool.acquire().await?)
        .await?;
        Ok(next)
    }

    pub(super) async fn lower_ends(
        &self,
        idle_ms: i64,
        absolute_ms: i64,
        after: &str,
        batch: i64,
    ) -> Result<Option<String>, StoreError> {
        let next = query_scalar(
            "with batch as materialized ( \
                select id from sessions where id > $1 order by id limit $2), \
             lowered as ( \
                update sessions s set expires_at = least(s.expires_at, s.created_at + $4), \
                    idle_expires_at = least(s.idle_expires_at, s.created_at + $4, \
                        coalesce(s.rotated_at, s.created_at) + $3) \
                from batch where s.id = batch.id and s.revoked_at is null and \
                    (s.expires_at > s.created_at + $4 or \
                     s.idle_expires_at > coalesce(s.rotated_at, s.created_at) + $3)) \
             select max(id) from batch",
        )
        .bind(after)
        .bind(batch)
        .bind(idle_ms)
        .bind(absolute_ms)
        .fetch_one(&mut *self.pool.acquire().await?)
        .await?;
        Ok(next)
    }

    pub(super) async fn purge_revocations(&self, before: Timestamp) -> Result<(), StoreError> {
        let oldest = "delete from revocations where seq in \
            (select seq from revocations where expires_at < $1 order by seq limit $2)";
        query(oldest)
            .bind(before.0)
            .bind(PURGED_AT_ONCE)
            .execute(&mut *self.pool.acquire().await?)
            .await?;
        Ok(())
    }

    fn offset(&self) -> i64 {
        self.clock.offset_millis()
    }
}

/// What is asked of a server at the start.
async fn in_time<T>(work: impl Future<Output = Result<T, sqlx::Error>>) -> Result<T, OpenError> {
    let done = tokio::time::timeout(WORK_PATIENCE, work).await;
    done.map_err(|_| OpenError::Silent)?.map_err(|error| match error {
        sqlx::Error::Configuration(why) => OpenError::Unfit(why.to_string()),
        error => OpenError::Connect(error),
    })
}

/// Where the tables are, by a connection of its own: not everything can be set for it yet.
async fn first_look(options: &PgConnectOptions) -> Result<Place, OpenError> {
    let options = options.clone().options(pins::limits(SERVING));
    let place = async {
        let pool = pool::settings(1, &Trust::default()).connect_with(options).await?;
        let mut connection = pool.acquire().await?.detach();
        let place = Place::find(&mut connection).await?;
        connection.close().await?;
        Ok(place)
    };
    in_time(place).await
}

/// A pool that cannot connect tries until its time is up, and then says only that. One more attempt
/// says why.
async fn cause(options: &PgConnectOptions, error: sqlx::Error) -> sqlx::Error {
    let attempt = PgConnection::connect_with(options);
    match tokio::time::timeout(Duration::from_secs(3), attempt).await {
        Ok(Err(cause)) => cause,
        Ok(Ok(_)) | Err(_) => error,
    }
}
