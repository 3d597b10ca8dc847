//! Who comes in: each scope opens its routes and no others.

use std::collections::BTreeSet;

use futures_util::future::join_all;
use serde_json::{Value, json};
use testbed::world::ISSUER;
use testbed::{Answer, Kind, PASSWORD, Tokens, World, on_both_databases};

use crate::support::{
    ALL, AUDIT_READ, KEYS, NOBODY, SESSIONS_END, USERS_READ, USERS_WRITE, ask, get, give,
    login_for, prepare, request, root, somebody,
};

/// It tells what the audit log has of somebody, so that it takes a second scope.
const EXPORT: &str = "/users/{id}/export";
/// Every route, and the scope that it takes. A route without a line here fails a test.
const ROUTES: [(&str, &str, &str); 19] = [
    ("GET", "/users", USERS_READ),
    ("POST", "/users", USERS_WRITE),
    ("GET", "/users/{id}", USERS_READ),
    ("PATCH", "/users/{id}", USERS_WRITE),
    ("DELETE", "/users/{id}", USERS_WRITE),
    ("GET", EXPORT, USERS_READ),
    ("PUT", "/users/{id}/password", USERS_WRITE),
    ("GET", "/users/{id}/sessions", USERS_READ),
    ("DELETE", "/users/{id}/sessions", SESSIONS_END),
    ("DELETE", "/sessions/{id}", SESSIONS_END),
    ("GET", "/invitations", USERS_READ),
    ("POST", "/invitations", USERS_WRITE),
    ("DELETE", "/invitations/{id}", USERS_WRITE),
    ("GET", "/keys", KEYS),
    ("POST", "/keys", KEYS),
    ("DELETE", "/keys/{id}", KEYS),
    ("GET", "/events", AUDIT_READ),
    ("HEAD", "/users", USERS_READ),
    ("HEAD", "/keys", KEYS),
];

/// A request to a route, of which nothing comes: what it is about is not there, or the body says nothing.
async fn harmless(world: &World, access: &str, method: &str, path: &str) -> Answer {
    let id = if path.starts_with("/sessions") { "AAAAAAAAAAAAAAAAAAAAAA" } else { NOBODY };
    let body = matches!(method, "POST" | "PUT" | "PATCH").then(|| json!({}));
    ask(world, access, method, &path.replace("{id}", id), body).await
}

#[test]
fn every_route_has_a_line_here() {
    let document: Value = serde_json::from_str(&openapi::admin::document()).expect("JSON");
    let mut described = BTreeSet::new();
    for (path, item) in document["paths"].as_object().expect("paths") {
        for method in item.as_object().expect("methods").keys() {
            described.insert(format!("{} {path}", method.to_uppercase()));
        }
    }
    // It takes no token, and tells nothing.
    assert!(described.remove("GET /admin/v1/openapi.json"));
    let lines = ROUTES.iter().filter(|(method, _, _)| *method != "HEAD");
    let lines: BTreeSet<_> =
        lines.map(|(method, path, _)| format!("{method} /admin/v1{path}")).collect();
    assert_eq!(lines, described);
}

