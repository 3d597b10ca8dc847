//! What the log says of connections that fail and of requests that are refused: enough to mend it.

use std::collections::BTreeSet;
use std::path::Path;

use futures_util::StreamExt as _;
use serde_json::{Value, json};
use testbed::process::{Process, command, free_address};
use testbed::service::until;
use testbed::world::{AUDIENCE, ISSUER};
use testbed::{Answer, Database, Kind, PASSWORD, Service};

const SECRET: &str = "0123456789abcdef0123456789abcdef";
const OTHER_SECRET: &str = "fedcba9876543210fedcba9876543210";

/// A program whose log goes to the end of a file.
struct Logged {
    log: tempfile::NamedTempFile,
    _process: Process,
}

impl Logged {
    fn start(program: &str, service: &Service) -> Self {
        let log = tempfile::NamedTempFile::new().expect("a file");
        let process = recorded(program, service, log.path());
        Self { log, _process: process }
    }

    fn lines(&self) -> Vec<String> {
        let text = std::fs::read_to_string(self.log.path()).expect("text");
        text.lines().map(str::to_owned).collect()
    }

    /// Waits for a line that has all of these in it.
    async fn says(&self, parts: &[&str]) {
        until(&parts.join(", "), async || {
            self.lines().iter().any(|line| parts.iter().all(|part| line.contains(part)))
        })
        .await;
    }
}

fn recorded(program: &str, service: &Service, log: &Path) -> Process {
    let mut command = command(program, &[], &service.settings);
    Process::recorded(command.env("RUST_LOG", "info"), log)
}

/// First the auth-service is not there yet, and then it lets nobody in: the second is what has to be mended.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_reason_why_a_feed_cannot_be_followed_is_told() {
    let database = Database::create(Kind::Sqlite).await;
    let mut auth = Service::auth(&database.url, &[("AUTH__FEED__SECRET", SECRET)]);
    let resource = Service::resource(&auth, &[("RESOURCE__FEED__SECRET", OTHER_SECRET)]);
    let logged = Logged::start("resource-service", &resource);
    logged.says(&["the revocation feed cannot be fetched", "Connection refused"]).await;
    logged.says(&["the key set cannot be fetched", "Connection refused"]).await;
    auth.start().await;
    logged.says(&["the revocation feed cannot be fetched", "feed.secret is not the same"]).await;
    let told = logged.lines();
    let refused = told.iter().filter(|line| line.contains("feed.secret is not the same"));
    assert_eq!(refused.count(), 1, "it is asked again and again, and told once: {told:?}");
    for secret in [SECRET, OTHER_SECRET, "nonce="] {
        assert!(!told.iter().any(|line| line.contains(secret)), "{secret}");
    }
}

/// Who set the audience or the issuer of a service wrong finds both in its log, once; whoever sent the token does not.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_that_is_set_up_for_other_tokens_says_what_they_are() {
    let database = Database::create(Kind::Sqlite).await;
    let mut auth = Service::auth(&database.url, &[]);
    auth.start().await;
    let tokens = auth.newcomer("ada").await;
    for (setting, other, parts) in [
        ("RESOURCE__AUDIENCE", "http://127.0.0.1:7777", ["its audience is", AUDIENCE]),
        ("RESOURCE__ISSUER", "http://127.0.0.1:7777", ["its issuer is", ISSUER]),
    ] {
        let resource = Service::resource(&auth, &[(setting, other)]);
        let logged = Logged::start("resource-service", &resource);
        resource.ready().await;
        for _ in 0..20 {
            resource.whoami(&tokens.access).await.assert_problem(401, "invalid-token");
        }
        logged.says(&["a token is refused", parts[0], parts[1], other]).await;
        let told = logged.lines();
        assert_eq!(told.iter().filter(|line| line.contains("a token is refused")).count(), 1);
        assert!(!told.iter().any(|line| line.contains(&tokens.access)), "{told:?}");
    }
}

/// The same where the token is another issuer's: nothing of it is believed, and nothing repeated.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_with_the_keys_of_another_issuer_says_so() {
    let databases = [Database::create(Kind::Sqlite).await, Database::create(Kind::Sqlite).await];
    let mut issuers = [0, 1].map(|at: usize| Service::auth(&databases[at].url, &[]));
    for issuer in &mut issuers {
        issuer.start().await;
    }
    let resource = Service::resource(&issuers[0], &[]);
    let logged = Logged::start("resource-service", &resource);
    resource.ready().await;
    let tokens = issuers[1].newcomer("ada").await;
    for _ in 0..20 {
        resource.whoami(&tokens.access).await.assert_problem(401, "invalid-token");
    }
    logged.says(&["a token is refused", "not in the key set"]).await;
    let told = logged.lines();
    assert_eq!(told.iter().filter(|line| line.contains("a token is refused")).count(), 1);
    assert!(!told.iter().any(|line| line.contains(&tokens.access)), "{told:?}");
}

