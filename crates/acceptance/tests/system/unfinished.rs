//! F-A2: requests that do not come to an end cost little, whoever sends them and in whatever form, and
//! hold nobody up.

use std::time::Duration;

use futures_util::future::join_all;
use testbed::service::until;
use testbed::usage::resident_kib;
use testbed::{Answer, Database, Kind, Service, Tokens};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::unread::{all_at_once, cut, given_back, many_connections};

/// Of each form, at each listener.
const CONNECTIONS: usize = 160;
/// What the unfinished requests of both listeners may hold, and what connections take besides, in a
/// debug build.
const MORE_KIB: u64 = 64 * 1024;
/// When all come at once: what the unfinished requests of one listener may hold, an eighth of it that is
/// about to be freed, and what connections take besides. The requests would be 90 MiB alone.
const MORE_AT_ONCE_KIB: u64 = 56 * 1024;
/// Less than the ten seconds after which a request is too slow.
const SOON: Duration = Duration::from_secs(8);
const WHOLE: &str = "GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n";
const POST: &str = "POST /refresh HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n";

/// Headers of so many bytes, and no end.
fn head(bytes: usize) -> String {
    let line = format!("X-Header: {}\r\n", "a".repeat(1000));
    format!("GET /health/live HTTP/1.1\r\nHost: x\r\n{}", line.repeat(bytes / line.len()))
}

/// Requests without an end, each of another form.
fn forms() -> Vec<String> {
    let much = "a".repeat(16_000);
    let chunks = format!("10\r\n{}\r\n", "a".repeat(16)).repeat(700);
    vec![
        head(125_000),
        head(16_000),
        format!("GET /health/live HTTP/1.1\r\n{}", "A: b\r\n".repeat(2000)),
        format!("{POST}Content-Length: 16384\r\n\r\n{much}"),
        format!("{POST}Transfer-Encoding: chunked\r\n\r\n3f00\r\n{much}"),
        format!("{POST}Transfer-Encoding: chunked\r\n\r\n{chunks}"),
        format!("{WHOLE}{}", head(125_000)),
        format!("{WHOLE}{POST}Content-Length: 16384\r\n\r\n{much}"),
        format!("{}{}", WHOLE.repeat(8), head(15_000)),
    ]
}

fn address(url: &str) -> &str {
    url.strip_prefix("http://").expect("plain HTTP")
}

async fn connect(address: &str, begins: &str) -> TcpStream {
    let mut stream = TcpStream::connect(address).await.expect("the service listens");
    // Who is refused while still sending cannot send the rest.
    let _ = timeout(SOON, stream.write_all(begins.as_bytes())).await;
    stream
}

async fn read_until(stream: &mut TcpStream, end: &str) {
    let mut read = Vec::new();
    let reading = async {
        while !String::from_utf8_lossy(&read).ends_with(end) {
            assert!(stream.read_buf(&mut read).await.expect("an answer") > 0, "closed");
        }
    };
    timeout(SOON, reading).await.expect("soon");
}

/// Everything until the connection is closed.
async fn rest(stream: &mut TcpStream) -> String {
    let mut answer = Vec::new();
    let reading = async { while let Ok(1..) = stream.read_buf(&mut answer).await {} };
    let closed = timeout(SOON, reading).await.is_ok();
    let answer = String::from_utf8_lossy(&answer).into_owned();
    assert!(closed, "open: {answer}");
    answer
}

async fn internal(service: &Service, path: &str) -> Answer {
    Answer::to(service.http.get(format!("{}{path}", service.internal))).await
}

