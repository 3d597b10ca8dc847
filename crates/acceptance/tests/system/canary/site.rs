//! The services with secrets of their own, everything they write, and where.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::administration;
use super::canaries::Place;
use super::dump::{self, Monitor};
use auth_service::Config;
use auth_service::identity::admin_scopes;
use auth_service::store::Store;
use auth_service::tokens::keyring::place;
use auth_service::tokens::seal::MasterKeys;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use tempfile::TempDir;
use testbed::process::{self, Process};
use testbed::service::{Settings, lasting_address, owned, until};
use testbed::world::{AUDIENCE, ISSUER, auth_settings};
use testbed::{Answer, Database, PASSWORD, Redis};
use verifier::Clock;

use super::scene::Scene;
use crate::traces::{Collector, Manner};

/// Secrets of the installation.
pub(crate) struct Secrets {
    pub(crate) master: [u8; 32],
    pub(crate) other_master: [u8; 32],
    pub(crate) pepper: [u8; 32],
    pub(crate) feed: String,
    pub(crate) redis: String,
    pub(crate) database: String,
}

pub(crate) struct Site {
    pub(crate) auth: String,
    pub(crate) internal: String,
    pub(crate) resource: String,
    resource_internal: String,
    pub(crate) database: Database,
    redis: Redis,
    collector: Collector,
    pub(crate) secrets: Secrets,
    pub(crate) settings: Settings,
    logs: TempDir,
    /// `auth-service` and `resource-service`, or `latchkey`.
    programs: Vec<(&'static str, Vec<String>)>,
    running: Vec<Process>,
    monitor: Option<Monitor>,
    planted: Vec<Place>,
}

/// One role may do everything that administrators may.
fn scopes() -> String {
    let rule = json!({ "roles": [administration::ROLE] });
    let rules = admin_scopes::ALL.map(|scope| (scope.to_owned(), rule.clone()));
    Value::Object(rules.into_iter().collect()).to_string()
}

fn random() -> [u8; 32] {
    std::array::from_fn(|_| fastrand::u8(..))
}

impl Site {
    pub(crate) async fn of_two(database: Database) -> Self {
        let programs = vec![("auth-service", vec![]), ("resource-service", vec![])];
        Self::of(database, programs).await
    }

    pub(crate) async fn of_one(database: Database) -> Self {
        let mut site = Self::of(database, Vec::new()).await;
        let data = site.logs.path().join("data").to_str().expect("text").to_owned();
        site.programs = vec![("latchkey", vec!["--data".to_owned(), data])];
        site
    }