/// How many answers of a status the log tells of, each with its line or in a number; and the lines.
fn told_of(lines: &[String], status: u16) -> (u64, usize) {
    let (mut told, mut written) = (0, 0);
    for line in lines {
        let line: Value = serde_json::from_str(line).expect("an object");
        if line["status"] == status {
            written += 1;
            told += line["left_out"].as_u64().unwrap_or(1);
        }
    }
    (told, written)
}

/// At both services, whoever answers: the handler, the extractor of access tokens, nobody.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_of_refused_requests_is_told_in_few_lines_that_leave_none_out() {
    const MANY: usize = 1500;
    let database = Database::create(Kind::Sqlite).await;
    let auth = Service::auth(&database.url, &[]);
    let resource = Service::resource(&auth, &[]);
    let logged =
        [Logged::start("auth-service", &auth), Logged::start("resource-service", &resource)];
    auth.ready().await;
    resource.ready().await;
    let http = reqwest::Client::new();
    for (service, path) in [(&auth, "/me"), (&resource, "/whoami")] {
        let urls = [format!("{}{path}", service.public), format!("{}/nothing", service.public)];
        let (http, urls) = (&http, &urls);
        futures_util::stream::iter(0..MANY)
            .for_each_concurrent(16, async |at| {
                let answer = Answer::to(http.get(&urls[at % 2])).await;
                assert_eq!(answer.status, [401, 404][at % 2]);
            })
            .await;
    }
    for logged in &logged {
        for status in [401, 404] {
            until("all are told of", async || told_of(&logged.lines(), status).0 >= 750).await;
            let (told, written) = told_of(&logged.lines(), status);
            assert_eq!(told, 750, "{status}");
            assert!(written < 400, "{written} lines for {status}");
        }
    }
}

/// However many there are: who was attacked, and from where, is in them alone.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_security_event_is_left_out_in_a_flood() {
    let database = Database::create(Kind::Sqlite).await;
    let auth = Service::auth(&database.url, &[]);
    let logged = Logged::start("auth-service", &auth);
    auth.ready().await;
    futures_util::stream::iter(0..200)
        .for_each_concurrent(8, async |at| {
            let body = json!({"username": format!("nobody-{at}"), "password": PASSWORD});
            auth.post("/login", &body).await.assert_problem(401, "invalid-credentials");
        })
        .await;
    let lines = logged.lines();
    let failed = lines.iter().filter(|line| line.contains("\"event.name\":\"login-failed\""));
    let subjects: BTreeSet<_> = failed
        .map(|line| {
            let line: Value = serde_json::from_str(line).expect("an object");
            assert!(line["origin"].is_string(), "{line}");
            line["subject"].as_str().expect("a pseudonym").to_owned()
        })
        .collect();
    assert_eq!(subjects.len(), 200, "each under its pseudonym");
}

/// Also at the end that refuses, and also where no secret is shown at all.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_auth_service_says_that_a_follower_has_not_its_secret() {
    for (secret, showed) in [(OTHER_SECRET, "another secret"), ("", "no secret")] {
        let database = Database::create(Kind::Sqlite).await;
        let auth = Service::auth(&database.url, &[("AUTH__FEED__SECRET", SECRET)]);
        let logged = Logged::start("auth-service", &auth);
        auth.ready().await;
        let resource = Service::resource(&auth, &[("RESOURCE__FEED__SECRET", secret)]);
        let follower = Logged::start("resource-service", &resource);
        logged.says(&["WARN", "a follower showed", showed, "feed.secret"]).await;
        follower
            .says(&["the revocation feed cannot be fetched", "feed.secret is not the same"])
            .await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_log_says_why_redis_is_lost() {
    let database = Database::create(Kind::Sqlite).await;
    let url = format!("redis://{}", free_address());
    let auth = Service::auth(&database.url, &[("AUTH__REDIS__URL", &url)]);
    let logged = Logged::start("auth-service", &auth);
    for task in ["blacklist", "announcing", "listening", "limits"] {
        logged
            .says(&["Redis is lost", &format!("\"task\":\"{task}\""), "Connection refused"])
            .await;
    }
}
