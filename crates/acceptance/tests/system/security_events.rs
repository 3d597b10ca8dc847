//! docs/operations.md, "Security events": each is one line with the fields that are documented, and tells
//! neither names nor addresses.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::Write as _;
use std::path::Path;
use std::process::Stdio;

use auth_service::identity::pseudonyms::Pseudonyms;
use serde_json::{Map, Value, json};
use testbed::process::{Process, command};
use testbed::service::until;
use testbed::world::ISSUER;
use testbed::{Answer, Database, Kind, PASSWORD, Service, Tokens};

use crate::house::read;

/// Where somebody is; and where somebody else is.
const HERE: &str = "198.51.100.7";
const ELSEWHERE: &str = "203.0.113.9";
const ADA: &str = "ada-of-the-log";
const EVE: &str = "eve-who-goes-away";
const NOBODY: &str = "nobody-of-that-name";
const WRONG: &str = "another quite ordinary sentence";
/// What every line of the log has.
const COMMON: [&str; 5] = ["timestamp", "level", "target", "message", "span"];
/// What does not happen here each time.
const RARE: [&str; 6] = [
    "clock-stepped",
    "key-published",
    "key-removed",
    "key-revoked",
    "password-rehashed",
    "rotation-restored",
];

/// A way in which an event is told.
struct Documented {
    outcome: String,
    fields: BTreeSet<String>,
    /// Those that are not always there.
    optional: BTreeSet<String>,
}

/// The events of the page, by their names.
fn documented() -> BTreeMap<String, Vec<Documented>> {
    let page = read("docs/operations.md");
    let section = page.split("\n### Security events\n").nth(1).expect("the section");
    let section = section.split("\n### ").next().expect("its end");
    let mut events: BTreeMap<String, Vec<Documented>> = BTreeMap::new();
    for row in section.lines().filter(|line| line.starts_with("| `")) {
        let cells: Vec<_> = row.trim_matches('|').splitn(4, '|').map(str::trim).collect();
        let [names, outcome, fields, _when] = cells[..] else { panic!("{row}") };
        let plain = |text: &str| text.trim_matches(['`', '(', ')']).to_owned();
        for name in names.split(", ").map(plain) {
            let (optional, always): (Vec<_>, Vec<_>) =
                fields.split(", ").partition(|field| field.starts_with('('));
            events.entry(name).or_default().push(Documented {
                outcome: plain(outcome),
                fields: always.into_iter().map(plain).collect(),
                optional: optional.into_iter().map(plain).collect(),
            });
        }
    }
    events
}

impl Documented {
    fn is_like(&self, line: &Map<String, Value>) -> bool {
        let outcome = line.get("event.outcome").map_or("", |it| it.as_str().expect("text"));
        let own = ["event.name", "event.outcome"];
        let fields = line.keys().filter(|key| !COMMON.contains(&key.as_str()));
        let fields: BTreeSet<_> =
            fields.filter(|key| !own.contains(&key.as_str())).cloned().collect();
        let all = self.fields.union(&self.optional).cloned().collect();
        outcome == self.outcome && self.fields.is_subset(&fields) && fields.is_subset(&all)
    }
}

/// An auth-service behind a proxy, whose log goes to the end of a file.
struct Logged {
    service: Service,
    process: Process,
}

impl Logged {
    async fn start(database: &Database, log: &Path, setting: (&str, &str)) -> Self {
        let settings = [("AUTH__HTTP__TRUSTED_PROXIES", "127.0.0.1"), setting];
        let service = Service::auth(&database.url, &settings);
        let mut command = command("auth-service", &[], &service.settings);
        let process = Process::recorded(command.env("RUST_LOG", "info"), log);
        service.ready().await;
        Self { service, process }
    }

    async fn post_from(&self, address: &str, path: &str, body: &Value) -> Answer {
        let request = self.service.http.post(format!("{}{path}", self.service.public));
        Answer::to(request.header("x-forwarded-for", address).json(body)).await
    }

    async fn login(&self, name: &str, password: &str) -> Answer {
        self.post_from(HERE, "/login", &json!({"username": name, "password": password})).await
    }

