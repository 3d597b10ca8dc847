//! N-T02: clients that take their time do not keep a connection, and those that are many keep nobody
//! out.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use rustix::process::{Resource, getrlimit};
use testbed::usage::resident_kib;
use testbed::{Database, Kind, Service, World};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;

use crate::unread::many_connections;

/// Nobody keeps a connection longer without getting anywhere.
const BOUND: Duration = Duration::from_secs(30);
/// Between two drops.
const PACE: Duration = Duration::from_secs(3);
/// A whole request, to be answered before what is odd begins.
const WHOLE: &str = "GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n";

/// What a client says: at once, and then again and again.
struct Slow {
    case: &'static str,
    /// Answered before the rest is sent.
    first: &'static str,
    begins: String,
    drop: &'static str,
    /// The answer begins so; empty if there must be none.
    answer: &'static str,
}

fn slow(case: &'static str, begins: &str, drop: &'static str, answer: &'static str) -> Slow {
    Slow { case, first: "", begins: begins.to_owned(), drop, answer }
}

fn cases() -> Vec<Slow> {
    let post = "POST /login HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n";
    let chunked = "Host: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabcde\r\n";
    let much =
        format!("{post}Transfer-Encoding: chunked\r\n\r\n4e20\r\n{}\r\n", " ".repeat(20_000));
    let second = |case, begins: &str, drop, answer| Slow {
        first: WHOLE,
        ..slow(case, begins, drop, answer)
    };
    vec![
        slow("nothing", "", "", ""),
        slow("half a head", "POST /login HTTP/1.1\r\nHost: x\r\nX: ", "", "HTTP/1.1 408"),
        slow("a head byte by byte", "POST /login HTTP/1.1\r\nX: ", "a", "HTTP/1.1 408"),
        slow("half a body", &format!("{post}Content-Length: 99\r\n\r\n{{"), "", "HTTP/1.1 408"),
        slow(
            "a body byte by byte",
            &format!("{post}Content-Length: 99\r\n\r\n{{"),
            " ",
            "HTTP/1.1 408",
        ),
        slow("too many chunks, and more", &much, "1\r\n \r\n", "HTTP/1.1 413"),
        slow(
            "a body that nobody reads",
            "GET /health/live HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n",
            "a",
            "HTTP/1.1 200",
        ),
        slow(
            "chunks that nobody reads",
            &format!("GET /health/live HTTP/1.1\r\n{chunked}"),
            "1\r\na\r\n",
            "HTTP/1.1 200",
        ),
        slow(
            "chunks for nobody",
            &format!("GET /nothing HTTP/1.1\r\n{chunked}"),
            "1\r\na\r\n",
            "HTTP/1.1 404",
        ),
        second("half a second head", "GET /health/live HT", "", "HTTP/1.1 408"),
        second(
            "a second head byte by byte",
            "GET /health/live HTTP/1.1\r\nX: ",
            "a",
            "HTTP/1.1 408",
        ),
        second("empty lines", "\r\n", "\r\n", ""),
    ]
}

/// Reads until what has come contains `part`.
async fn read_until(stream: &mut TcpStream, part: &str) {
    let mut read = Vec::new();
    while !String::from_utf8_lossy(&read).contains(part) {
        assert!(stream.read_buf(&mut read).await.expect("an answer") > 0, "closed");
    }
}

