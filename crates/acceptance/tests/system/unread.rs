//! F-A2: answers that nobody reads cost little, and hold nobody up.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use socket2::SockRef;
use testbed::service::until;
use testbed::usage::resident_kib;
use testbed::{Database, Kind, Service};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::{Mutex, MutexGuard};
use tokio::time::timeout;

const READERS: usize = 2500;
/// What the answers of one listener that are not read may hold.
const UNREAD_BYTES: usize = 64 << 20;
/// That, and what connections and the allocator take besides in a debug build. The answers of all would
/// be 230 MiB alone.
const MORE_KIB: u64 = 160 * 1024;
/// When all ask at once: what may be held, an eighth of it that is about to be freed, and what the HTTP
/// library takes for each of these connections.
const MORE_AT_ONCE_KIB: u64 = 112 * 1024;
const ASKS: &[u8] = b"GET /openapi.json HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
const SOON: Duration = Duration::from_secs(20);

/// A client that takes little.
async fn connect(address: &str) -> TcpStream {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.set_recv_buffer_size(4096).expect("a small buffer");
    SockRef::from(&socket).set_tcp_mss(536).expect("small packets");
    socket.connect(address.parse().unwrap()).await.expect("the service listens")
}

/// Asks for the longest answer there is, which does not fit in what the system keeps for this connection,
/// and waits until it has begun.
async fn ask(address: &str) -> TcpStream {
    let mut stream = connect(address).await;
    stream.write_all(ASKS).await.expect("it reads");
    let begun = timeout(SOON, stream.peek(&mut [0])).await;
    assert_eq!(begun.expect("an answer soon").expect("an answer"), 1);
    stream
}

/// Connects, then asks on each connection while the service is stopped: it meets all requests at once.
pub(crate) async fn all_at_once(service: &Service, url: &str, asks: &[&[u8]]) -> Vec<TcpStream> {
    let address = url.strip_prefix("http://").expect("plain HTTP");
    let mut all = Vec::new();
    for some in asks.chunks(100) {
        all.extend(join_all(some.iter().map(|_| connect(address))).await);
    }
    service.pause();
    for (stream, asks) in all.iter_mut().zip(asks) {
        // On a busy machine the service may have closed some already, for they were silent too long.
        let _ = timeout(SOON, stream.write_all(asks)).await;
    }
    service.resume();
    all
}

/// Everything until the connection is closed.
async fn rest(mut stream: TcpStream) -> Vec<u8> {
    let mut answer = Vec::new();
    let reading = async { while let Ok(1..) = stream.read_buf(&mut answer).await {} };
    timeout(SOON, reading).await.expect("it is closed soon");
    answer
}

/// How many connections were cut off for one of these reasons.
pub(crate) async fn cut(service: &Service, reasons: &[&str]) -> usize {
    let all = service.metrics().await;
    let of = |reason: &&str| {
        let name = format!("latchkey_connections_cut_total{{reason=\"{reason}\"}} ");
        all.lines().find_map(|line| line.strip_prefix(&name)?.parse::<usize>().ok()).unwrap_or(0)
    };
    reasons.iter().map(of).sum()
}

/// For a test that opens thousands of connections: one such test runs at a time, with as many file descriptors
/// as the system gives. All tests are one process, which may have no more than 20,000.
pub(crate) async fn many_connections() -> MutexGuard<'static, ()> {
    static ONE: Mutex<()> = Mutex::const_new(());
    let files = getrlimit(Resource::Nofile);
    let _ = setrlimit(Resource::Nofile, Rlimit { current: files.maximum, ..files });
    ONE.lock().await
}

/// Waits until a service that nobody uses holds little more than `before` a flood, in KiB.
pub(crate) async fn given_back(service: &Service, before: u64) {
    let begun = Instant::now();
    until("the memory is given back", async || resident_kib(service.pid()).0 <= before * 3 / 2)
        .await;
    println!("{before} KiB before, {:?} after {:?}", resident_kib(service.pid()), begun.elapsed());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_that_are_not_read_take_bounded_memory_and_the_longest_waiting_is_closed() {
    let _alone = many_connections().await;
    let database = Database::create(Kind::Sqlite).await;
    let mut auth = Service::auth(&database.url, &[]);
    auth.start().await;
    let address = auth.public.strip_prefix("http://").expect("plain HTTP");
    // Read at the pace of a client that has small packets, and whole.
    let whole = rest(ask(address).await).await;
    assert!(whole.starts_with(b"HTTP/1.1 200 "), "the document");
    assert!(whole.trim_ascii_end().ends_with(b"}"), "to its end");
    let before = resident_kib(auth.pid()).0;

    let first = ask(address).await;
    let mut others = Vec::new();
    for _ in 0..READERS / 100 {
        others.extend(join_all((0..100).map(|_| ask(address))).await);
    }
    // Of some, the system has taken more, so that a few more fit than the division says. On a slow machine
    // some have not read for so long that they are closed for that.
    let most = UNREAD_BYTES / whole.len();
    until("those beyond the bound are closed", async || {
        cut(&auth, &["too-much", "unread"]).await >= READERS - 2 * most
    })
    .await;
    let grown = resident_kib(auth.pid()).1.saturating_sub(before);
    println!("{grown} KiB more at the most for {READERS} answers of {} bytes", whole.len());
    assert!(grown < MORE_KIB, "{grown} KiB more");
    assert!(cut(&auth, &["too-much"]).await > 0, "{}", auth.metrics().await);

    assert!(rest(first).await.len() < whole.len(), "the first of all is closed");
    assert_eq!(rest(ask(address).await).await.len(), whole.len(), "the newest has it whole");
    assert_eq!(auth.get("/health/ready").await.status, 200);
    drop(others);
    given_back(&auth, before).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_that_are_asked_for_at_once_and_not_read_keep_to_their_bound_at_every_moment() {
    let _alone = many_connections().await;
    let database = Database::create(Kind::Sqlite).await;
    let mut auth = Service::auth(&database.url, &[]);
    auth.start().await;
    let address = auth.public.strip_prefix("http://").expect("plain HTTP");
    let length = rest(ask(address).await).await.len();
    let before = resident_kib(auth.pid()).0;
    let all = all_at_once(&auth, &auth.public, &vec![ASKS; 4000]).await;
    let most = UNREAD_BYTES / length;
    until("those beyond the bound are closed", async || {
        cut(&auth, &["too-much", "too-slow", "unread"]).await >= all.len() - 2 * most
    })
    .await;
    let grown = resident_kib(auth.pid()).1.saturating_sub(before);
    println!("{grown} KiB more at the most for {} answers of {length} bytes", all.len());
    assert!(grown < MORE_AT_ONCE_KIB, "{grown} KiB more");
    assert_eq!(auth.get("/health/ready").await.status, 200);
    assert_eq!(rest(ask(address).await).await.len(), length, "the newest has it whole");
    drop(all);
}
