//! The services as processes, on addresses that they keep when they come back.

#![expect(
    clippy::missing_panics_doc,
    reason = "everything here panics when a service is not as a test needs it"
)]

use std::net::TcpListener;
use std::path::Path;
use std::process::Output;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::process::{self, Process};
use crate::world::{AUDIENCE, ISSUER, auth_settings};
use crate::{Answer, PASSWORD, Tokens};

/// Names and values of variables.
pub type Settings = Vec<(String, String)>;

/// Makes each scenario two tests, one on each database. Inside, the name of the argument is an
/// empty database that nothing uses yet.
#[macro_export]
macro_rules! on_each_empty_database {
    ($($(#[$meta:meta])* async fn $name:ident($database:ident) $body:block)*) => {$(
        $(#[$meta])*
        mod $name {
            #[allow(unused_imports, reason = "not every scenario needs everything of its file")]
            use super::*;

            async fn scenario($database: $crate::Database) $body

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn on_postgres() {
                scenario($crate::Database::create($crate::Kind::Postgres).await).await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn on_sqlite() {
                scenario($crate::Database::create($crate::Kind::Sqlite).await).await;
            }
        }
    )*};
}

/// A service and how to start it.
#[derive(Debug)]
pub struct Service {
    /// `http://host:port`
    pub public: String,
    /// `http://host:port` of the internal listener.
    pub internal: String,
    pub settings: Settings,
    /// A client that makes a new connection for each request.
    pub http: reqwest::Client,
    program: String,
    process: Option<Process>,
    limitable: bool,
    running: Running,
}

/// The process of a service, by its number.
#[derive(Debug, Clone, Default)]
pub struct Running(Arc<AtomicU32>);

impl Running {
    /// The number of the process that was started last; `None` before the first.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        Some(self.0.load(Ordering::Relaxed)).filter(|pid| *pid != 0)
    }
}

impl Service {
    /// An auth-service on this database. It does not run yet.
    #[must_use]
    pub fn auth(database_url: &str, others: &[(&str, &str)]) -> Self {
        let (public, internal) = (lasting_address(), lasting_address());
        let mut all =
            owned(&[("AUTH__HTTP__LISTEN", &public), ("AUTH__HTTP__INTERNAL_LISTEN", &internal)]);
        all.extend(owned(others));
        let settings = auth_settings(database_url, &all).collect();
        Self::new("auth-service", &public, &internal, settings)
    }

    /// A resource-service that follows `auth`. It does not run yet.
    #[must_use]
    pub fn resource(auth: &Self, others: &[(&str, &str)]) -> Self {
        let (public, internal) = (lasting_address(), lasting_address());
        let mut settings = owned(&[
            ("RESOURCE__ISSUER", ISSUER),
            ("RESOURCE__AUDIENCE", AUDIENCE),
            ("RESOURCE__HTTP__LISTEN", &public),
            ("RESOURCE__HTTP__INTERNAL_LISTEN", &internal),
            ("RESOURCE__HTTP__DRAIN_SECONDS", "0"),
            ("RESOURCE__KEYS__JWKS_URL", &format!("{}/.well-known/jwks.json", auth.public)),
            ("RESOURCE__FEED__URLS", &format!("{}/internal/revocations", auth.internal)),
        ]);
        settings.extend(owned(others));
        Self::new("resource-service", &public, &internal, settings)
    }

    fn new(program: &str, public: &str, internal: &str, settings: Settings) -> Self {
        let http = reqwest::Client::builder()
            // A connection to a process that was killed is of no use to the next.
            .pool_max_idle_per_host(0)
            .timeout(Duration::from_secs(30))
            .user_agent("acceptance")
            .build()
            .expect("a client can be made");
        let (public, internal) = (format!("http://{public}"), format!("http://{internal}"));
        Self {
            public,
            internal,
            settings,
            http,
            program: program.to_owned(),
            process: None,
            limitable: false,
            running: Running::default(),
        }
    }

    /// Makes the next start one of the program of this name in another directory, such as that of another
    /// version.
    pub fn use_programs(&mut self, directory: &Path) {
        let name = Path::new(&self.program).file_name().expect("a program has a name");
        let path = directory.join(name);
        path.to_str().expect("a path that is text").clone_into(&mut self.program);
    }

    /// Starts it, without waiting until it serves.
    pub fn spawn(&mut self) {
        assert!(self.process.is_none(), "it runs already");
        let process = if self.limitable {
            Process::start_limitable(&self.program, &self.settings)
        } else {
            Process::start(&self.program, &[], &self.settings)
        };
        self.running.0.store(process.id(), Ordering::Relaxed);
        self.process = Some(process);
    }

    /// What tells the number of its process, also when it was started again, to whoever does not have the
    /// service itself.
    #[must_use]
    pub fn running(&self) -> Running {
        self.running.clone()
    }

    /// Starts it so that [its files can be limited](Self::limit_files), now and whenever it is started
    /// again, and waits until it is ready.
    pub async fn start_limitable(&mut self) {
        self.limitable = true;
        self.start().await;
    }

    /// Lets no file of it grow beyond this many bytes, or as far as the disk goes.
    pub fn limit_files(&self, most: Option<u64>) {
        self.process.as_ref().expect("it runs").limit_files(most);
    }

    /// The number of its process.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.process.as_ref().expect("it runs").id()
    }

    /// Starts it and waits until it is ready.
    pub async fn start(&mut self) {
        self.spawn();
        self.ready().await;
    }

    /// Waits until it is ready.
    pub async fn ready(&self) {
        process::ready(&self.http, &format!("{}/health/ready", self.public)).await;
    }

    /// Ends it as a power cut would.
    pub fn kill(&mut self) {
        self.process.take().expect("it runs").kill();
    }

    /// Takes the processor away from it.
    pub fn pause(&self) {
        self.process.as_ref().expect("it runs").pause();
    }

    /// Lets it go on.
    pub fn resume(&self) {
        self.process.as_ref().expect("it runs").resume();
    }

    /// Asks it to stop.
    pub fn terminate(&self) {
        self.process.as_ref().expect("it runs").terminate();
    }

    /// Whether it was started and has ended by itself.
    pub fn has_ended(&mut self) -> bool {
        let ended = self.process.as_mut().is_some_and(Process::has_ended);
        if ended {
            self.process = None;
        }
        ended
    }

    /// Waits for its end and says whether it was a good one.
    pub async fn ended(&mut self) -> bool {
        self.process.take().expect("it runs").ended().await
    }

    /// Gets from the public listener.
    pub async fn get(&self, path: &str) -> Answer {
        Answer::to(self.http.get(format!("{}{path}", self.public))).await
    }

    /// Gets with an access token.
    pub async fn get_as(&self, access: &str, path: &str) -> Answer {
        Answer::to(self.http.get(format!("{}{path}", self.public)).bearer_auth(access)).await
    }

    /// Asks the resource-service who the token speaks for.
    pub async fn whoami(&self, access: &str) -> Answer {
        self.get_as(access, "/whoami").await
    }

    /// Posts JSON.
    pub async fn post(&self, path: &str, body: &Value) -> Answer {
        Answer::to(self.http.post(format!("{}{path}", self.public)).json(body)).await
    }

    /// Posts where there may be no answer.
    pub async fn try_post(&self, path: &str, body: &Value) -> Option<Answer> {
        let request = self.http.post(format!("{}{path}", self.public)).json(body);
        Answer::try_to(request).await.ok()
    }

    /// Registers a user with [`PASSWORD`].
    pub async fn register(&self, username: &str) {
        let body = json!({"username": username, "password": PASSWORD});
        let answer = self.post("/register", &body).await;
        assert_eq!(answer.status, 201, "{}", answer.text);
    }

    /// Logs in, the refresh token in the body.
    pub async fn login(&self, username: &str) -> Tokens {
        let body = json!({"username": username, "password": PASSWORD});
        Tokens::of(&self.post("/login", &body).await)
    }

    /// Registers and logs in.
    pub async fn newcomer(&self, username: &str) -> Tokens {
        self.register(username).await;
        self.login(username).await
    }

    /// Presents a refresh token in the body.
    pub async fn refresh(&self, refresh_token: &str) -> Answer {
        self.post("/refresh", &json!({ "refresh_token": refresh_token })).await
    }

    /// Ends the session, or panics.
    pub async fn logout(&self, refresh_token: &str) {
        let answer = self.post("/logout", &json!({ "refresh_token": refresh_token })).await;
        assert_eq!(answer.status, 204, "{}", answer.text);
    }

    /// The text of `/metrics`.
    pub async fn metrics(&self) -> String {
        let answer = Answer::to(self.http.get(format!("{}/metrics", self.internal))).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
        answer.text
    }
}

/// Settings as the tools take them.
#[must_use]
pub fn owned(settings: &[(&str, &str)]) -> Settings {
    settings.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

/// Runs a program to its end, with a log of errors only.
#[must_use]
pub fn run(program: &str, arguments: &[&str], settings: &[(String, String)]) -> Output {
    let mut command = process::command(program, arguments, settings);
    command.env("RUST_LOG", "off").output().expect("the program runs")
}

/// Checks that a program failed and said why in one line.
#[track_caller]
pub fn assert_one_clear_line(output: &Output, program: &str, parts: &[&str]) {
    let (stdout, stderr) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(!output.status.success(), "{program} started all the same: {stdout}");
    assert!(output.status.code().is_some(), "it ended by itself");
    let lines: Vec<_> = stderr.lines().collect();
    assert_eq!(lines.len(), 1, "one line, not: {stderr}");
    assert!(lines[0].starts_with(&format!("{program}: ")), "{stderr}");
    for part in parts {
        assert!(lines[0].contains(part), "{part} is not in: {stderr}");
    }
    assert_eq!(stdout, "");
}

/// Waits until `good` says so.
pub async fn until(what: &str, mut good: impl AsyncFnMut() -> bool) {
    // Only how long a failure takes; a busy machine may need it.
    let deadline = Instant::now() + Duration::from_secs(40);
    while !good().await {
        assert!(Instant::now() < deadline, "not in time: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// A free address below the range from which the system takes ports for outgoing connections: a
/// service that was killed finds it free when it comes back.
pub fn lasting_address() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    for _ in 0..1000 {
        let number = std::process::id() * 61 + NEXT.fetch_add(1, Ordering::Relaxed);
        let address = format!("127.0.0.1:{}", 12_000 + number % 18_000);
        if TcpListener::bind(&address).is_ok() {
            return address;
        }
    }
    panic!("no port is free");
}
