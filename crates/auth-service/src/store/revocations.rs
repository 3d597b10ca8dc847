//! Reading revocations completely.
//!
//! A row is read whether it has expired by the database's clock or not: that clock may be wrong for a
//! moment. Who reads keeps each for as long as it matters, by the time since boot.
//!
//! "Rows with a number above the last one seen" loses rows: numbers are drawn before commits, and a
//! smaller number may be committed after a larger one was read. On Postgres each read therefore
//! starts at the snapshot horizon of the read before: whatever was not yet visible then has a
//! transaction id at or above it. Entries between are read again, and are idempotent. On SQLite
//! writers take turns, so numbers are committed in order.

use std::collections::{HashSet, VecDeque};
use std::time::Duration;

use claims::time::REVOCATION_TTL_SECONDS;
use claims::{Revoked, Timestamp};
use futures_util::TryStreamExt as _;
use sqlx::{PgConnection, query, query_scalar};
use verifier::Clock;

use super::fault::OnlyReads;
use super::postgres::{Lane, Pins, Trust};
use super::rows::{self, Columns};
use super::sqlite::Pool;
use super::watched::{Damage, damage_of};
use super::{Backend, Store, StoreError};

/// Revocations are small, and there may be one for each logout of two hours.
const PURGED_AT_ONCE: i64 = 10_000;

/// How long a server that is being read may say nothing. One that died without a word never will again,
/// and followers, who are not told anything meanwhile, wait for this and for a new connection.
const SILENCE_TIMEOUT: Duration = Duration::from_secs(2);
/// For a new connection, which takes several questions and answers.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// What one read found.
#[derive(Debug)]
pub struct RevocationRead {
    /// Everything that the read before may not have seen; some may be repeats, and some long expired.
    pub rows: Vec<RevocationRow>,
    pub now: Timestamp,
    /// What can no longer be missed; `None` on SQLite, which serves one process.
    pub horizon: Option<Horizon>,
    /// A digest of all keys and their states; it differs after every change.
    pub keys: String,
}

/// A revocation as the database has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RevocationRow {
    /// The number of the transaction that wrote it.
    pub xid: u64,
    pub revoked: Revoked,
    /// By the database's clock; `None`: never.
    pub expires_at: Option<Timestamp>,
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
    unreadable: Unreadable,
}

/// Rows that name no token, because somebody wrote them by hand. One of them must not hide all the others, so
/// they are skipped. Each is told of once, however often it is read.
#[derive(Default)]
struct Unreadable {
    known: HashSet<i64>,
    /// Those that the read at hand found first, and what is wrong with the first of them.
    news: Vec<i64>,
    why: String,
}

/// How many unreadable rows are remembered. Those beyond are skipped without a word.
const MOST_UNREADABLE: usize = 10_000;
/// How many of them one line of the log names.
const MOST_NAMED: usize = 20;

impl Unreadable {
    /// The row, unless there is none or it cannot be read.
    fn skip<R: Columns>(&mut self, row: &R) -> Result<Option<RevocationRow>, sqlx::Error> {
        match revocation(row) {
            Err(error @ sqlx::Error::ColumnDecode { .. }) => {
                let number = row.int("seq")?;
                if self.known.len() < MOST_UNREADABLE && self.known.insert(number) {
                    if self.news.is_empty() {
                        self.why = error.to_string();
                    }
                    self.news.push(number);
                }
                Ok(None)
            }
            read => read,
        }
    }

    /// Counts and names what was found since the last time.
    fn tell(&mut self) {
        if self.news.is_empty() {
            return;
        }
        let news = std::mem::take(&mut self.news);
        let number = u64::try_from(news.len()).unwrap_or(u64::MAX);
        metrics::counter!("latchkey_revocations_unreadable_total").increment(number);
        let named: Vec<_> = news.iter().take(MOST_NAMED).map(i64::to_string).collect();
        tracing::warn!(
            number,
            seq = named.join(", "),
            error = self.why,
            "rows of the table revocations name no token and are skipped; the others count. Look at the rows \
             with these numbers and delete them"
        );
    }
}

/// Where full reads ended. What was seen longer ago than any revocation matters is not read again: rows
/// stay in the database for hours after that. It is the time that a token may live, and less than the
/// time that whoever reads remembers: what was forgotten and is read again would pass for news.
struct Floor<T>(VecDeque<(Duration, T)>);

impl<T> Default for Floor<T> {
    fn default() -> Self {
        Self(VecDeque::new())
    }
}

impl<T: Clone> Floor<T> {
    fn note(&mut self, now: Duration, end: T) {
        self.0.push_back((now, end));
    }

    /// The end of the newest read that was long enough ago.
    fn get(&mut self, now: Duration) -> Option<T> {
        const LONG_ENOUGH: Duration = Duration::from_secs(REVOCATION_TTL_SECONDS - 60);
        while self.0.get(1).is_some_and(|(at, _)| now.saturating_sub(*at) >= LONG_ENOUGH) {
            self.0.pop_front();
        }
        let (at, end) = self.0.front()?;
        (now.saturating_sub(*at) >= LONG_ENOUGH).then(|| end.clone())
    }
}

