//! F-A5: a service whose listeners cannot serve ends, and says why; it does not live on half started.

use std::path::Path;
use std::process::Command;

use testbed::database::{Database, Kind};
use testbed::process::{self, Process};
use testbed::service::{Service, Settings, owned, run};
use testbed::world::auth_settings;

/// Settings that no browser's `Origin` would ever equal, and what they should have been.
const ORIGINS: [(&str, &str); 8] = [
    ("https://b\u{fc}cher.example", "https://xn--bcher-kva.example"),
    ("https://app example.com", "https://app.example.com"),
    ("https://App.Example.com", "https://app.example.com"),
    ("https://app.example.com:443", "https://app.example.com"),
    ("https://app.example.com/", "https://app.example.com"),
    ("https://me@app.example.com", "https://app.example.com"),
    ("https://*.example.com", "without a wildcard"),
    ("https://good.example,null", "`null`"),
];

/// Issuers that a service and its clients would spell in two ways, and the one that they are told.
const ISSUERS: [(&str, &str); 8] = [
    ("https://Auth.Example.com", "https://auth.example.com"),
    ("HTTPS://auth.example.com", "https://auth.example.com"),
    ("https://auth.example.com:443", "https://auth.example.com"),
    ("http://127.0.0.1:80", "http://127.0.0.1"),
    ("https://auth.example.com/", "https://auth.example.com"),
    ("https://auth.example.com/id/", "https://auth.example.com/id"),
    ("https://b\u{fc}cher.example", "https://xn--bcher-kva.example"),
    ("http://127.1:8080", "http://127.0.0.1:8080"),
];

struct Started {
    directory: tempfile::TempDir,
    process: Process,
}

impl Started {
    /// Starts a program whose database and data are in a directory of its own.
    fn of(program: &str, changed: &[(&str, &str)]) -> Self {
        Self::limited(program, changed, "unlimited")
    }

    /// The same with so much address space, in KiB.
    fn limited(program: &str, changed: &[(&str, &str)], space: &str) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let settings = settings(program, directory.path(), changed);
        let inner = process::command(program, &[], &settings);
        let mut command = Command::new("sh");
        command.args(["-c", "ulimit -v \"$0\" && exec \"$@\"", space]).arg(inner.get_program());
        for (name, value) in inner.get_envs() {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        if program == "latchkey" {
            command.arg("--data").arg(directory.path().join("data"));
        }
        // Large stacks, so that a system without room for threads has some for everything else.
        command.env("RUST_LOG", "off").env("RUST_MIN_STACK", "33554432");
        let process = Process::recorded(&mut command, &directory.path().join("log"));
        Self { directory, process }
    }

    /// Waits for its end, which must be a failure, and gives what it said last.
    async fn failed(mut self) -> String {
        let good = self.process.ended().await;
        let log = std::fs::read_to_string(self.directory.path().join("log")).expect("a log");
        assert!(!good, "it ended as if all was well: {log}");
        log.lines().last().unwrap_or_default().to_owned()
    }
}

