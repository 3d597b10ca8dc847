//! What anyone may know: keys, metadata, health, and headers on everything.

use std::time::{Duration, Instant};

use reqwest::RequestBuilder;
use reqwest::header::{HOST, IF_NONE_MATCH};
use serde_json::{Value, json};
use testbed::world::ISSUER;
use testbed::{Answer, Kind, PASSWORD, Tokens, World, on_both_databases};

use crate::support::{assert_one_sentence, jwt_part, members};

const JWKS: &str = "/.well-known/jwks.json";
const METADATA: &str = "/.well-known/oauth-authorization-server";

fn get(world: &World, path: &str) -> RequestBuilder {
    world.http.get(format!("{}{path}", world.auth))
}

async fn known(world: &World, path: &str, tag: &str) -> u16 {
    Answer::to(get(world, path).header(IF_NONE_MATCH, tag)).await.status
}

on_both_databases! {
    /// RFC 8414: only what is true.
    async fn the_metadata_says_what_is_true(world) {
        for host in [None, Some("evil.example"), Some("evil.example:8080")] {
            let mut request = get(&world, METADATA).header("x-forwarded-host", "evil.example");
            if let Some(host) = host {
                request = request.header(HOST, host);
            }
            let answer = Answer::to(request.header("x-forwarded-proto", "https")).await;
            assert_eq!(answer.status, 200);
            answer.assert_hardened();
            assert_eq!(answer.header("content-type"), Some("application/json"));
            assert_eq!(answer.header("access-control-allow-origin"), Some("*"));
            let document = answer.json();
            assert_eq!(
                document,
                json!({
                    "issuer": ISSUER,
                    "jwks_uri": format!("{ISSUER}{JWKS}"),
                    "scopes_supported": ["profile", "email", "reports:read", "reports:write"],
                    "grant_types_supported": ["password", "refresh_token"],
                    "token_endpoint_auth_methods_supported": ["none"],
                    "account_registration": "open",
                })
            );
        }
        let tokens = world.newcomer("ada").await;
        let claims: Value = serde_json::from_str(&jwt_part(&tokens.access, 1)).unwrap();
        assert_eq!(claims["iss"], ISSUER, "byte for byte");
    }

    async fn a_healthy_service_says_so(world) {
        for base in [&world.auth, &world.internal] {
            for (path, status) in [("/health/live", "live"), ("/health/ready", "ready")] {
                let answer = Answer::to(world.http.get(format!("{base}{path}"))).await;
                assert_eq!((answer.status, answer.json()), (200, json!({"status": status})));
                assert_eq!(answer.header("cache-control"), Some("no-store"));
                answer.assert_hardened();
            }
        }
    }

    async fn nobody_is_told_what_runs_here(world) {
        let tokens = world.newcomer("ada").await;
        let mut answers = vec![
            world.post("/login", &json!({"username": "ada", "password": PASSWORD})).await,
            world.refresh(&tokens.refresh).await,
            world.refresh("garbage").await,
            world.get_as(&tokens.access, "/me").await,
            world.logout(&tokens.refresh, "current").await,
            world.post("/login", &json!([])).await,
        ];
        for path in [
            JWKS,
            METADATA,
            "/health/live",
            "/health/ready",
            "/",
            "/login",
            "/metrics",
            "/internal/revocations",
            "/openapi.json",
            "/docs/style.css",
        ] {
            answers.push(Answer::to(get(&world, path)).await);
        }
        answers.iter().for_each(Answer::assert_hardened);
        for page in ["/docs", "/problems", "/problems/csrf"] {
            answers.push(Answer::to(get(&world, page)).await);
        }
        for answer in &answers {
            for word in ["actix", "rust", "sqlx", "postgres", "sqlite", env!("CARGO_PKG_VERSION")] {
                assert!(
                    !answer.text.to_ascii_lowercase().contains(word),
                    "{word}: {}",
                    answer.text
                );
                for (name, value) in &answer.headers {
                    let value = String::from_utf8_lossy(value.as_bytes()).to_ascii_lowercase();
                    assert!(!value.contains(word), "{word} in {name}");
                }
            }
            for name in ["server", "x-powered-by", "via"] {
                assert!(answer.header(name).is_none(), "{name}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_keys_are_published_for_five_minutes() {
    let world = World::start(Kind::Sqlite).await;
    let answer = Answer::to(get(&world, JWKS)).await;
    assert_eq!(answer.status, 200);
    answer.assert_hardened();
    assert_eq!(answer.header("content-type"), Some("application/jwk-set+json"));
    assert_eq!(answer.header("cache-control"), Some("public, max-age=300"));
    assert_eq!(answer.header("access-control-allow-origin"), Some("*"));
    assert_eq!(members(&answer.json()), ["keys"]);
    let again = Answer::to(get(&world, JWKS)).await;
    assert_eq!(
        (again.text, again.headers.get("etag")),
        (answer.text.clone(), answer.headers.get("etag"))
    );
}

/// RFC 9110 §13.1.2: compared weakly, since what stands between may weaken a tag.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_has_the_keys_already_is_told_so() {
    let world = World::start(Kind::Sqlite).await;
    for path in [JWKS, METADATA] {
        let answer = Answer::to(get(&world, path)).await;
        let tag = answer.header("etag").expect("a tag").to_owned();
        assert!(tag.starts_with('"') && tag.ends_with('"'), "{tag}");
        let held = Answer::to(get(&world, path).header(IF_NONE_MATCH, &tag)).await;
        assert_eq!((held.status, held.text.as_str()), (304, ""));
        held.assert_hardened();
        for name in ["etag", "cache-control", "access-control-allow-origin"] {
            assert_eq!(held.header(name), answer.header(name), "RFC 9110 §15.4.5: {name}");
        }
        for held in [format!("\"other\", {tag}"), format!("W/{tag}"), "*".to_owned()] {
            assert_eq!(known(&world, path, &held).await, 304, "{held}");
        }
        for other in ["\"other\"", "", tag.trim_matches('"'), "é"] {
            assert_eq!(known(&world, path, other).await, 200, "{other}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn there_is_no_openid_provider_yet() {
    let world = World::start(Kind::Sqlite).await;
    Answer::to(get(&world, "/.well-known/openid-configuration"))
        .await
        .assert_problem(404, "not-found");
}

/// N-T14: what is for operators is not on the public listener.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_internal_routes_are_not_public() {
    let world = World::start(Kind::Sqlite).await;
    for path in ["/metrics", "/internal/revocations"] {
        let answer = Answer::to(get(&world, path)).await;
        answer.assert_problem(404, "not-found");
        assert_one_sentence(&answer);
        let inside = Answer::to(world.http.get(format!("{}{path}", world.internal))).await;
        assert_eq!(inside.status, 200, "{path}");
        inside.assert_hardened();
    }
    let login = world.http.post(format!("{}/login", world.internal));
    Answer::to(login.json(&json!({}))).await.assert_problem(404, "not-found");
}

/// RFC 7517: what the public may have of a key of each kind, and nothing more.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_algorithm_works_from_login_to_logout() {
    for (algorithm, expected) in [
        ("ES256", &["alg", "crv", "kid", "kty", "use", "x", "y"][..]),
        ("EdDSA", &["alg", "crv", "kid", "kty", "use", "x"]),
        ("RS256", &["alg", "e", "kid", "kty", "n", "use"]),
    ] {
        for kind in [Kind::Postgres, Kind::Sqlite] {
            let world = World::start_with(kind, &[("AUTH__KEYS__ALGORITHM", algorithm)]).await;
            let keys = Answer::to(get(&world, JWKS)).await.json()["keys"].clone();
            let keys = keys.as_array().expect("a list");
            assert_eq!(keys.len(), 1, "{algorithm}");
            assert_eq!(members(&keys[0]), expected);
            assert_eq!((&keys[0]["alg"], &keys[0]["use"]), (&json!(algorithm), &json!("sig")));

            let first = world.newcomer("ada").await;
            let kid = keys[0]["kid"].as_str().expect("a kid");
            let header = format!(r#"{{"alg":"{algorithm}","typ":"at+jwt","kid":"{kid}"}}"#);
            assert_eq!(jwt_part(&first.access, 0), header);
            let second = Tokens::of(&world.refresh(&first.refresh).await);
            for access in [&first.access, &second.access] {
                assert_eq!(world.whoami(access).await.member("username"), "ada");
                assert_eq!(world.get_as(access, "/me").await.member("username"), "ada");
            }
            assert_eq!(world.logout(&second.refresh, "current").await.status, 204);
            world.until_refused(&first.access).await;
            world.until_refused(&second.access).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_its_database_the_service_is_live_but_not_ready() {
    let world = World::start(Kind::Postgres).await;
    world.database.take_away().await;
    assert_eq!(Answer::to(get(&world, "/health/live")).await.status, 200);
    let answer = Answer::to(get(&world, "/health/ready")).await;
    assert_eq!((answer.status, members(&answer.json())), (503, vec!["status"]));
    answer.assert_hardened();
    assert_eq!(Answer::to(get(&world, JWKS)).await.status, 200, "keys are in memory");
    world.database.bring_back().await;
    let deadline = Instant::now() + Duration::from_secs(10);
    while Answer::to(get(&world, "/health/ready")).await.status != 200 {
        assert!(Instant::now() < deadline, "it does not recover");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// RFC 8414 §3.2, RFC 9728 §3.2: what has no elements is left out. What is left out has a default (RFC 8414 §2), and here
/// those of grants and of authentication would not be true.
#[tokio::test(flavor = "multi_thread")]
async fn the_metadata_of_both_services_has_no_empty_member_and_no_default_that_is_untrue() {
    let few = [("AUTH__TOKENS__SCOPES", "profile"), ("AUTH__TOKENS__DEFAULT_SCOPES", "profile")];
    for settings in [&[][..], &few] {
        let world = World::start_with(Kind::Sqlite, settings).await;
        let authorization = Answer::to(get(&world, METADATA)).await.json();
        let protected = format!("{}/.well-known/oauth-protected-resource", world.resource);
        let protected = Answer::to(world.http.get(protected)).await.json();
        for (member, value) in [&authorization, &protected].into_iter().flat_map(all_members) {
            let empty = [json!([]), json!({}), json!(""), Value::Null].contains(value);
            assert!(!empty, "{member}");
        }
        let says = |member: &str| authorization[member].as_array().expect("a list").clone();
        for (member, untrue) in [
            ("grant_types_supported", &["authorization_code", "implicit"][..]),
            ("token_endpoint_auth_methods_supported", &["client_secret_basic"]),
        ] {
            let said = says(member);
            assert!(!untrue.iter().any(|value| said.contains(&json!(value))), "{member}: {said:?}");
        }
        for absent in ["authorization_endpoint", "token_endpoint", "response_types_supported"] {
            assert!(authorization.get(absent).is_none(), "{absent}");
        }
    }
}

fn all_members(document: &Value) -> impl Iterator<Item = (&String, &Value)> {
    document.as_object().expect("an object").iter()
}

/// The metadata is true also behind a path and under another name.
#[tokio::test(flavor = "multi_thread")]
async fn the_issuer_is_told_as_it_was_configured() {
    let issuer = "http://localhost:8080/auth/v1";
    let settings = [("AUTH__ISSUER", issuer), ("RESOURCE__ISSUER", issuer)];
    let world = World::start_with(Kind::Sqlite, &settings).await;
    let document = Answer::to(get(&world, METADATA)).await.json();
    assert_eq!(document["issuer"], issuer);
    assert_eq!(document["jwks_uri"], format!("{issuer}{JWKS}"));
    let body = json!({"username": "ada", "password": PASSWORD});
    let refused = world.post("/login", &body).await;
    assert_eq!(refused.member("type"), format!("{issuer}/problems/invalid-credentials"));
    let tokens = world.newcomer("ada").await;
    assert_eq!(world.whoami(&tokens.access).await.status, 200);
}
