//! A connection that remembers whether everything that was done on it came to a known end. One of
//! which that is not certain never serves again: what is said to it next might be answered as part
//! of what went wrong before.

use std::task::{Poll, ready};

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use futures_util::stream::{self, BoxStream, StreamExt as _};
use sqlx::database::HasStatementCache;
use sqlx::error::ErrorKind;
use sqlx::pool::PoolConnection;
use sqlx::{Connection as _, Database, Either, Error, Execute, Executor, SqlStr};

/// A connection of a pool. Statements run on `&mut Watched`, and nothing else reaches the connection.
pub(super) struct Watched<DB: Database> {
    connection: PoolConnection<DB>,
    /// A statement was begun and has not ended; it may have been cut off.
    busy: bool,
    damage: Option<Damage>,
}

/// Why a connection must not serve again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Damage {
    /// Nobody knows in which state it is.
    Unknown,
    /// It leads to a server that does not write, or not any more. So do others of its age.
    WrongServer,
}

impl<DB: Database> Watched<DB> {
    pub(super) fn new(connection: PoolConnection<DB>) -> Self {
        Self { connection, busy: false, damage: None }
    }

    /// Why it must not serve again, if that is so.
    pub(super) fn damage(&self) -> Option<Damage> {
        self.damage.or(self.busy.then_some(Damage::Unknown))
    }

    /// Whether no statement was prepared on it yet, as on one that was just made.
    pub(super) fn is_new(&self) -> bool
    where
        DB: HasStatementCache,
    {
        self.connection.cached_statements_size() == 0
    }

    /// Has it closed when it is dropped.
    pub(super) fn condemn(&mut self) {
        self.damage.get_or_insert(Damage::Unknown);
    }

    /// Gives it back to its pool, which tests it first.
    pub(super) fn give_back(&mut self) -> impl Future<Output = ()> + Send + 'static + use<DB> {
        self.connection.return_to_pool()
    }

    /// The connection itself, for what is more than a statement. It does not serve again.
    pub(super) fn unwatched(&mut self) -> &mut DB::Connection {
        self.condemn();
        &mut self.connection
    }
}

impl<DB: Database> Drop for Watched<DB> {
    /// It keeps its place in the pool until it is closed, so the next one finds nothing left of it.
    fn drop(&mut self) {
        if self.damage().is_some() {
            self.connection.close_on_drop();
        }
    }
}

/// What became of a statement.
fn learn<T>(result: &Result<T, Error>, busy: &mut bool, damage: &mut Option<Damage>) {
    *busy = false;
    if let Err(error) = result {
        *damage = damage.or(damage_of(error));
    }
}

/// What an error says of the connection on which it happened. Only what the database refused as a
/// whole and in an orderly way, and what was found wrong on this side, leaves it as it was.
pub(super) fn damage_of(error: &Error) -> Option<Damage> {
    match error {
        Error::Database(error) => {
            let code = error.code().unwrap_or_default();
            match &*code {
                // Read-only; shut down, crashed, not yet started.
                "25006" | "57P01" | "57P02" | "57P03" => Some(Damage::WrongServer),
                // A lock or an answer that took too long.
                "55P03" | "57014" => None,
                // Bad data, a constraint, a deadlock. Codes of SQLite are shorter.
                _ if code.len() == 5 && ["22", "23", "40"].contains(&&code[..2]) => None,
                _ if !matches!(error.kind(), ErrorKind::Other) => None,
                _ => Some(Damage::Unknown),
            }
        }
        // The server ended the connection, or its host did; or it is not what it must be.
        Error::Io(_) | Error::Configuration(_) => Some(Damage::WrongServer),
        Error::RowNotFound
        | Error::ColumnNotFound(_)
        | Error::ColumnIndexOutOfBounds { .. }
        | Error::ColumnDecode { .. }
        | Error::Decode(_)
        | Error::Encode(_) => None,
        _ => Some(Damage::Unknown),
    }
}

impl<DB: Database> std::fmt::Debug for Watched<DB> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Watched").field("damage", &self.damage()).finish_non_exhaustive()
    }
}

impl<'c, DB: Database> Executor<'c> for &'c mut Watched<DB>
where
    for<'a> &'a mut DB::Connection: Executor<'a, Database = DB>,
{
    type Database = DB;

    fn fetch_many<'e, 'q: 'e, E>(
        self,
        query: E,
    ) -> BoxStream<'e, Result<Either<DB::QueryResult, DB::Row>, Error>>
    where
        'c: 'e,
        E: 'q + Execute<'q, DB>,
    {
        let Watched { connection, busy, damage } = self;
        *busy = true;
        let mut results = (&mut **connection).fetch_many(query);
        let watched = stream::poll_fn(move |context| {
            let next = ready!(results.poll_next_unpin(context));
            match &next {
                // More may follow.
                Some(Ok(_)) => {}
                Some(failed) => learn(failed, busy, damage),
                None => *busy = false,
            }
            Poll::Ready(next)
        });
        watched.boxed()
    }

    fn fetch_optional<'e, 'q: 'e, E>(
        self,
        query: E,
    ) -> BoxFuture<'e, Result<Option<DB::Row>, Error>>
    where
        'c: 'e,
        E: 'q + Execute<'q, DB>,
    {
        let Watched { connection, busy, damage } = self;
        *busy = true;
        let row = (&mut **connection).fetch_optional(query);
        row.inspect(|row| learn(row, busy, damage)).boxed()
    }

    fn prepare_with<'e>(
        self,
        sql: SqlStr,
        parameters: &'e [DB::TypeInfo],
    ) -> BoxFuture<'e, Result<DB::Statement, Error>>
    where
        'c: 'e,
    {
        let Watched { connection, busy, damage } = self;
        *busy = true;
        let prepared = (&mut **connection).prepare_with(sql, parameters);
        prepared.inspect(|prepared| learn(prepared, busy, damage)).boxed()
    }
}