    async fn log_out(&self, tokens: &Tokens, sessions: &str) {
        let body = json!({"refresh_token": tokens.refresh, "sessions": sessions});
        assert_eq!(self.post_from(HERE, "/logout", &body).await.status, 204);
    }

    /// Runs a command of an administrator, whose log goes to the end of the same file.
    fn command(&self, log: &Path, arguments: &[&str]) {
        let file = File::options().append(true).open(log).expect("the log");
        let mut command = command("auth-service", arguments, &self.service.settings);
        command.env("RUST_LOG", "info").stdin(Stdio::piped()).stdout(Stdio::null()).stderr(file);
        let mut child = command.spawn().expect("it starts");
        // Only commands that ask for a password read it.
        let _ = writeln!(child.stdin.take().expect("a pipe"), "{PASSWORD}");
        assert!(child.wait().expect("it ends").success(), "{arguments:?}");
    }

    async fn stop(mut self) {
        self.process.terminate();
        assert!(self.process.ended().await);
    }
}

/// Everything that people do, also to whom they are not.
async fn as_people_do(auth: &Logged) -> Vec<Tokens> {
    let new = json!({"username": ADA, "password": PASSWORD});
    assert_eq!(auth.post_from(HERE, "/register", &new).await.status, 201);
    for name in [ADA, NOBODY] {
        assert_eq!(auth.login(name, WRONG).await.status, 401);
    }
    let mut all = Vec::new();
    for _ in 0..4 {
        all.push(Tokens::of(&auth.login(ADA, PASSWORD).await));
    }
    let refresh = json!({"refresh_token": all[0].refresh});
    for address in [HERE, ELSEWHERE] {
        assert_eq!(auth.post_from(address, "/refresh", &refresh).await.status, 200);
    }
    auth.log_out(&all[0], "current").await;
    let removed = format!("{}/sessions/{}", auth.service.public, all[1].session);
    let removed = auth.service.http.delete(removed).bearer_auth(&all[2].access);
    assert_eq!(Answer::to(removed).await.status, 204);
    auth.log_out(&all[2], "others").await;
    let change =
        json!({"current_password": PASSWORD, "new_password": "a third quite ordinary sentence"});
    let change = auth.service.http.post(format!("{}/password", auth.service.public)).json(&change);
    assert_eq!(Answer::to(change.bearer_auth(&all[2].access)).await.status, 204);
    let me = format!("{}/me", auth.service.public);
    let names = json!({"username": format!("{ADA}-2"), "email": format!("{ADA}@example.com")});
    let patched = auth.service.http.patch(&me).bearer_auth(&all[2].access).json(&names);
    assert_eq!(Answer::to(patched).await.status, 200);
    auth.log_out(&all[2], "all").await;
    let eve = json!({"username": EVE, "password": PASSWORD});
    assert_eq!(auth.post_from(HERE, "/register", &eve).await.status, 201);
    let own = Tokens::of(&auth.login(EVE, PASSWORD).await);
    let deleted = auth.service.http.delete(&me).bearer_auth(&own.access);
    assert_eq!(Answer::to(deleted).await.status, 204);
    all.push(own);
    until("a limit is reached", async || auth.login("mallory", WRONG).await.status == 429).await;
    all
}

/// What an administrator does, and somebody who shows a spent token to a service that allows no window.
async fn as_administrators_and_thieves_do(auth: &Logged, log: &Path) -> Tokens {
    assert_eq!(auth.login(NOBODY, WRONG).await.status, 401);
    auth.command(log, &["user", "create", "bob"]);
    let tokens = Tokens::of(&auth.login("bob", PASSWORD).await);
    let refresh = json!({"refresh_token": tokens.refresh});
    assert_eq!(auth.post_from(HERE, "/refresh", &refresh).await.status, 200);
    assert_eq!(auth.post_from(ELSEWHERE, "/refresh", &refresh).await.status, 401);
    for arguments in [
        &["user", "roles", "bob", "auditor"][..],
        &["user", "set-password", "bob"],
        &["user", "disable", "bob"],
        &["user", "enable", "bob"],
        &["user", "rename", "bob", "robert"],
        &["user", "rename", "robert", "bob"],
        &["user", "set-email", "bob", "bob@example.com"],
        &["session", "revoke", &tokens.session],
        &["session", "revoke", "--all-of", "bob"],
        &["keys", "rotate", "--now"],
        &["user", "delete", "bob"],
    ] {
        auth.command(log, arguments);
    }
    let told = "\"event.name\":\"key-active\"";
    until("the service learns of the key", async || read_log(log).contains(told)).await;
    tokens
}

