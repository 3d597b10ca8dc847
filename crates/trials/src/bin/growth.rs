//! Refreshes many times on Postgres and says what that did to the `sessions` table.
//!
//! `cargo xtask growth` runs it on a private server. Ends with 1 when the share of HOT updates is
//! below 0.99.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Parser;
use futures_util::future::join_all;
use sqlx::postgres::PgPool;
use sqlx::{Row as _, query};
use testbed::{Kind, Tokens, World};

/// How many refreshes, by how many clients at once.
#[derive(Parser)]
struct Arguments {
    /// Refreshes in all.
    #[arg(long, default_value_t = 200_000)]
    refreshes: usize,
    /// Clients, each with a session of its own, refreshing at once.
    #[arg(long, default_value_t = 32)]
    clients: usize,
    /// Sessions in the table.
    #[arg(long, default_value_t = 1000)]
    sessions: usize,
}

struct Table {
    bytes: i64,
    updates: i64,
    hot: i64,
}

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    // Every refresh is to be a write, and a session rotates at most once in a window.
    let settings = [("AUTH__TOKENS__GRACE_SECONDS", "0"), ("AUTH__TOKENS__MAX_SESSIONS", "0")];
    let world = World::start_with(Kind::Postgres, &settings).await;
    let pool = world.database.postgres().await;
    world.register("ada").await;
    let mut sessions = Vec::new();
    for _ in 0..arguments.sessions {
        sessions.push(world.login("ada").await);
    }
    let before = measure(&pool).await;
    assert_eq!(before.updates, 0, "a login updates no session");
    let begun = Instant::now();
    let share = arguments.sessions.div_ceil(arguments.clients);
    let rounds = arguments.refreshes.div_ceil(arguments.sessions);
    join_all(sessions.chunks(share).map(|own| refresh_all(&world, own, rounds))).await;
    let seconds = begun.elapsed().as_secs_f64();
    let refreshes = i64::try_from(arguments.sessions * rounds).unwrap_or(i64::MAX);
    let after = measure_after(&pool, refreshes).await;

    let share = ratio(after.hot, after.updates);
    println!("refreshes            {refreshes}");
    println!("refreshes per second {:.0}", ratio(refreshes, 1) / seconds);
    println!("sessions             {}", arguments.sessions);
    let rotations = "select cast(sum(generation) - count(*) as bigint) from sessions";
    println!("rotations            {}", world.database.number(rotations).await);
    println!("row updates          {}", after.updates);
    println!("HOT share            {share:.4}");
    println!("table before, bytes  {}", before.bytes);
    println!("table after, bytes   {}", after.bytes);
    println!("growth, bytes        {}", after.bytes - before.bytes);
    pool.close().await;
    if share >= 0.99 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// One client: each of its sessions in turn, again and again.
async fn refresh_all(world: &World, own: &[Tokens], rounds: usize) {
    let mut tokens: Vec<String> = own.iter().map(|tokens| tokens.refresh.clone()).collect();
    for _ in 0..rounds {
        for token in &mut tokens {
            *token = world.refresh(token).await.member("refresh_token");
        }
    }
}

/// A connection that falls idle keeps its last counts to itself for ten seconds.
async fn measure_after(pool: &PgPool, updates: i64) -> Table {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        let table = measure(pool).await;
        if table.updates >= updates || Instant::now() > deadline {
            return table;
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

async fn measure(pool: &PgPool) -> Table {
    let row = query(
        "select pg_relation_size('sessions') as bytes, n_tup_upd, n_tup_hot_upd \
         from pg_stat_user_tables where relname = 'sessions'",
    )
    .fetch_one(pool)
    .await
    .expect("the statistics can be read");
    Table { bytes: row.get("bytes"), updates: row.get("n_tup_upd"), hot: row.get("n_tup_hot_upd") }
}

#[expect(clippy::cast_precision_loss, reason = "counts far below 2^52")]
fn ratio(part: i64, whole: i64) -> f64 {
    part as f64 / whole.max(1) as f64
}
