//! Programs that start at once on one file of SQLite: one of them migrates it, the others wait, and none ends.

use futures_util::future::join_all;
use testbed::{Database, Kind, Service};

use crate::house::files;
use crate::upgrade::{migration, of_the_first_version};

const AT_ONCE: usize = 8;
const ROUNDS: usize = 10;

/// Every one of them succeeds, and each migration was applied once.
async fn all_migrate(database: &Database) {
    let migrating = (0..AT_ONCE).map(|_| migration(database));
    for done in join_all(migrating).await {
        let done = done.expect("it runs");
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    }
    let applied = database.number("select count(*) from _sqlx_migrations where success").await;
    assert_eq!(usize::try_from(applied), Ok(files("migrations/sqlite").len()));
}

/// Each of them serves, on the same keys.
async fn all_serve(database: &Database) {
    let mut services = [(); AT_ONCE].map(|()| Service::auth(&database.url, &[]));
    for service in &mut services {
        service.spawn();
    }
    for service in &services {
        service.ready().await;
    }
    let active = "select count(*) from keys where state = 'active'";
    assert_eq!(database.number(active).await, 2, "one of each purpose");
}

#[tokio::test(flavor = "multi_thread")]
async fn of_migrations_that_begin_at_once_on_a_new_file_none_fails() {
    for _ in 0..ROUNDS {
        all_migrate(&Database::create(Kind::Sqlite).await).await;
    }
}

/// Its journal is not a WAL yet either.
#[tokio::test(flavor = "multi_thread")]
async fn of_migrations_that_begin_at_once_on_an_older_schema_none_fails() {
    for _ in 0..ROUNDS {
        let database = of_the_first_version(Kind::Sqlite).await;
        all_migrate(&database).await;
        assert_eq!(database.number("select count(*) from sessions").await, 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn services_that_start_at_once_on_a_new_file_all_serve() {
    all_serve(&Database::create(Kind::Sqlite).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn services_that_start_at_once_on_an_older_schema_of_one_file_all_serve() {
    all_serve(&of_the_first_version(Kind::Sqlite).await).await;
}