async fn both() -> (Service, Service) {
    let database = Database::create(Kind::Sqlite).await;
    let mut auth = Service::auth(&database.url, &[("AUTH__LIMITS__REFRESH_BURST", "0")]);
    auth.start().await;
    let mut resource = Service::resource(&auth, &[]);
    resource.start().await;
    (auth, resource)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_without_an_end_take_bounded_memory_and_hold_nobody_up() {
    let _alone = many_connections().await;
    let (auth, resource) = both().await;
    let mut tokens = auth.newcomer("ada").await;
    let feed = internal(&auth, "/internal/revocations").await;
    let cursor = feed.member("cursor");
    let slow = format!(
        "GET /internal/revocations?cursor={cursor}&wait=20000 HTTP/1.1\r\nHost: x\r\n\r\n{}",
        head(125_000)
    );
    let before = [&auth, &resource].map(|service| resident_kib(service.pid()).0);
    let mut open = Vec::new();
    for (service, url) in [
        (&auth, &auth.public),
        (&auth, &auth.internal),
        (&resource, &resource.public),
        (&resource, &resource.internal),
    ] {
        let mut forms = forms();
        if url == &auth.internal {
            forms.push(slow.clone());
        }
        for form in &forms {
            let all = (0..CONNECTIONS).map(|_| connect(address(url), form));
            open.extend(join_all(all).await);
            tokens = Tokens::of(&auth.refresh(&tokens.refresh).await);
            assert_eq!(resource.whoami(&tokens.access).await.status, 200);
        }
        let most = resident_kib(service.pid()).1;
        println!("{url}: {most} KiB at the most");
    }
    for (service, before) in [&auth, &resource].into_iter().zip(before) {
        let grown = resident_kib(service.pid()).1.saturating_sub(before);
        println!("{grown} KiB more at the most, {} connections", open.len());
        assert!(grown < MORE_KIB, "{grown} KiB more");
    }
    assert!(cut(&auth, &["head-too-long"]).await > 0);
}

/// Also where it is not the first of its connection, and where it comes in small parts: the answer is
/// there before the time for a head is over, and does not wait for its end.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_head_over_16_kib_is_refused_as_it_arrives() {
    let (auth, resource) = both().await;
    let urls = [&auth.public, &auth.internal, &resource.public, &resource.internal];
    join_all(urls.map(async |url| {
        for first in ["", WHOLE] {
            let mut stream = connect(address(url), &format!("{first}{}", head(15_500))).await;
            for _ in 0..1000 {
                if stream.write_all(b"X: a\r\n").await.is_err() {
                    break;
                }
            }
            let answer = rest(&mut stream).await;
            let (_, refusal) = answer.split_at(answer.find("HTTP/1.1 431 ").expect(&answer));
            assert!(refusal.contains("connection: close"), "{answer}");
            assert_eq!(answer.contains(r#"{"status":"live"}"#), !first.is_empty(), "{answer}");
        }
    }))
    .await;
}

/// The bodies of one listener may hold 16 MiB together: a thousand of the largest, or all of the
/// smaller ones that come in the time that a body has.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_too_much_that_is_unfinished_the_longest_waiting_is_closed_and_no_other() {
    let _alone = many_connections().await;
    let (auth, _resource) = both().await;
    for (begins, ends) in [
        (head(15_900), "\r\n".to_owned()),
        (format!("{POST}Content-Length: 16002\r\n\r\n{{{}", " ".repeat(16_000)), "}".to_owned()),
        (
            format!("{POST}Transfer-Encoding: chunked\r\n\r\n3e82\r\n{{{}", " ".repeat(16_000)),
            "}\r\n0\r\n\r\n".to_owned(),
        ),
    ] {
        let at = address(&auth.public);
        // Its answer says that what follows has been read, so that it has waited longer than any other.
        let mut first = connect(at, &format!("{WHOLE}{begins}")).await;
        read_until(&mut first, r#"{"status":"live"}"#).await;
        let mut others = Vec::new();
        for _ in 0..11 {
            others.extend(join_all((0..100).map(|_| connect(at, &begins))).await);
        }
        assert_eq!(rest(&mut first).await, "", "the first of all is closed without an answer");
        // The internal listener is not touched by it, nor are the newest here.
        assert_eq!(internal(&auth, "/health/ready").await.status, 200);
        let mut newest = others.pop().expect("there are many");
        newest.write_all(ends.as_bytes()).await.expect("it reads");
        let mut answer = [0; 12];
        timeout(SOON, newest.read_exact(&mut answer)).await.expect("soon").expect("an answer");
        let answer = String::from_utf8_lossy(&answer);
        assert!(["HTTP/1.1 200", "HTTP/1.1 401"].contains(&&*answer), "{answer}");
    }
    assert!(cut(&auth, &["too-much"]).await > 0);
}

/// The process gives it back to the system while nothing else happens.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_flood_of_unfinished_requests_took_is_given_back_when_it_is_gone() {
    let _alone = many_connections().await;
    let (auth, resource) = both().await;
    let forms = forms();
    for (service, urls) in [
        (&auth, [&auth.public, &auth.internal]),
        (&resource, [&resource.public, &resource.internal]),
    ] {
        let before = resident_kib(service.pid()).0;
        let mut open = Vec::new();
        for (url, form) in urls.iter().flat_map(|url| forms.iter().map(move |form| (url, form))) {
            for _ in 0..4 {
                open.extend(join_all((0..100).map(|_| connect(address(url), form))).await);
            }
        }
        until("the flood takes memory", async || {
            resident_kib(service.pid()).0 > before + before / 2
        })
        .await;
        drop(open);
        given_back(service, before).await;
    }
}

/// Each thread finds thousands of connections on which everything has come already.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_unfinished_keeps_to_its_bound_at_every_moment_when_all_of_it_comes_at_once() {
    let _alone = many_connections().await;
    let (auth, resource) = both().await;
    let head = head(15_900);
    let body = format!("{POST}Content-Length: 16002\r\n\r\n{{{}", " ".repeat(16_000));
    for (service, url) in [(&auth, &auth.public), (&resource, &resource.public)] {
        let before = resident_kib(service.pid()).0;
        let asks: Vec<_> = (0..3000).flat_map(|_| [head.as_bytes(), body.as_bytes()]).collect();
        let all = all_at_once(service, url, &asks).await;
        until("those beyond the bound are closed", async || {
            cut(service, &["too-much", "too-slow"]).await >= all.len() - 2100
        })
        .await;
        let grown = resident_kib(service.pid()).1.saturating_sub(before);
        println!("{url}: {grown} KiB more at the most for {} requests", all.len());
        assert!(grown < MORE_AT_ONCE_KIB, "{grown} KiB more");
        assert_eq!(service.get("/health/ready").await.status, 200);
    }
}

