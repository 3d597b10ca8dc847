//! Clients that reset their connection at any instant. The web framework drops the handler then,
//! and a dropped write once made other people's acknowledged writes vanish (sqlx 0.9 and `begin`).

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use acceptance::{PASSWORD, Tokens, World, on_both_databases};
use aws_lc_rs::rand;
use futures_util::future::join_all;
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

/// Sends a request and, up to three milliseconds later, a reset.
async fn reset_in_the_middle(world: &World, path: &str, body: &Value) {
    let address = world.auth.trim_start_matches("http://");
    let Ok(mut stream) = TcpStream::connect(address).await else { return };
    let body = body.to_string();
    let request = format!(
        "POST {path} HTTP/1.1\r\nHost: {address}\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    );
    // With a linger of zero the system answers a close with a reset.
    let _ = stream.set_zero_linger();
    let _ = stream.write_all(request.as_bytes()).await;
    let mut micros = [0; 2];
    rand::fill(&mut micros).unwrap();
    tokio::time::sleep(Duration::from_micros(u64::from(u16::from_le_bytes(micros) % 3000))).await;
}

/// Refreshes, logs in and logs out, and never hears of it.
async fn be_a_nuisance(world: &World, name: &str, over: &AtomicBool) -> usize {
    let (mut resets, mut tokens) = (0, world.login(name).await);
    while !over.load(Ordering::SeqCst) {
        let refresh = json!({ "refresh_token": tokens.refresh });
        reset_in_the_middle(world, "/refresh", &refresh).await;
        reset_in_the_middle(world, "/login", &json!({"username": name, "password": PASSWORD}))
            .await;
        reset_in_the_middle(world, "/logout", &refresh).await;
        resets += 3;
        tokens = world.login(name).await;
    }
    resets
}

/// Does everything in turn and believes what it is told.
async fn be_honest(world: &World, name: &str, rounds: usize) -> Vec<Tokens> {
    let mut ended = Vec::new();
    for _ in 0..rounds {
        let first = world.login(name).await;
        let second = Tokens::of(&world.refresh(&first.refresh).await);
        let answer = world.logout(&second.refresh, "current").await;
        assert_eq!(answer.status, 204, "{}", answer.text);
        ended.push(second);
    }
    ended
}

on_both_databases! {
    async fn nothing_acknowledged_is_lost_among_clients_that_reset(world) {
        for name in ["nuisance 1", "nuisance 2", "nuisance 3", "honest 1", "honest 2"] {
            world.register(name).await;
        }
        let over = AtomicBool::new(false);
        let nuisances = join_all(
            ["nuisance 1", "nuisance 2", "nuisance 3"].map(|name| be_a_nuisance(&world, name, &over)),
        );
        let honest = async {
            let ended = join_all(["honest 1", "honest 2"].map(|name| be_honest(&world, name, 60))).await;
            over.store(true, Ordering::SeqCst);
            ended
        };
        let (resets, ended) = tokio::join!(nuisances, honest);
        assert!(resets.iter().sum::<usize>() > 100, "{resets:?}");
        for tokens in ended.iter().flatten() {
            world.refresh(&tokens.refresh).await.assert_problem(401, "session-revoked");
            world.until_refused(&tokens.access).await;
        }
        if world.database.kind() == acceptance::Kind::Postgres {
            let stuck = "select count(*) from pg_stat_activity where datname = current_database() \
                         and state like 'idle in transaction%'";
            assert_eq!(world.database.number(stuck).await, 0);
        }
    }
}
