//! Where a request ends: what can be read in two ways is refused, and with it what follows.

use serde_json::json;
use testbed::{Kind, World, on_both_databases};

use crate::support::{login_bytes, raw, raw_at, state, statuses};

on_both_databases! {
    /// N-T03, N-T05: a request that two parsers may read in two ways is none, and neither is what
    /// comes after it on the connection.
    async fn a_request_with_two_meanings_is_refused_and_the_connection_closed(world) {
        let tokens = world.newcomer("ada").await;
        let before = state(&world).await;
        let smuggled = login_bytes("/login", "Host: x\r\nConnection: close\r\n");
        let length = smuggled.len();
        let json = "Host: x\r\nContent-Type: application/json\r\n";
        let refresh = format!(r#"{{"refresh_token":"{}"}}"#, tokens.refresh);
        let chunk = format!("{:x}\r\n{refresh}\r\n0\r\n\r\n", refresh.len());
        for head in [
            format!("{json}Content-Length: {length}\r\nTransfer-Encoding: chunked\r\n"),
            format!("{json}Transfer-Encoding: chunked\r\nContent-Length: {length}\r\n"),
            format!("{json}Content-Length: 0\r\nTransfer-Encoding: chunked\r\n"),
            format!("{json}Content-Length: {}\r\nContent-Length: 0\r\n", chunk.len()),
            format!("{json}Content-Length: 5\r\nContent-Length: 5\r\n"),
            format!("{json}Content-Length: 5, 5\r\n"),
            format!("{json}Content-Length: +5\r\n"),
            format!("{json}Content-Length: 0x5\r\n"),
            format!("{json}Content-Length: -1\r\n"),
            format!("{json}Content-Length: 99999999999999999999999\r\n"),
            format!("{json}Content-Length : 5\r\n"),
            format!("{json}Transfer-Encoding : chunked\r\n"),
            format!("{json}Transfer-Encoding: xchunked\r\n"),
            format!("{json}Transfer-Encoding: chunked, identity\r\n"),
            format!("{json}Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n"),
            format!("{json}Transfer-Encoding: \x0bchunked\r\n"),
            format!("{json}X: a\nTransfer-Encoding: chunked\r\nContent-Length: {length}\r\n"),
            format!("{json}X: a\r\n folded: b\r\n"),
            format!("{json}X\0: a\r\n"),
            format!("{json}X: a\rb\r\n"),
            format!("{json}Host: y\r\n"),
            format!("{json} Leading: space\r\n"),
            format!("{json}Transfer-Encoding: identity\r\n"),
            format!("{json}Transfer-Encoding: identity, chunked\r\nContent-Length: 3\r\n"),
            format!("{json}Content-Length: 5\r\nTransfer-Encoding: xchunked\r\n"),
            format!("{json}Content-Length: 5\r\n 5\r\n"),
            format!("{json}Content-Length: \r\n"),
            format!("{json}Content-Length: 5 5\r\n"),
            "Content-Type: application/json\r\nContent-Length: 0\r\n".to_owned(),
        ] {
            let bytes = format!("POST /refresh HTTP/1.1\r\n{head}\r\n{chunk}{smuggled}");
            let answer = raw(&world, bytes.as_bytes()).await;
            assert!(matches!(statuses(&answer)[..], [] | [400]), "{head:?}: {answer}");
        }
        assert_eq!(state(&world).await, before, "nothing was refreshed, nobody logged in");
    }
}

/// N-T03. What is said beside the size of a chunk is no harm; that it costs nothing is in
/// `system/endless.rs`.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_odd_chunk_is_refused_and_the_connection_closed() {
    let world = World::start(Kind::Sqlite).await;
    let tokens = world.newcomer("ada").await;
    let before = state(&world).await;
    let smuggled = login_bytes("/login", "Host: x\r\nConnection: close\r\n");
    let body = format!(r#"{{"refresh_token":"{}"}}"#, tokens.refresh);
    let size = format!("{:x}", body.len());
    for chunks in [
        format!("0x{size}\r\n{body}\r\n0\r\n\r\n"),
        format!("+{size}\r\n{body}\r\n0\r\n\r\n"),
        format!("-{size}\r\n{body}\r\n0\r\n\r\n"),
        format!("1000000000000000{size}\r\n{body}\r\n0\r\n\r\n"),
        format!("{size}\n{body}\n0\n\n"),
        format!("{size}\r{body}\r0\r\r"),
        format!("{size}\r\n{body}xx0\r\n\r\n"),
        format!("\r\n{size}\r\n{body}\r\n0\r\n\r\n"),
        format!("{size};a\nb\r\n{body}\r\n0\r\n\r\n"),
    ] {
        let head = "POST /refresh HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n";
        let bytes = format!("{head}Transfer-Encoding: chunked\r\n\r\n{chunks}{smuggled}");
        let answer = raw(&world, bytes.as_bytes()).await;
        assert!(matches!(statuses(&answer)[..], [] | [400 | 413]), "{chunks:.60}: {answer}");
    }
    assert_eq!(state(&world).await, before, "nothing was refreshed, nobody logged in");
}

/// N-T12: two traces are none, and a state too long for a head is refused with its request.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_trace_that_is_none_is_not_continued_and_no_error() {
    let world = World::start(Kind::Sqlite).await;
    let trace = "traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01\r\n";
    let state = |bytes: usize| format!("tracestate: a={}\r\n", "x".repeat(bytes));
    for (headers, status) in [
        (trace.repeat(2), 200),
        (format!("{trace}{}", state(16_000)), 200),
        (format!("{trace}{}", state(17_000)), 431),
        (format!("{trace}{}{}", state(500), state(500)), 200),
        (state(500), 200),
        (state(1 << 20), 431),
    ] {
        let request =
            format!("GET /health/live HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{headers}\r\n");
        let found = statuses(&raw(&world, request.as_bytes()).await);
        // Who is still sending when it is refused may not hear it.
        let unheard = status == 431 && found.is_empty();
        assert!(unheard || found == [status], "{headers:.60}: {found:?}");
    }
}