/// What is collected below HTTP is still HTTP: requests sent ahead are answered in their order, and who
/// asks before sending a body is told.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_sent_ahead_are_answered_in_order_and_a_question_before_a_body_is_answered() {
    let (auth, _resource) = both().await;
    let paths: Vec<_> = (0..40).map(|at| format!("/nothing-{at}")).collect();
    let ahead = paths.iter().map(|path| {
        format!("GET {path} HTTP/1.1\r\nX-Request-Id: {}\r\nHost: x\r\n\r\n", &path[1..])
    });
    let last = "GET /health/live HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    let all = format!("{}{last}{WHOLE}", ahead.collect::<String>());
    let answer = rest(&mut connect(address(&auth.public), &all).await).await;
    let ids: Vec<_> =
        answer.lines().filter_map(|line| line.strip_prefix("x-request-id: nothing-")).collect();
    assert_eq!(ids, (0..40).map(|at| at.to_string()).collect::<Vec<_>>(), "{answer}");
    assert_eq!(answer.matches(r#"{"status":"live"}"#).count(), 1, "none after the last: {answer}");

    for length in ["Content-Length: 2\r\n", "Transfer-Encoding: chunked\r\n"] {
        let asks = format!("{POST}{length}Expect: 100-continue\r\n\r\n");
        let mut stream = connect(address(&auth.public), &asks).await;
        let mut told = [0; 25];
        timeout(SOON, stream.read_exact(&mut told)).await.expect("soon").expect("a word");
        assert_eq!(&told, b"HTTP/1.1 100 Continue\r\n\r\n");
        let body = if length.starts_with('C') { "{}" } else { "2\r\n{}\r\n0\r\n\r\n" };
        stream.write_all(body.as_bytes()).await.expect("it reads");
        let mut answer = [0; 13];
        timeout(SOON, stream.read_exact(&mut answer)).await.expect("soon").expect("an answer");
        assert_eq!(&answer, b"HTTP/1.1 401 ");
    }
}
