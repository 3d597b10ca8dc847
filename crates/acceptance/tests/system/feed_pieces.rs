//! A long list of revocations over a slow network. The page about the feed (docs/feed.md, "How long
//! an answer is") tells every reader to give an answer a second to begin and a second for each piece; here the service
//! keeps to that, and the whole takes longer than a second.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use sqlx::AssertSqlSafe;
use testbed::{Kind, World, on_both_databases};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::{sleep, timeout};

/// As many as make half a megabyte.
const MANY: usize = 7_800;
const A_SECOND: Duration = Duration::from_secs(1);
/// A million bits in a second.
const NANOS_FOR_A_BYTE: u64 = 8_000;
const PIECE_BYTES: usize = 64 * 1024;

/// An answer that was read, and how long that took after it had begun.
struct Read {
    head: String,
    body: Vec<u8>,
    took: Duration,
}

async fn ask(world: &World, query: &str) -> TcpStream {
    let socket = TcpSocket::new_v4().expect("a socket");
    // The rest stays with the service.
    socket.set_recv_buffer_size(32 * 1024).expect("a small buffer");
    let address = world.internal.strip_prefix("http://").expect("plain HTTP").parse();
    let mut stream = socket.connect(address.expect("an address")).await.expect("it listens");
    let request = format!(
        "GET /internal/revocations?{query} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await.expect("it reads");
    stream
}

/// Reads as the page says, or gives up as it says.
async fn read(mut stream: TcpStream, wait: Duration) -> Option<Read> {
    let (mut all, mut piece) = (Vec::new(), vec![0; PIECE_BYTES]);
    let mut begun = None;
    loop {
        let longest = if begun.is_none() { wait + A_SECOND } else { A_SECOND };
        let length = timeout(longest, stream.read(&mut piece)).await.ok()?.ok()?;
        if length == 0 {
            break;
        }
        begun.get_or_insert_with(Instant::now);
        all.extend_from_slice(&piece[..length]);
        sleep(Duration::from_nanos(NANOS_FOR_A_BYTE * u64::try_from(length).ok()?)).await;
    }
    let end = all.windows(4).position(|four| four == b"\r\n\r\n")?;
    let body = all.split_off(end + 4);
    let head = String::from_utf8_lossy(&all).to_ascii_lowercase();
    Some(Read { head, body, took: begun?.elapsed() })
}

/// Asks until an answer was read. A busy machine may be silent for a second; then the page says to ask again, and
/// that answer does not depend on how far the one before came.
async fn patiently(world: &World, query: &str, wait: Duration) -> Read {
    for _ in 0..5 {
        if let Some(read) = read(ask(world, query).await, wait).await {
            return read;
        }
    }
    panic!("no answer came in time: {query}");
}

/// Checks that this is an answer with so many entries, of which the page tells the truth.
fn assert_whole(read: &Read, reset: bool) {
    assert!(read.head.starts_with("http/1.1 200 "), "{}", read.head);
    let length = format!("\r\ncontent-length: {}\r\n", read.body.len());
    assert!(read.head.contains(&length), "its length is told: {}", read.head);
    for odd in ["transfer-encoding", "content-encoding", "etag", "accept-ranges"] {
        assert!(!read.head.contains(&format!("\r\n{odd}:")), "{odd}: {}", read.head);
    }
    let batch: Value = serde_json::from_slice(&read.body).expect("it is whole");
    assert_eq!(batch["reset"], reset);
    assert_eq!(batch["entries"].as_array().map(Vec::len), Some(MANY));
    assert!(read.body.len() > 500_000, "{}", read.body.len());
    assert!(read.took > 3 * A_SECOND, "no bound on the whole would do: {:?}", read.took);
}

/// Ends very many sessions in one moment, as far as followers are concerned.
async fn revoke_many(world: &World) {
    let now = world.clock.now().0;
    let (ids, numbers) = match world.database.kind() {
        Kind::Postgres => {
            ("lpad(n::text, 21, '0')", format!("select generate_series(1, {MANY}) as n"))
        }
        Kind::Sqlite => (
            "printf('%021d', n)",
            format!(
                "with recursive up(n) as (select 1 union all select n + 1 from up where n < {MANY}) \
                 select n from up"
            ),
        ),
    };
    let sql = format!(
        "insert into revocations (kind, id, created_at, expires_at) \
         select 'session', {ids} || 'A', {now}, {now} + 990000 from ({numbers}) as numbers"
    );
    world.database.execute(AssertSqlSafe(sql)).await;
}

on_both_databases! {
    async fn a_long_list_comes_in_time_piece_by_piece_over_a_slow_network(world) {
        // What is new, to a follower that waits for it.
        let start = patiently(&world, "", Duration::ZERO).await;
        let start: Value = serde_json::from_slice(&start.body).expect("it is JSON");
        assert_eq!(start["entries"], json!([]));
        let wait = Duration::from_secs(20);
        let query = format!("cursor={}&wait=20000", start["cursor"].as_str().expect("text"));
        let (news, ()) = tokio::join!(patiently(&world, &query, wait), revoke_many(&world));
        assert_whole(&news, false);
        // Everything, to one that starts.
        assert_whole(&patiently(&world, "", Duration::ZERO).await, true);
    }
}
