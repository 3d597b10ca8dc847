//! N-T01, N-T09: bodies without an end cost no memory, and are refused before they have come.

use std::time::Duration;

use futures_util::future::join_all;
use testbed::usage::resident_kib;
use testbed::{Database, Kind, Service};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// What one connection tries to send; far more than all of them together may cost.
const MUCH: usize = 8 << 20;
const CONNECTIONS: usize = 8;
/// Ten seconds for a body, and what a client is given that goes on after its answer.
const TIMEOUT: Duration = Duration::from_secs(40);

/// Sends a head and then parts of a body for as long as they are taken, and says what came back and
/// how much was sent.
async fn send(address: &str, head: &str, part: &[u8]) -> (String, usize) {
    let stream = TcpStream::connect(address).await.expect("the service listens");
    let (mut reading, mut writing) = stream.into_split();
    let head = head.to_owned();
    let part = part.to_owned();
    let sending = tokio::spawn(async move {
        let mut sent = 0;
        let mut good = writing.write_all(head.as_bytes()).await.is_ok();
        while good && sent < MUCH {
            good = writing.write_all(&part).await.is_ok();
            sent += part.len();
        }
        // From here on slowly, until the service closes the connection.
        while good {
            tokio::time::sleep(Duration::from_secs(1)).await;
            good = writing.write_all(b"a").await.is_ok();
        }
        sent
    });
    let mut answer = Vec::new();
    let reading = async { while let Ok(1..) = reading.read_buf(&mut answer).await {} };
    let closed = timeout(TIMEOUT, reading).await;
    let answer = String::from_utf8_lossy(&answer).into_owned();
    assert!(closed.is_ok(), "open for ever: {answer}");
    (answer, sending.await.expect("it ends"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_without_an_end_costs_no_memory() {
    let database = Database::create(Kind::Sqlite).await;
    let mut auth = Service::auth(&database.url, &[]);
    auth.start().await;
    let tokens = auth.newcomer("ada").await;
    let address = auth.public.strip_prefix("http://").unwrap();
    let part = "x".repeat(64 * 1024);
    let chunk = format!("{:x}\r\n{part}\r\n", part.len());
    let json = "Host: x\r\nContent-Type: application/json\r\n";
    let long = "Content-Length: 1000000000000\r\n\r\n";
    let endless = "Transfer-Encoding: chunked\r\n\r\n";
    let before = resident_kib(auth.pid()).0;
    let cases = [
        ("POST /login", long, &part, "413"),
        ("POST /login", endless, &chunk, "413"),
        ("POST /refresh", long, &part, "413"),
        ("POST /refresh", endless, &chunk, "413"),
        ("GET /health/live", long, &part, "200"),
        ("GET /health/live", endless, &chunk, "200"),
        ("POST /nothing", long, &part, "404"),
        ("POST /nothing", endless, &chunk, "404"),
        // What is said beside the size of a chunk is no content, and too much all the same.
        ("POST /login", "Transfer-Encoding: chunked\r\n\r\n5;", &part, "413"),
    ];
    join_all(cases.map(async |(line, length, part, status)| {
        let head = format!("{line} HTTP/1.1\r\n{json}{length}");
        let all = (0..CONNECTIONS).map(|_| send(address, &head, part.as_bytes()));
        for (answer, sent) in join_all(all).await {
            // Who is closed upon while still sending may be reset, and then has no answer.
            let told = answer.get(9..12);
            assert!(told.is_none_or(|told| told == status), "{line} {length:?}: {answer}");
            assert!(told.is_some() || sent < MUCH, "{line} {length:?}: all taken, no answer");
        }
        let grown = resident_kib(auth.pid()).0.saturating_sub(before);
        println!("{line} {:?}: {grown} KiB more", length.trim_end());
        assert!(grown < 64 * 1024, "{line} {length:?}: {grown} KiB more");
    }))
    .await;
    assert_eq!(auth.refresh(&tokens.refresh).await.status, 200);
}

/// The answer does not wait for what would be too much anyway.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_that_is_announced_too_large_is_refused_before_it_comes() {
    let database = Database::create(Kind::Sqlite).await;
    let mut auth = Service::auth(&database.url, &[]);
    auth.start().await;
    let address = auth.public.strip_prefix("http://").unwrap();
    for path in ["/login", "/register", "/refresh", "/logout"] {
        for length in ["16385", "1000000000000"] {
            for expect in ["", "Expect: 100-continue\r\n"] {
                let head = format!(
                    "POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n\
                     {expect}Content-Length: {length}\r\n\r\n"
                );
                let mut stream = TcpStream::connect(address).await.expect("the service listens");
                stream.write_all(head.as_bytes()).await.expect("it reads");
                let mut answer = Vec::new();
                let reading = async { while let Ok(1..) = stream.read_buf(&mut answer).await {} };
                let in_time = timeout(Duration::from_secs(8), reading).await.is_ok();
                let answer = String::from_utf8_lossy(&answer);
                assert!(in_time, "{path} {length} {expect:?}: {answer}");
                assert!(answer.contains("HTTP/1.1 413"), "{path} {length} {expect:?}: {answer}");
                assert!(answer.contains("payload-too-large"), "{answer}");
            }
        }
    }
}
