//! Reading revocations completely.
//!
//! "Rows with a number above the last one seen" loses rows: numbers are drawn before commits, and a
//! smaller number may be committed after a larger one was read. On Postgres each read therefore
//! starts at the snapshot horizon of the read before: whatever was not yet visible then has a
//! transaction id at or above it. Entries between are read again, and are idempotent. On SQLite
//! writers take turns, so numbers are committed in order.

use claims::{RevocationEntry, Timestamp};
use sqlx::postgres::PgConnectOptions;
use sqlx::sqlite::SqlitePool;
use sqlx::{Connection as _, PgConnection, Row, query};
use verifier::Clock;

use super::StoreError;
use super::rows::{self, Columns};

/// What one read found.
#[derive(Debug)]
pub struct RevocationRead {
    /// Everything unexpired that the read before may not have seen; some may be repeats.
    pub entries: Vec<RevocationEntry>,
    /// The database's clock.
    pub now: Timestamp,
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
        /// Transactions below this id are over and were seen.
        horizon: Option<String>,
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
                let from = if full || connection.is_none() { None } else { horizon.take() };
                read_postgres(options, connection, from, self.clock.offset_millis()).await.map(
                    |(read, seen)| {
                        *horizon = Some(seen);
                        read
                    },
                )
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
    from: Option<String>,
    offset: i64,
) -> Result<(RevocationRead, String), StoreError> {
    let connection = match slot {
        Some(connection) => connection,
        None => slot.insert(PgConnection::connect_with(options).await?),
    };
    let found = query(
        "with clock as materialized (select latchkey_now($1) as now) \
         select clock.now, pg_snapshot_xmin(pg_current_snapshot())::text as horizon, \
            cast(case when pg_is_in_recovery() then 1 else 0 end as bigint) as standby, \
            r.kind, r.id, cast(r.min_version as bigint) as min_version, r.expires_at \
         from clock left join revocations r \
            on r.xid >= cast(coalesce($2, '0') as xid8) \
            and (r.expires_at is null or r.expires_at > clock.now)",
    )
    .bind(offset)
    .bind(from)
    .fetch_all(connection)
    .await?;
    let first = found.first().ok_or(sqlx::Error::RowNotFound)?;
    // A standby may lag behind what was acknowledged; it proves nothing.
    if first.flag("standby")? {
        return Err(sqlx::Error::Protocol("connected to a standby".into()).into());
    }
    let (now, horizon) = (first.time("now")?, first.text("horizon")?);
    Ok((RevocationRead { entries: entries(&found, now)?, now }, horizon))
}

async fn read_sqlite(
    pool: &SqlitePool,
    from: i64,
    now: Timestamp,
) -> Result<(RevocationRead, i64), StoreError> {
    let found = query(
        "select seq, kind, id, min_version, expires_at from revocations \
         where seq > $1 and (expires_at is null or expires_at > $2) order by seq",
    )
    .bind(from)
    .bind(now.0)
    .fetch_all(pool)
    .await?;
    let seen = found.last().map_or(Ok(from), |row| row.int("seq"))?;
    Ok((RevocationRead { entries: entries(&found, now)?, now }, seen))
}

fn entries<R: Row + Columns>(
    found: &[R],
    now: Timestamp,
) -> Result<Vec<RevocationEntry>, sqlx::Error> {
    let mut entries = Vec::new();
    for row in found {
        let Some(revoked) = rows::revoked(row)? else { continue };
        let expires_at = row.int_or_null("expires_at")?.map(Timestamp);
        // Rounded up: an entry must not leave early.
        let expires_in = expires_at.map(|at| now.seconds_until(at) + 1);
        entries.push(RevocationEntry { revoked, expires_in });
    }
    Ok(entries)
}
