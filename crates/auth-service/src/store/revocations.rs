//! Reading revocations completely.
//!
//! "Rows with a number above the last one seen" loses rows: numbers are drawn before commits, and a
//! smaller number may be committed after a larger one was read. On Postgres each read therefore
//! starts at the snapshot horizon of the read before: whatever was not yet visible then has a
//! transaction id at or above it. Entries between are read again, and are idempotent. On SQLite
//! writers take turns, so numbers are committed in order.

use claims::{RevocationEntry, Timestamp};
use futures_util::TryStreamExt as _;
use sqlx::postgres::{PgConnectOptions, PgRow};
use sqlx::sqlite::SqlitePool;
use sqlx::{Connection as _, PgConnection, Row, query};
use verifier::Clock;

use super::StoreError;
use super::rows::{self, Columns};
#[cfg(feature = "planted-bugs")]
use crate::planted::{self, Bug};

/// What one read found.
#[derive(Debug)]
pub struct RevocationRead {
    /// Everything unexpired that the read before may not have seen, each with the number of its
    /// transaction; some may be repeats.
    pub entries: Vec<(u64, RevocationEntry)>,
    /// The database's clock.
    pub now: Timestamp,
    /// What can no longer be missed; `None` on SQLite, which serves one process.
    pub horizon: Option<Horizon>,
}

/// A moment that every replica on one Postgres understands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Horizon {
    /// Names a database in one run of one server: in another, numbers may be given again.
    pub epoch: String,
    /// Transactions below this number are over, and what they wrote was seen.
    pub xid: u64,
}

/// Reads revocations over a connection of its own.
pub struct RevocationReader {
    source: Source,
    clock: Clock,
}

enum Source {
    Postgres {
        options: Box<PgConnectOptions>,
        connection: Option<PgConnection>,
        horizon: Option<Horizon>,
    },
    Sqlite {
        pool: SqlitePool,
        last_seen: i64,
    },
}

impl RevocationReader {
    pub(super) fn on_postgres(options: PgConnectOptions, clock: Clock) -> Self {
        let options = Box::new(options.options([("statement_timeout", "5s")]));
        Self { source: Source::Postgres { options, connection: None, horizon: None }, clock }
    }

    pub(super) fn on_sqlite(pool: SqlitePool, clock: Clock) -> Self {
        Self { source: Source::Sqlite { pool, last_seen: 0 }, clock }
    }

    /// Reads what is new, or with `full` everything. After an error or on a new connection the
    /// next read is a full one: it may be another server.
    ///
    /// Not safe to cancel: a reader whose read was cut off must be [reset](Self::reset).
    pub async fn read(&mut self, full: bool) -> Result<RevocationRead, StoreError> {
        let read = match &mut self.source {
            Source::Postgres { options, connection, horizon } => {
                let from = horizon.take().filter(|_| !full && connection.is_some());
                let epoch = from.as_ref().map(|horizon| horizon.epoch.clone());
                let offset = self.clock.offset_millis();
                let mut read = read_postgres(options, connection, from, offset).await;
                let found =
                    |read: &RevocationRead| read.horizon.as_ref().map(|it| it.epoch.clone());
                if epoch.is_some() && read.as_ref().is_ok_and(|read| found(read) != epoch) {
                    // Another server behind the same connection: numbers mean something else there.
                    read = read_postgres(options, connection, None, offset).await;
                }
                read.inspect(|read| horizon.clone_from(&read.horizon))
            }
            Source::Sqlite { pool, last_seen } => {
                let from = if full { 0 } else { *last_seen };
                read_sqlite(pool, from, self.clock.now()).await.map(|(read, seen)| {
                    *last_seen = seen.max(*last_seen);
                    read
                })
            }
        };
        if read.is_err() {
            self.reset();
        }
        read
    }

    /// Drops the connection and forgets what was seen.
    pub fn reset(&mut self) {
        match &mut self.source {
            Source::Postgres { connection, horizon, .. } => {
                *connection = None;
                *horizon = None;
            }
            Source::Sqlite { last_seen, .. } => *last_seen = 0,
        }
    }
}