/// Plays a slow client, and checks that the service closes the connection in time.
async fn is_closed_in_time(address: &str, slow: Slow) {
    let mut stream = TcpStream::connect(address).await.expect("the service listens");
    if !slow.first.is_empty() {
        stream.write_all(slow.first.as_bytes()).await.expect("it reads");
        read_until(&mut stream, r#"{"status":"live"}"#).await;
    }
    let begun = Instant::now();
    let _ = stream.write_all(slow.begins.as_bytes()).await;
    let (mut reading, mut writing) = stream.split();
    let mut answer = Vec::new();
    let closed = async { while let Ok(1..) = reading.read_buf(&mut answer).await {} };
    let dropping = async {
        loop {
            tokio::time::sleep(PACE).await;
            let _ = writing.write_all(slow.drop.as_bytes()).await;
        }
    };
    let in_time = timeout(BOUND, async {
        tokio::select! { () = closed => {} () = dropping => {} }
    });
    let in_time = in_time.await.is_ok();
    let (case, answer) = (slow.case, String::from_utf8_lossy(&answer));
    assert!(in_time, "{case}: open after {:?}: {answer}", begun.elapsed());
    assert!(answer.starts_with(slow.answer), "{case}: {answer}");
    assert_eq!(answer.is_empty(), slow.answer.is_empty(), "{case}: {answer}");
    println!("{case}: closed after {:.1} s", begun.elapsed().as_secs_f64());
}

/// Asks again and again without reading an answer, until nothing can be sent any more; the
/// connection is reset in time.
async fn who_does_not_read_is_cut_off(address: &str) {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.set_recv_buffer_size(4096).expect("a small buffer");
    let mut stream = socket.connect(address.parse().unwrap()).await.expect("the service listens");
    let asked = "GET /.well-known/jwks.json HTTP/1.1\r\nHost: x\r\n\r\n".repeat(1000);
    let sending = async { while stream.write_all(asked.as_bytes()).await.is_ok() {} };
    // A minute: some megabytes fit in between, and only then it begins to count.
    timeout(2 * BOUND, sending).await.expect("a client that does not read is cut off");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_takes_their_time_loses_their_connection() {
    let world = World::start(Kind::Sqlite).await;
    let auth = world.auth.strip_prefix("http://").unwrap();
    let resource = world.resource.strip_prefix("http://").unwrap();
    let internal = world.internal.strip_prefix("http://").unwrap();
    let elsewhere = [resource, internal].into_iter().flat_map(|address| {
        let second = cases().into_iter().filter(|slow| !slow.first.is_empty());
        second.map(move |slow| is_closed_in_time(address, slow))
    });
    let all = cases().into_iter().map(|slow| is_closed_in_time(auth, slow)).chain(elsewhere);
    tokio::join!(join_all(all), who_does_not_read_is_cut_off(auth));
    assert_eq!(
        world.newcomer("ada").await.json["expires_in"].as_u64().map(|it| it > 500),
        Some(true)
    );
}

/// Ten thousand, or as many as the system has descriptors for.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_idle_connections_keep_nobody_out() {
    let _alone = many_connections().await;
    let files = getrlimit(Resource::Nofile).maximum;
    let many = files.map_or(10_000, |most| most.saturating_sub(2000).min(10_000));
    let database = Database::create(Kind::Sqlite).await;
    let mut auth = Service::auth(&database.url, &[]);
    auth.start().await;
    let tokens = auth.newcomer("ada").await;
    let before = resident_kib(auth.pid()).0;
    let address = auth.public.strip_prefix("http://").unwrap();
    let begun = Instant::now();
    let mut idle = Vec::new();
    for batch in 0..many.div_ceil(500) {
        let size = (many - batch * 500).min(500);
        idle.extend(
            join_all((0..size).map(async |_| {
                let mut stream = TcpStream::connect(address).await.expect("a connection");
                stream.write_all(WHOLE.as_bytes()).await.expect("it reads");
                read_until(&mut stream, r#"{"status":"live"}"#).await;
                stream
            }))
            .await,
        );
    }
    let asked = Instant::now();
    assert_eq!(auth.get("/health/ready").await.status, 200);
    assert_eq!(auth.refresh(&tokens.refresh).await.status, 200);
    let answered = asked.elapsed();
    let each = resident_kib(auth.pid()).0.saturating_sub(before) * 1024 / many;
    println!(
        "{} idle connections in {:?}: {each} bytes each, two answers in {answered:?}",
        idle.len(),
        begun.elapsed()
    );
    assert!(answered < Duration::from_secs(5), "{answered:?}");
    assert!(each < 8 * 1024, "{each} bytes for each");
}