    async fn of(database: Database, programs: Vec<(&'static str, Vec<String>)>) -> Self {
        let word = || format!("{:032x}", fastrand::u128(..));
        let secrets = Secrets {
            master: random(),
            other_master: random(),
            pepper: random(),
            feed: word(),
            redis: word(),
            database: word(),
        };
        let redis = Redis::start(&[("requirepass", &secrets.redis)]).await;
        let collector = Collector::start(Manner::Takes).await;
        let monitor = Some(Monitor::start(&redis.address, &secrets.redis).await);
        let [auth, internal, resource, resource_internal] = [(); 4].map(|()| lasting_address());
        // The test server lets everybody in, whatever their password.
        let url = database.url.replace("postgres@", &format!("postgres:{}@", secrets.database));
        let own = owned(&[
            ("AUTH__HTTP__LISTEN", &auth),
            ("AUTH__HTTP__INTERNAL_LISTEN", &internal),
            ("AUTH__KEYS__MASTER_KEY", &STANDARD.encode(secrets.master)),
            ("AUTH__KEYS__OTHER_MASTER_KEY", &STANDARD.encode(secrets.other_master)),
            ("AUTH__PASSWORDS__PEPPERS", &format!("1:{}", STANDARD.encode(secrets.pepper))),
            ("AUTH__FEED__SECRET", &secrets.feed),
            ("AUTH__SCOPES", &scopes()),
            ("AUTH__REDIS__URL", &redis_url(&redis.address, &secrets.redis)),
            ("AUTH__TELEMETRY__OTLP_ENDPOINT", &collector.url),
        ]);
        let mut settings: Settings = auth_settings(&url, &own).collect();
        settings.extend(owned(&[
            ("RESOURCE__ISSUER", ISSUER),
            ("RESOURCE__AUDIENCE", AUDIENCE),
            ("RESOURCE__HTTP__LISTEN", &resource),
            ("RESOURCE__HTTP__INTERNAL_LISTEN", &resource_internal),
            ("RESOURCE__HTTP__DRAIN_SECONDS", "0"),
            ("RESOURCE__KEYS__JWKS_URL", &format!("http://{auth}/.well-known/jwks.json")),
            ("RESOURCE__FEED__URLS", &format!("http://{internal}/internal/revocations")),
            ("RESOURCE__FEED__SECRET", &secrets.feed),
            ("RESOURCE__TELEMETRY__OTLP_ENDPOINT", &collector.url),
            ("RUST_LOG", "trace"),
        ]));
        let http = |address: String| format!("http://{address}");
        Self {
            auth: http(auth),
            internal: http(internal),
            resource: http(resource),
            resource_internal: http(resource_internal),
            database,
            redis,
            collector,
            secrets,
            settings,
            logs: tempfile::tempdir().expect("a directory"),
            programs,
            running: Vec::new(),
            monitor,
            planted: Vec::new(),
        }
    }

    pub(crate) async fn start(&mut self) {
        for (program, arguments) in self.programs.clone() {
            let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
            self.running.push(self.run(program, &arguments, &self.settings));
        }
        let http = reqwest::Client::new();
        for service in [&self.auth, &self.resource] {
            process::ready(&http, &format!("{service}/health/ready")).await;
        }
    }

    fn run(&self, program: &str, arguments: &[&str], settings: &Settings) -> Process {
        let mut command = process::command(program, arguments, settings);
        Process::recorded(&mut command, &self.log(program))
    }

    fn log(&self, program: &str) -> PathBuf {
        self.logs.path().join(format!("{program}.log"))
    }

    /// Another auth-service on the same database, with other settings, for a while.
    pub(crate) async fn neighbour(&self, others: &[(&str, &str)]) -> (String, Process) {
        let public = lasting_address();
        let mut settings = self.settings.clone();
        settings.extend(owned(&[
            ("AUTH__HTTP__LISTEN", &public),
            ("AUTH__HTTP__INTERNAL_LISTEN", &lasting_address()),
        ]));
        settings.extend(owned(others));
        let process = self.run("auth-service", &[], &settings);
        let url = format!("http://{public}");
        process::ready(&reqwest::Client::new(), &format!("{url}/health/ready")).await;
        (url, process)
    }

    /// Tells `scene` of the secrets of the installation, those in the database unsealed.
    pub(crate) async fn introduce(&self, scene: &mut Scene) {
        let Secrets { master, other_master, pepper, feed, redis, database } = &self.secrets;
        let canaries = &mut scene.canaries;
        canaries.bytes("key", "that seals", master);
        canaries.bytes("key", "that sealed", other_master);
        canaries.bytes("pepper", "of all passwords", pepper);
        canaries.text("secret", "of the feed", feed);
        canaries.text("password", "of Redis", redis);
        canaries.text("password", "of the database", database);
        self.unseal(scene).await;
    }

    /// Tells `scene` of the keys that are in the database now.
    pub(crate) async fn unseal(&self, scene: &mut Scene) {
        let config = Config::load(None, self.settings.clone()).expect("the settings are right");
        let masters = MasterKeys::from_settings(&config).expect("the keys are right");
        let store = Store::open(&config.database, Clock::default()).await.expect("it opens");
        for key in store.keys().await.expect("the database answers").keys {
            if key.sealed.is_empty() {
                continue;
            }
            let secret = masters.open(&place(&key.id), &key.sealed).expect("it opens");
            let name = format!("for {}", key.purpose.as_str());
            scene.canaries.bytes("key", &name, &secret);
            // PKCS#8 of a curve has its 32 bytes after these two; a line may be broken between them.
            let at = secret.windows(2).position(|two| two == [4, 32]).map_or(0, |at| at + 2);
            for half in secret[at..].chunks_exact(16).take(2) {
                scene.canaries.bytes("half of a key", &name, half);
            }
        }
        store.close().await;
    }

    /// Everything that was written by now, but for answers.
    pub(crate) async fn written(&mut self) -> Vec<Place> {
        let mut places = std::mem::take(&mut self.planted);
        let http = reqwest::Client::new();
        for internal in [&self.internal, &self.resource_internal] {
            let answer = Answer::to(http.get(format!("{internal}/metrics"))).await;
            assert!(answer.text.contains("latchkey_"), "metrics: {}", answer.text);
            places.push(Place::new("metrics", answer.text));
        }
        places.extend(dump::database(&self.database).await);
        let url = redis_url(&self.redis.address, &self.secrets.redis);
        places.extend(dump::redis(&url).await);
        let monitor = self.monitor.take().expect("it is looked at once");
        places.push(monitor.stop().await);
        for process in &self.running {
            process.terminate();
        }
        for process in &mut self.running {
            assert!(process.ended().await, "it ends well");
        }
        places.extend(logs(self.logs.path()));
        let requests = self.collector.spans().iter().filter(|span| span.is_of_a_request()).count();
        assert!(requests > 1, "traces of {requests} requests");
        places.push(Place::new("traces", self.collector.bytes()));
        places
    }

    /// Looks for every secret everywhere.
    pub(crate) async fn search(mut self, scene: Scene) {
        let Scene { canaries, mut places, unexpected, .. } = scene;
        places.extend(self.written().await);
        let has = |name: &str| places.iter().any(|place| place.name.contains(name));
        for (program, _) in &self.programs {
            let log = places.iter().find(|place| place.name == format!("{program}.log"));
            let lines = log.map_or(0, |log| String::from_utf8_lossy(&log.bytes).lines().count());
            assert!(lines > 100, "{program} wrote only {lines} lines");
        }
        assert!(has("column keys.sealed") && has("Redis' GET revoked:"), "there is much to search");
        let found = canaries.found(&places);
        let bytes: usize = places.iter().map(|place| place.bytes.len()).sum();
        let (canaries, places) = (canaries.count(), places.len());
        println!("{canaries} canaries in {places} places of {bytes} bytes: {}", found.len());
        assert!(found.is_empty(), "{} found:\n{}", found.len(), found.join("\n"));
        assert!(unexpected.is_empty(), "{}", unexpected.join("\n"));
    }

    /// Puts a secret into one place of each kind.
    pub(crate) async fn plant(&mut self, secret: &str) {
        let http = reqwest::Client::new();
        let body = json!({"username": secret, "password": PASSWORD});
        let register = http.post(format!("{}/register", self.auth)).json(&body);
        let answer = Answer::to(register).await;
        assert_eq!(answer.status, 201, "{}", answer.text);
        self.planted.push(Place::new("an answer", answer.text));
        let login = http.post(format!("{}/login", self.auth)).header("user-agent", secret);
        // What a client calls its request is told in the log.
        let login = login.header("x-request-id", secret).json(&body);
        assert_eq!(Answer::to(login).await.status, 200);
        let url = redis_url(&self.redis.address, &self.secrets.redis);
        let client = redis::Client::open(url).expect("the URL is right");
        let mut redis = client.get_multiplexed_async_connection().await.expect("Redis answers");
        for key in ["planted", secret] {
            let mut set = redis::cmd("SET");
            set.arg(key).arg(secret).exec_async(&mut redis).await.expect("Redis obeys");
        }
    }

    /// Waits until the blacklist has something.
    pub(crate) async fn blacklisted(&self) {
        let url = redis_url(&self.redis.address, &self.secrets.redis);
        let client = redis::Client::open(url).expect("the URL is right");
        let redis = client.get_multiplexed_async_connection().await.expect("Redis answers");
        until("something is blacklisted", async || {
            let mut redis = redis.clone();
            let size = redis::cmd("DBSIZE").query_async::<usize>(&mut redis).await;
            tokio::time::sleep(Duration::from_millis(5)).await;
            size.is_ok_and(|size| size > 1)
        })
        .await;
    }
}

fn redis_url(address: &str, password: &str) -> String {
    format!("redis://:{password}@{address}")
}

fn logs(directory: &Path) -> Vec<Place> {
    let all = fs::read_dir(directory).expect("logs").flatten();
    let logs = all.filter(|entry| entry.path().extension().is_some_and(|it| it == "log"));
    logs.map(|entry| {
        let bytes = fs::read(entry.path()).expect("a log");
        Place::new(entry.file_name().to_string_lossy(), bytes)
    })
    .collect()
}
