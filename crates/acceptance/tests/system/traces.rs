//! Traces by OTLP: one from the caller to the database, nothing of a person in it, and no request that waits
//! for whoever collects them.

mod collector;

use std::collections::BTreeSet;
use std::fs::File;
use std::time::{Duration, Instant};

use reqwest::RequestBuilder;
use reqwest::header::HeaderValue;
use serde_json::{Value, json};
use testbed::process::{Process, command, free_address};
use testbed::service::{assert_one_clear_line, owned, run, until};
use testbed::{Answer, Database, Kind, PASSWORD, Redis, Service, Tokens, on_each_empty_database};

pub(crate) use collector::{Collector, Manner, Span};

const AUTH: &str = "AUTH__TELEMETRY__OTLP_ENDPOINT";
const RESOURCE: &str = "RESOURCE__TELEMETRY__OTLP_ENDPOINT";
/// What a page that is not ours has begun, and goes on in a request of ours.
const PARENT: &str = "00f067aa0ba902b7";

/// A trace of a caller's own.
fn new_trace() -> String {
    format!("{:032x}", fastrand::u128(1..))
}

fn within(request: RequestBuilder, trace: &str, flags: &str) -> RequestBuilder {
    request.header("traceparent", format!("00-{trace}-{PARENT}-{flags}"))
}

/// The span of the one request of a trace that its caller began.
#[track_caller]
fn request(spans: &[Span]) -> &Span {
    let requests: Vec<_> = spans.iter().filter(|span| span.is_of_a_request()).collect();
    let [request] = requests[..] else { panic!("not one request: {spans:?}") };
    assert_eq!(request.parent, PARENT);
    request
}

/// The one child of `parent` with this name.
#[track_caller]
fn child<'a>(spans: &'a [Span], parent: &Span, name: &str) -> &'a Span {
    let children = spans.iter().filter(|span| span.parent == parent.id && span.name == name);
    let children: Vec<_> = children.collect();
    let [child] = children[..] else { panic!("not one {name}: {spans:?}") };
    assert!(child.took <= parent.took, "{name} took longer than the whole");
    child
}

/// Checks what the span of a request to the auth-service says.
#[track_caller]
fn assert_answered(request: &Span, name: &str, status: &str) {
    let (method, route) = name.split_once(' ').expect("a method and a route");
    assert_eq!(request.name, name);
    assert_eq!(request.service, "auth-service");
    for (name, value) in [
        ("http.request.method", method),
        ("http.route", route),
        ("http.response.status_code", status),
        ("url.scheme", "http"),
    ] {
        assert_eq!(request.attribute(name), value, "{request:?}");
    }
    assert!(!request.failed && request.attributes.len() == 4, "{request:?}");
}

/// Checks that nothing is in a trace but what belongs to a request, and that probes and polls are none.
#[track_caller]
fn assert_requests_alone(spans: &[Span]) {
    let requests = spans.iter().filter(|span| span.is_of_a_request());
    let traces: BTreeSet<_> = requests.clone().map(|span| &span.trace).collect();
    assert!(spans.iter().all(|span| traces.contains(&span.trace)), "{spans:?}");
    let routes = requests.map(|span| span.attributes.get("http.route").map(String::as_str));
    let expected = [
        None,
        // The resource-service fetches the keys when it starts.
        Some("/.well-known/jwks.json"),
        Some("/login"),
        Some("/refresh"),
        Some("/register"),
        Some("/sessions/{id}"),
        Some("/whoami"),
    ];
    assert_eq!(routes.collect::<BTreeSet<_>>(), expected.into());
    let unknown = spans.iter().find(|span| span.name == "GET").expect("where there is no route");
    assert_eq!(unknown.attribute("http.response.status_code"), "404");
}

async fn stop(services: &mut [&mut Service]) {
    for service in services {
        service.terminate();
        assert!(service.ended().await);
    }
}

