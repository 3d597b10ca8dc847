//! F2-07: pages that come with an application or an extension, whose origin is not on the web. Those that are named
//! call with the refresh token in the body; they are of no site, so there is no cookie for them.

use claims::refresh_token;
use reqwest::header::{COOKIE, ORIGIN, SET_COOKIE};
use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};
use testbed::world::auth_settings;
use testbed::{Answer, Kind, PASSWORD, Tokens, World};

use crate::support::{assert_one_sentence, cookie_token, generation, state, with_cookie};

const APPS: [&str; 6] = [
    "capacitor://localhost",
    "ionic://localhost",
    "tauri://localhost",
    "chrome-extension://abcdefghijklmnopabcdefghijklmnop",
    "safari-web-extension://60C06D38-2E4A-4B0B-9A3E-1F0A9D0C7E11",
    "file://",
];
/// None of these is one of them.
const STRANGERS: [&str; 12] = [
    "null",
    "Capacitor://localhost",
    "capacitor://LOCALHOST",
    "capacitor://localhost/",
    "capacitor://localhost.evil",
    "capacitor:localhost",
    "tauri://localhost:1",
    "evil://localhost",
    "chrome-extension://abcdefghijklmnopabcdefghijklmnoq",
    "chrome-extension://",
    "file:///",
    "http://localhost",
];

async fn world(kind: Kind, more: &[(&str, &str)]) -> World {
    let apps = APPS.join(",");
    let named =
        [("AUTH__HTTP__ALLOWED_ORIGINS", &*apps), ("RESOURCE__HTTP__ALLOWED_ORIGINS", &*apps)];
    World::start_with(kind, &[&named[..], more].concat()).await
}

/// A request of a page of that origin, as a browser sends it.
fn from(world: &World, origin: &str, path: &str) -> RequestBuilder {
    let request = world.http.post(format!("{}{path}", world.auth)).header(ORIGIN, origin);
    request.header("sec-fetch-site", "cross-site")
}

fn login(transport: &str) -> Value {
    json!({"username": "ada", "password": PASSWORD, "transport": transport})
}

fn assert_may_read(answer: &Answer, origin: &str) {
    assert_eq!(answer.header("access-control-allow-origin"), Some(origin));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_page_of_an_application_logs_in_by_body() {
    for kind in [Kind::Postgres, Kind::Sqlite] {
        let world = world(kind, &[]).await;
        world.register("ada").await;
        for app in APPS {
            let ask = world.http.request(Method::OPTIONS, format!("{}/login", world.auth));
            let ask = ask.header(ORIGIN, app).header("access-control-request-method", "POST");
            let answer =
                Answer::to(ask.header("access-control-request-headers", "content-type")).await;
            assert_eq!(answer.status, 204, "{app}: {}", answer.text);
            assert_may_read(&answer, app);

            let answer = Answer::to(from(&world, app, "/login").json(&login("body"))).await;
            assert_may_read(&answer, app);
            let tokens = Tokens::of(&answer);
            let refresh = json!({ "refresh_token": tokens.refresh });
            let answer = Answer::to(from(&world, app, "/refresh").json(&refresh)).await;
            assert_may_read(&answer, app);
            let tokens = Tokens::of(&answer);
            let whoami = world.http.get(format!("{}/whoami", world.resource));
            let answer = Answer::to(whoami.bearer_auth(&tokens.access).header(ORIGIN, app)).await;
            assert_eq!(answer.status, 200, "{app}: {}", answer.text);
            assert_may_read(&answer, app);
            let refresh = json!({ "refresh_token": tokens.refresh });
            let answer = Answer::to(from(&world, app, "/logout").json(&refresh)).await;
            assert_eq!(answer.status, 204, "{app}: {}", answer.text);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_page_of_an_application_has_no_cookie() {
    for (kind, same_site) in [(Kind::Postgres, "strict"), (Kind::Sqlite, "none")] {
        let world = world(kind, &[("AUTH__HTTP__COOKIE_SAME_SITE", same_site)]).await;
        world.register("ada").await;
        let browser = world.browser();
        assert_eq!(browser.login("ada", PASSWORD).await.status, 200);
        let cookie = browser.cookie().expect("the cookie is kept");
        let tokens = world.login("ada").await;
        let before = state(&world).await;
        for app in APPS {
            let with = |path: &str| {
                let cookie = format!("{}={cookie}", refresh_token::COOKIE);
                from(&world, app, path).header(COOKIE, cookie)
            };
            for (path, body) in
                [("/login", login("cookie")), ("/refresh", json!({})), ("/logout", json!({}))]
            {
                let answer = Answer::to(with(path).json(&body)).await;
                answer.assert_problem(403, "csrf");
                assert_one_sentence(&answer);
                assert!(answer.headers.get(SET_COOKIE).is_none(), "{app} {path}");
                assert_may_read(&answer, app);
            }
            assert_eq!(state(&world).await, before, "{app}");
        }
        // What it has in the body counts, although a cookie came along.
        let refresh = json!({ "refresh_token": tokens.refresh });
        let cookie_too = format!("{}={cookie}", refresh_token::COOKIE);
        let request = from(&world, APPS[0], "/refresh").header(COOKIE, cookie_too);
        Tokens::of(&Answer::to(request.json(&refresh)).await);
        let answer = Answer::to(with_cookie(&world, "/refresh", &cookie).json(&json!({}))).await;
        assert_eq!(generation(&cookie_token(&answer)), 2, "the cookie had not been used");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_only_looks_like_the_origin_of_an_application_may_not_call() {
    for kind in [Kind::Postgres, Kind::Sqlite] {
        let world = world(kind, &[]).await;
        world.register("ada").await;
        for stranger in STRANGERS {
            for transport in ["body", "cookie"] {
                let request = from(&world, stranger, "/login").json(&login(transport));
                let answer = Answer::to(request).await;
                answer.assert_problem(403, "csrf");
                assert!(answer.header("access-control-allow-origin").is_none(), "{stranger}");
            }
            let whoami = world.http.get(format!("{}/whoami", world.resource));
            let answer = Answer::to(whoami.header(ORIGIN, stranger)).await;
            assert!(answer.header("access-control-allow-origin").is_none(), "{stranger}");
        }
    }
}

#[test]
fn no_setting_stands_for_all_applications() {
    for bad in ["*", "null", "capacitor://*", "chrome-extension://*", "tauri://localhost,*", "://"]
    {
        let auth = [("AUTH__HTTP__ALLOWED_ORIGINS".to_owned(), bad.to_owned())];
        let auth = auth_service::Config::load(None, auth_settings("sqlite:x.db", &auth));
        let resource = [("RESOURCE__HTTP__ALLOWED_ORIGINS".to_owned(), bad.to_owned())];
        let resource = resource_service::Config::load(None, resource);
        for error in [auth.err().map(|e| e.to_string()), resource.err().map(|e| e.to_string())] {
            let error = error.unwrap_or_else(|| panic!("{bad} is taken"));
            assert!(error.contains("http.allowed_origins"), "{bad}: {error}");
        }
    }
}
