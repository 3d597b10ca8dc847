//! Migrations on SQLite, one program at a time; and the moment before, in which several programs make one file.
//!
//! The migrator of sqlx takes no lock here: two programs that start at once would both find a migration missing, and
//! the second to apply it would end with an error. So everything happens in one transaction, which has the lock before
//! anybody looks at what is applied. What is interrupted leaves nothing behind.

use std::time::Duration;

use sqlx::migrate::{MigrateError, Migrator};
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{Connection as _, Error, SqliteConnection};

use super::Pool;

/// How often a lock is asked for that another program holds. Each time SQLite itself waits for as long as the
/// connection says.
const TRIES: u32 = 12;

/// Runs the migrations when no other program does. The connection must not serve anybody else afterwards.
pub(super) async fn run(
    connection: &mut SqliteConnection,
    migrator: &Migrator,
) -> Result<(), MigrateError> {
    let mut tries = 1;
    let mut transaction = loop {
        match connection.begin_with("begin immediate").await {
            Err(error) if is_locked(&error) && tries < TRIES => {
                tracing::warn!(
                    tries,
                    "a migration waits until another program lets go of the file"
                );
                tries += 1;
            }
            begun => break begun?,
        }
    };
    migrator.run(&mut *transaction).await?;
    Ok(transaction.commit().await?)
}

/// How often it is tried to connect to a file on which another program holds a lock, and how long it takes between
/// two tries.
const CONNECTING_TRIES: u32 = 100;
const BETWEEN_TRIES: Duration = Duration::from_millis(50);

/// A pool that has connected, also at the moment in which another program turns a new file's journal to WAL, or takes
/// the log of a file away that it was the last to close: SQLite does not wait for the locks that this takes.
pub(super) async fn connect(most: u32, options: &SqliteConnectOptions) -> Result<Pool, Error> {
    for _ in 1..CONNECTING_TRIES {
        match Pool::connect(most, options.clone()).await {
            Err(error) if is_locked(&error) => tokio::time::sleep(BETWEEN_TRIES).await,
            done => return done,
        }
    }
    Pool::connect(most, options.clone()).await
}

/// `SQLITE_BUSY`, `SQLITE_LOCKED` or `SQLITE_PROTOCOL`, in any of their extended codes.
fn is_locked(error: &Error) -> bool {
    let code = error.as_database_error().and_then(|error| error.code()?.parse::<u32>().ok());
    code.is_some_and(|code| matches!(code & 0xff, 5 | 6 | 15))
}