fn read_log(log: &Path) -> String {
    fs::read_to_string(log).expect("a log")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_security_event_is_a_line_as_documented_that_names_nobody() {
    let database = Database::create(Kind::Sqlite).await;
    let directory = tempfile::tempdir().expect("a temporary directory");
    let log = directory.path().join("log");
    let auth = Logged::start(&database, &log, ("AUTH__LIMITS__LOGIN_FREE", "3")).await;
    let mut tokens = as_people_do(&auth).await;
    auth.stop().await;
    let auth = Logged::start(&database, &log, ("AUTH__TOKENS__GRACE_SECONDS", "0")).await;
    tokens.push(as_administrators_and_thieves_do(&auth, &log).await);
    auth.stop().await;

    let log = read_log(&log);
    let lines = log.lines().map(|line| serde_json::from_str::<Map<_, _>>(line).expect("JSON"));
    let events: Vec<_> = lines.filter(|line| line.contains_key("event.name")).collect();
    let documented = documented();
    let mut seen = BTreeSet::new();
    for event in &events {
        let name = event["event.name"].as_str().expect("text");
        let ways = documented.get(name).unwrap_or_else(|| panic!("{name} is not documented"));
        assert!(ways.iter().any(|way| way.is_like(event)), "not as documented: {event:?}");
        seen.insert(name.to_owned());
        // Who a stolen token was between, its owner has to see.
        if !event.contains_key("presented_by") {
            let text = serde_json::to_string(event).expect("JSON");
            for address in [HERE, ELSEWHERE, "127.0.0.1"] {
                assert!(!text.contains(address), "{text}");
            }
        }
    }
    for name in documented.keys() {
        assert!(seen.contains(name) || RARE.contains(&name.as_str()), "nothing told {name}");
    }
    assert_eq!(seen_ways(&events, "session-ended", "failure"), 1, "the spent token");
    for secret in [ADA, EVE, NOBODY, "mallory", "robert", PASSWORD, WRONG] {
        assert!(!log.contains(secret), "{secret}");
    }
    for tokens in &tokens {
        let handle = tokens.refresh.split('.').nth(1).expect("a handle");
        assert!(!log.contains(&tokens.access) && !log.contains(handle));
    }

    // The same before and after the restart, and not without the key.
    let [ours, others] = [42, 43].map(|key| Pseudonyms::new(&[key; 32]));
    let (subject, origin) = (
        ours.given(NOBODY).to_string(),
        ours.network(HERE.parse().expect("an address")).to_string(),
    );
    assert_ne!(others.given(NOBODY).to_string(), subject);
    let failed = |event: &&Map<String, Value>| event["event.name"] == "login-failed";
    let of_nobody = events.iter().filter(failed).filter(|event| event["subject"] == *subject);
    let of_nobody: Vec<_> = of_nobody.collect();
    assert_eq!(of_nobody.len(), 2);
    assert!(of_nobody.iter().all(|event| !event.contains_key("user.id")));
    assert!(events.iter().filter(failed).all(|event| event["origin"] == *origin));
    let of_ada = |name: &str| {
        let found = events.iter().find(|event| event["event.name"] == name);
        found.map(|event| (event["subject"].clone(), event["user.id"].clone()))
    };
    assert_eq!(of_ada("login"), of_ada("login-failed"));
    // The audit log has the same.
    let pool = database.sqlite().await;
    let sql = "select sum(times) from events where kind = 'login-failed' and subject = $1 and origin = $2";
    let count = sqlx::query_scalar::<_, i64>(sql).bind(subject).bind(origin);
    assert_eq!(count.fetch_one(&pool).await.expect("a number"), 2);
    pool.close().await;
}

/// How often the log tells of it, and how often the audit log does.
async fn told(log: &Path, database: &Database, name: &str) -> (i64, i64) {
    let part = format!("\"event.name\":\"{name}\"");
    let lines = read_log(log).lines().filter(|line| line.contains(&part)).count();
    let pool = database.sqlite().await;
    let count = sqlx::query_scalar::<_, i64>("select count(*) from events where kind = $1");
    let count = count.bind(name).fetch_one(&pool).await.expect("a number");
    pool.close().await;
    (i64::try_from(lines).expect("a few"), count)
}

/// By a command, and over HTTP.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_already_as_it_was_asked_to_be_is_no_event() {
    let database = Database::create(Kind::Sqlite).await;
    let directory = tempfile::tempdir().expect("a temporary directory");
    let log = directory.path().join("log");
    let scopes = r#"{"latchkey:users:write":{"roles":["admin"]},"latchkey:sessions:end":{"roles":["admin"]}}"#;
    let auth = Logged::start(&database, &log, ("AUTH__SCOPES", scopes)).await;
    auth.command(&log, &["user", "create", "bob"]);
    auth.command(&log, &["user", "create", "root"]);
    auth.command(&log, &["user", "roles", "root", "admin"]);
    let over = Tokens::of(&auth.login("bob", PASSWORD).await);
    auth.log_out(&over, "current").await;
    let login = json!({
        "username": "root", "password": PASSWORD, "resource": ISSUER,
        "scope": "latchkey:users:write latchkey:sessions:end",
    });
    let root = auth.post_from(HERE, "/login", &login).await.member("access_token");
    let bob =
        auth.service.get_as(&Tokens::of(&auth.login("bob", PASSWORD).await).access, "/me").await;
    let admin = format!("{}/admin/v1", auth.service.internal);
    let user = format!("{admin}/users/{}", bob.member("id"));
    let names = ["user-enabled", "user-disabled", "roles-changed", "user-renamed", "email-changed"];
    for enabled in [false, true] {
        // The second time, and over HTTP, it is so already.
        for _ in 0..2 {
            for arguments in [
                &["user", if enabled { "enable" } else { "disable" }, "bob"][..],
                &["user", "roles", "bob", "auditor"],
                &["user", "rename", "bob", "bob"],
                &["user", "set-email", "bob", "bob@example.com"],
                &["session", "revoke", &over.session],
            ] {
                auth.command(&log, arguments);
            }
        }
        let same = json!({
            "enabled": enabled, "roles": ["auditor"], "username": "bob", "email": "bob@example.com",
        });
        let session = format!("{admin}/sessions/{}", over.session);
        for request in
            [auth.service.http.patch(&user).json(&same), auth.service.http.delete(session)]
        {
            let answer = Answer::to(request.bearer_auth(&root)).await;
            assert_eq!(answer.status, 204, "{}", answer.text);
        }
        for (name, happened) in names.into_iter().zip([i64::from(enabled), 1, 2, 0, 1]) {
            assert_eq!(told(&log, &database, name).await, (happened, happened), "{name}");
        }
    }
    auth.stop().await;
    let ended = read_log(&log)
        .lines()
        .filter(|line| line.contains("an administrator ended a session"))
        .count();
    assert_eq!(ended, 0, "it was over");
}

fn seen_ways(events: &[Map<String, Value>], name: &str, outcome: &str) -> usize {
    let same = |event: &&Map<String, Value>| {
        event["event.name"] == name && event.get("event.outcome").is_some_and(|it| it == outcome)
    };
    events.iter().filter(same).count()
}

/// The names that the audit log has are the names that the log has.
#[test]
fn the_names_of_security_events_are_those_of_the_audit_log() {
    let mut sources = read("crates/auth-service/src/store/audit.rs");
    for number in [
        "0002_keys_and_trail",
        "0005_sessions_announce",
        "0012_life_of_an_account",
        "0016_told_credentials",
        "0019_changed_invitations",
    ] {
        sources += &read(&format!("migrations/postgres/{number}.sql"));
    }
    for name in documented().into_keys() {
        let told = [format!("'{name}'"), format!("\"{name}\"")];
        let is_key = name.starts_with("key-") && sources.contains("'key-' || new.state");
        assert!(is_key || told.iter().any(|it| sources.contains(it)), "{name}");
    }
}
