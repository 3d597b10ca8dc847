//! Bodies that no honest client sends. Every refusal says one sentence, and nothing changes.

use reqwest::RequestBuilder;
use reqwest::header::{CONTENT_ENCODING, CONTENT_TYPE};
use serde_json::json;
use testbed::{Answer, Kind, PASSWORD, Tokens, World, on_both_databases};

use crate::support::{assert_refused, raw, state, statuses};

const MAX_BYTES: usize = 16 * 1024;

/// The routes that read a body, a good one for each, and the name of its first member.
fn bodies() -> [(&'static str, String, &'static str); 5] {
    [
        ("/register", format!(r#"{{"username":"eve","password":"{PASSWORD}"}}"#), "username"),
        ("/login", format!(r#"{{"username":"ada","password":"{PASSWORD}"}}"#), "username"),
        ("/refresh", r#"{"refresh_token":"x"}"#.to_owned(), "refresh_token"),
        ("/logout", r#"{"refresh_token":"x"}"#.to_owned(), "refresh_token"),
        (
            "/password",
            format!(r#"{{"current_password":"{PASSWORD}","new_password":"{PASSWORD} 2"}}"#),
            "current_password",
        ),
    ]
}

/// Bodies that are no JSON object of the route, made from a good one.
fn malformed(good: &str, member: &str) -> Vec<Vec<u8>> {
    let rest = &good[1..];
    let escaped = format!("\\u{:04x}{}", u32::from(member.as_bytes()[0]), &member[1..]);
    let texts = [
        "{".to_owned(),
        good[..good.len() - 1].to_owned(),
        format!("{good}}}"),
        format!("{good}{good}"),
        format!("{good}\0"),
        good.replace('"', "'"),
        format!("{{\"{member}\":"),
        format!("{{{member}:\"x\"}}"),
        format!("{{\"{member}\":\"x\",}}"),
        format!("{{/* */{rest}"),
        format!("{{\"{member}\":NaN}}"),
        format!("[{good}]"),
        "[]".to_owned(),
        "null".to_owned(),
        "true".to_owned(),
        "1e400".to_owned(),
        format!("\"{member}\""),
        format!("{{\"{member}\":\"x\",{rest}"),
        format!("{{\"{escaped}\":\"x\",{rest}"),
        format!("{{\"unknown\":1,{rest}"),
        format!("{{\"unknown\":1,\"unknown\":2,{rest}"),
        format!("{{\"\":1,{rest}"),
        format!("{{\"__proto__\":{{}},{rest}"),
        good.replace(member, &member.to_uppercase()),
        format!("{{\"{member}\":1}}"),
        format!("{{\"{member}\":true}}"),
        format!("{{\"{member}\":[\"x\"]}}"),
        format!("{{\"{member}\":{{\"a\":1}}}}"),
        format!("{{\"{member}\":{}", "[".repeat(10_000)),
        format!("{{\"{member}\":{}1{}}}", "[".repeat(8_000), "]".repeat(8_000)),
        format!("{}1{}", "{\"a\":".repeat(2_000), "}".repeat(2_000)),
        format!("\u{feff}{good}"),
        format!("{{\"{member}\":\"\\ud800\"}}"),
        format!("{{\"{member}\":\"\\udc00\\ud800\"}}"),
        format!("{{\"{member}\":\"\\x41\"}}"),
        format!("{{\"{member}\":\"a\nb\"}}"),
    ];
    let mut bodies: Vec<_> = texts.into_iter().map(String::into_bytes).collect();
    for bytes in [&b"\xff"[..], b"\xc0\x80", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xe2\x82"] {
        bodies.push([b"{\"", member.as_bytes(), b"\":\"", bytes, b"\"}"].concat());
    }
    bodies
}

/// A request with a body, from whoever is logged in where that matters.
fn request(world: &World, tokens: &Tokens, path: &str) -> RequestBuilder {
    let request = world.http.post(format!("{}{path}", world.auth));
    if path == "/password" { request.bearer_auth(&tokens.access) } else { request }
}

on_both_databases! {
    async fn a_body_that_is_not_the_routes_is_refused(world) {
        let tokens = world.newcomer("ada").await;
        let before = state(&world).await;
        for (path, good, member) in bodies() {
            for body in malformed(&good, member) {
                let request = request(&world, &tokens, path);
                let request = request.header(CONTENT_TYPE, "application/json").body(body.clone());
                let answer = Answer::to(request).await;
                assert_eq!(answer.status, 400, "{path} {}", String::from_utf8_lossy(&body));
                assert_refused(&answer, 400, "invalid-request");
            }
        }
        assert_eq!(state(&world).await, before);
    }

    async fn a_member_that_is_missing_is_named(world) {
        let tokens = world.newcomer("ada").await;
        for (path, member, body) in [
            ("/register", "password", json!({"username": "eve"})),
            ("/register", "username", json!({"password": PASSWORD})),
            ("/login", "password", json!({"username": "ada"})),
            ("/login", "username", json!({})),
            ("/password", "new_password", json!({"current_password": PASSWORD})),
            ("/password", "current_password", json!({})),
        ] {
            let answer = Answer::to(request(&world, &tokens, path).json(&body)).await;
            assert_refused(&answer, 400, "invalid-request");
            assert!(answer.member("detail").contains(member), "{}", answer.text);
        }
    }

    async fn a_value_that_is_none_of_the_list_is_refused(world) {
        let tokens = world.newcomer("ada").await;
        let before = state(&world).await;
        for (path, member, values) in [
            ("/login", "transport", [json!("Cookie"), json!(""), json!(null), json!("header")]),
            ("/logout", "sessions", [json!("Current"), json!(""), json!(null), json!("none")]),
            ("/password", "sessions", [json!("Others"), json!(""), json!(null), json!("current")]),
        ] {
            let (_, good, _) = bodies().into_iter().find(|(of, ..)| *of == path).unwrap();
            for value in values {
                let mut body: serde_json::Value = serde_json::from_str(&good).unwrap();
                body[member] = value;
                let answer = Answer::to(request(&world, &tokens, path).json(&body)).await;
                assert_refused(&answer, 400, "invalid-request");
            }
        }
        assert_eq!(state(&world).await, before);
    }

    /// N-T10
    async fn another_media_type_is_refused(world) {
        let tokens = world.newcomer("ada").await;
        let before = state(&world).await;
        for (path, good, _) in bodies() {
            for kind in [
                None,
                Some(""),
                Some("text/plain"),
                Some("text/json"),
                Some("application/xml"),
                Some("multipart/form-data; boundary=x"),
                Some("application/json; charset=utf-16"),
                Some("application/json;charset=\"iso-8859-1\""),
                Some("application/problem+json"),
                Some("application/json, application/json"),
            ] {
                let mut request = request(&world, &tokens, path).body(good.clone());
                if let Some(kind) = kind {
                    request = request.header(CONTENT_TYPE, kind);
                }
                let answer = Answer::to(request).await;
                assert_eq!(answer.status, 415, "{path} {kind:?}");
                assert_refused(&answer, 415, "unsupported-media-type");
            }
            for coding in ["gzip", "br", "deflate", "identity, gzip"] {
                let request = request(&world, &tokens, path).header(CONTENT_ENCODING, coding);
                let request = request.header(CONTENT_TYPE, "application/json");
                let answer = Answer::to(request.body(good.clone())).await;
                assert_refused(&answer, 415, "unsupported-media-type");
            }
            let utf16: Vec<u8> = good.encode_utf16().flat_map(u16::to_le_bytes).collect();
            let typed = request(&world, &tokens, path).header(CONTENT_TYPE, "application/json");
            assert_refused(&Answer::to(typed.body(utf16)).await, 400, "invalid-request");
            let twice = request(&world, &tokens, path).header(CONTENT_TYPE, "application/json");
            let twice = twice.header(CONTENT_TYPE, "application/json").body(good);
            assert_refused(&Answer::to(twice).await, 400, "invalid-request");
        }
        assert_eq!(state(&world).await, before);
    }

    /// N-T01
    async fn a_body_of_more_than_16_kib_is_refused(world) {
        let tokens = world.newcomer("ada").await;
        for (path, good, _) in bodies() {
            let before = state(&world).await;
            let padded = |bytes: usize| format!("{good}{}", " ".repeat(bytes - good.len()));
            let json = |body: String| {
                let request = request(&world, &tokens, path);
                Answer::to(request.header(CONTENT_TYPE, "application/json").body(body))
            };
            assert_refused(&json(padded(MAX_BYTES + 1)).await, 413, "payload-too-large");
            assert_refused(&json(padded(1_000_000)).await, 413, "payload-too-large");
            let chunk = padded(MAX_BYTES / 2 + 1);
            let chunked = format!(
                "POST {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {}\r\n\
                 Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n\
                 {:x}\r\n{chunk}\r\n{:x}\r\n{chunk}\r\n0\r\n\r\n",
                tokens.access,
                chunk.len(),
                chunk.len(),
            );
            let answer = raw(&world, chunked.as_bytes()).await;
            assert_eq!(statuses(&answer), [413], "{answer}");
            assert!(answer.to_ascii_lowercase().contains("\r\nconnection: close\r\n"), "{answer}");
            assert_eq!(state(&world).await, before);
            assert!(json(padded(MAX_BYTES)).await.status < 413, "16 KiB are not too much");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_name_that_comes_back_cannot_do_harm() {
    let world = World::start(Kind::Sqlite).await;
    for name in ["a\nb", "a. b", "\u{1b}[31m", "a`, expected", &"x".repeat(15_000)] {
        let body = json!({name: 1, "username": "ada", "password": PASSWORD});
        let answer = world.post("/login", &body).await;
        assert_refused(&answer, 400, "invalid-request");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_charset_that_says_the_same_or_less_is_ignored() {
    let world = World::start(Kind::Sqlite).await;
    let tokens = world.newcomer("ada").await;
    let (path, good, _) = bodies()[1].clone();
    // What is read is UTF-8, whatever is said of it.
    let named = good.replacen('{', r#"{"device":"Ada’s téléphone","#, 1);
    for kind in [
        "application/json; charset=utf-8",
        "Application/JSON;Charset=\"UTF-8\"",
        "application/json; charset=utf8",
        "application/json;charset=UTF8",
        "application/json; charset=us-ascii",
        "application/json; charset=utf8; charset=\"US-ASCII\"",
    ] {
        let request = world.http.post(format!("{}{path}", world.auth));
        let answer = Answer::to(request.header(CONTENT_TYPE, kind).body(named.clone())).await;
        assert_eq!(answer.status, 200, "{kind}: {}", answer.text);
        let report = world.http.post(format!("{}/reports", world.resource));
        let report = report.bearer_auth(&tokens.access).header(CONTENT_TYPE, kind);
        let answer = Answer::to(report.body(r#"{"title":"Été"}"#)).await;
        assert_eq!((answer.status, answer.member("title").as_str()), (201, "Été"), "{kind}");
    }
    for kind in
        ["application/json; charset=utf-16", "application/json; charset=utf8; charset=latin1"]
    {
        let login = world.http.post(format!("{}{path}", world.auth)).body(good.clone());
        let report = world.http.post(format!("{}/reports", world.resource));
        let report = report.bearer_auth(&tokens.access).body(r#"{"title":"x"}"#);
        for request in [login, report] {
            let answer = Answer::to(request.header(CONTENT_TYPE, kind)).await;
            assert_refused(&answer, 415, "unsupported-media-type");
            assert!(answer.member("detail").contains("charset"), "{}", answer.text);
        }
    }
    let form = format!("username=ada&password={}", PASSWORD.replace(' ', "+"));
    let request = world.http.post(format!("{}{path}", world.auth));
    let request = request.header(CONTENT_TYPE, "application/x-www-form-urlencoded; charset=utf8");
    assert_eq!(Answer::to(request.body(form)).await.status, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_length_that_cannot_be_meant_is_no_reason_to_wait() {
    let world = World::start(Kind::Sqlite).await;
    let request = format!(
        "POST /login HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n\
         Content-Length: 1000000000000\r\n\r\n{}",
        " ".repeat(MAX_BYTES + 1)
    );
    assert_eq!(statuses(&raw(&world, request.as_bytes()).await), [413]);
}
