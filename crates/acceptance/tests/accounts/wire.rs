//! Requests that are odd before anybody looks into their bodies: methods, paths, headers, bytes.

use reqwest::header::{ALLOW, AUTHORIZATION, HOST};
use reqwest::{Method, RequestBuilder};
use serde_json::json;
use testbed::world::ISSUER;
use testbed::{Answer, Kind, PASSWORD, Tokens, World, on_both_databases};

use crate::support::{
    assert_one_sentence, assert_refused, claims_of, login_bytes, raw, state, statuses,
};

/// Every public route and what it takes.
const ROUTES: [(&str, &str); 19] = [
    ("/register", "POST"),
    ("/login", "POST"),
    ("/refresh", "POST"),
    ("/logout", "POST"),
    ("/password", "POST"),
    ("/sessions", "GET, HEAD"),
    ("/sessions/AAAAAAAAAAAAAAAAAAAAAA", "DELETE"),
    ("/me", "GET, HEAD, PATCH, DELETE"),
    ("/me/export", "GET, HEAD"),
    ("/.well-known/jwks.json", "GET, HEAD"),
    ("/.well-known/oauth-authorization-server", "GET, HEAD"),
    ("/sessions/events", "GET, HEAD"),
    ("/problems", "GET, HEAD"),
    ("/problems/csrf", "GET, HEAD"),
    ("/openapi.json", "GET, HEAD"),
    ("/docs", "GET, HEAD"),
    ("/docs/style.css", "GET, HEAD"),
    ("/health/live", "GET, HEAD"),
    ("/health/ready", "GET, HEAD"),
];

