//! Clients that reset their connection at any instant. The web framework drops the handler then,
//! and a dropped write once made other people's acknowledged writes vanish (sqlx 0.9 and `begin`).

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::future::join_all;
use serde_json::{Value, json};
use testbed::link::Mode;
use testbed::reset::post_and_reset;
use testbed::{Database, Kind, Link, PASSWORD, Tokens, World};

const RESETS: usize = 20_000;

/// Sends a request and, up to three milliseconds later, a reset.
async fn reset_in_the_middle(world: &World, path: &str, body: &Value) {
    let after = Duration::from_micros(fastrand::u64(..3000));
    post_and_reset(world.auth.trim_start_matches("http://"), path, body, after).await;
}

/// Refreshes, logs in and logs out, and never hears of it.
async fn be_a_nuisance(world: &World, name: &str, left: &AtomicUsize) {
    let take = || left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1));
    let login = json!({"username": name, "password": PASSWORD});
    loop {
        let refresh = json!({ "refresh_token": world.login(name).await.refresh });
        for (path, body) in [
            ("/refresh", &refresh),
            ("/login", &login),
            ("/logout", &refresh),
            ("/refresh", &refresh),
            ("/logout", &json!({"refresh_token": refresh["refresh_token"], "sessions": "all"})),
            ("/login", &login),
        ] {
            if take().is_err() {
                return;
            }
            reset_in_the_middle(world, path, body).await;
        }
    }
}

/// Does everything in turn and believes what it is told; what it ended.
async fn be_honest(world: &World, name: &str, left: &AtomicUsize) -> Vec<Tokens> {
    let mut ended = Vec::new();
    while ended.is_empty() || left.load(Ordering::SeqCst) > 0 {
        let first = world.login(name).await;
        let second = Tokens::of(&world.refresh(&first.refresh).await);
        let answer = world.logout(&second.refresh, "current").await;
        assert_eq!(answer.status, 204, "{}", answer.text);
        world.refresh(&second.refresh).await.assert_problem(401, "session-revoked");
        ended.push(second);
    }
    ended
}

/// `resets` requests that are reset, beside clients that notice if anything of theirs is lost.
async fn storm(world: &World, resets: usize) -> usize {
    const NUISANCES: usize = 24;
    let names: Vec<_> = (0..NUISANCES).map(|number| format!("nuisance {number}")).collect();
    let honest = ["honest 1", "honest 2", "honest 3", "honest 4"];
    for name in names.iter().map(String::as_str).chain(honest) {
        world.register(name).await;
    }
    let left = AtomicUsize::new(resets);
    let nuisances = join_all(names.iter().map(|name| be_a_nuisance(world, name, &left)));
    let honest = join_all(honest.map(|name| be_honest(world, name, &left)));
    let (_, ended) = tokio::join!(nuisances, honest);
    let ended: Vec<_> = ended.into_iter().flatten().collect();
    for tokens in &ended {
        world.refresh(&tokens.refresh).await.assert_problem(401, "session-revoked");
        world.until_refused(&tokens.access).await;
    }
    ended.len()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_acknowledged_is_lost_among_clients_that_reset() {
    storm(&World::start(Kind::Sqlite).await, 3_000).await;
}

/// The link makes every statement long enough to be interrupted in its middle.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nor_is_anything_by_way_of_a_slow_link_to_the_database() {
    let database = Database::create(Kind::Postgres).await;
    let link = Link::start(database.server()).await;
    let url = database.url_by(&link);
    let settings =
        [("AUTH__DATABASE__URL", url.as_str()), ("AUTH__DATABASE__MAX_CONNECTIONS", "64")];
    let world = World::start_with(Kind::Postgres, &settings).await;
    // 20 ms there and back.
    link.set(Mode::Delay(Duration::from_millis(10)));
    let ended = storm(&world, RESETS).await;
    assert!(ended > 40, "{ended} logouts are too few to mean anything");

    let stuck = "select count(*) from pg_stat_activity where datname = current_database() \
                 and state like 'idle in transaction%'";
    assert_eq!(database.number(stuck).await, 0);
    // The server that `cargo xtask` starts writes its log beside its data.
    let pool = database.postgres().await;
    let data: String = sqlx::query_scalar("show data_directory").fetch_one(&pool).await.unwrap();
    let log = std::path::Path::new(&data).with_file_name("log");
    let log = std::fs::read_to_string(&log).unwrap_or_else(|error| panic!("{log:?}: {error}"));
    assert!(!log.contains("current transaction is aborted"), "25P02");
}
