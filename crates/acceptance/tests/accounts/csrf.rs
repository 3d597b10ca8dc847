//! Which pages may call and use the cookie, and which may read an answer (CORS).

use claims::refresh_token;
use reqwest::header::{CONTENT_TYPE, COOKIE, ORIGIN, SET_COOKIE};
use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};
use testbed::world::{ISSUER, auth_settings};
use testbed::{Answer, Kind, PASSWORD, Tokens, World};

use crate::support::{
    assert_one_sentence, claims_of, cookie_token, generation, state, with_cookie,
};

const FORM: &str = "application/x-www-form-urlencoded";
const APP: &str = "https://app.example.com";

/// The origins that may never use the cookie.
const STRANGERS: [&str; 12] = [
    "null",
    "",
    "https://evil.example",
    "https://app.example.com.evil.example",
    "https://evilapp.example.com",
    "http://app.example.com",
    "https://app.example.com:8443",
    "https://app.example.com/",
    "https://APP.example.com",
    "http://127.0.0.1:8081",
    "https://127.0.0.1:8080",
    "http://127.0.0.1",
];
const SITES: [Option<&str>; 6] = [
    None,
    Some("same-origin"),
    Some("same-site"),
    Some("cross-site"),
    Some("none"),
    Some("Same-Origin"),
];
const PATHS: [&str; 3] = ["/refresh", "/logout", "/login"];

/// Where a request says that it comes from.
#[derive(Debug, Clone, Copy)]
struct Page {
    origin: Option<&'static str>,
    site: Option<&'static str>,
    header: Option<&'static str>,
}

impl Page {
    /// The rule for the cookie, row by row.
    fn may(self) -> bool {
        match (self.origin, self.site) {
            (Some(ISSUER), site) => site.is_none_or(|site| site == "same-origin"),
            (Some("null"), Some("same-origin")) => true,
            (Some(origin), _) => origin == APP,
            (None, Some(site)) => site == "same-origin",
            (None, None) => self.header == Some("1"),
        }
    }

    /// The rule for every request, with a cookie or without (SECURITY.md, Who must name origins).
    fn may_call(self) -> bool {
        match (self.origin, self.site) {
            (_, Some("same-origin" | "none")) => true,
            (origin, Some(_)) => origin == Some(APP),
            (origin, None) => origin.is_none_or(|origin| origin == ISSUER || origin == APP),
        }
    }

    /// Without the header that only the cookie asks for.
    fn plain() -> impl Iterator<Item = Self> {
        Self::all().filter(|page| page.header.is_none())
    }

    fn all() -> impl Iterator<Item = Self> {
        let origins = STRANGERS.into_iter().chain([ISSUER, APP]).map(Some).chain([None]);
        origins.flat_map(|origin| {
            SITES.into_iter().flat_map(move |site| {
                [None, Some("1"), Some("0")].map(|header| Self { origin, site, header })
            })
        })
    }

    fn on(self, mut request: RequestBuilder) -> RequestBuilder {
        for (name, value) in
            [("origin", self.origin), ("sec-fetch-site", self.site), ("x-latchkey", self.header)]
        {
            if let Some(value) = value {
                request = request.header(name, value);
            }
        }
        request
    }
}

fn body(path: &str) -> Value {
    match path {
        "/login" => json!({"username": "ada", "password": PASSWORD, "transport": "cookie"}),
        _ => json!({}),
    }
}

/// A request with a cookie, from nowhere yet.
fn post(world: &World, path: &str, cookie: &str) -> RequestBuilder {
    let request = world.http.post(format!("{}{path}", world.auth));
    request.header(COOKIE, format!("{}={cookie}", refresh_token::COOKIE))
}

async fn log_in(world: &World) -> String {
    let browser = world.browser();
    assert_eq!(browser.login("ada", PASSWORD).await.status, 200);
    browser.cookie().expect("the cookie is kept")
}

async fn worlds() -> Vec<World> {
    let mut worlds = Vec::new();
    for kind in [Kind::Postgres, Kind::Sqlite] {
        let world = World::start_with(kind, &[("AUTH__HTTP__ALLOWED_ORIGINS", APP)]).await;
        world.register("ada").await;
        worlds.push(world);
    }
    worlds
}