on_both_databases! {
    /// N-K05, N-T11
    async fn a_route_says_which_methods_it_takes(world) {
        let tokens = world.newcomer("ada").await;
        let before = state(&world).await;
        for (path, allowed) in ROUTES {
            for method in [
                "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "BREW", "post",
            ] {
                if allowed.split(", ").any(|one| one == method) {
                    continue;
                }
                let name = Method::from_bytes(method.as_bytes()).unwrap();
                let request = world.http.request(name, format!("{}{path}", world.auth));
                let request = request.bearer_auth(&tokens.access);
                let answer = Answer::to(request.json(&json!({"sessions": "all"}))).await;
                assert_eq!(answer.status, 405, "{method} {path}");
                assert_eq!(answer.headers.get(ALLOW).unwrap(), allowed, "{method} {path}");
                if method == "HEAD" {
                    assert_eq!(answer.text, "");
                    answer.assert_hardened();
                } else {
                    assert_refused(&answer, 405, "method-not-allowed");
                }
            }
        }
        assert_eq!(state(&world).await, before);
    }

    /// N-T07: an address has one spelling, and what is not one leads nowhere.
    async fn no_trick_with_the_path_reaches_a_route(world) {
        let tokens = world.newcomer("ada").await;
        let before = state(&world).await;
        let long = format!("/{}", "a".repeat(15 * 1024));
        let deep = "/a".repeat(4000);
        for path in [
            "/",
            "/nothing",
            "//login",
            "/login/",
            "/login//",
            "/./login",
            "/a/../login",
            "/../login",
            "/login/.",
            "/login/..",
            "/login%2f",
            "/%2flogin",
            "/%2e/login",
            "/login%00",
            "/login%20",
            "/login%0d%0a",
            "/login;a=1",
            "/LOGIN",
            "/Login",
            "/login.json",
            "/login%3Fa=1",
            "/login%ff",
            "/%zz",
            "/login%",
            "\\login",
            "/login\\",
            "*",
            "/sessions/a/b",
            "/sessions/",
            "/auth/login",
            "/register/../login",
            &long,
            &deep,
            "http://evil.example/nothing",
        ] {
            let headers = format!(
                "Host: x\r\nConnection: close\r\nAuthorization: Bearer {}\r\n",
                tokens.access
            );
            let answer = raw(&world, login_bytes(path, &headers).as_bytes()).await;
            let found = statuses(&answer);
            assert!(matches!(found[..], [404 | 400]), "{path:.60}: {answer}");
            assert!(!answer.contains("access_token"));
        }
        assert_eq!(state(&world).await, before);
        let request = world.http.post(format!("{}/nothing", world.auth)).json(&json!({}));
        assert_refused(&Answer::to(request).await, 404, "not-found");
    }

    /// RFC 6750 §2.3, OAuth 2.1: what is in an address ends in a log.
    async fn a_credential_in_the_query_is_not_looked_at(world) {
        let tokens = world.newcomer("ada").await;
        let before = state(&world).await;
        for path in ["/me", "/sessions"] {
            for name in ["access_token", "token", "bearer_token", "Authorization"] {
                let url = format!("{}{path}?{name}={}", world.auth, tokens.access);
                Answer::to(world.http.get(url)).await.assert_problem(401, "unauthenticated");
            }
        }
        let query = |path: &str, query: &[(&str, &str)]| {
            world.http.post(format!("{}{path}", world.auth)).query(query).json(&json!({}))
        };
        Answer::to(query("/refresh", &[("refresh_token", &tokens.refresh)]))
            .await
            .assert_problem(401, "unauthenticated");
        let login = [("username", "ada"), ("password", PASSWORD)];
        assert_refused(&Answer::to(query("/login", &login)).await, 400, "invalid-request");
        let answer = Answer::to(query("/logout", &[("refresh_token", &tokens.refresh)])).await;
        assert_eq!(answer.status, 204, "nobody was logged out, as nobody asked");
        assert_eq!(state(&world).await, before);
        // And it does no harm beside a good one.
        let url = format!("{}/me?access_token=garbage", world.auth);
        assert_eq!(Answer::to(world.http.get(url).bearer_auth(&tokens.access)).await.status, 200);
    }

    /// N-T05
    async fn two_authorization_headers_are_refused(world) {
        let tokens = world.newcomer("ada").await;
        let before = state(&world).await;
        let own = format!("/sessions/{}", tokens.session);
        let change = json!({"current_password": PASSWORD, "new_password": "some other sentence"});
        for (method, path, body) in [
            ("GET", "/me", json!({})),
            ("GET", "/sessions", json!({})),
            ("DELETE", &own, json!({})),
            ("POST", "/password", change),
            ("POST", "/logout", json!({})),
            ("POST", "/logout", json!({"sessions": "all"})),
        ] {
            for second in [
                format!("Bearer {}", tokens.access),
                "Bearer x".to_owned(),
                "Basic eA==".to_owned(),
            ] {
                let name = method.parse::<Method>().unwrap();
                let request = world.http.request(name, format!("{}{path}", world.auth));
                let request = request.bearer_auth(&tokens.access).header(AUTHORIZATION, second);
                let answer = Answer::to(request.json(&body)).await;
                assert_eq!(answer.status, 400, "{method} {path}: {}", answer.text);
                assert_eq!(answer.member("code"), "invalid-request");
                assert_one_sentence(&answer);
                // RFC 6750 §3.1 has the challenge here too.
                let challenge = answer.header("www-authenticate").unwrap_or_default();
                assert!(challenge.contains(r#"error="invalid_request""#), "{challenge}");
            }
        }
        assert_eq!(state(&world).await, before);
    }

    /// N-T06
    async fn what_a_client_says_of_itself_changes_nothing(world) {
        world.register("ada").await;
        let spoofed = |request: RequestBuilder| {
            request
                .header(HOST, "evil.example")
                .header("forwarded", "for=203.0.113.7;host=evil.example;proto=https")
                .header("x-forwarded-for", "203.0.113.7")
                .header("x-forwarded-host", "evil.example")
                .header("x-forwarded-proto", "https")
                .header("x-forwarded-port", "1")
                .header("x-forwarded-prefix", "/evil")
                .header("x-original-url", "/health/live")
                .header("x-rewrite-url", "/health/live")
                .header("x-http-method-override", "DELETE")
                .header("x-real-ip", "203.0.113.7")
                .header("x-user-id", "admin")
        };
        let url = |path: &str| format!("{}{path}", world.auth);
        let login = world.http.post(url("/login"));
        let login = login.json(&json!({"username": "ada", "password": PASSWORD}));
        let tokens = Tokens::of(&Answer::to(spoofed(login)).await);
        assert_eq!(claims_of(&tokens.access)["iss"], ISSUER);
        let sessions = spoofed(world.http.get(url("/sessions"))).bearer_auth(&tokens.access);
        let sessions = Answer::to(sessions).await;
        assert_eq!(sessions.json()["sessions"][0]["ip"], "127.0.0.1");
        let refresh = world.http.post(url("/refresh"));
        let refresh = refresh.json(&json!({"refresh_token": tokens.refresh}));
        Tokens::of(&Answer::to(spoofed(refresh)).await);
        let strange =
            "select count(*) from sessions where ip <> '127.0.0.1' or rotated_ip <> '127.0.0.1'";
        assert_eq!(world.database.number(strange).await, 0);
        let refused = Answer::to(spoofed(world.http.get(url("/me")))).await;
        refused.assert_problem(401, "unauthenticated");
        assert_eq!(refused.member("type"), format!("{ISSUER}/problems/unauthenticated"));
        assert!(!format!("{:?}", refused.headers).contains("evil"));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn head_is_get_without_the_body() {
    let world = World::start(Kind::Sqlite).await;
    let tokens = world.newcomer("ada").await;
    for (path, allowed) in ROUTES {
        if !allowed.contains("HEAD") {
            continue;
        }
        let send = |method: Method, access: &str| {
            let request = world.http.request(method, format!("{}{path}", world.auth));
            Answer::to(request.bearer_auth(access))
        };
        for access in [tokens.access.as_str(), "garbage"] {
            let get = send(Method::GET, access).await.told();
            let head = send(Method::HEAD, access).await.told();
            assert_eq!((head.0, head.1), (get.0, get.1), "{path}");
            assert_eq!(head.2, "");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_id_is_echoed_where_it_is_harmless() {
    let world = World::start(Kind::Sqlite).await;
    let send = |id: &[u8]| {
        let request = world.http.get(format!("{}/me", world.auth));
        Answer::to(request.header("x-request-id", id))
    };
    let long = "x".repeat(64);
    for id in ["a", "Req-1_2", "0123456789abcdef", &long] {
        let answer = send(id.as_bytes()).await;
        answer.assert_problem(401, "unauthenticated");
        assert_eq!(answer.header("x-request-id"), Some(id));
    }
    let longer = "x".repeat(65);
    for id in ["", "a b", "a\tb", "a;b", "a\"b", "<a>", "${a}", "\u{1b}[31m", "é", &longer] {
        let Ok(value) = reqwest::header::HeaderValue::from_bytes(id.as_bytes()) else {
            continue;
        };
        let answer = send(value.as_bytes()).await;
        answer.assert_problem(401, "unauthenticated");
        let given = answer.header("x-request-id").unwrap();
        assert!(given.len() == 32 && given.bytes().all(|b| b.is_ascii_hexdigit()), "{given}");
    }
    let (one, two) = (world.refresh("x").await, world.refresh("x").await);
    assert_ne!(one.header("x-request-id"), two.header("x-request-id"));
}

/// N-T12, N-T13
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn odd_headers_are_no_error() {
    let world = World::start(Kind::Sqlite).await;
    world.register("ada").await;
    let long = "x".repeat(8000);
    for (name, value) in [
        ("traceparent", "garbage"),
        ("traceparent", ""),
        ("traceparent", "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"),
        ("traceparent", "00-00000000000000000000000000000000-00f067aa0ba902b7-01"),
        ("traceparent", "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01"),
        ("tracestate", &long),
        ("user-agent", &long),
        ("user-agent", "é\u{9f}"),
        ("user-agent", ""),
        ("accept", "text/html"),
        ("accept-encoding", "gzip"),
        ("te", "trailers"),
        ("range", "bytes=0-1"),
        ("if-match", "\"x\""),
        ("priority", "u=9"),
    ] {
        let request = world.http.post(format!("{}/login", world.auth)).header(name, value);
        let request = request.json(&json!({"username": "ada", "password": PASSWORD}));
        let answer = Answer::to(request).await;
        assert_eq!(answer.status, 200, "{name}: {value:.40}: {}", answer.text);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_line_that_is_no_request_is_refused() {
    let world = World::start(Kind::Sqlite).await;
    let before = state(&world).await;
    for bytes in [
        "GET\r\n\r\n",
        "GET /health/live\r\n\r\n",
        "\0\0\0\0\r\n\r\n",
        "GET /health/live HTTP/9.9\r\nHost: x\r\n\r\n",
        "GET  /health/live HTTP/1.1\r\nHost: x\r\n\r\n",
        "GET /health/live HTTP/1.1\r\n\r\n",
        "GET /health/live HTTP/1.1 x\r\nHost: x\r\n\r\n",
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        "\x16\x03\x01\x02\0\x01\0\x01\r\n\r\n",
    ] {
        let answer = raw(&world, bytes.as_bytes()).await;
        assert!(matches!(statuses(&answer)[..], [] | [400]), "{bytes:?}: {answer}");
    }
    let many = "x: y\r\n".repeat(2000);
    let request = format!("GET /health/live HTTP/1.1\r\nHost: x\r\n{many}\r\n");
    assert!(matches!(statuses(&raw(&world, request.as_bytes()).await)[..], [] | [400 | 431]));
    assert_eq!(state(&world).await, before);
    assert_eq!(
        Answer::to(world.http.get(format!("{}/health/ready", world.auth))).await.status,
        200
    );
}

/// HTTP/1.0 has no Host, and absolute-form is for proxies; neither is any harm.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_old_or_absolute_request_is_answered_as_any_other() {
    let world = World::start(Kind::Sqlite).await;
    for request in [
        "GET /.well-known/oauth-authorization-server HTTP/1.0\r\n\r\n",
        "GET http://evil.example/.well-known/oauth-authorization-server HTTP/1.1\r\n\
         Host: evil.example\r\nConnection: close\r\n\r\n",
    ] {
        let answer = raw(&world, request.as_bytes()).await;
        assert!(answer.contains(&format!(r#""issuer":"{ISSUER}""#)), "{answer}");
        assert!(!answer.contains("evil"));
    }
}