async fn read_postgres(
    options: &PgConnectOptions,
    slot: &mut Option<PgConnection>,
    from: Option<Horizon>,
    offset: i64,
) -> Result<RevocationRead, StoreError> {
    let connection = match slot {
        Some(connection) => connection,
        None => slot.insert(PgConnection::connect_with(options).await?),
    };
    #[cfg(feature = "planted-bugs")]
    if planted::is(Bug::LastSeenId) {
        return super::planted::read_above_the_last(connection, offset).await;
    }
    // Row by row: a million of them as they come take a gigabyte.
    let mut rows = query(
        "with clock as materialized (select latchkey_now($1) as now) \
         select clock.now, pg_snapshot_xmin(pg_current_snapshot())::text as horizon, \
            cast(case when pg_is_in_recovery() then 1 else 0 end as bigint) as standby, \
            (select md5(concat(extract(epoch from pg_postmaster_start_time()), ' ', \
                extract(epoch from stats_reset), ' ', d.oid)) \
                from pg_stat_bgwriter, pg_database d where d.datname = current_database()) \
                as epoch, \
            r.xid::text as xid, r.kind, r.id, cast(r.min_version as bigint) as min_version, r.expires_at \
         from clock left join revocations r \
            on r.xid >= cast(coalesce($2, '0') as xid8) \
            and (r.expires_at is null or r.expires_at > clock.now)",
    )
    .bind(offset)
    .bind(from.map(|horizon| horizon.xid.to_string()))
    .fetch(connection);
    let first = rows.try_next().await?.ok_or(sqlx::Error::RowNotFound)?;
    // A standby may lag behind what was acknowledged; it proves nothing.
    if first.flag("standby")? {
        return Err(sqlx::Error::Protocol("connected to a standby".into()).into());
    }
    let horizon = Horizon { epoch: first.text("epoch")?, xid: number(&first, "horizon")? };
    let now = first.time("now")?;
    let mut entries = Vec::new();
    let mut next = Some(first);
    while let Some(row) = next {
        if let Some(entry) = entry(&row, now)? {
            entries.push((number(&row, "xid")?, entry));
        }
        next = rows.try_next().await?;
    }
    Ok(RevocationRead { entries, now, horizon: Some(horizon) })
}

async fn read_sqlite(
    pool: &SqlitePool,
    from: i64,
    now: Timestamp,
) -> Result<(RevocationRead, i64), StoreError> {
    let mut rows = query(
        "select seq, kind, id, min_version, expires_at from revocations \
         where seq > $1 and (expires_at is null or expires_at > $2) order by seq",
    )
    .bind(from)
    .bind(now.0)
    .fetch(pool);
    let (mut entries, mut seen) = (Vec::new(), from);
    while let Some(row) = rows.try_next().await? {
        seen = row.int("seq")?;
        if let Some(entry) = entry(&row, now)? {
            entries.push((seen.unsigned_abs(), entry));
        }
    }
    Ok((RevocationRead { entries, now, horizon: None }, seen))
}

/// `xid8` is read as text.
pub(super) fn number(row: &PgRow, column: &'static str) -> Result<u64, sqlx::Error> {
    row.text(column)?.parse().map_err(|error| sqlx::Error::Decode(Box::new(error)))
}

/// What a row says; `None` where a join found no row, or one of a kind this program does not know.
pub(super) fn entry<R: Row + Columns>(
    row: &R,
    now: Timestamp,
) -> Result<Option<RevocationEntry>, sqlx::Error> {
    let Some(revoked) = rows::revoked(row)? else { return Ok(None) };
    let expires_at = row.int_or_null("expires_at")?.map(Timestamp);
    // Rounded up: an entry must not leave early.
    let expires_in = expires_at.map(|at| now.seconds_until(at) + 1);
    Ok(Some(RevocationEntry { revoked, expires_in }))
}