fn assert_refused(answer: &Answer) {
    answer.assert_problem(403, "csrf");
    assert_one_sentence(answer);
    assert!(answer.headers.get(SET_COOKIE).is_none(), "nothing is set and nothing cleared");
}

/// N-K03, N-K08
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_page_that_may_not_use_the_cookie_is_refused_and_nothing_is_consumed() {
    for world in worlds().await {
        let cookie = log_in(&world).await;
        let before = state(&world).await;
        for page in Page::all().filter(|page| !page.may()) {
            for path in PATHS {
                let request = page.on(post(&world, path, &cookie)).json(&body(path));
                let answer = Answer::to(request).await;
                assert_eq!(answer.status, 403, "{path} {page:?}");
                assert_refused(&answer);
            }
        }
        assert_eq!(state(&world).await, before);
        let answer = Answer::to(with_cookie(&world, "/refresh", &cookie).json(&json!({}))).await;
        assert_eq!(generation(&cookie_token(&answer)), 2, "it had not been consumed");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_page_that_may_use_the_cookie_does() {
    for world in worlds().await {
        for page in Page::all().filter(|page| page.may()) {
            let cookie = log_in(&world).await;
            let send = |path, cookie: &str| {
                Answer::to(page.on(post(&world, path, cookie)).json(&body(path)))
            };
            let refreshed = send("/refresh", &cookie).await;
            assert_eq!(refreshed.status, 200, "{page:?}");
            let login = send("/login", &cookie_token(&refreshed)).await;
            assert_eq!(login.status, 200, "{page:?}");
            let cookie = cookie_token(&login);
            assert_eq!(send("/logout", &cookie).await.status, 204, "{page:?}");
            assert_eq!(send("/refresh", &cookie).await.status, 401, "{page:?}");
        }
        let live = "select count(*) from sessions where revoked_at is null";
        assert_eq!(world.database.number(live).await, 0);
    }
}

/// F-A5: wherever the issuer is.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_issuers_own_origin_is_read_as_browsers_send_it() {
    for (issuer, own) in [
        ("http://localhost", "http://localhost"),
        ("http://127.0.0.1:8080/id", "http://127.0.0.1:8080"),
        ("http://[::1]:8080", "http://[::1]:8080"),
    ] {
        let settings = [("AUTH__ISSUER", issuer), ("RESOURCE__ISSUER", issuer)];
        let world = World::start_with(Kind::Sqlite, &settings).await;
        world.register("ada").await;
        let send = |origin: &'static str| {
            let request = world.http.post(format!("{}/login", world.auth)).header(ORIGIN, origin);
            Answer::to(request.json(&body("/login")))
        };
        assert_eq!(send(own).await.status, 200, "{issuer}");
        assert_refused(&send("http://127.0.0.1:1").await);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_header_that_is_sent_twice_says_nothing() {
    for world in worlds().await {
        let cookie = log_in(&world).await;
        let before = state(&world).await;
        for headers in [
            &[("origin", ISSUER), ("origin", ISSUER)][..],
            &[("origin", ISSUER), ("origin", "https://evil.example")],
            &[("origin", "https://evil.example"), ("origin", ISSUER)],
            &[("origin", APP), ("origin", APP)],
            &[("sec-fetch-site", "same-origin"), ("sec-fetch-site", "cross-site")],
            &[("origin", ISSUER), ("sec-fetch-site", "same-origin"), ("sec-fetch-site", "none")],
            &[("x-latchkey", "1"), ("x-latchkey", "1")],
        ] {
            for path in PATHS {
                let mut request = post(&world, path, &cookie).json(&body(path));
                for (name, value) in headers {
                    request = request.header(*name, *value);
                }
                assert_refused(&Answer::to(request).await);
            }
            if headers.iter().any(|(name, _)| *name == "x-latchkey") {
                continue;
            }
            for (path, media, content) in SENT {
                let mut request = world.http.post(format!("{}{path}", world.auth));
                for (name, value) in headers {
                    request = request.header(*name, *value);
                }
                let request = request.header(CONTENT_TYPE, media).body(content);
                assert_refused(&Answer::to(request).await);
            }
        }
        assert_eq!(state(&world).await, before);
    }
}

/// What a page can send without a cookie: to which route, of which type, with which content.
const SENT: [(&str, &str, &str); 11] = [
    ("/login", FORM, "username=ada&password=wrong+wrong+wrong"),
    ("/login", FORM, "username=nobody&password=wrong+wrong+wrong"),
    ("/login", "application/json", r#"{"username":"ada","password":"not the right sentence"}"#),
    ("/login", "application/json", r#"{"username":"ada","password":"a quite ordinary sentence"}"#),
    ("/login", "text/plain", r#"{"username":"ada","password":"not the right sentence"}"#),
    ("/login", "application/json", "{"),
    (
        "/register",
        "application/json",
        r#"{"username":"eve","password":"a quite ordinary sentence"}"#,
    ),
    (
        "/register",
        "application/json",
        r#"{"username":"ada","password":"a quite ordinary sentence"}"#,
    ),
    ("/refresh", "application/json", r#"{"refresh_token":"rt1.AAAAAAAAAAAAAAAAAAAAAA.7.AAAA"}"#),
    ("/logout", "application/json", r#"{"refresh_token":"garbage","sessions":"all"}"#),
    ("/logout", "text/plain", ""),
];

/// One attempt of everything, so that any that was counted is noticed.
const TIGHT: [(&str, &str); 10] = [
    ("AUTH__HTTP__ALLOWED_ORIGINS", APP),
    ("AUTH__LIMITS__LOGIN_FREE", "1"),
    ("AUTH__LIMITS__ACCOUNT_FREE", "1"),
    ("AUTH__LIMITS__NAMES_FREE", "1"),
    ("AUTH__LIMITS__NETWORK_BURST", "1"),
    ("AUTH__LIMITS__REGISTER_BURST", "2"),
    ("AUTH__LIMITS__FORGED_BURST", "1"),
    ("AUTH__LIMITS__NETWORK_PER_MINUTE", "1"),
    ("AUTH__LIMITS__REGISTER_PER_HOUR", "1"),
    ("AUTH__LIMITS__FORGED_PER_MINUTE", "1"),
];

/// F-B2: nothing that it sends is evaluated, and nothing counts against the network it is looked at from.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_page_of_a_stranger_is_refused_before_anything_is_charged() {
    for kind in [Kind::Postgres, Kind::Sqlite] {
        let world = World::start_with(kind, &TIGHT).await;
        let tokens = world.newcomer("ada").await;
        let mut forged = tokens.refresh.clone();
        forged.replace_range(forged.len() - 5.., "AAAAA");
        let before = state(&world).await;
        let entries = world.database.number("select count(*) from events").await;
        for page in Page::plain().filter(|page| !page.may_call()) {
            for (path, media, content) in SENT {
                let request = page.on(world.http.post(format!("{}{path}", world.auth)));
                let answer = Answer::to(request.header(CONTENT_TYPE, media).body(content)).await;
                assert_eq!(answer.status, 403, "{path} {page:?}: {}", answer.text);
                assert_refused(&answer);
            }
            for path in ["/refresh", "/logout"] {
                for (refresh, access) in
                    [(&tokens.refresh, tokens.access.as_str()), (&forged, "no.access.token")]
                {
                    let request = page.on(world.http.post(format!("{}{path}", world.auth)));
                    let request = request.bearer_auth(access);
                    let request = request.json(&json!({ "refresh_token": refresh }));
                    assert_refused(&Answer::to(request).await);
                }
            }
        }
        assert_eq!(state(&world).await, before);
        assert_eq!(world.database.number("select count(*) from events").await, entries);
        // All that a network has at once is still there.
        world.refresh(&forged).await.assert_problem(401, "invalid-token");
        assert_eq!(world.refresh(&forged).await.status, 429, "it counts");
        // A name without a session, which would be counted apart.
        let wrong = json!({"username": "nobody", "password": "not the right sentence"});
        world.post("/login", &wrong).await.assert_problem(401, "invalid-credentials");
        assert_eq!(world.post("/login", &wrong).await.status, 429, "it counts");
        world.register("bob").await;
        Tokens::of(&world.refresh(&tokens.refresh).await);
    }
}

/// What a page that may call, or a program, does without a cookie is nobody's forgery.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_page_that_may_call_does_by_every_transport() {
    for world in worlds().await {
        for (at, page) in Page::plain().filter(|page| page.may_call()).enumerate() {
            let send = |path: &str, body: Value| {
                Answer::to(page.on(world.http.post(format!("{}{path}", world.auth))).json(&body))
            };
            let name = format!("user-{at}");
            let user = json!({"username": name, "password": PASSWORD});
            assert_eq!(send("/register", user.clone()).await.status, 201, "{page:?}");
            let token = send("/login", user).await.member("refresh_token");
            let token = json!({ "refresh_token": token });
            assert_eq!(send("/refresh", token.clone()).await.status, 200, "{page:?}");
            assert_eq!(send("/logout", token).await.status, 204, "{page:?}");
            let form = page.on(world.http.post(format!("{}/login", world.auth)));
            let form = form.header(CONTENT_TYPE, FORM);
            let form = form.body(format!("username={name}&password=a+quite+ordinary+sentence"));
            assert_eq!(Answer::to(form).await.status, 200, "{page:?}");
        }
    }
}

/// F-B2: whoever adds a route meets this.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_route_that_takes_no_access_token_is_closed_to_strangers() {
    let world = World::start(Kind::Sqlite).await;
    let document: Value =
        serde_json::from_str(&openapi::auth_service::document()).expect("the document is JSON");
    let mut closed = 0;
    for (path, methods) in document["paths"].as_object().expect("paths") {
        for (method, route) in methods.as_object().expect("methods") {
            // One that takes nothing but an access token: a page has to put that there itself.
            let by_bearer_alone = route["security"] == json!([{"bearer": []}]);
            if method == "get" || by_bearer_alone {
                continue;
            }
            closed += 1;
            let method = method.to_uppercase().parse::<Method>().expect("a method");
            let request = world.http.request(method, format!("{}{path}", world.auth));
            let request = request.header(ORIGIN, "https://evil.example");
            assert_refused(&Answer::to(request.header("sec-fetch-site", "cross-site")).await);
        }
    }
    assert_eq!(closed, PATHS.len() + 1, "and /register");
}

/// N-K04: a form can be sent by any page without asking.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_a_cookie_only_json_is_taken() {
    for world in worlds().await {
        let cookie = log_in(&world).await;
        let before = state(&world).await;
        for kind in [
            None,
            Some("text/plain"),
            Some("text/plain;charset=UTF-8"),
            Some(FORM),
            Some("multipart/form-data; boundary=x"),
            Some("application/jsonp"),
            Some("text/plain, application/json"),
            Some("application/json, text/plain"),
            Some("*/*"),
        ] {
            for path in PATHS {
                for body in [body(path).to_string(), String::new()] {
                    let mut request = post(&world, path, &cookie).header(ORIGIN, ISSUER);
                    if let Some(kind) = kind {
                        request = request.header(CONTENT_TYPE, kind);
                    }
                    let answer = Answer::to(request.body(body)).await;
                    if path == "/login" && kind == Some(FORM) {
                        // A form may log in, but JSON is no form.
                        answer.assert_problem(400, "invalid-request");
                    } else {
                        answer.assert_problem(415, "unsupported-media-type");
                    }
                    assert_one_sentence(&answer);
                    assert!(answer.headers.get(SET_COOKIE).is_none());
                }
            }
        }
        let form = "username=ada&password=a+quite+ordinary+sentence&transport=cookie";
        let request = post(&world, "/login", &cookie).header(ORIGIN, ISSUER);
        let answer = Answer::to(request.header(CONTENT_TYPE, FORM).body(form)).await;
        answer.assert_problem(415, "unsupported-media-type");
        assert_eq!(state(&world).await, before);
        let answer = Answer::to(with_cookie(&world, "/refresh", &cookie).json(&json!({}))).await;
        assert_eq!(generation(&cookie_token(&answer)), 2);
    }
}

/// N-K06, C-08
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_a_configured_origin_may_read_answers() {
    for world in worlds().await {
        let cookie = log_in(&world).await;
        for path in PATHS {
            let send = |origin: &'static str, cookie: &str| {
                let request = post(&world, path, cookie).header(ORIGIN, origin);
                Answer::to(request.json(&body(path)))
            };
            // An error is for them to read as well: they must know what to do.
            for cookie in [cookie.as_str(), "garbage"] {
                let answer = send(APP, cookie).await;
                assert_eq!(answer.header("access-control-allow-origin"), Some(APP), "{path}");
                assert_eq!(answer.header("access-control-allow-credentials"), Some("true"));
                assert_varies(&answer);
            }
            for stranger in STRANGERS {
                let answer = send(stranger, &cookie).await;
                assert!(answer.header("access-control-allow-origin").is_none(), "{stranger}");
                assert!(answer.header("access-control-allow-credentials").is_none(), "{stranger}");
                assert_varies(&answer);
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_preflight_is_answered_for_configured_origins() {
    for world in worlds().await {
        let ask = |path: &str, origin: &str, method: &str, headers: &str| {
            let request = world.http.request(Method::OPTIONS, format!("{}{path}", world.auth));
            let request = request.header(ORIGIN, origin);
            let request = request.header("access-control-request-method", method);
            Answer::to(request.header("access-control-request-headers", headers))
        };
        for (path, method) in
            [("/refresh", "POST"), ("/login", "POST"), ("/me", "GET"), ("/sessions/x", "DELETE")]
        {
            let answer = ask(path, APP, method, "content-type,authorization,x-latchkey").await;
            assert_eq!((answer.status, answer.text.as_str()), (204, ""), "{path}");
            answer.assert_hardened();
            assert_eq!(answer.header("access-control-allow-origin"), Some(APP));
            assert_eq!(answer.header("access-control-allow-credentials"), Some("true"));
            let methods = answer.header("access-control-allow-methods").unwrap_or_default();
            assert!(methods.contains(method), "{methods}");
            let headers = answer.header("access-control-allow-headers").unwrap_or_default();
            for header in ["content-type", "authorization", "x-latchkey"] {
                assert!(headers.to_ascii_lowercase().contains(header), "{headers}");
            }
            for stranger in STRANGERS {
                let answer = ask(path, stranger, method, "content-type").await;
                assert!(answer.header("access-control-allow-origin").is_none(), "{stranger}");
                assert!(answer.header("access-control-allow-credentials").is_none(), "{stranger}");
                answer.assert_hardened();
            }
        }
        let odd = ask("/refresh", APP, "POST", "x-evil").await;
        assert!(odd.header("access-control-allow-origin").is_none());
    }
}

/// F-C3: what monitoring adds to the requests of a page stops none of them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_preflight_lets_the_headers_of_tracing_pass_and_those_that_are_configured() {
    let settings = [
        ("AUTH__HTTP__ALLOWED_ORIGINS", APP),
        ("AUTH__HTTP__ALLOWED_HEADERS", "X-Tenant, x-b3-traceid"),
        ("RESOURCE__HTTP__ALLOWED_ORIGINS", APP),
        ("RESOURCE__HTTP__ALLOWED_HEADERS", "X-Tenant, x-b3-traceid"),
    ];
    let world = World::start_with(Kind::Sqlite, &settings).await;
    for url in [format!("{}/refresh", world.auth), format!("{}/reports", world.resource)] {
        let ask = |headers: &str| {
            let request = world.http.request(Method::OPTIONS, &url).header(ORIGIN, APP);
            let request = request.header("access-control-request-method", "POST");
            Answer::to(request.header("access-control-request-headers", headers))
        };
        for headers in [
            "content-type,traceparent",
            "content-type,traceparent,tracestate",
            "baggage,content-type,sentry-trace",
            "authorization,content-type,x-request-id",
            "content-type,if-none-match",
            "content-type,x-b3-traceid,x-tenant",
        ] {
            let answer = ask(headers).await;
            assert_eq!(answer.status, 204, "{url}: {headers}: {}", answer.text);
            assert_eq!(answer.header("access-control-allow-origin"), Some(APP));
            let allowed = answer.header("access-control-allow-headers").unwrap_or_default();
            let allowed: Vec<_> = allowed.split(',').map(str::trim).collect();
            for header in headers.split(',') {
                assert!(allowed.contains(&header), "{url}: {header} is not in {allowed:?}");
            }
            assert!(!allowed.contains(&"*"), "{allowed:?}");
        }
        let odd = ask("content-type,x-evil").await;
        assert_eq!(odd.status, 400);
        assert!(odd.header("access-control-allow-headers").is_none());
    }
}

/// F-C3
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_datadog_adds_passes_by_default() {
    let settings = [("AUTH__HTTP__ALLOWED_ORIGINS", APP), ("RESOURCE__HTTP__ALLOWED_ORIGINS", APP)];
    let world = World::start_with(Kind::Sqlite, &settings).await;
    for url in [format!("{}/login", world.auth), format!("{}/whoami", world.resource)] {
        let request = world.http.request(Method::OPTIONS, &url).header(ORIGIN, APP);
        let headers = "content-type,traceparent,tracestate,x-datadog-origin,x-datadog-trace-id";
        let request = request.header("access-control-request-method", "GET");
        let answer = Answer::to(request.header("access-control-request-headers", headers)).await;
        assert_eq!(answer.status, 204, "{url}: {}", answer.text);
    }
}

/// F-C3: what is no list of names of headers is refused at the start.
#[test]
fn a_header_that_no_page_can_send_is_refused_at_the_start() {
    for bad in ["*", "x tenant", "x-tenant:", "x-tenänt", "x-good, *"] {
        let auth = [("AUTH__HTTP__ALLOWED_HEADERS".to_owned(), bad.to_owned())];
        let auth = auth_service::Config::load(None, auth_settings("sqlite:x.db", &auth));
        let resource = [("RESOURCE__HTTP__ALLOWED_HEADERS".to_owned(), bad.to_owned())];
        let resource = resource_service::Config::load(None, resource);
        for error in [auth.err().map(|e| e.to_string()), resource.err().map(|e| e.to_string())] {
            let error = error.unwrap_or_else(|| panic!("{bad} is taken"));
            assert!(error.contains("http.allowed_headers"), "{bad}: {error}");
        }
    }
}

/// A token is for everybody to check.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_keys_and_the_metadata_are_for_every_page() {
    for world in worlds().await {
        for path in ["/.well-known/jwks.json", "/.well-known/oauth-authorization-server"] {
            let get = |origin: Option<&'static str>| {
                let mut request = world.http.get(format!("{}{path}", world.auth));
                if let Some(origin) = origin {
                    request = request.header(ORIGIN, origin);
                }
                Answer::to(request)
            };
            for origin in [None, Some("null"), Some("https://evil.example"), Some(ISSUER)] {
                let answer = get(origin).await;
                assert_eq!(answer.status, 200);
                assert_eq!(answer.header("access-control-allow-origin"), Some("*"), "{origin:?}");
                assert!(answer.header("access-control-allow-credentials").is_none(), "{origin:?}");
            }
            let answer = get(Some(APP)).await;
            assert_eq!(answer.header("access-control-allow-origin"), Some(APP), "as everywhere");
            assert_varies(&answer);
        }
    }
}

/// A page has to put a bearer token there itself; but `/logout` takes other credentials too, and is closed to
/// strangers whatever comes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bearer_logout_is_for_pages_that_may_call() {
    for world in worlds().await {
        let tokens = world.login("ada").await;
        assert_eq!(claims_of(&tokens.access)["sid"], tokens.session);
        let send = |access: &str, origin: Option<&'static str>| {
            let request = world.http.post(format!("{}/logout", world.auth)).bearer_auth(access);
            Answer::to(match origin {
                Some(origin) => {
                    request.header(ORIGIN, origin).header("sec-fetch-site", "cross-site")
                }
                None => request,
            })
        };
        assert_refused(&send(&tokens.access, Some("https://evil.example")).await);
        assert_eq!(world.whoami(&tokens.access).await.status, 200);
        assert_eq!(send(&tokens.access, Some(APP)).await.status, 204);
        world.until_refused(&tokens.access).await;
        let tokens = world.login("ada").await;
        assert_eq!(send(&tokens.access, None).await.status, 204);
        world.until_refused(&tokens.access).await;
        // What takes an access token alone is a matter of CORS only.
        let tokens = world.login("ada").await;
        let me = world.http.get(format!("{}/me", world.auth)).bearer_auth(&tokens.access);
        assert_eq!(Answer::to(me.header(ORIGIN, "https://evil.example")).await.status, 200);
    }
}

#[track_caller]
fn assert_varies(answer: &Answer) {
    let vary = answer.header("vary").unwrap_or_default().to_ascii_lowercase();
    assert!(vary.contains("origin"), "Vary: {vary}");
}
