//! What a pooler between this program and the server, such as PgBouncer, makes of a connection. It does not
//! say that it is there: that is seen by what becomes of the settings and of the server's process.

use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{Connection as _, Error, Executor as _, Row as _, query_scalar, raw_sql};

use super::super::sending::{BEGIN, COMMIT, ROLLBACK};
use super::super::{OpenError, WORK_TIMEOUT};
use super::pins::{SERVING, limits};
use super::pool::{self, Trust};

/// Set by the first message of a connection. PgBouncer refuses it, or is told to leave it out.
const MARK: (&str, &str) = ("latchkey.direct", "yes");
const MARKED: &str = "select coalesce(current_setting('latchkey.direct', true), '')";
const BACKEND: &str = "select cast(pg_backend_pid() as text)";
/// Whether a statement that a client prepared has a name of the pooler's at the server, which then knows
/// where it prepared it. Otherwise the names of all clients meet at one server.
const KEEPS_STATEMENTS: &str = "select not exists (select from pg_prepared_statements \
    where statement like '%KEEPS_STATEMENTS%' and name like 'sqlx%') as \"KEEPS_STATEMENTS\"";
/// In how many rounds two clients look for a server that both get. A busy pooler may give it to a third.
const ROUNDS: usize = 5;

const NO_STATEMENTS: &str = "a pooler between pools by transaction and keeps no prepared statements: have it pool by \
    session (pool_mode = session), or set database.statement_cache to false, which makes every question to the \
    database slower; PgBouncer keeps them from 1.21 on, with max_prepared_statements";
const NO_TRANSACTIONS: &str = "a pooler between pools by statement and lets no transaction begin: have it pool by session (pool_mode = session)";

/// For how long a connection leads to the same process of the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pooling {
    /// There is no pooler, or none that can be noticed.
    None,
    /// For as long as it is open; but what must be set is not set by its first message.
    Session,
    /// Until a transaction ends, with everything that was set or prepared on it.
    Transaction,
}

/// A first connection, and how others are made.
pub(super) struct Found {
    pub(super) pooling: Pooling,
    pub(super) options: PgConnectOptions,
    pub(super) connection: PgConnection,
}

/// Looks what is between. `direct` is sent besides where nothing is.
pub(super) async fn find(
    options: PgConnectOptions,
    direct: &[(&'static str, &'static str)],
) -> Result<Found, Error> {
    let ours = options.clone().options(direct.iter().copied());
    match connect(ours.clone().options(limits(SERVING)).options([MARK])).await {
        Ok(mut connection) => {
            if text(&mut connection, MARKED).await? == MARK.1 {
                return Ok(Found { pooling: Pooling::None, options: ours, connection });
            }
            connection.close().await?;
        }
        Err(error) if is_about_parameters(&error) => {}
        Err(error) => return Err(error),
    }
    // PgBouncer passes on what it can keep track of, and refuses everything else.
    let options = options.extra_float_digits(None);
    let mut connection = connect(options.clone()).await?;
    let pooling = if is_shared(&mut connection, &options).await? {
        Pooling::Transaction
    } else {
        Pooling::Session
    };
    Ok(Found { pooling, options, connection })
}

/// Whether what is prepared serves. An error, in a sentence, where it does not and is not to be done without.
pub(super) async fn check_statements(
    mut found: Found,
    statement_cache: bool,
) -> Result<Found, OpenError> {
    if found.pooling != Pooling::Transaction || !statement_cache {
        return Ok(found);
    }
    let kept = async {
        found.connection.execute(BEGIN).await?;
        let kept = query_scalar(KEEPS_STATEMENTS).fetch_one(&mut found.connection).await?;
        found.connection.execute(COMMIT).await?;
        Ok::<bool, Error>(kept)
    };
    // It is an error where somebody prepared one of this name at the server before.
    let kept = tokio::time::timeout(WORK_TIMEOUT, kept).await;
    match kept {
        Ok(Ok(true)) => Ok(found),
        _ => Err(OpenError::Unfit(NO_STATEMENTS.to_owned())),
    }
}

/// What PgBouncer says: "unsupported startup parameter: options".
fn is_about_parameters(error: &Error) -> bool {
    error.as_database_error().is_some_and(|error| error.message().contains("startup parameter"))
}

async fn connect(options: PgConnectOptions) -> Result<PgConnection, Error> {
    let pool = pool::settings(1, &Trust::default()).connect_with(options).await?;
    Ok(pool.acquire().await?.detach())
}

/// Whether two connections get one process of the server in turns, or one gets several.
async fn is_shared(one: &mut PgConnection, options: &PgConnectOptions) -> Result<bool, Error> {
    let mut other = connect(options.clone()).await?;
    for _ in 0..ROUNDS {
        let before = text(one, BACKEND).await?;
        let begun = other.execute(BEGIN).await;
        begun.map_err(|_| Error::Configuration(NO_TRANSACTIONS.into()))?;
        // Whoever shares one process with an open transaction would wait for its end.
        if text(&mut other, BACKEND).await? == before || text(one, BACKEND).await? != before {
            other.execute(ROLLBACK).await?;
            return Ok(true);
        }
        other.execute(ROLLBACK).await?;
    }
    other.close().await?;
    Ok(false)
}

/// One text, without anything being prepared.
async fn text(connection: &mut PgConnection, sql: &'static str) -> Result<String, Error> {
    raw_sql(sql).fetch_one(connection).await?.try_get(0)
}
