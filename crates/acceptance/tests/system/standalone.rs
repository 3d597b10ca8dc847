//! `cargo run`: everything in one process, and the walk-through that it prints.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use testbed::process;
use testbed::world::ISSUER;
use testbed::{Answer, Tokens};

use super::house::root;
use testbed::service::{Settings, assert_one_clear_line, lasting_address, owned, run};

const PASSWORD: &str = "open sesame, but only here";

/// `latchkey` in a directory of its own, on free ports.
struct Standalone {
    child: Child,
    /// Everything it printed up to the end of the walk-through.
    printed: String,
    /// `http://host:port`
    auth: String,
    resource: String,
    http: reqwest::Client,
}

fn addresses() -> Settings {
    let names = [
        "AUTH__HTTP__LISTEN",
        "AUTH__HTTP__INTERNAL_LISTEN",
        "RESOURCE__HTTP__LISTEN",
        "RESOURCE__HTTP__INTERNAL_LISTEN",
    ];
    let mut settings: Settings =
        names.iter().map(|name| ((*name).to_owned(), lasting_address())).collect();
    settings.extend(owned(&[
        ("AUTH__PASSWORDS__MEMORY_KIB", "64"),
        ("AUTH__PASSWORDS__ITERATIONS", "1"),
        ("AUTH__PASSWORDS__MAX_WAIT_SECONDS", "15"),
    ]));
    settings
}

impl Standalone {
    fn start(data: &Path) -> Self {
        Self::start_with(data, &[])
    }

    fn start_with(data: &Path, others: &[(&str, &str)]) -> Self {
        let mut settings = addresses();
        settings.extend(owned(others));
        let data = data.to_str().expect("text");
        let mut command = process::command("latchkey", &["--data", data], &settings);
        let command = command.env("RUST_LOG", "off").stdout(Stdio::piped());
        let mut child = command.spawn().expect("the program starts");
        let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines();
        let walkthrough = walkthrough();
        let last = walkthrough.lines().last().expect("a line");
        let mut printed = String::new();
        // It prints that much or ends: no endless wait.
        for line in lines.by_ref() {
            let line = line.expect("text");
            printed.push_str(&line);
            printed.push('\n');
            if line == last {
                break;
            }
        }
        let url = |number: usize| format!("http://{}", settings[number].1);
        let (auth, resource) = (url(0), url(2));
        Self { child, printed, auth, resource, http: reqwest::Client::new() }
    }

    /// What it says to paste.
    fn walkthrough(&self) -> &str {
        let (_, text) = self.printed.split_once("paste this:\n\n").expect("a walk-through");
        text
    }

    async fn post(&self, path: &str, body: &Value) -> Answer {
        Answer::to(self.http.post(format!("{}{path}", self.auth)).json(body)).await
    }

