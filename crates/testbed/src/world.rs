//! One auth-service and one resource-service on a database of their own.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use auth_service::store::Store;
use auth_service::{Application as AuthService, Config as AuthConfig};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use resource_service::{Application as ResourceService, Config as ResourceConfig};
use serde_json::{Value, json};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use verifier::Clock;

use crate::answer::Answer;
use crate::browser::Browser;
use crate::database::{Database, Kind};

/// The issuer of every world: tokens name it, nothing connects to it.
pub const ISSUER: &str = "http://127.0.0.1:8080";
/// The resource-service's own identifier.
pub const AUDIENCE: &str = "http://127.0.0.1:8081";
/// A password that the policy accepts.
pub const PASSWORD: &str = "a quite ordinary sentence";

/// The tokens of a login or a refresh in body mode.
#[derive(Debug, Clone)]
pub struct Tokens {
    pub access: String,
    pub refresh: String,
    pub session: String,
    pub json: Value,
}

impl Tokens {
    /// The tokens of an answer.
    ///
    /// # Panics
    /// When it has none.
    #[track_caller]
    #[expect(clippy::must_use_candidate, reason = "also an assertion")]
    pub fn of(answer: &Answer) -> Self {
        assert_eq!(answer.status, 200, "{}", answer.text);
        Self {
            access: answer.member("access_token"),
            refresh: answer.member("refresh_token"),
            session: answer.member("session_id"),
            json: answer.json(),
        }
    }
}

struct Running {
    address: SocketAddr,
    stop: oneshot::Sender<()>,
    task: JoinHandle<std::io::Result<()>>,
}

impl Running {
    async fn stop(self) {
        let _ = self.stop.send(());
        self.task.await.expect("the service stops").expect("its listeners ended when told to");
    }
}

/// A running system. Tests hold its clock.
pub struct World {
    /// Moves both services' time.
    pub clock: Clock,
    pub database: Database,
    /// A client without cookies or redirects.
    pub http: reqwest::Client,
    /// `http://host:port` of the auth-service.
    pub auth: String,
    /// `http://host:port` of the auth-service's internal listener.
    pub internal: String,
    /// `http://host:port` of the resource-service.
    pub resource: String,
    /// The store, for what only an administrator does.
    pub store: Store,
    settings: Vec<(String, String)>,
    running: Option<(Running, Running)>,
}

impl World {
    /// Starts with the usual settings.
    pub async fn start(kind: Kind) -> Self {
        Self::start_with(kind, &[]).await
    }

    /// Starts with settings that differ; names as in `AUTH__…` and `RESOURCE__…` variables.
    ///
    /// # Panics
    /// When a service does not start.
    pub async fn start_with(kind: Kind, settings: &[(&str, &str)]) -> Self {
        let database = Database::create(kind).await;
        let settings =
            settings.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let settings: Vec<_> = settings.collect();
        let clock = Clock::default();
        let started = start(&database, &clock, &settings).await;
        let http = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .timeout(Duration::from_secs(30))
            .user_agent("acceptance")
            .build()
            .expect("a client can be made");
        Self {
            clock,
            http,
            auth: started.auth,
            internal: started.internal,
            resource: started.resource,
            store: started.store,
            settings,
            running: Some(started.running),
            database,
        }
    }

    /// Stops both services gracefully and starts them again on the same database and clock. The
    /// addresses change.
    ///
    /// # Panics
    /// When a service does not stop or start.
    pub async fn restart(&mut self) {
        if let Some((auth, resource)) = self.running.take() {
            resource.stop().await;
            auth.stop().await;
        }
        let started = start(&self.database, &self.clock, &self.settings).await;
        self.auth = started.auth;
        self.internal = started.internal;
        self.resource = started.resource;
        self.store = started.store;
        self.running = Some(started.running);
    }

    /// Changes a setting, for the next [`restart`](Self::restart).
    pub fn set(&mut self, name: &str, value: &str) {
        self.settings.push((name.to_owned(), value.to_owned()));
    }

