//! A database that falls silent in the middle: connections that stay open and say nothing more, as
//! when a host dies or a firewall forgets.

use std::process::Output;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use sqlx::{Executor as _, PgPool, Postgres, Transaction};
use testbed::link::Mode;
use testbed::service::{assert_one_clear_line, run, until};
use testbed::{Database, Kind, Link, Service, Tokens, World};
use tokio::task::JoinHandle;

const WAITING: &str = "select count(*) from pg_stat_activity \
     where datname = current_database() and wait_event_type = 'Lock'";
const END_WAITING: &str = "select pg_terminate_backend(pid) from pg_stat_activity \
     where datname = current_database() and wait_event_type = 'Lock'";

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_falls_silent_keeps_no_connection_and_no_shutdown() {
    let (_database, link, mut world) = with_one_connection().await;
    let tokens = world.newcomer("ada").await;
    // Every connection of the pool is in use, and so will be muted in the middle.
    join_all((0..8).map(|_| world.refresh(&tokens.refresh))).await;
    link.silence();
    let begun = Instant::now();
    let answers = join_all((0..20).map(|_| world.refresh(&tokens.refresh))).await;
    assert!(begun.elapsed() < Duration::from_secs(15), "everybody is answered");
    for answer in answers.iter().filter(|answer| answer.status != 200) {
        answer.assert_problem(503, "unavailable");
    }
    // New connections work, so the service comes back by itself, and the token is still good.
    assert_eq!(refreshed(&world, &tokens, begun).await.session, tokens.session);
    let stopping = Instant::now();
    world.restart().await;
    assert!(stopping.elapsed() < Duration::from_secs(20), "it stops all the same");
}

/// A connection on its way back into the pool is asked whether it still answers, and the moment in
/// which it falls silent can be that one.
#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_falls_silent_while_it_is_given_back_is_replaced() {
    const REPLY: Duration = Duration::from_millis(200);
    let (_database, link, world) = with_one_connection().await;
    let mut tokens = world.newcomer("ada").await;
    // In the middle of the first question after the answer, and of a second one if there is one.
    for moment in [REPLY / 2, REPLY * 3 / 2] {
        tokens = Tokens::of(&world.refresh(&tokens.refresh).await);
        link.set(Mode::DelayReplies(REPLY));
        tokens = Tokens::of(&world.refresh(&tokens.refresh).await);
        tokio::time::sleep(moment).await;
        link.silence();
        link.set(Mode::Pass);
        tokens = refreshed(&world, &tokens, Instant::now()).await;
    }
}

/// Waiting for another migration, a client has nothing under way that could fail by itself.
#[tokio::test(flavor = "multi_thread")]
async fn a_migration_whose_server_falls_silent_ends_and_says_so() {
    let database = Database::create(Kind::Postgres).await;
    let pool = database.postgres().await;
    let _other = other_migration(&database, &pool).await;

    // A server that is gone, and one that has lost this connection only and noticed it.
    for gone in [true, false] {
        let link = Link::start(database.server()).await;
        let migrating = migration(&database.url_by(&link));
        until("it waits", async || database.number(WAITING).await > 0).await;
        if gone {
            link.set(Mode::Mute);
        } else {
            link.silence();
        }
        let ended = tokio::time::timeout(Duration::from_secs(40), async {
            if !gone {
                pool.execute(END_WAITING).await.unwrap();
            }
            migrating.await.unwrap()
        });
        let output = ended.await.expect("it ends");
        assert_one_clear_line(&output, "auth-service", &["the database stopped answering"]);
        // Or the next round would take what is left of this one for its own.
        until("nobody waits", async || {
            pool.execute(END_WAITING).await.unwrap();
            database.number(WAITING).await == 0
        })
        .await;
    }
}

/// Also as the first process of a container, which no signal ends that it does not ask for.
#[tokio::test(flavor = "multi_thread")]
async fn a_start_that_waits_for_a_migration_stops_when_it_is_told_to() {
    let database = Database::create(Kind::Postgres).await;
    let pool = database.postgres().await;
    let _other = other_migration(&database, &pool).await;
    let mut auth = Service::auth(&database.url, &[]);
    auth.spawn();
    until("it waits", async || database.number(WAITING).await > 0).await;
    auth.terminate();
    assert!(auth.ended().await, "the exit code is 0");
}

/// Otherwise each silence leaves connections behind, which the server counts until it has too many.
#[tokio::test(flavor = "multi_thread")]
async fn the_server_looks_within_half_a_minute_whether_a_client_is_still_there() {
    let world = World::start(Kind::Postgres).await;
    world.newcomer("ada").await;
    let pool = world.database.postgres().await;
    let ports = "select client_port from pg_stat_activity \
         where datname = current_database() and application_name = 'latchkey'";
    until("it looks", async || {
        let ports: Vec<i32> = sqlx::query_scalar(ports).fetch_all(&pool).await.unwrap();
        // Of both pools and of the reader. Another timer runs while something is under way.
        ports.len() >= 3
            && ports.iter().all(|port| keepalive_seconds(*port).is_some_and(|due| due <= 30))
    })
    .await;
}

/// In how many seconds the kernel asks for a sign of life from the client at this local port.
fn keepalive_seconds(client_port: i32) -> Option<u64> {
    let connections = std::fs::read_to_string("/proc/net/tcp").unwrap();
    let client = format!("0100007F:{client_port:04X}");
    let servers = |line: &&str| line.split_whitespace().nth(2) == Some(&client);
    let timer = connections.lines().find(servers)?.split_whitespace().nth(5)?;
    // The kind, 2 for keepalive, and the time in hundredths, both hexadecimal.
    let hundredths = timer.strip_prefix("02:")?;
    Some(u64::from_str_radix(hundredths, 16).unwrap() / 100)
}

/// One for logins, and so one for everything else.
async fn with_one_connection() -> (Database, Link, World) {
    let database = Database::create(Kind::Postgres).await;
    let link = Link::start(database.server()).await;
    let url = database.url_by(&link);
    let settings =
        [("AUTH__DATABASE__URL", url.as_str()), ("AUTH__DATABASE__MAX_CONNECTIONS", "2")];
    let world = World::start_with(Kind::Postgres, &settings).await;
    (database, link, world)
}

/// Another one that does not come to its end, as seen by whoever migrates.
async fn other_migration(database: &Database, pool: &PgPool) -> Transaction<'static, Postgres> {
    assert!(migration(&database.url).await.unwrap().status.success());
    let mut other = pool.begin().await.unwrap();
    other.execute("lock table _sqlx_migrations in access exclusive mode").await.unwrap();
    other
}

/// `auth-service migrate`, to its end.
fn migration(url: &str) -> JoinHandle<Output> {
    let settings = Service::auth(url, &[]).settings;
    tokio::task::spawn_blocking(move || run("auth-service", &["migrate"], &settings))
}

/// The successors of `tokens`, as soon as the service gives some, which is within half a minute.
async fn refreshed(world: &World, tokens: &Tokens, begun: Instant) -> Tokens {
    loop {
        let answer = world.refresh(&tokens.refresh).await;
        if answer.status == 200 {
            break Tokens::of(&answer);
        }
        assert!(begun.elapsed() < Duration::from_secs(30), "{}", answer.text);
    }
}
