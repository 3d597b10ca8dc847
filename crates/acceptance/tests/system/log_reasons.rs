//! What the log says of connections that fail and of requests that are refused: enough to mend it.

use std::path::Path;

use testbed::process::{Process, command, free_address};
use testbed::service::until;
use testbed::{Database, Kind, Service};

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