enum Source {
    Postgres {
        pins: Box<Pins>,
        trust: Trust,
        connection: Option<PgConnection>,
        horizon: Option<Horizon>,
        floor: Floor<Horizon>,
    },
    Sqlite {
        pool: Pool,
        last_seen: i64,
        floor: Floor<i64>,
    },
}

impl RevocationReader {
    fn of(backend: &Backend) -> Self {
        let (source, clock) = match backend {
            Backend::Postgres(db) => {
                let (pins, trust) = db.apart();
                let (pins, floor) = (Box::new(pins), Floor::default());
                let (connection, horizon) = (None, None);
                (Source::Postgres { pins, trust, connection, horizon, floor }, db.clock())
            }
            Backend::Sqlite(db) => {
                let (pool, floor) = (db.readers(), Floor::default());
                (Source::Sqlite { pool, last_seen: 0, floor }, db.clock())
            }
        };
        Self { source, clock, unreadable: Unreadable::default() }
    }

    /// Reads what is new, or with `full` everything that may still matter. After an error or on a new
    /// connection the next read is a full one: it may be another server. The first read and the first
    /// one of another server give every row.
    ///
    /// Not safe to cancel: a reader whose read was cut off must be [reset](Self::reset).
    pub async fn read(&mut self, full: bool) -> Result<RevocationRead, StoreError> {
        let elapsed = self.clock.elapsed();
        let unreadable = &mut self.unreadable;
        let read = match &mut self.source {
            Source::Postgres { pins, trust, connection, horizon, floor } => {
                let established = connection.is_some();
                let newest = horizon.take().filter(|_| !full && connection.is_some());
                let all = newest.is_none();
                let from = newest.or_else(|| floor.get(elapsed));
                let epoch = from.as_ref().map(|horizon| horizon.epoch.clone());
                let offset = self.clock.offset_millis();
                let mut read = read_postgres(pins, connection, from, offset, unreadable).await;
                let found =
                    |read: &RevocationRead| read.horizon.as_ref().map(|it| it.epoch.clone());
                if epoch.is_some() && read.as_ref().is_ok_and(|read| found(read) != epoch) {
                    // Another server behind the same connection: numbers mean something else there.
                    *floor = Floor::default();
                    read = read_postgres(pins, connection, None, offset, unreadable).await;
                }
                if established && read.as_ref().is_err_and(leads_elsewhere) {
                    // The others are as old.
                    trust.only_new_ones();
                }
                read.inspect(|read| {
                    horizon.clone_from(&read.horizon);
                    if let Some(end) = read.horizon.clone().filter(|_| all) {
                        floor.note(elapsed, end);
                    }
                })
            }
            Source::Sqlite { pool, last_seen, floor } => {
                let all = full || *last_seen == 0;
                let from = if all { floor.get(elapsed).unwrap_or(0) } else { *last_seen };
                let read = read_sqlite(pool, from, self.clock.now(), unreadable).await;
                read.map(|(read, seen)| {
                    *last_seen = seen.max(*last_seen);
                    if all {
                        floor.note(elapsed, *last_seen);
                    }
                    read
                })
            }
        };
        self.unreadable.tell();
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

impl Store {
    /// Deletes the oldest revocations that expired `before` that moment, at most 10,000.
    pub async fn purge_revocations(&self, before: Timestamp) -> Result<(), StoreError> {
        let sql = "delete from revocations where seq in \
            (select seq from revocations where expires_at < $1 order by seq limit $2)";
        let values = vec![before.into(), PURGED_AT_ONCE.into()];
        self.write("purge_revocations", Lane::Main, (), sql, values).await?;
        Ok(())
    }

    /// A reader of revocations with a connection of its own.
    #[must_use]
    pub fn revocation_reader(&self) -> RevocationReader {
        RevocationReader::of(&self.backend)
    }
}

/// Whether an error tells of a server that does not write, or not any more.
fn leads_elsewhere(error: &StoreError) -> bool {
    matches!(error, StoreError::Database(error) if damage_of(error) == Some(Damage::WrongServer))
}

async fn within<T>(
    limit: Duration,
    work: impl Future<Output = Result<T, sqlx::Error>>,
) -> Result<T, StoreError> {
    let done = tokio::time::timeout(limit, work).await;
    done.map_or(Err(StoreError::Timeout), |done| done.map_err(StoreError::from))
}

async fn read_postgres(
    pins: &Pins,
    slot: &mut Option<PgConnection>,
    from: Option<Horizon>,
    offset: i64,
    unreadable: &mut Unreadable,
) -> Result<RevocationRead, StoreError> {
    let connection = match slot {
        Some(connection) => connection,
        None => slot.insert(within(CONNECT_TIMEOUT, pins.connect()).await?),
    };
    within(SILENCE_TIMEOUT, pins.begin(connection)).await?;
    // Row by row: a million of them as they come take a gigabyte.
    // No id has more than 64 letters, and one of hundreds of megabytes would take longer than a server may be silent.
    let mut rows = query(
        "with clock as materialized (select latchkey_now($1) as now) \
         select clock.now, pg_snapshot_xmin(pg_current_snapshot())::text as horizon, \
            cast(case when pg_is_in_recovery() \
                or current_setting('transaction_read_only') = 'on' then 1 else 0 end as bigint) \
                as only_reads, \
            (select md5(concat(extract(epoch from pg_postmaster_start_time()), ' ', \
                extract(epoch from stats_reset), ' ', d.oid)) \
                from pg_stat_bgwriter, pg_database d where d.datname = current_database()) \
                as epoch, \
            (select md5(coalesce(string_agg(concat(k.id, ' ', k.state, ' ', k.state_since), ',' \
                order by k.id), '')) from keys k) as keys, \
            r.seq, r.xid::text as xid, r.kind, \
            case when octet_length(r.id) <= 64 then r.id else '' end as id, \
            cast(r.min_version as bigint) as min_version, r.expires_at \
         from clock left join revocations r on r.xid >= cast(coalesce($2, '0') as xid8)",
    )
    .bind(offset)
    .bind(from.map(|horizon| horizon.xid.to_string()))
    .persistent(!pins.sending().unnamed)
    .fetch(&mut *connection);
    let first = within(SILENCE_TIMEOUT, rows.try_next()).await?.ok_or(sqlx::Error::RowNotFound)?;
    // A standby may lag behind what was acknowledged, and a server on which somebody turned writing
    // off may have a successor; they prove nothing.
    if first.flag("only_reads")? {
        let why = OnlyReads("the server of an open connection is read-only now");
        return Err(sqlx::Error::Configuration(Box::new(why)).into());
    }
    let horizon = Horizon { epoch: first.text("epoch")?, xid: first.parsed("horizon")? };
    let (now, keys) = (first.time("now")?, first.text("keys")?);
    let mut found = Vec::new();
    let mut next = Some(first);
    while let Some(row) = next {
        found.extend(unreadable.skip(&row)?);
        next = within(SILENCE_TIMEOUT, rows.try_next()).await?;
    }
    drop(rows);
    within(SILENCE_TIMEOUT, pins.commit(connection)).await?;
    Ok(RevocationRead { rows: found, now, horizon: Some(horizon), keys })
}

async fn read_sqlite(
    pool: &Pool,
    from: i64,
    now: Timestamp,
    unreadable: &mut Unreadable,
) -> Result<(RevocationRead, i64), StoreError> {
    // Closed if this is cut off in the middle.
    let mut connection = pool.acquire().await?;
    let mut rows = query(
        "select seq, cast(seq as text) as xid, kind, \
            case when octet_length(id) <= 64 then id else '' end as id, min_version, expires_at \
         from revocations where seq > $1 order by seq",
    )
    .bind(from)
    .fetch(&mut connection);
    let (mut found, mut seen) = (Vec::new(), from);
    while let Some(row) = rows.try_next().await? {
        seen = row.int("seq")?;
        found.extend(unreadable.skip(&row)?);
    }
    drop(rows);
    let keys = "select coalesce(group_concat(k.state, ','), '') from ( \
        select id || ' ' || state || ' ' || state_since as state from keys order by id) k";
    let keys = query_scalar(keys).fetch_one(&mut connection).await?;
    Ok((RevocationRead { rows: found, now, horizon: None, keys }, seen))
}

/// `None` where the query found no row, or one of a kind that this program does not know. `xid8` is read as text.
pub(super) fn revocation(row: &impl Columns) -> Result<Option<RevocationRow>, sqlx::Error> {
    let Some(revoked) = rows::revoked(row)? else { return Ok(None) };
    let expires_at = row.time_or_null("expires_at")?;
    Ok(Some(RevocationRow { xid: row.parsed("xid")?, revoked, expires_at }))
}

#[cfg(test)]
mod tests {
    use claims::time::{LEEWAY_SECONDS, LIFETIME_CAP_SECONDS};

    use super::*;

    /// What one full read saw first is read again by later ones while it may matter, and not any more
    /// when it may have been forgotten.
    #[test]
    fn only_what_was_seen_longer_ago_than_it_matters_is_not_read_again() {
        const READ_ALL_EVERY: u64 = 10;
        let at = |read: u64| Duration::from_secs(read * READ_ALL_EVERY);
        let mut floor = Floor::default();
        for read in 0..400 {
            let below = floor.get(at(read));
            for first_seen in 0..read {
                let again = below.is_none_or(|end| first_seen > end);
                let ago = (read - first_seen) * READ_ALL_EVERY;
                if again {
                    assert!(ago < REVOCATION_TTL_SECONDS, "read again after {ago} s");
                } else {
                    let matters = LIFETIME_CAP_SECONDS + LEEWAY_SECONDS;
                    assert!(ago >= matters, "not read after {ago} s");
                }
            }
            floor.note(at(read), read);
        }
    }
}