fn settings(program: &str, directory: &Path, changed: &[(&str, &str)]) -> Settings {
    let changed = owned(changed);
    let mut all = match program {
        "auth-service" => {
            let url = format!("sqlite:{}/auth.db", directory.display());
            auth_settings(&url, &changed).collect()
        }
        "latchkey" => owned(&[
            ("AUTH__HTTP__LISTEN", "127.0.0.1:0"),
            ("AUTH__HTTP__INTERNAL_LISTEN", "127.0.0.1:0"),
            ("RESOURCE__HTTP__LISTEN", "127.0.0.1:0"),
            ("RESOURCE__HTTP__INTERNAL_LISTEN", "127.0.0.1:0"),
        ]),
        _ => owned(&[
            ("RESOURCE__HTTP__LISTEN", "127.0.0.1:0"),
            ("RESOURCE__HTTP__INTERNAL_LISTEN", "127.0.0.1:0"),
        ]),
    };
    all.extend(changed);
    all
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_origin_that_no_browser_sends_is_refused_at_the_start_with_the_right_one() {
    for (origin, right) in ORIGINS {
        for (program, name) in [
            ("auth-service", "AUTH__HTTP__ALLOWED_ORIGINS"),
            ("resource-service", "RESOURCE__HTTP__ALLOWED_ORIGINS"),
            ("latchkey", "AUTH__HTTP__ALLOWED_ORIGINS"),
            ("latchkey", "RESOURCE__HTTP__ALLOWED_ORIGINS"),
        ] {
            let said = Started::of(program, &[(name, origin)]).failed().await;
            assert!(said.contains("http.allowed_origins"), "{program} {origin}: {said}");
            assert!(said.contains(right), "{program} {origin}: {said}");
        }
    }
    let directory = tempfile::tempdir().expect("a directory");
    for (origin, right) in ORIGINS {
        let changed = [("AUTH__HTTP__ALLOWED_ORIGINS", origin)];
        let told =
            run("auth-service", &["doctor"], &settings("auth-service", directory.path(), &changed));
        let text = String::from_utf8_lossy(&told.stdout);
        assert!(!told.status.success() && text.starts_with("BAD   settings"), "{origin}: {text}");
        assert!(text.contains(right), "{origin}: {text}");
    }
}

/// F2-05
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_issuer_in_another_spelling_is_refused_at_the_start_with_the_right_one() {
    for (issuer, right) in ISSUERS {
        for (program, name) in [
            ("auth-service", "AUTH__ISSUER"),
            ("resource-service", "RESOURCE__ISSUER"),
            ("latchkey", "AUTH__ISSUER"),
        ] {
            let said = Started::of(program, &[(name, issuer)]).failed().await;
            assert!(said.contains("issuer: must be spelled"), "{program} {issuer}: {said}");
            assert!(said.ends_with(&format!(": {right}")), "{program} {issuer}: {said}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_setting_that_is_looser_than_what_uses_it_is_refused_at_the_start() {
    for (program, name, value, key) in [
        ("auth-service", "AUTH__HTTP__WORKERS", "20000", "http.workers"),
        ("resource-service", "RESOURCE__HTTP__WORKERS", "20000", "http.workers"),
        ("auth-service", "AUTH__HTTP__WORKERS", "0", "http.workers"),
        ("auth-service", "AUTH__HTTP__DRAIN_SECONDS", "18446744073709551615", "http.drain_seconds"),
        (
            "auth-service",
            "AUTH__DATABASE__MAX_CONNECTIONS",
            "4294967295",
            "database.max_connections",
        ),
        (
            "auth-service",
            "AUTH__CLOCK__OFFSET_SECONDS",
            "9223372036854775807",
            "clock.offset_seconds",
        ),
        ("auth-service", "AUTH__ISSUER", "http://127.0.0.1:8080/b\u{fc}cher", "issuer"),
        ("auth-service", "AUTH__ISSUER", "http://127.0.0.1:80@evil.example", "issuer"),
        ("auth-service", "AUTH__ISSUER", "http://127.0.0.1:0", "issuer"),
        ("auth-service", "AUTH__ISSUER", "http://127.0.0.1:99999", "issuer"),
        ("auth-service", "AUTH__PAGE__RESOURCE", "http://api.example.com/", "page.resource"),
        ("resource-service", "RESOURCE__ISSUER", "auth.example.com", "issuer"),
        ("resource-service", "RESOURCE__AUDIENCE", "https://api.example.com/\u{fc}", "audience"),
        ("resource-service", "RESOURCE__AUDIENCE", "a b", "audience"),
        ("resource-service", "RESOURCE__KEYS__JWKS_URL", "127.0.0.1:8080/jwks", "keys.jwks_url"),
        (
            "resource-service",
            "RESOURCE__FEED__URLS",
            "http://a.example,http://b example",
            "feed.urls",
        ),
    ] {
        let said = Started::of(program, &[(name, value)]).failed().await;
        assert!(said.contains(key), "{program} {name}={value}: {said}");
    }
}

/// The system has no room for so many threads: some start, some do not.
/// Whoever set it believes that it counts.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_variable_that_nothing_reads_is_refused_with_the_nearest_name() {
    for (program, name, nearest) in [
        ("auth-service", "AUTH_TOKENS__ACCESS_SECONDS", "AUTH__TOKENS__ACCESS_SECONDS"),
        ("auth-service", "AUTH__TOKENS__ACESS_SECONDS", "AUTH__TOKENS__ACCESS_SECONDS"),
        ("auth-service", "AUTH_ISSUER", "AUTH__ISSUER"),
        ("auth-service", "auth__http__workers", "AUTH__HTTP__WORKERS"),
        ("auth-service", "AUTH_DATABASE_URL_FILE", "AUTH__DATABASE__URL_FILE"),
        ("resource-service", "RESOURCE_FEED__SECRET", "RESOURCE__FEED__SECRET"),
        ("resource-service", "RESOURCE__AUDIENCES", "RESOURCE__AUDIENCE"),
        ("latchkey", "AUTH_PAGE__ENABLED", "AUTH__PAGE__ENABLED"),
        ("latchkey", "RESOURCE_AUDIENCE", "RESOURCE__AUDIENCE"),
    ] {
        let said = Started::of(program, &[(name, "600")]).failed().await;
        assert!(said.contains(name) && said.contains(nearest), "{program} {name}: {said}");
    }
    // Of others, although they begin so.
    let directory = tempfile::tempdir().expect("a directory");
    let others = [
        ("AUTH_PORT", "tcp://10.0.0.1:8080"),
        ("AUTH_SERVICE_HOST", "10.0.0.1"),
        ("AUTH_PORT_8080_TCP", "tcp://10.0.0.1:8080"),
        ("AUTH_ADMIN_URL", "https://auth.example.com"),
        ("AUTH__TOKENS__ACESS_SECONDS", ""),
    ];
    let all = settings("auth-service", directory.path(), &others);
    let output = run("auth-service", &["migrate"], &all);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_word_that_a_setting_does_not_know_is_refused_with_its_alternatives() {
    for (name, alternatives) in [
        ("AUTH__KEYS__ALGORITHM", "keys.algorithm"),
        ("AUTH__HTTP__COOKIE_SAME_SITE", "http.cookie_same_site"),
    ] {
        for program in ["auth-service", "latchkey"] {
            let said = Started::of(program, &[(name, "HS256")]).failed().await;
            assert!(said.contains(alternatives) && said.contains("must be"), "{program}: {said}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_whose_workers_cannot_all_start_ends_with_an_error() {
    for (program, name) in [
        ("auth-service", "AUTH__HTTP__WORKERS"),
        ("resource-service", "RESOURCE__HTTP__WORKERS"),
        ("latchkey", "AUTH__HTTP__WORKERS"),
    ] {
        let said = Started::limited(program, &[(name, "512")], "4000000").failed().await;
        assert!(said.contains("http.workers"), "{program}: {said}");
    }
}

/// What the internal listener says holds for the public one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn when_the_internal_listener_says_ready_the_public_one_serves() {
    let database = Database::create(Kind::Sqlite).await;
    let mut auth = Service::auth(&database.url, &[("AUTH__HTTP__WORKERS", "8")]);
    auth.spawn();
    process::ready(&auth.http, &format!("{}/health/ready", auth.internal)).await;
    assert_eq!(auth.get("/health/live").await.status, 200);
    let mut resource = Service::resource(&auth, &[("RESOURCE__HTTP__WORKERS", "8")]);
    resource.spawn();
    process::ready(&resource.http, &format!("{}/health/ready", resource.internal)).await;
    assert_eq!(resource.get("/health/live").await.status, 200);
}
