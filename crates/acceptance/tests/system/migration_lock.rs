//! The lock of whoever migrates: taken where there is something to migrate, and gone with its transaction.

use sqlx::Executor as _;
use testbed::service::{run, until};
use testbed::{Database, Kind, Service};

/// As a program of before left it behind a pooler: on a connection that lives on.
const LEFT_BEHIND: &str = "select pg_advisory_lock(7809651199139603833)";
const OURS: &str = "select count(*) from pg_locks l join pg_database d on d.oid = l.database \
    where d.datname = current_database() and l.locktype = 'advisory'";

#[tokio::test(flavor = "multi_thread")]
async fn who_finds_nothing_to_migrate_waits_for_no_lock() {
    let database = Database::create(Kind::Postgres).await;
    let mut auth = Service::auth(&database.url, &[]);
    assert!(run("auth-service", &["migrate"], &auth.settings).status.success());
    let pool = database.postgres().await;
    let mut other = pool.acquire().await.expect("a connection");
    other.execute(LEFT_BEHIND).await.expect("nobody else has the lock");
    assert!(run("auth-service", &["migrate"], &auth.settings).status.success());
    auth.start().await;
    auth.newcomer("ada").await;
    // Only the one that was left behind.
    assert_eq!(database.number(OURS).await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_finds_something_to_migrate_waits_and_leaves_no_lock() {
    let database = Database::create(Kind::Postgres).await;
    let pool = database.postgres().await;
    let mut other = pool.begin().await.expect("a connection");
    other.execute(LEFT_BEHIND).await.expect("nobody else has the lock");
    let mut auth = Service::auth(&database.url, &[]);
    auth.spawn();
    let waits = "select count(*) from pg_stat_activity where datname = current_database() \
        and state = 'idle in transaction' and query like '%pg_try_advisory_xact_lock%'";
    until("it waits", async || database.number(waits).await == 1).await;
    let made = "select count(*) from pg_tables where tablename = 'sessions'";
    assert_eq!(database.number(made).await, 0);
    // The one that waited is killed, and another comes.
    auth.kill();
    drop(other);
    pool.close().await;
    auth.start().await;
    assert_eq!(database.number(OURS).await, 0);
}