on_both_databases! {
    async fn each_scope_alone_opens_its_routes_and_no_others(world) {
        prepare(&mut world, &[]).await;
        for own in ALL {
            let name = own.replace(':', "-");
            somebody(&world, &name, &[own]).await;
            let tokens = login_for(&world, &name, &[own]).await;
            for (method, path, needed) in ROUTES {
                let answer = harmless(&world, &tokens.access, method, path).await;
                let needed = if path == EXPORT && own == USERS_READ { AUDIT_READ } else { needed };
                if needed == own {
                    assert!(![401, 403].contains(&answer.status), "{method} {path}: {}", answer.text);
                    continue;
                }
                let challenge = answer.header("www-authenticate").expect("a challenge");
                assert!(challenge.contains("error=\"insufficient_scope\""), "{challenge}");
                assert!(challenge.contains(&format!("scope=\"{needed}\"")), "{method} {path}: {challenge}");
                assert_eq!(answer.status, 403, "{method} {path}");
                if method != "HEAD" {
                    answer.assert_problem(403, "forbidden");
                }
            }
        }
    }

    async fn nobody_comes_in_without_a_token_or_with_one_for_others(world) {
        prepare(&mut world, &[]).await;
        let (_, tokens) = root(&world).await;
        let for_all = json!({"username": "root", "password": PASSWORD, "scope": ALL.join(" ")});
        let for_all = world.post("/login", &for_all).await;
        // Whoever is asked by such a token could ask here with it.
        let for_all = (for_all.status == 200).then(|| Tokens::of(&for_all).access);
        let plain = world.login("root").await.access;
        for (method, path, _) in ROUTES.iter().filter(|(method, _, _)| *method != "HEAD") {
            let none = harmless(&world, "", method, path).await;
            none.assert_problem(401, "invalid-token");
            let bare = format!("{}/admin/v1{}", world.internal, path.replace("{id}", NOBODY));
            let bare = world.http.request(method.parse().expect("a method"), bare);
            Answer::to(bare).await.assert_problem(401, "unauthenticated");
            harmless(&world, &plain, method, path).await.assert_problem(401, "invalid-token");
            for token in for_all.iter().chain([&tokens.refresh]) {
                harmless(&world, token, method, path).await.assert_problem(401, "invalid-token");
            }
        }
        // The public listener has none of it.
        for (method, path, _) in ROUTES {
            let url = format!("{}/admin/v1{}", world.auth, path.replace("{id}", NOBODY));
            let request = world.http.request(method.parse().expect("a method"), url);
            assert_eq!(Answer::to(request.bearer_auth(&tokens.access)).await.status, 404, "{path}");
        }
    }

    async fn a_login_of_long_ago_is_asked_for_again(world) {
        prepare(&mut world, &[]).await;
        let (_, tokens) = root(&world).await;
        world.clock.advance(14 * 60 + 50);
        let fresh = Tokens::of(&world.refresh(&tokens.refresh).await);
        assert_eq!(get(&world, &fresh.access, "/users").await.status, 200);
        world.clock.advance(20);
        let answer = get(&world, &fresh.access, "/users").await;
        answer.assert_problem(401, "reauthentication-required");
        let challenge = answer.header("www-authenticate").expect("a challenge");
        assert!(challenge.contains("error=\"insufficient_user_authentication\""), "{challenge}");
        assert!(challenge.contains("max_age=\"900\""), "{challenge}");
        // No refresh makes it younger.
        let fresh = Tokens::of(&world.refresh(&fresh.refresh).await);
        get(&world, &fresh.access, "/users").await.assert_problem(401, "reauthentication-required");
        let again = login_for(&world, "root", &ALL).await;
        assert_eq!(get(&world, &again.access, "/users").await.status, 200);
    }

    async fn a_role_that_is_taken_away_and_a_session_that_is_over_count_at_once(world) {
        prepare(&mut world, &[]).await;
        let (id, tokens) = root(&world).await;
        assert_eq!(get(&world, &tokens.access, "/users").await.status, 200);
        give(&world, &id, &[USERS_WRITE]).await;
        let answer = get(&world, &tokens.access, "/users").await;
        answer.assert_problem(403, "forbidden");
        let challenge = answer.header("www-authenticate").expect("a challenge");
        assert!(challenge.contains("insufficient_scope"), "{challenge}");
        // What the roles that are left grant is as good as before.
        ask(&world, &tokens.access, "PATCH", &format!("/users/{NOBODY}"), Some(json!({}))).await
            .assert_problem(404, "not-found");
        give(&world, &id, &["admin"]).await;
        assert_eq!(get(&world, &tokens.access, "/users").await.status, 200);
        assert_eq!(world.logout(&tokens.refresh, "current").await.status, 204);
        get(&world, &tokens.access, "/users").await.assert_problem(401, "invalid-token");
    }

    async fn nobody_has_any_of_it_by_default(world) {
        let id = somebody(&world, "root", &["admin", "latchkey:keys"]).await;
        for scope in ALL {
            let body = json!({"username": "root", "password": PASSWORD, "scope": scope, "resource": ISSUER});
            let answer = world.post("/login", &body).await;
            let granted = answer.status == 200 && answer.member("scope").contains(scope);
            assert!(!granted, "{scope}: {}", answer.text);
        }
        assert_eq!(id.len(), 36);
    }

    async fn what_came_over_a_network_in_the_clear_is_refused(world) {
        prepare(&mut world, &[]).await;
        let (_, tokens) = root(&world).await;
        let with = |headers: &[(&'static str, &'static str)]| {
            let mut request = request(&world, &tokens.access, "GET", "/users");
            for (name, value) in headers {
                request = request.header(*name, *value);
            }
            Answer::to(request)
        };
        assert_eq!(with(&[("x-forwarded-proto", "https"), ("x-forwarded-for", "192.0.2.1")]).await.status, 200);
        let by_name = [("host", "auth.example.com"), ("x-forwarded-proto", "https")];
        assert_eq!(with(&by_name).await.status, 200);
        assert_eq!(with(&[("host", "localhost:9080")]).await.status, 200);
        for headers in [
            &[("x-forwarded-proto", "http")][..],
            &[("x-forwarded-for", "192.0.2.1")],
            &[("x-forwarded-proto", "https, http")],
            &[("x-forwarded-proto", "https"), ("x-forwarded-proto", "https")],
            // A proxy on this machine that says nothing of how it was asked.
            &[("x-real-ip", "192.0.2.1")],
            &[("x-forwarded-host", "auth.example.com")],
            &[("via", "1.1 proxy")],
            &[("host", "auth.example.com")],
            // A page in an administrator's browser, whose name was made to lead here.
            &[("host", "evil.example:9080"), ("sec-fetch-site", "same-origin")],
        ] {
            let answer = with(headers).await;
            answer.assert_problem(403, "forbidden");
            assert!(answer.member("detail").contains("https"), "{}", answer.text);
        }
    }

    async fn an_administrator_who_asks_without_end_is_told_to_wait(world) {
        prepare(&mut world, &[]).await;
        let (_, tokens) = root(&world).await;
        somebody(&world, "other", &["admin"]).await;
        let other = login_for(&world, "other", &ALL).await;
        let mut last = None;
        for _ in 0..40 {
            let some = (0..50).map(|_| get(&world, &tokens.access, "/keys"));
            last = join_all(some).await.into_iter().find(|answer| answer.status != 200);
            if last.is_some() {
                break;
            }
        }
        let answer = last.expect("it is too often at some time");
        answer.assert_problem(429, "rate-limited");
        assert_eq!(get(&world, &other.access, "/keys").await.status, 200, "each has their own");
    }
}