    /// The auth-service's settings, for its command line.
    #[must_use]
    pub fn auth_settings(&self) -> Vec<(String, String)> {
        auth_settings(&self.database.url, &self.settings).collect()
    }

    /// Posts JSON to the auth-service.
    pub async fn post(&self, path: &str, body: &Value) -> Answer {
        Answer::to(self.http.post(format!("{}{path}", self.auth)).json(body)).await
    }

    /// Posts JSON to the auth-service with an access token.
    pub async fn post_as(&self, access: &str, path: &str, body: &Value) -> Answer {
        let request = self.http.post(format!("{}{path}", self.auth)).bearer_auth(access);
        Answer::to(request.json(body)).await
    }

    /// Gets from the auth-service with an access token.
    pub async fn get_as(&self, access: &str, path: &str) -> Answer {
        Answer::to(self.http.get(format!("{}{path}", self.auth)).bearer_auth(access)).await
    }

    /// Registers a user with [`PASSWORD`].
    ///
    /// # Panics
    /// When that fails.
    pub async fn register(&self, username: &str) {
        let body = json!({"username": username, "password": PASSWORD});
        let answer = self.post("/register", &body).await;
        assert_eq!(answer.status, 201, "{}", answer.text);
    }

    /// Logs in with [`PASSWORD`], the refresh token in the body.
    ///
    /// # Panics
    /// When that fails.
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

    /// Logs out with a refresh token in the body; `sessions` as in the request.
    pub async fn logout(&self, refresh_token: &str, sessions: &str) -> Answer {
        let body = json!({"refresh_token": refresh_token, "sessions": sessions});
        self.post("/logout", &body).await
    }

    /// Asks the resource-service who the token speaks for.
    pub async fn whoami(&self, access: &str) -> Answer {
        let request = self.http.get(format!("{}/whoami", self.resource)).bearer_auth(access);
        Answer::to(request).await
    }

