//! Several auth-services on one Postgres.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use sqlx::{Connection as _, Executor as _, PgConnection};
use testbed::service::until;
use testbed::{Answer, Database, Kind, Service};

/// Two that run.
async fn two_replicas(database: &Database, settings: &[(&str, &str)]) -> [Service; 2] {
    let mut replicas = [(); 2].map(|()| Service::auth(&database.url, settings));
    for replica in &mut replicas {
        replica.start().await;
    }
    replicas
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replicas_that_start_at_once_on_an_empty_database_write_one_client() {
    let database = Database::create(Kind::Postgres).await;
    let [mut one, mut other] = [(); 2].map(|()| Service::auth(&database.url, &[]));
    tokio::join!(one.start(), other.start());
    assert_eq!(database.number("select count(*) from clients").await, 1);
    let tokens = one.newcomer("ada").await;
    assert_eq!(other.refresh(&tokens.refresh).await.status, 200);
}

async fn feed(auth: &Service, cursor: &str, wait: u64) -> Value {
    let url = format!("{}/internal/revocations?cursor={cursor}&wait={wait}", auth.internal);
    let answer = Answer::to(auth.http.get(url)).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    answer.json()
}

fn cursor(batch: &Value) -> &str {
    batch["cursor"].as_str().expect("text")
}

fn sessions(batch: &Value) -> Vec<&str> {
    let entries = batch["entries"].as_array().expect("a list");
    entries.iter().map(|entry| entry["id"].as_str().expect("text")).collect()
}

/// Waits until each replica tells of the session.
async fn known_everywhere(replicas: &[Service], session: &str) {
    for replica in replicas {
        until("the replica has read it", async || {
            sessions(&feed(replica, "", 0).await).contains(&session)
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_follower_that_moves_to_another_replica_is_told_what_it_lacks_and_no_more() {
    let database = Database::create(Kind::Postgres).await;
    let [one, other] = two_replicas(&database, &[]).await;
    let first = one.newcomer("ada").await;
    let second = one.login("ada").await;
    one.logout(&first.refresh).await;
    let replicas = [one, other];
    known_everywhere(&replicas, &first.session).await;
    let [one, other] = &replicas;

    let start = feed(one, "", 0).await;
    assert_eq!((&start["reset"], sessions(&start)), (&json!(true), vec![first.session.as_str()]));
    let moved = feed(other, cursor(&start), 0).await;
    assert_eq!(moved["reset"], false);
    // Again only where some transaction on this server, of anybody's, held the horizon back.
    assert!(sessions(&moved).iter().all(|session| *session == first.session), "{moved}");

    other.logout(&second.refresh).await;
    let news = feed(one, cursor(&moved), 5000).await;
    assert_eq!((&news["reset"], sessions(&news)), (&json!(false), vec![second.session.as_str()]));
    // What the first replica told, the second tells once more at the most, and then no more.
    let again = feed(other, cursor(&news), 5000).await;
    assert!(sessions(&again).iter().all(|session| *session == second.session), "{again}");
    for replica in [one, other, one, other] {
        assert_eq!(feed(replica, cursor(&again), 0).await["entries"], json!([]));
    }
    let foreign = "24d0a958e5118daad7c7ba4919223da4.1.AAAAAAAAAAAA.1";
    assert_eq!(feed(one, foreign, 0).await["reset"], true, "of another server");
}

/// A dump, a forgotten session of an administrator: what is committed after it began stays above the
/// horizon, and is read again and again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_old_transaction_makes_nobody_hurry_and_hides_nothing() {
    let database = Database::create(Kind::Postgres).await;
    let replicas = two_replicas(&database, &[]).await;
    let tokens = replicas[0].newcomer("ada").await;
    let later = replicas[0].login("ada").await;
    let mut old = PgConnection::connect(&database.url).await.expect("the database answers");
    old.execute("begin; select pg_current_xact_id()").await.expect("a transaction begins");
    replicas[0].logout(&tokens.refresh).await;
    known_everywhere(&replicas, &tokens.session).await;

    let mut batch = feed(&replicas[0], "", 0).await;
    batch = feed(&replicas[1], cursor(&batch), 0).await;
    for replica in replicas.iter().cycle().take(6) {
        let begun = Instant::now();
        batch = feed(replica, cursor(&batch), 300).await;
        assert_eq!(batch["entries"], json!([]), "told already");
        assert!(begun.elapsed() >= Duration::from_millis(300), "and so it waits");
    }
    replicas[0].logout(&later.refresh).await;
    batch = feed(&replicas[1], cursor(&batch), 5000).await;
    assert_eq!(sessions(&batch), [later.session], "committed above the horizon");

    let kind = "insert into revocations (kind, id, created_at, expires_at) \
        values ('token', 'AAAAAAAAAAAAAAAAAAAAAA', 0, 9999999999999); commit";
    old.execute(kind).await.expect("the transaction is committed");
    batch = feed(&replicas[1], cursor(&batch), 5000).await;
    assert_eq!(sessions(&batch), ["AAAAAAAAAAAAAAAAAAAAAA"], "older than what was read before it");
}