/// What offers another protocol.
const OFFERS: [&str; 5] = [
    "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n",
    "Upgrade: websocket\r\n",
    "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA\r\n",
    "connection: keep-alive, upgrade\r\nupgrade: WebSocket\r\n",
    "Upgrade: TLS/1.0\r\nUpgrade: x/2, websocket\r\nConnection: upgrade\r\n",
];

/// RFC 9110 §7.8: who offers another protocol is answered as if they had not, and goes on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_offer_of_another_protocol_changes_nothing() {
    let world = World::start(Kind::Sqlite).await;
    let access = world.newcomer("ada").await.access;
    let title = json!({"title": "Upgraded"}).to_string();
    let report = |headers: &str| {
        format!(
            "POST /reports HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {access}\r\n{headers}\
             Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{title}",
            title.len()
        )
    };
    let ready = |headers: &str| format!("GET /health/ready HTTP/1.1\r\nHost: x\r\n{headers}\r\n");
    let login = |headers: &str| login_bytes("/login", &format!("Host: x\r\n{headers}"));
    let last = "Connection: close\r\n";
    for offer in OFFERS {
        for (service, bytes, expected) in [
            (&world.auth, login(offer) + &login(last), [200, 200]),
            (&world.auth, ready(offer) + &login(last), [200, 200]),
            (&world.resource, report(offer) + &report(last), [201, 201]),
            (&world.resource, ready(offer) + &report(last), [200, 201]),
        ] {
            let answer = raw_at(service, bytes.as_bytes()).await;
            assert_eq!(statuses(&answer), expected, "{offer}: {answer}");
            assert!(!answer.to_ascii_lowercase().contains("upgrade:"), "{answer}");
            assert!(!answer.to_ascii_lowercase().contains("connection: upgrade"), "{answer}");
        }
        for (service, bytes) in [(&world.auth, login(offer)), (&world.resource, report(offer))] {
            // It has no other protocols, and its connection ends unless both sides want it to go on.
            let old = bytes.replace("HTTP/1.1", "HTTP/1.0").replace("keep-alive, ", "");
            let answer = raw_at(service, old.as_bytes()).await;
            assert!(answer.starts_with("HTTP/1.0 20"), "{offer}: {answer}");
        }
    }
}