    /// Waits until the resource-service refuses the token.
    ///
    /// # Panics
    /// When it goes on accepting it, or answers anything but 200 and 401.
    pub async fn until_refused(&self, access: &str) {
        let begun = Instant::now();
        loop {
            let answer = self.whoami(access).await;
            if answer.status == 401 {
                answer.assert_problem(401, "invalid-token");
                return;
            }
            assert_eq!(answer.status, 200, "{}", answer.text);
            // How soon is measured by the drill; a busy machine may need a moment.
            assert!(begun.elapsed() < Duration::from_secs(5), "still accepted");
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    /// A browser on the issuer's pages.
    #[must_use]
    pub fn browser(&self) -> Browser {
        Browser::new(self.http.clone(), self.auth.clone(), ISSUER.to_owned())
    }
}

struct Started {
    auth: String,
    internal: String,
    resource: String,
    store: Store,
    running: (Running, Running),
}

async fn start(database: &Database, clock: &Clock, settings: &[(String, String)]) -> Started {
    let config = AuthConfig::load(None, auth_settings(&database.url, settings));
    let config = config.expect("the settings are right");
    let auth = AuthService::build(config, clock.clone()).await.expect("the auth-service starts");
    let (public, internal) = (auth.public_address(), auth.internal_address());
    let store = auth.app().store.clone();

    let config = ResourceConfig::load(None, resource_settings(public, internal, settings));
    let config = config.expect("the settings are right");
    let resource = ResourceService::build(config, clock.clone()).await;
    let resource = resource.expect("the resource-service starts");
    let deadline = Instant::now() + Duration::from_secs(10);
    while !resource.is_ready() {
        assert!(Instant::now() < deadline, "the resource-service does not become ready");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }

    let address = resource.public_address();
    let (stop, stopped) = oneshot::channel::<()>();
    let task = tokio::spawn(resource.run_until_stopped(async {
        let _ = stopped.await;
    }));
    let resource = Running { address, stop, task };
    let (stop, stopped) = oneshot::channel::<()>();
    let task = tokio::spawn(auth.run_until_stopped(async {
        let _ = stopped.await;
    }));
    Started {
        auth: format!("http://{public}"),
        internal: format!("http://{internal}"),
        resource: format!("http://{}", resource.address),
        store,
        running: (Running { address: public, stop, task }, resource),
    }
}

/// Settings of an auth-service for a test, as variables: free ports, a cheap password hash, and limits
/// that count but that no test meets by accident: they all come from one address.
pub fn auth_settings(
    database_url: &str,
    others: &[(String, String)],
) -> impl Iterator<Item = (String, String)> {
    let own = [
        ("AUTH__ISSUER", ISSUER.to_owned()),
        ("AUTH__DATABASE__URL", database_url.to_owned()),
        ("AUTH__DATABASE__MAX_CONNECTIONS", "8".to_owned()),
        ("AUTH__KEYS__MASTER_KEY", STANDARD.encode([42; 32])),
        ("AUTH__HTTP__LISTEN", "127.0.0.1:0".to_owned()),
        ("AUTH__HTTP__INTERNAL_LISTEN", "127.0.0.1:0".to_owned()),
        ("AUTH__HTTP__DRAIN_SECONDS", "0".to_owned()),
        // Tests set the clock; those of the steps of a clock say so.
        ("AUTH__HOUSEKEEPING__SETTLE_SECONDS", "0".to_owned()),
        ("AUTH__PASSWORDS__MEMORY_KIB", "64".to_owned()),
        ("AUTH__PASSWORDS__ITERATIONS", "1".to_owned()),
        // Hashing has the lowest priority, and tests keep a machine busy.
        ("AUTH__PASSWORDS__MAX_WAIT_SECONDS", "15".to_owned()),
        ("AUTH__LIMITS__LOGIN_FREE", "1000000".to_owned()),
        ("AUTH__LIMITS__ACCOUNT_FREE", "1000000".to_owned()),
        ("AUTH__LIMITS__NAMES_FREE", "1000000".to_owned()),
        ("AUTH__LIMITS__NETWORK_BURST", "1000000".to_owned()),
        ("AUTH__LIMITS__REGISTER_BURST", "1000000".to_owned()),
        ("AUTH__LIMITS__REFRESH_BURST", "1000000".to_owned()),
        ("AUTH__LIMITS__FORGED_BURST", "1000000".to_owned()),
    ];
    let others = others.iter().filter(|(name, _)| name.starts_with("AUTH__")).cloned();
    merged(own.map(|(name, value)| (name.to_owned(), value)), others)
}

fn resource_settings(
    auth: SocketAddr,
    internal: SocketAddr,
    others: &[(String, String)],
) -> impl Iterator<Item = (String, String)> {
    let own = [
        ("RESOURCE__ISSUER", ISSUER.to_owned()),
        ("RESOURCE__AUDIENCE", AUDIENCE.to_owned()),
        ("RESOURCE__HTTP__LISTEN", "127.0.0.1:0".to_owned()),
        ("RESOURCE__HTTP__INTERNAL_LISTEN", "127.0.0.1:0".to_owned()),
        ("RESOURCE__HTTP__DRAIN_SECONDS", "0".to_owned()),
        ("RESOURCE__KEYS__JWKS_URL", format!("http://{auth}/.well-known/jwks.json")),
        ("RESOURCE__FEED__URLS", format!("http://{internal}/internal/revocations")),
    ];
    let others = others.iter().filter(|(name, _)| name.starts_with("RESOURCE__")).cloned();
    merged(own.map(|(name, value)| (name.to_owned(), value)), others)
}

/// The later of two settings of one name counts.
fn merged(
    own: impl IntoIterator<Item = (String, String)>,
    others: impl Iterator<Item = (String, String)>,
) -> impl Iterator<Item = (String, String)> {
    let mut all: std::collections::HashMap<_, _> = own.into_iter().collect();
    all.extend(others);
    all.into_iter()
}