on_each_empty_database! {
    async fn one_trace_goes_from_the_caller_to_the_database(database) {
        let system = if database.url.starts_with("sqlite") { "sqlite" } else { "postgresql" };
        let collector = Collector::start(Manner::Takes).await;
        let mut auth = Service::auth(&database.url, &[(AUTH, &collector.url)]);
        let mut resource = Service::resource(&auth, &[(RESOURCE, &collector.url)]);
        auth.start().await;
        resource.start().await;
        let user = "lovelace";
        let email = "countess@lovelace.example";
        let body = json!({"username": user, "password": PASSWORD, "email": email});
        assert_eq!(auth.post("/register", &body).await.status, 201);
        let [login, refresh, whoami, remove] = [(); 4].map(|()| new_trace());
        let post = |path: &str, body: &Value| {
            auth.http.post(format!("{}{path}", auth.public)).json(body)
        };
        let body = json!({"username": email, "password": PASSWORD});
        let answer = Answer::to(within(post("/login", &body), &login, "01")).await;
        let tokens = Tokens::of(&answer);
        let body = json!({"refresh_token": tokens.refresh});
        let answer = Answer::to(within(post("/refresh", &body), &refresh, "01")).await;
        let renewed = Tokens::of(&answer);
        let asked = auth.http.get(format!("{}/whoami", resource.public));
        let asked = asked.bearer_auth(&renewed.access);
        let answer = Answer::to(within(asked, &whoami, "01")).await;
        let id = answer.member("sub");
        let removed = auth.http.delete(format!("{}/sessions/{}", auth.public, tokens.session));
        let removed = removed.bearer_auth(&renewed.access);
        assert_eq!(Answer::to(within(removed, &remove, "01")).await.status, 204);
        let lost = auth.get(&format!("/of/{user}?password={PASSWORD}")).await;
        assert_eq!(lost.status, 404);
        // What still waits is sent at the end.
        stop(&mut [&mut resource, &mut auth]).await;

        for (trace, route, status, verbs) in [
            (&login, "POST /login", "200", vec!["credentials", "open_session"]),
            (&refresh, "POST /refresh", "200", vec!["rotate"]),
            (&remove, "DELETE /sessions/{id}", "204", vec!["remove_session"]),
        ] {
            let spans = collector.trace(trace);
            let request = request(&spans);
            assert_answered(request, route, status);
            for verb in verbs {
                let span = child(&spans, request, verb);
                assert_eq!(span.attribute("db.system.name"), system);
                assert_eq!(span.attribute("db.operation.name"), verb);
                assert!(!span.failed && span.attributes.len() == 2, "{span:?}");
            }
        }
        let spans = collector.trace(&login);
        for part in ["wait for a password thread", "password hash"] {
            child(&spans, request(&spans), part);
        }
        let spans = collector.trace(&whoami);
        assert_eq!(request(&spans).service, "resource-service");
        child(&spans, request(&spans), "verify access token");
        assert_eq!(spans.len(), 2, "it asks nobody: {spans:?}");

        assert_requests_alone(&collector.spans());
        let bytes = collector.bytes();
        let handle = tokens.refresh.split('.').nth(1).expect("a handle");
        for secret in [
            PASSWORD, user, email, &tokens.access, &tokens.refresh, &renewed.access,
            &renewed.refresh, handle, &tokens.session, &id, "127.0.0.1", "acceptance",
        ] {
            let found = bytes.windows(secret.len()).any(|part| part == secret.as_bytes());
            assert!(!found, "{secret}");
        }
    }
}

