//! The resource-service: what it demands, what it serves, and when it cannot know.

use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use futures_util::future::join_all;
use reqwest::Method;
use reqwest::header::AUTHORIZATION;
use serde_json::{Value, json};
use testbed::database::{Database, Kind};
use testbed::world::{AUDIENCE, ISSUER};
use testbed::{Answer, PASSWORD, Tokens, World, on_both_databases};

use testbed::service::{Service, until};

const CHALLENGE: &str = "Bearer realm=\"resource\", \
    resource_metadata=\"http://127.0.0.1:8081/.well-known/oauth-protected-resource\"";
const ORIGIN: &str = "https://app.example.com";

fn to(world: &World, method: &str, path: &str) -> reqwest::RequestBuilder {
    let method: Method = method.parse().expect("a method");
    world.http.request(method, format!("{}{path}", world.resource))
}

async fn get(world: &World, access: &str, path: &str) -> Answer {
    Answer::to(to(world, "GET", path).bearer_auth(access)).await
}

async fn write(world: &World, access: &str, title: &str) -> Answer {
    let request = to(world, "POST", "/reports").bearer_auth(access);
    Answer::to(request.json(&json!({ "title": title }))).await
}

async fn delete(world: &World, access: &str, id: &str) -> Answer {
    Answer::to(to(world, "DELETE", &format!("/reports/{id}")).bearer_auth(access)).await
}

async fn login_with_scope(world: &World, username: &str, scope: &str) -> Tokens {
    let body = json!({"username": username, "password": PASSWORD, "scope": scope});
    Tokens::of(&world.post("/login", &body).await)
}

fn titles(answer: &Answer) -> Vec<String> {
    let json = answer.json();
    let reports = json["reports"].as_array().expect("a list");
    reports.iter().map(|report| report["title"].as_str().unwrap().to_owned()).collect()
}

fn claims(access: &str) -> Value {
    let payload = access.split('.').nth(1).expect("three parts");
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload).expect("base64url")).expect("JSON")
}

/// The 401 that says nothing about why.
#[track_caller]
fn assert_invalid(answer: &Answer) {
    answer.assert_problem(401, "invalid-token");
    let challenge = format!(
        "{CHALLENGE}, error=\"invalid_token\", \
         error_description=\"The access token is not valid\""
    );
    assert_eq!(answer.header("www-authenticate"), Some(challenge.as_str()));
    assert_eq!(answer.json()["detail"], "The access token is not valid here; get a new one.");
}

#[track_caller]
fn assert_lacks_scope(answer: &Answer, scope: &str) {
    answer.assert_problem(403, "forbidden");
    let challenge = format!("{CHALLENGE}, error=\"insufficient_scope\", scope=\"{scope}\"");
    assert_eq!(answer.header("www-authenticate"), Some(challenge.as_str()));
}

