//! Migrations on Postgres, one program at a time, while others serve.

use std::time::Duration;

use sqlx::error::DatabaseError;
use sqlx::migrate::{MigrateError, Migrator};
use sqlx::{Executor as _, PgConnection, query, query_as, query_scalar};

use super::super::sending::{BEGIN, COMMIT};
use super::super::watched::Watched;

/// Any number that nobody else uses for an advisory lock.
const LOCK: i64 = 0x6c61_7463_686b_6579;
const BETWEEN_ATTEMPTS: Duration = Duration::from_millis(100);
/// How long a migration may wait for a lock on a table that is in use, less than everybody else may wait:
/// who comes after it waits behind it. A dump may hold its lock for hours.
const LOCK_TIMEOUT: &str = "set lock_timeout = '1s'";
const BETWEEN_TRIES: Duration = Duration::from_secs(2);
/// What Postgres calls a lock that was not had in time.
const LOCK_NOT_AVAILABLE: &str = "55P03";

/// Whether a migration is left to apply; an error where what was applied is not what this program knows.
/// Takes no lock and writes nothing: nearly every start finds nothing to do.
pub(super) async fn is_due(
    connection: &mut Watched<sqlx::Postgres>,
    migrator: &Migrator,
) -> Result<bool, MigrateError> {
    match is_left(connection, migrator).await {
        // Somebody is at the table; whoever migrates waits for them.
        Err(error) if is_locked(&error) => Ok(true),
        found => found,
    }
}

async fn is_left(
    connection: &mut Watched<sqlx::Postgres>,
    migrator: &Migrator,
) -> Result<bool, MigrateError> {
    let there = "select to_regclass('_sqlx_migrations') is not null";
    if !query_scalar::<_, bool>(there).fetch_one(&mut *connection).await? {
        return Ok(true);
    }
    let sql = "select version, success, checksum from _sqlx_migrations order by version";
    let applied: Vec<(i64, bool, Vec<u8>)> = query_as(sql).fetch_all(&mut *connection).await?;
    for (version, success, checksum) in &applied {
        let known = migrator.iter().find(|known| known.version == *version);
        match known {
            _ if !success => return Err(MigrateError::Dirty(*version)),
            Some(known) if *known.checksum != **checksum => {
                return Err(MigrateError::VersionMismatch(*version));
            }
            None if !migrator.ignore_missing => return Err(MigrateError::VersionMissing(*version)),
            Some(_) | None => {}
        }
    }
    let is_applied = |version| applied.iter().any(|(applied, ..)| *applied == version);
    Ok(!migrator.iter().all(|known| is_applied(known.version)))
}

/// Runs the migrations when no other program does. `waiting` is a connection of its own, and has the lock
/// for as long as its transaction is open: however the program ends, it leaves no lock behind.
///
/// It asks for the lock again and again. A statement that waited for it would have a snapshot all the
/// while, which the concurrent build of an index waits for: the two would wait for each other. A
/// transaction that only has the lock has no snapshot. The migrator's own lock is then always free, unless
/// a program of an older version holds it.
pub(super) async fn run(
    connection: &mut PgConnection,
    waiting: &mut PgConnection,
    migrator: &Migrator,
) -> Result<(), MigrateError> {
    waiting.execute(BEGIN).await?;
    while !query_scalar::<_, bool>("select pg_try_advisory_xact_lock($1)")
        .bind(LOCK)
        .fetch_one(&mut *waiting)
        .await?
    {
        tokio::time::sleep(BETWEEN_ATTEMPTS).await;
    }
    build_indexes(connection).await?;
    query(LOCK_TIMEOUT).execute(&mut *connection).await?;
    let mut told = false;
    loop {
        match migrator.run(&mut *connection).await {
            // Nothing is left of it: each migration happens as a whole or not at all.
            Err(error) if is_locked(&error) => {
                if !std::mem::replace(&mut told, true) {
                    tracing::warn!(
                        "a migration waits until somebody lets go of a table; a dump may take long"
                    );
                }
                tokio::time::sleep(BETWEEN_TRIES).await;
            }
            done => {
                done?;
                waiting.execute(COMMIT).await?;
                return Ok(());
            }
        }
    }
}

fn is_locked(error: &MigrateError) -> bool {
    let (MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _)) = error else {
        return false;
    };
    let code = error.as_database_error().and_then(DatabaseError::code);
    code.is_some_and(|code| code == LOCK_NOT_AVAILABLE)
}

/// An index of a migration on a table that may be large and in use.
struct Index {
    /// The migration that makes it where the tables are new.
    migration: i64,
    /// A schema that is older than the table gets both by migrations.
    table: &'static str,
    drop: &'static str,
    create: &'static str,
    /// What it stands in the place of.
    replaces: Option<&'static str>,
}

const INDEXES: [Index; 6] = [
    Index {
        migration: 7,
        table: "sessions",
        drop: "drop index concurrently if exists sessions_live",
        create: "create index concurrently sessions_live on sessions (user_id, subject_version) \
            where revoked_at is null",
        replaces: None,
    },
    Index {
        migration: 12,
        table: "users",
        drop: "drop index concurrently if exists users_by_name",
        create: "create index concurrently users_by_name on users (username_key collate \"C\")",
        replaces: None,
    },
    Index {
        migration: 12,
        table: "users",
        drop: "drop index concurrently if exists users_by_address",
        create: "create index concurrently users_by_address on users (email_key collate \"C\")",
        replaces: None,
    },
    Index {
        migration: 12,
        table: "sessions",
        drop: "drop index concurrently if exists sessions_of_user",
        create: "create index concurrently sessions_of_user on sessions (user_id, id)",
        replaces: Some("drop index concurrently if exists sessions_user_id"),
    },
    Index {
        migration: 15,
        table: "events",
        drop: "drop index concurrently if exists events_of_changes",
        create: "create index concurrently events_of_changes on events (user_id, id) \
            where user_id is not null \
                and kind not in ('login', 'session-ended', 'login-failed', 'refresh-replayed')",
        replaces: None,
    },
    Index {
        migration: 15,
        table: "events",
        drop: "drop index concurrently if exists events_replayed",
        create: "create index concurrently events_replayed on events (user_id, id) \
            where user_id is not null and kind = 'refresh-replayed'",
        replaces: None,
    },
];

/// Builds the indexes of migrations that are due, while writers go on, which is possible only outside a
/// migration. An interrupted build leaves an index that is kept up to date, never used, and has the name; it is
/// removed first. Where there are no tables yet, the migrations make them with the indexes.
async fn build_indexes(connection: &mut PgConnection) -> Result<(), MigrateError> {
    let there: bool = query_scalar("select to_regclass('_sqlx_migrations') is not null")
        .fetch_one(&mut *connection)
        .await?;
    if !there {
        return Ok(());
    }
    for index in INDEXES {
        let due: bool = query_scalar(
            "select exists (select from _sqlx_migrations where version = 1) \
                and not exists (select from _sqlx_migrations where version = $1) \
                and to_regclass($2) is not null",
        )
        .bind(index.migration)
        .bind(index.table)
        .fetch_one(&mut *connection)
        .await?;
        if !due {
            continue;
        }
        tracing::info!("building an index; this may take some time");
        let statements = [Some(index.drop), Some(index.create), index.replaces];
        for sql in statements.into_iter().flatten() {
            query(sql).execute(&mut *connection).await?;
        }
    }
    Ok(())
}
