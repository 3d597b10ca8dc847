//! SQLite where a write fails in the middle: a disk that is full for a while, and a transaction that
//! the database ends by itself.

use std::fs;

use serde_json::json;
use testbed::service::until;
use testbed::{Database, Kind, PASSWORD, Service, Tokens};

/// The limit for files stands for the disk: it needs no rights, and can be raised meanwhile.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_whose_disk_was_full_serves_as_soon_as_there_is_room() {
    let database = Database::create(Kind::Sqlite).await;
    let mut auth = Service::auth(&database.url, &[]);
    auth.start_limitable().await;
    let mut acknowledged = vec![auth.newcomer("ada").await];
    let credentials = json!({"username": "ada", "password": PASSWORD});
    for round in 0..3 {
        let log = format!("{}-wal", database.url.trim_start_matches("sqlite:"));
        let used = fs::metadata(log).expect("it is in use").len();
        auth.limit_files(Some(used + 7_000 * round));
        until("a login meets the end of the disk", async || {
            let answer = auth.post("/login", &credentials).await;
            if answer.status == 200 {
                acknowledged.push(Tokens::of(&answer));
            } else {
                answer.assert_problem(503, "unavailable");
            }
            answer.status == 503
        })
        .await;
        for _ in 0..2 {
            assert_eq!(auth.get("/health/ready").await.status, 503);
        }
        auth.limit_files(None);
        acknowledged.push(auth.login("ada").await);
        assert_eq!(auth.get("/health/ready").await.status, 200);
        // Whatever was acknowledged is there, and what was not did not happen.
        for tokens in &mut acknowledged {
            *tokens = Tokens::of(&auth.refresh(&tokens.refresh).await);
        }
    }
    let live = "select count(*) from sessions where revoked_at is null";
    assert_eq!(database.number(live).await, i64::try_from(acknowledged.len()).unwrap());
    auth.logout(&acknowledged[0].refresh).await;
}

/// A login is refused by each of these for as long as it is there; afterwards nothing is left of it.
async fn is_over_when_it_is_over(setup: &'static str, teardown: &'static str) {
    let database = Database::create(Kind::Sqlite).await;
    let mut auth = Service::auth(&database.url, &[]);
    auth.start().await;
    let before = auth.newcomer("ada").await;
    database.execute(setup).await;
    let credentials = json!({"username": "ada", "password": PASSWORD});
    for _ in 0..2 {
        auth.post("/login", &credentials).await.assert_problem(503, "unavailable");
        // Others write meanwhile.
        assert_eq!(auth.refresh(&before.refresh).await.status, 200);
    }
    database.execute(teardown).await;
    let after = auth.login("ada").await;
    assert_eq!(auth.refresh(&after.refresh).await.status, 200);
    assert_eq!(database.number("select count(*) from sessions").await, 2);
    auth.logout(&after.refresh).await;
    assert_eq!(auth.get("/health/ready").await.status, 200);
}

/// As SQLite does by itself on a full disk, an input error, an interrupt or without memory.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_transaction_that_the_database_rolled_back_leaves_nothing_behind() {
    is_over_when_it_is_over(
        "create trigger refused after insert on sessions begin \
         select raise(rollback, 'refused'); end",
        "drop trigger refused",
    )
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_that_the_database_refused_leaves_nothing_behind() {
    is_over_when_it_is_over(
        "create table parents (id integer primary key); \
         create table children (parent integer references parents (id) \
            deferrable initially deferred); \
         create trigger refused after insert on sessions begin \
         insert into children values (1); end",
        "drop trigger refused",
    )
    .await;
}