on_both_databases! {
    async fn whoami_says_whom_the_token_speaks_for(world) {
        let tokens = world.newcomer("ada").await;
        let answer = world.whoami(&tokens.access).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
        answer.assert_hardened();
        assert_eq!(answer.header("content-type"), Some("application/json"));
        assert_eq!(answer.header("cache-control"), Some("no-store"));
        let expires_in = answer.json()["expires_in"].as_u64().unwrap();
        let promised = tokens.json["expires_in"].as_u64().unwrap();
        assert!((promised - 5..=promised).contains(&expires_in), "{expires_in} of {promised}");
        assert_eq!(answer.json(), json!({
            "sub": world.get_as(&tokens.access, "/me").await.json()["id"],
            "username": "ada",
            "client_id": "latchkey",
            "scope": "profile reports:read reports:write",
            "roles": [],
            "session_id": tokens.session,
            "expires_in": expires_in,
        }));
        let narrow = login_with_scope(&world, "ada", "reports:read").await;
        let json = world.whoami(&narrow.access).await.json();
        assert_eq!(json["username"], Value::Null, "the name comes with the scope profile");
        assert_eq!(json["scope"], "reports:read");
    }

    async fn without_a_credential_the_challenge_says_where_to_get_one(world) {
        let tokens = world.newcomer("ada").await;
        let asked = [
            to(&world, "GET", "/whoami"),
            to(&world, "GET", "/reports"),
            to(&world, "POST", "/reports").json(&json!({"title": "t"})),
            to(&world, "DELETE", "/reports/1"),
            to(&world, "GET", "/whoami").header(AUTHORIZATION, "Basic YTpi"),
            to(&world, "GET", "/whoami").header(AUTHORIZATION, &tokens.access),
            to(&world, "GET", &format!("/whoami?access_token={}", tokens.access)),
            to(&world, "POST", "/reports")
                .header("content-type", "application/x-www-form-urlencoded")
                .body(format!("access_token={}", tokens.access)),
        ];
        for request in asked {
            let answer = Answer::to(request).await;
            answer.assert_problem(401, "unauthenticated");
            assert_eq!(answer.header("www-authenticate"), Some(CHALLENGE), "no error code");
        }
    }

    async fn every_bad_token_gets_one_and_the_same_text(world) {
        let tokens = world.newcomer("ada").await;
        let other = World::start(world.database.kind()).await.newcomer("ada").await;
        let (signed, _) = tokens.access.rsplit_once('.').unwrap();
        let unsigned = "eyJhbGciOiJub25lIiwidHlwIjoiYXQrand0In0.e30.";
        for bad in ["", "x", "a.b.c", unsigned, &tokens.refresh, &format!("{signed}.AAAA"),
            &format!("{}x", tokens.access), &format!("{} x", tokens.access), &other.access,
            &"x".repeat(9000)]
        {
            let header = format!("Bearer {bad}");
            let request = to(&world, "GET", "/whoami").header(AUTHORIZATION, header);
            assert_invalid(&Answer::to(request).await);
        }
        assert_eq!(world.whoami(&tokens.access).await.status, 200);
        world.logout(&tokens.refresh, "current").await;
        world.until_refused(&tokens.access).await;
        assert_invalid(&world.whoami(&tokens.access).await);
    }

    async fn a_token_in_the_query_neither_helps_nor_harms(world) {
        let tokens = world.newcomer("ada").await;
        let path = "/whoami?access_token=nonsense";
        assert_eq!(get(&world, &tokens.access, path).await.status, 200);
        let path = format!("/whoami?access_token={}", tokens.access);
        assert_invalid(&get(&world, "nonsense", &path).await);
    }

    async fn the_scheme_may_be_written_in_any_case(world) {
        let tokens = world.newcomer("ada").await;
        for scheme in ["Bearer", "bearer", "BEARER"] {
            let header = format!("{scheme} {}", tokens.access);
            let request = to(&world, "GET", "/whoami").header(AUTHORIZATION, header);
            assert_eq!(Answer::to(request).await.status, 200, "{scheme}");
        }
    }

    async fn two_authorization_headers_are_one_too_many(world) {
        let tokens = world.newcomer("ada").await;
        let request = to(&world, "GET", "/whoami").bearer_auth(&tokens.access);
        let answer = Answer::to(request.bearer_auth(&tokens.access)).await;
        answer.assert_problem(400, "invalid-request");
        let challenge = format!("{CHALLENGE}, error=\"invalid_request\"");
        assert_eq!(answer.header("www-authenticate"), Some(challenge.as_str()));
    }

    async fn reports_are_written_read_and_deleted(world) {
        let tokens = world.newcomer("ada").await;
        let access = tokens.access.as_str();
        let empty = get(&world, access, "/reports").await;
        assert_eq!((empty.status, empty.json()), (200, json!({"reports": []})));
        assert_eq!(empty.header("cache-control"), Some("no-store"));

        let created = write(&world, access, "First").await;
        assert_eq!(created.status, 201, "{}", created.text);
        created.assert_hardened();
        let report = created.json();
        assert_eq!(report.as_object().unwrap().len(), 3, "{report}");
        assert_eq!(report["title"], "First");
        let id = created.member("id");
        assert!(uuid::Uuid::parse_str(&id).is_ok(), "{id}");
        let created_at = created.member("created_at");
        assert!(created_at.ends_with('Z') && created_at.contains('T'), "{created_at}");

        let second = write(&world, access, "Second").await.json();
        let all = get(&world, access, "/reports").await;
        assert_eq!(all.json(), json!({ "reports": [report, second] }));

        let deleted = delete(&world, access, &id).await;
        assert_eq!((deleted.status, deleted.text.as_str()), (204, ""));
        deleted.assert_hardened();
        delete(&world, access, &id).await.assert_problem(404, "not-found");
        assert_eq!(titles(&get(&world, access, "/reports").await), ["Second"]);
    }

    async fn each_route_names_the_scope_that_a_token_lacks(world) {
        world.register("ada").await;
        let reader = login_with_scope(&world, "ada", "profile reports:read").await.access;
        let writer = login_with_scope(&world, "ada", "reports:write").await.access;
        let neither = login_with_scope(&world, "ada", "profile").await.access;

        assert_eq!(get(&world, &reader, "/reports").await.status, 200);
        assert_lacks_scope(&write(&world, &reader, "t").await, "reports:write");
        let created = write(&world, &writer, "t").await;
        assert_eq!(created.status, 201, "{}", created.text);
        assert_lacks_scope(&get(&world, &writer, "/reports").await, "reports:read");
        let id = created.member("id");
        assert_lacks_scope(&delete(&world, &reader, &id).await, "reports:write");
        assert_lacks_scope(&get(&world, &neither, "/reports").await, "reports:read");
        assert_lacks_scope(&write(&world, &neither, "t").await, "reports:write");
        assert_eq!(world.whoami(&neither).await.status, 200, "whoami needs none");
        assert_eq!(titles(&get(&world, &reader, "/reports").await), ["t"], "still there");
        assert_eq!(delete(&world, &writer, &id).await.status, 204);
    }

    async fn a_title_has_one_to_two_hundred_characters(world) {
        let access = world.newcomer("ada").await.access;
        for title in ["x", &"x".repeat(200), &"é".repeat(200), &"🦀".repeat(200)] {
            let answer = write(&world, &access, title).await;
            assert_eq!((answer.status, answer.member("title").as_str()), (201, title));
        }
        for title in ["", &"x".repeat(201), &"é".repeat(201)] {
            write(&world, &access, title).await.assert_problem(400, "invalid-request");
        }
        for body in [json!({}), json!({"title": 1}), json!({"title": null}), json!([]),
            json!({"title": "t", "owner": "ada"})]
        {
            let request = to(&world, "POST", "/reports").bearer_auth(&access).json(&body);
            Answer::to(request).await.assert_problem(400, "invalid-request");
        }
        let typed = |media: &str, body: String| {
            let request = to(&world, "POST", "/reports").bearer_auth(&access);
            Answer::to(request.header("content-type", media).body(body))
        };
        let twice = r#"{"title":"a","title":"b"}"#;
        typed("application/json", twice.to_owned()).await.assert_problem(400, "invalid-request");
        typed("text/plain", r#"{"title":"a"}"#.to_owned()).await
            .assert_problem(415, "unsupported-media-type");
        let large = format!(r#"{{"title":"{}"}}"#, "x".repeat(20_000));
        typed("application/json", large).await.assert_problem(413, "payload-too-large");
        assert_eq!(titles(&get(&world, &access, "/reports").await).len(), 4, "and nothing else");
    }

    async fn everybody_sees_their_own_reports_only(world) {
        let ada = world.newcomer("ada").await.access;
        let bob = world.newcomer("bob").await.access;
        let id = write(&world, &ada, "Ada's").await.member("id");
        write(&world, &bob, "Bob's").await;
        assert_eq!(titles(&get(&world, &ada, "/reports").await), ["Ada's"]);
        assert_eq!(titles(&get(&world, &bob, "/reports").await), ["Bob's"]);
        delete(&world, &bob, &id).await.assert_problem(404, "not-found");
        assert_eq!(titles(&get(&world, &ada, "/reports").await), ["Ada's"]);
        let again = world.login("ada").await.access;
        assert_eq!(titles(&get(&world, &again, "/reports").await), ["Ada's"], "another session");
    }

    async fn beyond_one_hundred_the_oldest_report_goes(world) {
        let access = world.newcomer("ada").await.access;
        for number in 1..=103 {
            assert_eq!(write(&world, &access, &number.to_string()).await.status, 201);
        }
        let expected: Vec<_> = (4..=103).map(|number| number.to_string()).collect();
        assert_eq!(titles(&get(&world, &access, "/reports").await), expected);
    }

    async fn deleting_needs_a_login_of_the_last_five_minutes(world) {
        let tokens = world.newcomer("ada").await;
        let mut ids = Vec::new();
        for title in ["a", "b", "c"] {
            ids.push(write(&world, &tokens.access, title).await.member("id"));
        }
        world.clock.advance(295);
        assert_eq!(delete(&world, &tokens.access, &ids[0]).await.status, 204);

        world.clock.advance(10);
        let refreshed = Tokens::of(&world.refresh(&tokens.refresh).await);
        for access in [&tokens.access, &refreshed.access] {
            let answer = delete(&world, access, &ids[1]).await;
            answer.assert_problem(401, "reauthentication-required");
            let challenge = format!(
                "{CHALLENGE}, error=\"insufficient_user_authentication\", \
                 error_description=\"A more recent login is needed\", max_age=\"300\""
            );
            assert_eq!(answer.header("www-authenticate"), Some(challenge.as_str()));
            assert_eq!(get(&world, access, "/reports").await.status, 200, "reading is as before");
        }
        let recent = world.login("ada").await.access;
        assert_eq!(delete(&world, &recent, &ids[1]).await.status, 204);
        assert_eq!(titles(&get(&world, &recent, "/reports").await), ["c"]);
    }

    async fn what_is_not_ones_report_is_not_found(world) {
        let access = world.newcomer("ada").await.access;
        write(&world, &access, "t").await;
        for id in ["0190b0a0-0000-7000-8000-000000000000", "nonsense", "1", "%00", "%ff", "..%2f",
            &"x".repeat(1000)]
        {
            delete(&world, &access, id).await.assert_problem(404, "not-found");
        }
        delete(&world, &access, "").await.assert_problem(404, "not-found");
        assert_eq!(titles(&get(&world, &access, "/reports").await), ["t"]);
    }

    async fn a_token_is_good_until_thirty_seconds_after_its_end(world) {
        let tokens = world.newcomer("ada").await;
        let claims = claims(&tokens.access);
        let (iat, exp) = (claims["iat"].as_i64().unwrap(), claims["exp"].as_i64().unwrap());
        assert_eq!(exp - iat, tokens.json["expires_in"].as_i64().unwrap());
        world.clock.advance(exp - iat - 5);
        assert_eq!(world.whoami(&tokens.access).await.status, 200);
        world.clock.advance(25);
        let answer = world.whoami(&tokens.access).await;
        assert_eq!((answer.status, &answer.json()["expires_in"]), (200, &json!(0)), "leeway");
        world.clock.advance(10);
        assert_invalid(&world.whoami(&tokens.access).await);
        let fresh = Tokens::of(&world.refresh(&tokens.refresh).await);
        assert_eq!(world.whoami(&fresh.access).await.status, 200);
    }

    async fn the_metadata_says_who_issues_tokens_for_this_service(world) {
        let path = "/.well-known/oauth-protected-resource";
        let answer = Answer::to(to(&world, "GET", path)).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
        answer.assert_hardened();
        assert_eq!(answer.header("content-type"), Some("application/json"));
        assert_eq!(answer.json(), json!({
            "resource": AUDIENCE,
            "authorization_servers": [ISSUER],
            "scopes_supported": ["reports:read", "reports:write"],
            "bearer_methods_supported": ["header"],
        }));
    }

    async fn health_says_how_old_the_knowledge_of_revocations_is(world) {
        let live = Answer::to(to(&world, "GET", "/health/live")).await;
        assert_eq!((live.status, live.json()), (200, json!({"status": "live"})));
        let ready = Answer::to(to(&world, "GET", "/health/ready")).await;
        let age = ready.json()["revocation_age_ms"].as_u64().expect("a number");
        assert!(age < 5_000, "{age}");
        let body = json!({"status": "ready", "revocation_age_ms": age});
        assert_eq!((ready.status, ready.json()), (200, body));
        for answer in [live, ready] {
            answer.assert_hardened();
            assert_eq!(answer.header("cache-control"), Some("no-store"));
        }
    }

    async fn a_wrong_method_is_told_the_right_ones(world) {
        let access = world.newcomer("ada").await.access;
        for (path, wrong, allowed) in [
            ("/whoami", "POST", "GET, HEAD"),
            ("/whoami", "DELETE", "GET, HEAD"),
            ("/reports", "PUT", "GET, HEAD, POST"),
            ("/reports", "DELETE", "GET, HEAD, POST"),
            ("/reports/1", "GET", "DELETE"),
            ("/reports/1", "PATCH", "DELETE"),
            ("/.well-known/oauth-protected-resource", "POST", "GET, HEAD"),
            ("/health/live", "POST", "GET, HEAD"),
            ("/health/ready", "PUT", "GET, HEAD"),
            ("/whoami", "OPTIONS", "GET, HEAD"),
            ("/whoami", "TRACE", "GET, HEAD"),
            ("/whoami", "INVENTED", "GET, HEAD"),
        ] {
            for request in [to(&world, wrong, path), to(&world, wrong, path).bearer_auth(&access)] {
                let answer = Answer::to(request).await;
                answer.assert_problem(405, "method-not-allowed");
                assert_eq!(answer.header("allow"), Some(allowed), "{wrong} {path}");
            }
        }
    }

    async fn there_is_nothing_at_other_addresses(world) {
        let access = world.newcomer("ada").await.access;
        for path in ["/", "/whoami/", "/Whoami", "/reports/", "/reports/1/2", "/login", "/me",
            "/metrics", "/internal/revocations", "/health", "/.well-known/jwks.json"]
        {
            get(&world, &access, path).await.assert_problem(404, "not-found");
            Answer::to(to(&world, "POST", path)).await.assert_problem(404, "not-found");
        }
    }

    async fn head_is_get_without_the_body(world) {
        let access = world.newcomer("ada").await.access;
        write(&world, &access, "t").await;
        for path in ["/whoami", "/reports", "/.well-known/oauth-protected-resource",
            "/health/live", "/health/ready"]
        {
            let head = Answer::to(to(&world, "HEAD", path).bearer_auth(&access)).await;
            let get = get(&world, &access, path).await;
            assert_eq!((head.status, head.text.as_str()), (200, ""), "{path}");
            for name in ["content-type", "cache-control"] {
                assert_eq!(head.header(name), get.header(name), "{name} of {path}");
            }
            head.assert_hardened();
        }
        let refused = Answer::to(to(&world, "HEAD", "/whoami")).await;
        assert_eq!((refused.status, refused.header("www-authenticate")), (401, Some(CHALLENGE)));
    }

    async fn every_answer_names_its_request(world) {
        let request = to(&world, "GET", "/whoami").header("x-request-id", "abc-1");
        let answer = Answer::to(request).await;
        answer.assert_problem(401, "unauthenticated");
        assert_eq!(answer.header("x-request-id"), Some("abc-1"));
        assert_eq!(answer.member("type"), format!("{ISSUER}/problems/unauthenticated"));
    }
}

/// Every header that allows a page something.
fn allowances(answer: &Answer) -> Vec<&str> {
    let names = answer.headers.keys().map(reqwest::header::HeaderName::as_str);
    names.filter(|name| name.starts_with("access-control-allow-")).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_page_of_a_configured_origin_may_call_and_no_other() {
    for kind in [Kind::Postgres, Kind::Sqlite] {
        let settings = [("RESOURCE__HTTP__ALLOWED_ORIGINS", ORIGIN)];
        let world = World::start_with(kind, &settings).await;
        let access = world.newcomer("ada").await.access;

        for (method, path) in [("GET", "/whoami"), ("POST", "/reports"), ("DELETE", "/reports/1")] {
            let preflight = |origin: &str, headers: &str| {
                let request = to(&world, "OPTIONS", path).header("origin", origin);
                let request = request.header("access-control-request-method", method);
                Answer::to(request.header("access-control-request-headers", headers))
            };
            let answer = preflight(ORIGIN, "authorization, content-type, dpop").await;
            assert_eq!((answer.status, answer.text.as_str()), (204, ""));
            answer.assert_hardened();
            assert_eq!(answer.header("access-control-allow-origin"), Some(ORIGIN));
            assert_eq!(answer.header("access-control-allow-credentials"), None);
            let methods = answer.header("access-control-allow-methods").unwrap_or_default();
            assert!(methods.contains(method), "{methods}");
            let headers = answer.header("access-control-allow-headers").unwrap_or_default();
            for name in ["authorization", "content-type", "dpop"] {
                assert!(headers.to_ascii_lowercase().contains(name), "{name} in {headers}");
            }
            assert!(answer.header("vary").is_some_and(|vary| vary.contains("Origin")));
            for foreign in ["https://evil.example", "http://app.example.com", "null"] {
                let answer = preflight(foreign, "authorization").await;
                assert_eq!(answer.header("access-control-allow-origin"), None, "{foreign}");
            }
            let answer = preflight(ORIGIN, "x-anything").await;
            let headers = answer.header("access-control-allow-headers").unwrap_or_default();
            assert!(!headers.contains("x-anything"), "{headers}");
        }

        let call = |origin: &str| {
            Answer::to(to(&world, "GET", "/whoami").bearer_auth(&access).header("origin", origin))
        };
        let own = call(ORIGIN).await;
        assert_eq!((own.status, own.header("access-control-allow-origin")), (200, Some(ORIGIN)));
        assert_eq!(own.header("access-control-allow-credentials"), None);
        let exposed = own.header("access-control-expose-headers").unwrap_or_default();
        assert!(exposed.to_ascii_lowercase().contains("www-authenticate"), "{exposed}");
        let refused = Answer::to(to(&world, "GET", "/whoami").header("origin", ORIGIN)).await;
        refused.assert_problem(401, "unauthenticated");
        assert_eq!(refused.header("access-control-allow-origin"), Some(ORIGIN), "errors too");
        for foreign in ["https://evil.example", "https://app.example.com.evil.example", "null"] {
            assert_eq!(allowances(&call(foreign).await), [""; 0], "{foreign}");
        }
        assert_eq!(allowances(&world.whoami(&access).await), [""; 0], "not a page");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_for_another_service_is_refused() {
    for kind in [Kind::Postgres, Kind::Sqlite] {
        let settings = [("AUTH__TOKENS__AUDIENCE", "https://elsewhere.example")];
        let world = World::start_with(kind, &settings).await;
        let tokens = world.newcomer("ada").await;
        assert_eq!(claims(&tokens.access)["aud"], json!(["https://elsewhere.example", ISSUER]));
        assert_invalid(&world.whoami(&tokens.access).await);
        assert_eq!(world.get_as(&tokens.access, "/me").await.status, 200);
    }
}

/// Promise "bounded": where it cannot know, it does not accept, and says so instead of refusing.
async fn stale_knowledge(kind: Kind) {
    let database = Database::create(kind).await;
    let mut auth = Service::auth(&database.url, &[]);
    auth.start().await;
    let settings = [("RESOURCE__REVOCATION__MAX_STALENESS_SECONDS", "2")];
    let mut resource = Service::resource(&auth, &settings);
    resource.start().await;
    let tokens = auth.newcomer("ada").await;
    let ended = auth.newcomer("bob").await;
    assert_eq!(resource.whoami(&tokens.access).await.status, 200);
    auth.logout(&ended.refresh).await;
    until("the logout is seen", async || resource.whoami(&ended.access).await.status == 401).await;

    auth.kill();
    let killed = Instant::now();
    until("it no longer accepts", async || {
        let asked = killed.elapsed();
        let answer = resource.whoami(&tokens.access).await;
        assert!(answer.status == 503 || asked <= Duration::from_secs(2), "after {asked:?}");
        answer.status == 503
    })
    .await;
    let answer = resource.whoami(&tokens.access).await;
    answer.assert_problem(503, "revocation-stale");
    assert_eq!(answer.header("www-authenticate"), None);
    let id = "/reports/0190b0a0-0000-7000-8000-000000000000";
    let request = resource.http.delete(format!("{}{id}", resource.public));
    Answer::to(request.bearer_auth(&tokens.access)).await.assert_problem(503, "revocation-stale");
    resource.whoami("nonsense").await.assert_problem(401, "invalid-token");
    resource.whoami(&ended.access).await.assert_problem(401, "invalid-token");
    let (signed, _) = tokens.access.rsplit_once('.').unwrap();
    resource.whoami(&format!("{signed}.AAAA")).await.assert_problem(401, "invalid-token");
    resource.get("/whoami").await.assert_problem(401, "unauthenticated");
    assert_eq!(resource.get("/health/live").await.status, 200);
    let ready = resource.get("/health/ready").await;
    let age = ready.json()["revocation_age_ms"].as_u64().expect("a number");
    assert!(age > 2_000, "{age}");
    let status = "revocations are not known freshly enough";
    let body = json!({"status": status, "revocation_age_ms": age});
    assert_eq!((ready.status, ready.json()), (503, body));

    auth.start().await;
    until("it accepts again", async || resource.whoami(&tokens.access).await.status == 200).await;
    resource.whoami(&ended.access).await.assert_problem(401, "invalid-token");
    resource.ready().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_the_feed_nothing_is_accepted_any_more_and_with_it_all_is_well() {
    join_all([Kind::Postgres, Kind::Sqlite].map(stale_knowledge)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn before_the_first_key_set_no_token_can_be_judged() {
    for kind in [Kind::Postgres, Kind::Sqlite] {
        let world = World::start(kind).await;
        let tokens = world.newcomer("ada").await;
        let nobody = Service::auth("sqlite:never-opened", &[]);
        let mut resource = Service::resource(&nobody, &[]);
        resource.spawn();
        let live = format!("{}/health/live", resource.public);
        testbed::process::ready(&resource.http, &live).await;
        resource.whoami(&tokens.access).await.assert_problem(503, "unavailable");
        let (signed, _) = tokens.access.rsplit_once('.').unwrap();
        resource.whoami(&format!("{signed}.AAAA")).await.assert_problem(503, "unavailable");
        resource.get("/whoami").await.assert_problem(401, "unauthenticated");
        let ready = resource.get("/health/ready").await;
        let body = json!({"status": "no key set was loaded yet", "revocation_age_ms": null});
        assert_eq!((ready.status, ready.json()), (503, body));
    }
}