/// One service on SQLite, with these settings besides.
async fn start(settings: &[(&str, &str)]) -> (Service, Database) {
    let database = Database::create(Kind::Sqlite).await;
    let mut auth = Service::auth(&database.url, settings);
    auth.start().await;
    (auth, database)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_trace_that_is_none_is_not_continued() {
    let collector = Collector::start(Manner::Takes).await;
    let (mut auth, _database) = start(&[(AUTH, &collector.url)]).await;
    let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
    let good = format!("00-{trace}-{PARENT}-01");
    let bad: Vec<Vec<Vec<u8>>> = vec![
        vec![good.to_uppercase().into()],
        vec![good.clone().into(), good.clone().into()],
        vec![format!("00-{}-{PARENT}-01", "0".repeat(32)).into()],
        vec![format!("00-{trace}-{}-01", "0".repeat(16)).into()],
        vec![format!("ff-{trace}-{PARENT}-01").into()],
        vec![format!("{good}-more").into()],
        vec![good[..54].into()],
        vec!["-".repeat(8_000).into()],
        vec![b"00-\xff\xfe-00f067aa0ba902b7-01".to_vec()],
        vec![Vec::new()],
    ];
    for values in &bad {
        let mut request = auth.http.get(format!("{}/.well-known/jwks.json", auth.public));
        for value in values {
            request = request.header("traceparent", HeaderValue::from_bytes(value).expect("one"));
        }
        // What is a trace by itself may come with a state that is none.
        request = request.header("tracestate", "a=b,,=,=;a=b");
        assert_eq!(Answer::to(request).await.status, 200, "{values:?}");
    }
    stop(&mut [&mut auth]).await;
    let spans = collector.spans();
    let requests: Vec<_> = spans.iter().filter(|span| span.is_of_a_request()).collect();
    assert_eq!(requests.len(), bad.len(), "{spans:?}");
    assert!(requests.iter().all(|span| span.parent.is_empty() && span.trace != trace));
    let traces: BTreeSet<_> = requests.iter().map(|span| &span.trace).collect();
    assert_eq!(traces.len(), bad.len(), "each is a trace of its own");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_caller_decides_whether_its_trace_is_kept_and_the_ratio_about_others() {
    let collector = Collector::start(Manner::Takes).await;
    let none = ("AUTH__TELEMETRY__SAMPLE_RATIO", "0");
    let (mut auth, _database) = start(&[(AUTH, &collector.url), none]).await;
    let (kept, not_kept) = (new_trace(), new_trace());
    let get = || auth.http.get(format!("{}/.well-known/jwks.json", auth.public));
    assert_eq!(Answer::to(within(get(), &not_kept, "00")).await.status, 200);
    assert_eq!(Answer::to(get()).await.status, 200);
    assert_eq!(Answer::to(within(get(), &kept, "01")).await.status, 200);
    stop(&mut [&mut auth]).await;
    let spans = collector.spans();
    assert!(!spans.is_empty() && spans.iter().all(|span| span.trace == kept), "{spans:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_asked_of_redis_is_in_the_trace() {
    let redis = Redis::start(&[]).await;
    let collector = Collector::start(Manner::Takes).await;
    let settings = [(AUTH, collector.url.as_str()), ("AUTH__REDIS__URL", &redis.url())];
    let (mut auth, _database) = start(&settings).await;
    let up = "latchkey_redis_up{task=\"limits\"} 1";
    until("attempts are counted in Redis", async || auth.metrics().await.contains(up)).await;
    auth.register("ada").await;
    let trace = new_trace();
    let body = json!({"username": "ada", "password": PASSWORD});
    let login = auth.http.post(format!("{}/login", auth.public)).json(&body);
    Tokens::of(&Answer::to(within(login, &trace, "01")).await);
    stop(&mut [&mut auth]).await;
    let spans = collector.trace(&trace);
    let asked = child(&spans, request(&spans), "take");
    assert_eq!(asked.attribute("db.system.name"), "redis");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_verb_that_failed_says_so_and_not_why() {
    let collector = Collector::start(Manner::Takes).await;
    let database = Database::create(Kind::Postgres).await;
    let mut auth = Service::auth(&database.url, &[(AUTH, &collector.url)]);
    auth.start().await;
    auth.register("ada").await;
    database.execute("alter table sessions rename to elsewhere").await;
    let trace = new_trace();
    let body = json!({"username": "ada", "password": PASSWORD});
    let login = auth.http.post(format!("{}/login", auth.public)).json(&body);
    assert_eq!(Answer::to(within(login, &trace, "01")).await.status, 500);
    stop(&mut [&mut auth]).await;
    let spans = collector.trace(&trace);
    let login = request(&spans);
    assert!(login.failed && login.attribute("error.type") == "500", "{login:?}");
    let verb = child(&spans, login, "open_session");
    assert!(verb.failed && verb.attribute("error.type") == "database", "{verb:?}");
}

/// The lines of a log in JSON that tell of an answer, with the span that each is in.
fn answers(log: &str) -> Vec<Value> {
    let lines = log.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
    let told = |line: &Value| line["message"].as_str().is_some_and(|it| it.starts_with("answered"));
    lines.filter(told).map(|line| line["span"].clone()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_line_of_the_log_names_its_request_and_its_trace_and_no_span() {
    let collector = Collector::start(Manner::Takes).await;
    for (endpoint, are_sent) in [(collector.url.as_str(), true), ("", false)] {
        let database = Database::create(Kind::Sqlite).await;
        let auth = Service::auth(&database.url, &[(AUTH, endpoint)]);
        let directory = tempfile::tempdir().expect("a temporary directory");
        let path = directory.path().join("log");
        let log = File::create(&path).expect("a file");
        let mut command = command("auth-service", &[], &auth.settings);
        command.envs(owned(&[("RUST_LOG", "info")])).stderr(log);
        let mut process = Process::run(&mut command);
        auth.ready().await;
        let trace = new_trace();
        let body = json!({"username": "nobody", "password": PASSWORD});
        let login = || auth.http.post(format!("{}/login", auth.public)).json(&body);
        let given = within(login().header("x-request-id", "given"), &trace, "01");
        assert_eq!(Answer::to(given).await.status, 401);
        assert_eq!(Answer::to(login().header("x-request-id", "begun")).await.status, 401);
        process.terminate();
        assert!(process.ended().await);
        let log = std::fs::read_to_string(&path).expect("text");
        let of = |id: &str| {
            let mut spans = answers(&log).into_iter().filter(|span| span["request.id"] == id);
            spans.next().unwrap_or_else(|| panic!("{id} is not in {log}"))
        };
        let expected = json!({"name": "request", "request.id": "given", "trace.id": trace});
        assert_eq!(of("given"), expected);
        let begun = of("begun");
        if are_sent {
            let id = begun["trace.id"].as_str().expect("the name of the trace");
            let spans = collector.trace(id);
            assert!(spans.iter().any(Span::is_of_a_request), "{spans:?}");
        } else {
            assert_eq!(begun, json!({"name": "request", "request.id": "begun"}));
        }
        // Every other line is in the span of a request too, or in none.
        for line in log.lines() {
            let line: Value = serde_json::from_str(line).expect("JSON");
            assert!(line["span"].is_null() || line["span"]["name"] == "request", "{line}");
        }
        assert_eq!(log.contains("traces are sent to a collector"), are_sent, "{log}");
    }
}

/// Nobody waits for a collector, whatever it does, and the end of the process waits for it two seconds at the
/// most: less than it takes to give up a question to it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_collector_that_is_away_or_fails_or_hangs_holds_nothing_up() {
    for manner in [None, Some(Manner::Refuses), Some(Manner::Hangs)] {
        let collector = match manner {
            Some(manner) => Some(Collector::start(manner).await),
            None => None,
        };
        let nobody = format!("http://{}", free_address());
        let url = collector.as_ref().map_or(nobody, |collector| collector.url.clone());
        let database = Database::create(Kind::Sqlite).await;
        let auth = Service::auth(&database.url, &[(AUTH, &url)]);
        let directory = tempfile::tempdir().expect("a temporary directory");
        let path = directory.path().join("log");
        let log = File::create(&path).expect("a file");
        let mut command = command("auth-service", &[], &auth.settings);
        let mut process = Process::run(command.envs(owned(&[("RUST_LOG", "info")])).stderr(log));
        auth.ready().await;
        let mut tokens = auth.newcomer("ada").await;
        let began = Instant::now();
        let told = || std::fs::read_to_string(&path).expect("text");
        // Longer than spans are gathered: some batches were tried, or one hangs.
        while began.elapsed() < Duration::from_secs(3) {
            let asked = Instant::now();
            tokens = Tokens::of(&auth.refresh(&tokens.refresh).await);
            assert_eq!(auth.get_as(&tokens.access, "/me").await.status, 200);
            assert!(asked.elapsed() < Duration::from_secs(2), "{manner:?}: {:?}", asked.elapsed());
        }
        if manner != Some(Manner::Hangs) {
            let away = "the collector takes no traces";
            until("the log tells of it", async || told().contains(away)).await;
        }
        process.terminate();
        let asked = Instant::now();
        assert!(process.ended().await);
        assert!(asked.elapsed() < Duration::from_secs(5), "{manner:?}: {:?}", asked.elapsed());
        let log = told();
        let lines = |part: &str| log.lines().filter(|line| line.contains(part)).count();
        match manner {
            None | Some(Manner::Refuses) => {
                assert_eq!(lines("the collector takes no traces"), 1, "{log}");
                assert_eq!(lines("spans were lost"), 1, "at the end: {log}");
            }
            Some(_) => assert_eq!(lines("the last spans could not be sent"), 1, "{log}"),
        }
        if manner == Some(Manner::Refuses) {
            assert!(log.contains("status code: 500"), "{log}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_sent_unless_the_settings_name_a_collector() {
    let collector = Collector::start(Manner::Takes).await;
    let database = Database::create(Kind::Sqlite).await;
    let mut auth = Service::auth(&database.url, &[]);
    // The variables of other programs on the same machine are not for this one.
    auth.settings.extend(owned(&[
        ("OTEL_EXPORTER_OTLP_ENDPOINT", &collector.url),
        ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", &format!("{}/v1/traces", collector.url)),
        ("OTEL_TRACES_EXPORTER", "otlp"),
    ]));
    auth.start().await;
    auth.register("ada").await;
    let body = json!({"username": "ada", "password": PASSWORD});
    let login = auth.http.post(format!("{}/login", auth.public)).json(&body);
    Tokens::of(&Answer::to(within(login, &new_trace(), "01")).await);
    stop(&mut [&mut auth]).await;
    assert!(collector.bytes().is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_collector_that_cannot_be_meant_is_refused_at_the_start() {
    let database = Database::create(Kind::Sqlite).await;
    let auth = Service::auth(&database.url, &[]);
    let resource = Service::resource(&auth, &[]);
    let key = "telemetry.otlp_endpoint";
    for bad in ["collector:4318", "grpc://collector:4317", "http://collector:4318/v1/traces"] {
        for (program, service, name) in
            [("auth-service", &auth, AUTH), ("resource-service", &resource, RESOURCE)]
        {
            let mut settings = service.settings.clone();
            settings.extend(owned(&[(name, bad)]));
            assert_one_clear_line(&run(program, &[], &settings), program, &[key]);
        }
    }
}
