//! A database that falls silent in the middle: connections that stay open and say nothing more, as
//! when a host dies or a firewall forgets.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use acceptance::{Database, Kind, Tokens, World};
use futures_util::future::join_all;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};

/// Between the service and the database. Once `muted`, the connections there are carry nothing
/// more; new ones work.
async fn start_proxy(target: String, muted: Arc<AtomicBool>) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let Ok(server) = TcpStream::connect(&target).await else { continue };
            let mute =
                if muted.load(Ordering::SeqCst) { Arc::default() } else { Arc::clone(&muted) };
            let (client_in, client_out) = client.into_split();
            let (server_in, server_out) = server.into_split();
            tokio::spawn(carry(client_in, server_out, Arc::clone(&mute)));
            tokio::spawn(carry(server_in, client_out, mute));
        }
    });
    port
}

/// Swallows what comes while muted; both ends stay open.
async fn carry(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, muted: Arc<AtomicBool>) {
    let mut buffer = [0; 16 * 1024];
    while let Ok(read @ 1..) = from.read(&mut buffer).await {
        if !muted.load(Ordering::SeqCst) && to.write_all(&buffer[..read]).await.is_err() {
            return;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_falls_silent_keeps_no_connection_and_no_shutdown() {
    let muted = Arc::new(AtomicBool::new(false));
    let database = Database::create(Kind::Postgres).await;
    let (account, rest) = database.url.rsplit_once('@').unwrap();
    let (target, name) = rest.split_once('/').unwrap();
    let port = start_proxy(target.to_owned(), Arc::clone(&muted)).await;
    let url = format!("{account}@127.0.0.1:{port}/{name}");
    let settings =
        [("AUTH__DATABASE__URL", url.as_str()), ("AUTH__DATABASE__MAX_CONNECTIONS", "2")];
    let mut world = World::start_with(Kind::Postgres, &settings).await;
    let tokens = world.newcomer("ada").await;
    // Every connection of the pool is in use, and so will be muted in the middle.
    join_all((0..8).map(|_| world.refresh(&tokens.refresh))).await;
    muted.store(true, Ordering::SeqCst);
    let begun = Instant::now();
    let answers = join_all((0..20).map(|_| world.refresh(&tokens.refresh))).await;
    assert!(begun.elapsed() < Duration::from_secs(15), "everybody is answered");
    for answer in answers.iter().filter(|answer| answer.status != 200) {
        answer.assert_problem(503, "unavailable");
    }
    // New connections work, so the service comes back by itself, and the token is still good.
    let refreshed = loop {
        let answer = world.refresh(&tokens.refresh).await;
        if answer.status == 200 {
            break Tokens::of(&answer);
        }
        assert!(begun.elapsed() < Duration::from_secs(30), "{}", answer.text);
    };
    assert_eq!(refreshed.session, tokens.session);
    let stopping = Instant::now();
    world.restart().await;
    assert!(stopping.elapsed() < Duration::from_secs(20), "it stops all the same");
}
