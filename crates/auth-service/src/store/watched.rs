//! A connection that remembers whether everything that was done on it came to a known end: each
//! statement, and the transaction if one was begun. One of which that is not certain never serves
//! again: what is said to it next might be answered as part of what went wrong before, and a write
//! inside a forgotten transaction would be acknowledged and lost.

use std::task::{Poll, ready};

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use futures_util::stream::{self, BoxStream, StreamExt as _};
use sqlx::database::HasStatementCache;
use sqlx::error::ErrorKind;
use sqlx::pool::PoolConnection;
use sqlx::{Connection as _, Database, Either, Error, Execute, Executor, SqlStr};

use super::sending::{Sending, Sent, by_itself};

/// A connection of a pool. Statements run on `&mut Watched`, and nothing else reaches the connection.
pub(super) struct Watched<DB: Database> {
    /// It is there until the value is dropped.
    connection: Option<PoolConnection<DB>>,
    /// A statement was begun and has not ended; it may have been cut off.
    busy: bool,
    /// A transaction was begun and has not ended.
    in_transaction: bool,
    damage: Option<Damage>,
    sending: Sending,
}

const THERE: &str = "the connection is there until the value is dropped";

/// Why a connection must not serve again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Damage {
    /// Nobody knows in which state it is.
    Unknown,
    /// It leads to a server that does not write, or not any more. So do others of its age.
    WrongServer,
}

impl<DB: Database> Watched<DB> {
    pub(super) fn new(connection: PoolConnection<DB>, sending: Sending) -> Self {
        let connection = Some(connection);
        Self { connection, busy: false, in_transaction: false, damage: None, sending }
    }

    /// What begins a transaction on it.
    pub(super) fn beginning(&self) -> SqlStr {
        self.sending.beginning()
    }

    /// What has to begin a transaction before the next statement.
    fn to_begin(&self) -> Option<SqlStr> {
        (!self.in_transaction && self.sending.is_in_transactions())
            .then(|| self.sending.beginning())
    }

    /// Why it must not serve again, if that is so.
    pub(super) fn damage(&self) -> Option<Damage> {
        self.damage.or((self.busy || self.in_transaction).then_some(Damage::Unknown))
    }

    /// From now on it must not serve anybody else. Called before the statement that begins the
    /// transaction is sent: that one may be cut off too.
    pub(super) fn enter_transaction(&mut self) {
        self.in_transaction = true;
    }

    /// The database has said that the transaction is over.
    pub(super) fn leave_transaction(&mut self) {
        self.in_transaction = false;
    }

    /// Whether no statement was prepared on it yet, as on one that was just made.
    pub(super) fn is_new(&self) -> bool
    where
        DB: HasStatementCache,
    {
        self.connection.as_ref().expect(THERE).cached_statements_size() == 0
    }

    /// Has it closed when it is dropped.
    pub(super) fn condemn(&mut self) {
        self.damage.get_or_insert(Damage::Unknown);
    }

    /// Gives it back to its pool, which tests it first.
    pub(super) fn give_back(&mut self) -> impl Future<Output = ()> + Send + 'static + use<DB> {
        self.connection.as_mut().expect(THERE).return_to_pool()
    }

    /// Closes it at once and without a farewell: its place in the pool is free, and a server that
    /// does not answer holds nobody up. Whatever was begun on it is undone when the server notices.
    pub(super) fn cut(&mut self) {
        drop(self.connection.take().map(PoolConnection::detach));
    }

    /// The connection itself, for what is more than a statement. It does not serve again.
    pub(super) fn unwatched(&mut self) -> &mut DB::Connection {
        self.condemn();
        self.connection.as_mut().expect(THERE)
    }
}

impl<DB: Database> Drop for Watched<DB> {
    /// It keeps its place in the pool until it is closed, so the next one finds nothing left of it:
    /// no lock on a file either.
    fn drop(&mut self) {
        if self.damage().is_some()
            && let Some(connection) = &mut self.connection
        {
            connection.close_on_drop();
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
        let begin = self.to_begin();
        let Watched { connection, busy, damage, sending, .. } = self;
        let connection = &mut **connection.as_mut().expect(THERE);
        *busy = true;
        let query = Sent { query, unnamed: sending.unnamed };
        let mut results = match begin {
            None => connection.fetch_many(query),
            Some(begin) => by_itself::<DB, _>(connection, begin, query),
        };
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
        let begin = self.to_begin();
        let Watched { connection, busy, damage, sending, .. } = self;
        let connection = &mut **connection.as_mut().expect(THERE);
        *busy = true;
        let query = Sent { query, unnamed: sending.unnamed };
        let row = match begin {
            None => connection.fetch_optional(query),
            Some(begin) => {
                let all = by_itself::<DB, _>(connection, begin, query).collect::<Vec<_>>();
                all.map(|all| {
                    let rows = all.into_iter().collect::<Result<Vec<_>, _>>()?;
                    Ok(rows.into_iter().find_map(Either::right))
                })
                .boxed()
            }
        };
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
        let Watched { connection, busy, damage, .. } = self;
        let connection = &mut **connection.as_mut().expect(THERE);
        *busy = true;
        let prepared = connection.prepare_with(sql, parameters);
        prepared.inspect(|prepared| learn(prepared, busy, damage)).boxed()
    }
}