/// Without any setting a route says the same to everybody.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_query_or_a_method_that_a_route_does_not_have_is_refused() {
    let mut world = World::start(Kind::Sqlite).await;
    prepare(&mut world, &[]).await;
    let (id, tokens) = root(&world).await;
    for bad in [
        "/users?limit=0",
        "/users?limit=501",
        "/users?limit=-1",
        "/users?limit=x",
        "/users?limit=",
        "/users?limit=1&limit=2",
        "/users?after=x",
        "/users?page=2",
        "/users?user=id:x",
        "/users?after=%27%20or%201=1--",
        "/users?search=",
        "/users?search=%40",
        "/users?search=root&after=0197a3f2-5b1c-7d2e-8f90-a1b2c3d4e5f6",
        "/invitations?after=1",
        "/invitations?user=a",
        "/events?since=yesterday",
        "/events?user=root",
        "/events?after=x",
        "/events?limit=9999999999",
        "/events?kind=a&kind=b",
        "/events?until=2026-13-01T00:00:00Z",
    ] {
        get(&world, &tokens.access, bad).await.assert_problem(400, "invalid-request");
    }
    for gone in [
        "/users/x",
        "/users/..%2fkeys",
        &format!("/users/{NOBODY}"),
        &format!("/users/{NOBODY}/sessions"),
    ] {
        get(&world, &tokens.access, gone).await.assert_problem(404, "not-found");
    }
    for (method, path) in [
        ("DELETE", "/users"),
        ("POST", "/events"),
        ("PUT", "/keys"),
        ("GET", "/sessions/AAAAAAAAAAAAAAAAAAAAAA"),
    ] {
        ask(&world, &tokens.access, method, path, None)
            .await
            .assert_problem(405, "method-not-allowed");
    }
    let path = format!("/users/{id}");
    for (body, status, code) in [
        ("", 400, "invalid-request"),
        ("[]", 400, "invalid-request"),
        ("{\"roles\":[]", 400, "invalid-request"),
        ("{\"roles\":[],\"roles\":[\"admin\"]}", 400, "invalid-request"),
        ("{\"roles\":\"admin\"}", 400, "invalid-request"),
        ("{\"role\":[\"admin\"]}", 400, "invalid-request"),
        ("{\"password_hash\":\"x\"}", 400, "invalid-request"),
        ("{\"roles\":[\"two words\"]}", 400, "invalid-request"),
        ("{\"roles\":null}", 400, "invalid-request"),
        ("{\"enabled\":null}", 400, "invalid-request"),
        ("{\"username\":null}", 400, "invalid-request"),
        ("{\"username\":\"a@b\"}", 400, "invalid-request"),
        ("{\"email\":\"nobody\"}", 400, "invalid-request"),
    ] {
        let request = request(&world, &tokens.access, "PATCH", &path);
        let request = request.header("content-type", "application/json").body(body);
        Answer::to(request).await.assert_problem(status, code);
    }
    let form = request(&world, &tokens.access, "PATCH", &path)
        .header("content-type", "text/plain")
        .body("{}");
    Answer::to(form).await.assert_problem(415, "unsupported-media-type");
    let large = request(&world, &tokens.access, "PATCH", &path)
        .json(&json!({"roles": ["x".repeat(20_000)]}));
    Answer::to(large).await.assert_problem(413, "payload-too-large");
    // A body is read for nobody who may not come in.
    let stranger =
        request(&world, "x", "PATCH", &path).header("content-type", "text/plain").body("{}");
    Answer::to(stranger).await.assert_problem(401, "invalid-token");
}