    async fn stop(mut self) {
        process::terminate(&self.child);
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            if let Some(status) = self.child.try_wait().expect("the process can be asked") {
                assert!(status.success(), "{status}");
                return;
            }
            assert!(Instant::now() < deadline, "the process does not end");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

impl Drop for Standalone {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn walkthrough() -> String {
    fs::read_to_string(root().join("crates/standalone/walkthrough.sh")).expect("it is there")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_walkthrough_that_is_printed_does_what_it_says() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let data = directory.path().join("below").join("data");
    let standalone = Standalone::start(&data);
    let printed = &standalone.printed;
    let open = format!("Open {} in a browser", standalone.auth);
    for part in [&open, &standalone.resource, data.to_str().unwrap(), "demo", PASSWORD] {
        assert!(printed.contains(part), "{part} in {printed}");
    }
    let expected = walkthrough()
        .replace(ISSUER, &standalone.auth)
        .replace("http://127.0.0.1:8081", &standalone.resource);
    assert_eq!(standalone.walkthrough(), expected, "as in the file, with the real addresses");
    for (path, mode) in [("master.key", 0o600), ("latchkey.db", 0o600), (".", 0o700)] {
        let metadata = fs::metadata(data.join(path)).expect("it is there");
        assert_eq!(metadata.permissions().mode() & 0o777, mode, "{path}");
    }

    let shell = Command::new("sh").arg("-c").arg(standalone.walkthrough()).output();
    let output = shell.expect("a shell can be run");
    let text = String::from_utf8(output.stdout).expect("text");
    assert!(output.status.success(), "{text}");
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    let lines: Vec<_> = text.lines().collect();
    let [whoami, same, logout, refused, ended] = lines[..] else { panic!("five lines: {text}") };
    let whoami: Value = serde_json::from_str(whoami).expect("JSON");
    assert_eq!(whoami["username"], "demo");
    assert_eq!(whoami["scope"], "profile reports:read reports:write");
    assert_eq!((same, logout, refused), ("the same successor", "204", "401"));
    let ended: Value = serde_json::from_str(ended).expect("JSON");
    assert_eq!((&ended["code"], &ended["reason"]), (&json!("session-revoked"), &json!("logout")));
    standalone.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_start_goes_on_with_the_same_data() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let key = || fs::read(directory.path().join("master.key")).expect("it is there");
    // On other ports the second time; else these are the issuer.
    let start = || Standalone::start_with(directory.path(), &[("AUTH__ISSUER", ISSUER)]);
    let first = start();
    let login = json!({"username": "demo", "password": PASSWORD});
    let tokens = Tokens::of(&first.post("/login", &login).await);
    let body = json!({"username": "ada", "password": testbed::PASSWORD});
    assert_eq!(first.post("/register", &body).await.status, 201);
    let made = key();
    first.stop().await;

    let second = start();
    assert_eq!(key(), made);
    let body = json!({ "refresh_token": tokens.refresh });
    let next = Tokens::of(&second.post("/refresh", &body).await);
    assert_eq!(next.session, tokens.session);
    for access in [&tokens.access, &next.access] {
        let url = format!("{}/whoami", second.resource);
        let answer = Answer::to(second.http.get(url).bearer_auth(access)).await;
        assert_eq!((answer.status, answer.member("username").as_str()), (200, "demo"));
    }
    let body = json!({"username": "ada", "password": testbed::PASSWORD});
    assert_eq!(second.post("/login", &body).await.status, 200);
    second.stop().await;
}

/// Whoever tries out how an account is deleted takes the demo from nobody for long.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_demo_account_that_was_deleted_is_there_again_after_the_next_start() {
    let data = tempfile::tempdir().expect("a directory");
    let login = json!({"username": "demo", "password": PASSWORD});
    let standalone = Standalone::start(data.path());
    let tokens = Tokens::of(&standalone.post("/login", &login).await);
    let me = standalone.http.delete(format!("{}/me", standalone.auth)).bearer_auth(tokens.access);
    assert_eq!(Answer::to(me).await.status, 204);
    standalone.post("/login", &login).await.assert_problem(401, "invalid-credentials");
    standalone.stop().await;
    let standalone = Standalone::start(data.path());
    assert_eq!(standalone.post("/login", &login).await.status, 200);
    standalone.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_tried_out_does_not_go_public_with_a_password_that_everybody_knows() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    Standalone::start(directory.path()).stop().await;
    let open = format!("0.0.0.0:{}", lasting_address().rsplit_once(':').expect("a port").1);
    let elsewhere = [
        ("AUTH__ISSUER", "https://auth.example.com"),
        ("AUTH__FEED__SECRET", "0123456789abcdef0123456789abcdef"),
    ];
    let file = directory.path().join("listen");
    fs::write(&file, &open).expect("it can be written");
    let file = file.to_str().expect("text");
    for public in [
        &elsewhere[..],
        &[("AUTH__HTTP__LISTEN", &open)],
        &[("AUTH__HTTP__LISTEN_FILE", file), ("AUTH__HTTP__LISTEN", "")],
    ] {
        let mut settings = addresses();
        settings.retain(|(name, _)| !name.contains("PASSWORDS"));
        settings.extend(owned(public));
        let data = directory.path().to_str().expect("text");
        let output = run("latchkey", &["--data", data], &settings);
        assert_one_clear_line(&output, "latchkey", &["demo user", "--data"]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_feed_secret_is_known_to_both_services() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let secret = [("AUTH__FEED__SECRET", "0123456789abcdef0123456789abcdef")];
    Standalone::start_with(directory.path(), &secret).stop().await;
}

/// Some programs put such variables into the environment of everything that they start.
#[test]
fn a_variable_that_is_not_text_is_none_of_ours() {
    let mut command = process::command("auth-service", &["healthcheck"], &[]);
    let odd = std::ffi::OsStr::from_bytes(b"\xff\xfe");
    let output = command.env("LATCHKEY_ODD", odd).output().expect("the program runs");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(!stderr.contains("panicked") && stderr.contains("keys.master_key"), "{stderr}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pages_of_its_own_two_origins_may_call_the_resource_service() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let standalone = Standalone::start(directory.path());
    let url = format!("{}/whoami", standalone.resource);
    for (origin, allowed) in [
        (standalone.auth.as_str(), true),
        (&standalone.auth.replace("127.0.0.1", "localhost"), true),
        (&standalone.resource, false),
        ("https://evil.example", false),
    ] {
        let answer = Answer::to(standalone.http.get(&url).header("origin", origin)).await;
        assert_eq!(answer.status, 401);
        let wanted = allowed.then_some(origin);
        assert_eq!(answer.header("access-control-allow-origin"), wanted);
    }
    standalone.stop().await;
}

#[test]
fn what_stands_in_the_way_is_said_in_one_line() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let data = directory.path().join("data");
    let data = data.to_str().expect("text");
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let taken = taken.local_addr().map(|address| (address.to_string(), taken));
    let (address, _held) = taken.expect("an address");
    for number in 0..4 {
        let mut settings = addresses();
        settings[number].1.clone_from(&address);
        let output = run("latchkey", &["--data", data], &settings);
        assert_one_clear_line(&output, "latchkey", &["listen: cannot listen on", &address]);
    }

    let file = directory.path().join("file");
    fs::write(&file, "").expect("it can be written");
    let below = file.join("data");
    let below = below.to_str().expect("text");
    let output = run("latchkey", &["--data", below], &addresses());
    assert_one_clear_line(&output, "latchkey", &["cannot write to", below, "--data"]);

    let key = directory.path().join("master.key");
    fs::write(&key, "c2hvcnQ=").expect("it can be written");
    fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).expect("it can be changed");
    let damaged = directory.path().to_str().expect("text");
    let output = run("latchkey", &["--data", damaged], &addresses());
    assert_one_clear_line(&output, "latchkey", &["master.key", "chmod 600"]);
    fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).expect("it can be changed");
    let output = run("latchkey", &["--data", damaged], &addresses());
    assert_one_clear_line(&output, "latchkey", &["keys.master_key"]);
}

#[test]
fn the_readme_shows_the_same_walkthrough() {
    let readme = fs::read_to_string(root().join("README.md")).expect("a README.md");
    assert!(readme.contains(&walkthrough()), "README.md does not contain walkthrough.sh");
}
