//! The installation: two auth-services on one Postgres and one Redis, and two resource-services that follow both.
//! Each is the program of the version before or ours, and becomes the other at the same address.

use std::path::Path;
use std::process::Output;
use std::sync::Arc;
use std::time::{Duration, Instant};

use testbed::service::run;
use testbed::{Database, Kind, Redis, Service};

use super::Version;
use super::addresses::Addresses;
use super::stage::{Stage, Wrong};

/// As short as can be told from the second in which verifiers read the key set, on a machine that is shared.
const PUBLISH_SECONDS: &str = "5";
/// For keys to take over, and for a service to become ready.
const TIMEOUT: Duration = Duration::from_secs(40);

pub(super) struct Site<'a> {
    pub(super) stage: Arc<Stage>,
    auths: [Service; 2],
    verifiers: [Service; 2],
    /// Where the programs of each version are.
    programs: [&'a Path; 2],
    pub(super) database: Database,
    _redis: Redis,
}

impl<'a> Site<'a> {
    /// Both auth-services are of the version before, on the schema of that; the second verifier is ours.
    pub(super) async fn start(before: &'a Path, ours: &'a Path) -> Self {
        let programs = [before, ours];
        let database = Database::create(Kind::Postgres).await;
        let redis = Redis::start(&[]).await;
        let redis_url = redis.url();
        // Of both versions: a program refuses a setting that it does not know.
        let settings = [
            ("AUTH__REDIS__URL", redis_url.as_str()),
            ("AUTH__KEYS__PUBLISH_SECONDS", PUBLISH_SECONDS),
            // Who migrates, and when, is said here.
            ("AUTH__DATABASE__MIGRATE_ON_START", "false"),
        ];
        let auths = [(); 2].map(|()| Service::auth(&database.url, &settings));
        let verifiers = [0, 1].map(|number| verifier(&auths, number));
        let url = |service: &Service| service.public.clone();
        let pool = database.postgres().await;
        let stage = Stage::new(
            Addresses::new(auths.each_ref().map(url)),
            Addresses::new(verifiers.each_ref().map(url)),
            pool,
        );
        let stage = Arc::new(stage);
        let mut site = Self { stage, auths, verifiers, programs, database, _redis: redis };
        site.command(Version::Before, &["migrate"]).await.expect("the schema of before is made");
        let started = async {
            site.start_auth(0, Version::Before).await?;
            site.start_auth(1, Version::Before).await?;
            site.start_verifier(0, Version::Before).await?;
            site.start_verifier(1, Version::Ours).await
        };
        started.await.expect("the installation starts");
        site
    }

    /// Runs a command of an auth-service of this version, and says what it printed; `None` where it failed, which
    /// is written down.
    pub(super) async fn command(&self, version: Version, arguments: &[&str]) -> Option<String> {
        let output = self.run(version, arguments).await;
        if !output.status.success() {
            let why = String::from_utf8_lossy(&output.stderr);
            let what = arguments.join(" ");
            self.stage.wrong(Wrong::Refused, &format!("{what} by {version}: {}", why.trim()));
            return None;
        }
        Some(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    async fn run(&self, version: Version, arguments: &[&str]) -> Output {
        let program = self.programs[version as usize].join("auth-service");
        let program = program.to_str().expect("a path that is text").to_owned();
        let arguments: Vec<String> = arguments.iter().map(ToString::to_string).collect();
        let settings = self.auths[0].settings.clone();
        let ended = tokio::task::spawn_blocking(move || {
            let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
            run(&program, &arguments, &settings)
        });
        ended.await.expect("the program can be run")
    }

    /// The number of the newest migration that was applied.
    pub(super) async fn schema(&self) -> i64 {
        self.database.number("select max(version) from _sqlx_migrations").await
    }

    /// Stops an auth-service, and starts one of this version in its place. The other serves meanwhile.
    pub(super) async fn replace_auth(
        &mut self,
        number: usize,
        version: Version,
    ) -> Result<(), String> {
        self.stage.auths.take_out(number).await;
        stop(&mut self.auths[number], &self.stage).await;
        self.start_auth(number, version).await
    }

    /// The same with a verifier.
    pub(super) async fn replace_verifier(
        &mut self,
        number: usize,
        version: Version,
    ) -> Result<(), String> {
        self.stage.verifiers.take_out(number).await;
        stop(&mut self.verifiers[number], &self.stage).await;
        self.start_verifier(number, version).await
    }

    async fn start_auth(&mut self, number: usize, version: Version) -> Result<(), String> {
        if !serves(&mut self.auths[number], self.programs[version as usize]).await {
            // A command refuses the schema that a service refuses, and says why.
            let output = self.run(version, &["keys", "list"]).await;
            let why = String::from_utf8_lossy(&output.stderr);
            return Err(format!("an auth-service of {version} does not serve: {}", why.trim()));
        }
        self.stage.auths.put_in(number, version);
        Ok(())
    }

    async fn start_verifier(&mut self, number: usize, version: Version) -> Result<(), String> {
        if !serves(&mut self.verifiers[number], self.programs[version as usize]).await {
            return Err(format!("a resource-service of {version} does not serve"));
        }
        self.stage.verifiers.put_in(number, version);
        Ok(())
    }

    /// Makes the next keys of both kinds by a command of this version. They take over by themselves.
    pub(super) async fn make_keys(&self, version: Version) {
        for purpose in ["sign", "refresh"] {
            self.command(version, &["keys", "rotate", "--purpose", purpose]).await;
        }
    }

    /// Waits until what was made is in use.
    pub(super) async fn keys_are_in_use(&self) {
        let published = "select count(*) from keys where state = 'published'";
        let begun = Instant::now();
        while self.database.number(published).await > 0 {
            if begun.elapsed() > TIMEOUT {
                self.stage.wrong(Wrong::Different, "the keys do not take over");
                return;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}

async fn stop(service: &mut Service, stage: &Stage) {
    service.terminate();
    if !service.ended().await {
        stage.wrong(Wrong::Different, &format!("{} did not end well", service.public));
    }
}

/// Starts the service of these programs; whether it became ready.
async fn serves(service: &mut Service, programs: &Path) -> bool {
    service.use_programs(programs);
    service.spawn();
    let (url, begun) = (format!("{}/health/ready", service.public), Instant::now());
    while begun.elapsed() < TIMEOUT && !service.has_ended() {
        let answered = service.http.get(&url).send().await;
        if answered.is_ok_and(|answer| answer.status().is_success()) {
            return true;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    false
}

/// One of the two asks the auth-services in the other order.
fn verifier(auths: &[Service; 2], number: usize) -> Service {
    let (first, second) = (&auths[number], &auths[1 - number]);
    let keys = |auth: &Service| format!("{}/.well-known/jwks.json", auth.public);
    let feed = |auth: &Service| format!("{}/internal/revocations", auth.internal);
    let keys = format!("{},{}", keys(first), keys(second));
    let feeds = format!("{},{}", feed(first), feed(second));
    let settings = [
        ("RESOURCE__KEYS__JWKS_URL", keys.as_str()),
        ("RESOURCE__KEYS__REFRESH_SECONDS", "1"),
        ("RESOURCE__FEED__URLS", feeds.as_str()),
    ];
    Service::resource(first, &settings)
}
