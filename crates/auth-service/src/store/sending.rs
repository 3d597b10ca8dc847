//! How statements are sent to Postgres: as they are, or as a pooler between needs it that gives every transaction
//! to another process of the server. Nothing that is set or prepared holds there beyond a transaction, and what
//! sqlx prepares is at one process and run at another; so each statement is in a transaction, of its own if need
//! be, and what is prepared has no name.

use std::sync::Arc;

use futures_util::FutureExt as _;
use futures_util::stream::{self, BoxStream, StreamExt as _};
use sqlx::error::BoxDynError;
use sqlx::{AssertSqlSafe, Database, Either, Error, Execute, Executor, SqlSafeStr as _, SqlStr};

/// For a connection of one's own, which serves nobody else when it is dropped.
pub(super) const BEGIN: &str = "begin";
pub(super) const COMMIT: &str = "commit";
pub(super) const ROLLBACK: &str = "rollback";

/// The default is for a connection that leads to one process of the server.
#[derive(Debug, Clone, Default)]
pub(super) struct Sending {
    /// Nothing that is prepared has a name: other clients' names are in the same place.
    pub(super) unnamed: bool,
    /// Each statement is in a transaction, which begins with this.
    begin: Option<Arc<str>>,
}

impl Sending {
    pub(super) fn new(unnamed: bool) -> Self {
        Self { unnamed, begin: None }
    }

    /// Each statement is in a transaction, which begins with this one, at this isolation whatever the default is.
    pub(super) fn in_transactions(self, first: &str) -> Self {
        let begin = format!("{BEGIN} isolation level read committed; {first}");
        Self { begin: Some(begin.into()), ..self }
    }

    /// Whether each statement has to be in a transaction.
    pub(super) fn is_in_transactions(&self) -> bool {
        self.begin.is_some()
    }

    /// What begins a transaction.
    pub(super) fn beginning(&self) -> SqlStr {
        match &self.begin {
            None => BEGIN.into_sql_str(),
            Some(begin) => AssertSqlSafe(begin.to_string()).into_sql_str(),
        }
    }
}

/// A statement, without a name for what is prepared where that must be.
pub(super) struct Sent<E> {
    pub(super) query: E,
    pub(super) unnamed: bool,
}

impl<'q, DB: Database, E: Execute<'q, DB>> Execute<'q, DB> for Sent<E> {
    fn sql(self) -> SqlStr {
        self.query.sql()
    }

    fn statement(&self) -> Option<&DB::Statement> {
        self.query.statement()
    }

    fn take_arguments(&mut self) -> Result<Option<<DB as Database>::Arguments>, BoxDynError> {
        self.query.take_arguments()
    }

    fn persistent(&self) -> bool {
        !self.unnamed && self.query.persistent()
    }
}

pub(super) type Results<'e, DB> =
    BoxStream<'e, Result<Either<<DB as Database>::QueryResult, <DB as Database>::Row>, Error>>;

/// A statement in a transaction of its own. What it gives is told when it is committed.
pub(super) fn by_itself<'e, 'q: 'e, DB, E>(
    connection: &'e mut DB::Connection,
    begin: SqlStr,
    query: E,
) -> Results<'e, DB>
where
    DB: Database,
    for<'a> &'a mut DB::Connection: Executor<'a, Database = DB>,
    E: 'q + Execute<'q, DB>,
{
    let done = async move {
        connection.execute(begin).await?;
        let found: Vec<_> = connection.fetch_many(query).collect().await;
        let found: Result<Vec<_>, Error> = found.into_iter().collect();
        // Where this fails the connection is in doubt, which is worse than what failed before.
        connection.execute(if found.is_ok() { COMMIT } else { ROLLBACK }).await?;
        found
    };
    done.map(|done| match done {
        Ok(found) => stream::iter(found).map(Ok).boxed(),
        Err(error) => stream::iter([Err(error)]).boxed(),
    })
    .flatten_stream()
    .boxed()
}
