//! Statements and transactions that are written once for both databases. Only this file begins a
//! transaction.
//!
//! With sqlx's own transactions, one that is dropped half-way can send its connection back to the
//! pool inside a transaction that nobody will commit; whoever gets it next is told that their write
//! is done, and it is lost. Here the connection itself knows that a transaction was begun
//! ([`Watched`]), and is closed unless the database said that it ended.

use claims::UserId;
use futures_util::future::BoxFuture;
use sqlx::{Error, Executor as _, Sqlite};
use verifier::Clock;

use super::postgres::{Lane, PooledConnection};
use super::rows::Row;
use super::statement::{Value, on_postgres, on_sqlite};
use super::watched::Watched;
use super::{Backend, StoreError};

/// A connection to either database, and the transaction that was begun on it.
pub(super) struct Tx {
    connection: Connection,
    /// Whether a statement of it changed a row.
    changed: bool,
    /// Whether a statement of it failed.
    failed: bool,
}

enum Connection {
    /// With the offset of a test's clock.
    Postgres(PooledConnection, i64),
    Sqlite(Watched<Sqlite>, Clock),
}

impl Tx {
    /// A connection for one statement that is a transaction of its own. On SQLite it only reads.
    pub(super) async fn to_read(backend: &Backend, lane: Lane) -> Result<Self, Error> {
        Ok(Self::on(match backend {
            Backend::Postgres(db) => Connection::Postgres(db.acquire(lane).await?, db.offset()),
            Backend::Sqlite(db) => Connection::Sqlite(db.reader().await?, db.clock()),
        }))
    }

    /// The same for a statement that writes.
    pub(super) async fn to_write(backend: &Backend, lane: Lane) -> Result<Self, Error> {
        Ok(Self::on(match backend {
            Backend::Postgres(db) => Connection::Postgres(db.acquire(lane).await?, db.offset()),
            Backend::Sqlite(db) => Connection::Sqlite(db.writer().await?, db.clock()),
        }))
    }

    /// A connection in a transaction, which is undone unless it is committed.
    pub(super) async fn begin(backend: &Backend, lane: Lane) -> Result<Self, Error> {
        let mut tx = Self::to_write(backend, lane).await?;
        match &mut tx.connection {
            Connection::Postgres(lent, _) => {
                lent.enter_transaction();
                let begin = lent.beginning();
                lent.execute(begin).await?;
            }
            Connection::Sqlite(writer, _) => {
                writer.enter_transaction();
                // The lock at once: two that read first and write later would stop each other.
                writer.execute("begin immediate").await?;
            }
        }
        Ok(tx)
    }

    /// Has what was written stay. After an error it may or may not have stayed on Postgres, and did
    /// not on SQLite. Says whether a row was changed.
    pub(super) async fn commit(mut self) -> Result<bool, Error> {
        if self.failed {
            // Postgres would roll back, and answer as though all was well.
            return Err(Error::Protocol("a statement of the transaction failed".to_owned()));
        }
        match &mut self.connection {
            Connection::Postgres(lent, _) => {
                lent.execute("commit").await?;
                lent.leave_transaction();
            }
            Connection::Sqlite(writer, _) => {
                writer.execute("commit").await?;
                writer.leave_transaction();
            }
        }
        Ok(self.changed)
    }

    /// Runs a statement, and says how many rows it changed.
    pub(super) async fn execute(
        &mut self,
        sql: &'static str,
        values: &[Value],
    ) -> Result<u64, Error> {
        let done = match &mut self.connection {
            Connection::Postgres(lent, offset) => {
                let done = on_postgres(sql, values, *offset).execute(&mut **lent).await;
                done.map(|done| done.rows_affected())
            }
            Connection::Sqlite(connection, clock) => {
                let done = on_sqlite(sql, values, clock.now()).execute(connection).await;
                done.map(|done| done.rows_affected())
            }
        };
        self.changed |= matches!(done, Ok(1..));
        self.failed |= done.is_err();
        done
    }

    /// Runs a statement to its end, and gives all of its rows.
    pub(super) async fn fetch_all(
        &mut self,
        sql: &'static str,
        values: &[Value],
    ) -> Result<Vec<Row>, Error> {
        let found = match &mut self.connection {
            Connection::Postgres(lent, offset) => {
                let found = on_postgres(sql, values, *offset).fetch_all(&mut **lent).await;
                found.map(|rows| rows.into_iter().map(Row::Postgres).collect())
            }
            Connection::Sqlite(connection, clock) => {
                let found = on_sqlite(sql, values, clock.now()).fetch_all(connection).await;
                found.map(|rows| rows.into_iter().map(Row::Sqlite).collect())
            }
        };
        self.failed |= found.is_err();
        found
    }

    /// Until the transaction ends, the audit log tells that this administrator had it done.
    pub(super) async fn act_for(&mut self, administrator: UserId) -> Result<(), Error> {
        let values = [administrator.into()];
        if self.is_postgres() {
            let sql = "select set_config('latchkey.actor', cast($1 as text), true) as actor";
            self.fetch_all(sql, &values).await?;
        } else {
            let sql = "insert into acting (id, administrator) values (1, $1)";
            self.execute(sql, &values).await?;
        }
        Ok(())
    }

    /// The last of a transaction that acted for somebody. On Postgres the end of the transaction does it.
    pub(super) async fn act_for_nobody(&mut self) -> Result<(), Error> {
        if !self.is_postgres() {
            self.execute("delete from acting", &[]).await?;
        }
        Ok(())
    }

    pub(super) const fn is_postgres(&self) -> bool {
        matches!(self.connection, Connection::Postgres(..))
    }

    fn on(connection: Connection) -> Self {
        Self { connection, changed: false, failed: false }
    }
}

/// Runs `work` in a transaction that is committed where it gives a result, and undone where it gives
/// an error, is cancelled or panics. Says with the result whether a row was changed.
pub(super) async fn in_transaction<T, W>(
    backend: &Backend,
    lane: Lane,
    work: W,
) -> Result<(T, bool), StoreError>
where
    W: for<'t> FnOnce(&'t mut Tx) -> BoxFuture<'t, Result<T, StoreError>>,
{
    let mut tx = Tx::begin(backend, lane).await?;
    let done = work(&mut tx).await?;
    let changed = tx.commit().await?;
    Ok((done, changed))
}

#[cfg(test)]
mod tests;
