//! The service as a value: built from its settings, run until it is told to stop.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use actix_web::web;
use hosting::origin::Origin;
use hosting::server::ListenError;
use hosting::{Cors, Server, Workers, listen, telemetry};
use tokio::sync::watch;
use verifier::{Clock, Expectations, Protection, Verifier};

use crate::background::clock_watch::ClockWatch;
use crate::background::housekeeping;
use crate::background::supervisor::Supervisor;
use crate::config::{Config, ConfigError};
use crate::http;
use crate::identity::pseudonyms::Pseudonyms;
use crate::limits::owners::Owners;
use crate::limits::{Limits, Shared, TIMEOUT};
use crate::passwords::{Passwords, Unusable};
use crate::policy::app::App;
use crate::policy::{deletion, session_limit};
use crate::redis::client::RedisServer;
use crate::revocation::blacklist::Blacklist;
use crate::revocation::{self, Feed};
use crate::store::{OpenError, Store, StoreError};
use crate::tokens::clients::Clients;
use crate::tokens::keyring::KeyringError;
use crate::tokens::rotation::KeyRotation;
use crate::tokens::seal::MasterKeys;

/// Why the service does not start. Each message says what to do.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error(transparent)]
    Listen(#[from] ListenError),
    #[error(transparent)]
    Open(#[from] OpenError),
    /// What had ended since the backup would be alive again.
    #[error(
        "the database is a backup that was restored: run `auth-service session end-all --after-restore`, \
         without which logged-out sessions would be served again"
    )]
    Restored,
    /// Whether it is one.
    #[error("database.url: {0}")]
    Unread(#[source] StoreError),
    #[error(transparent)]
    Keyring(#[from] KeyringError),
    /// The client of the settings.
    #[error(
        "the table of clients cannot be read or written: {0}; the role that serves needs the right to \
         select, insert and update there (migrations/README.md)"
    )]
    Clients(#[source] StoreError),
    #[error(transparent)]
    Passwords(#[from] Unusable),
    #[error("the server cannot be started: {0}")]
    Io(#[from] io::Error),
}

/// A running service.
pub struct Application {
    app: web::Data<App>,
    public: Server,
    internal: Server,
    supervisor: Supervisor,
}

impl Application {
    /// Connects, checks and starts serving. On the runtime that is to do the database work.
    pub async fn build(config: Config, clock: Clock) -> Result<Self, StartError> {
        telemetry::init_metrics();
        http::describe_metrics();
        let public = listen("http.listen", &config.http.listen)?;
        let internal = listen("http.internal_listen", &config.http.internal_listen)?;
        let redis = RedisServer::open(&config.redis)?;
        if let Some(redis) = &redis {
            redis.refuse_cluster().await?;
        }
        let own_origin = own_origin(&config)?;
        let masters = MasterKeys::from_settings(&config)?;
        let pseudonyms = Arc::new(Pseudonyms::new(&*config.master_key()?));
        let store = Store::open(&config.database, clock.clone()).await?;
        if store.is_restored().await.map_err(StartError::Unread)? {
            return Err(StartError::Restored);
        }
        let passwords = Passwords::new(&config.passwords)?;
        let shared = redis.clone().map(|redis| Shared::new(redis, clock.clone(), TIMEOUT));
        let max_wait = Duration::from_secs(config.passwords.max_wait_seconds);
        let limits = Limits::new(config.limits, max_wait, shared, clock.clone());
        let settle = Duration::from_secs(config.housekeeping.settle_seconds);
        let watch = Arc::new(ClockWatch::new(clock.clone(), settle));
        let verifier = Arc::new(Verifier::new(expectations(&config), clock));
        let feed = Arc::new(Feed::new(Arc::clone(&verifier)));
        let mut supervisor = Supervisor::new();
        if let Some(redis) = redis {
            Blacklist(redis).run(&mut supervisor, &feed, store.commits());
        }
        let rotation = KeyRotation {
            store: store.clone(),
            masters,
            config: config.clone(),
            verifier: Arc::clone(&verifier),
            feed: Arc::clone(&feed),
            watch: Arc::clone(&watch),
        };
        let keyring = rotation.start(&mut supervisor).await?;
        let clients = Clients::start(&config, &store, &mut supervisor).await;
        let clients = clients.map_err(StartError::Clients)?;
        keep_reading(&mut supervisor, &feed, &store, &watch);
        keep_in_order(&mut supervisor, &store, &config, &watch);
        keep_forgetting(&mut supervisor, &store, &pseudonyms);
        let app = web::Data::new(App {
            config,
            own_origin,
            store,
            passwords,
            keyring,
            clients,
            limits,
            owners: Owners::new(),
            pseudonyms,
            feed,
            verifier,
            broken: supervisor.broken(),
            draining: AtomicBool::new(false),
            stopping: watch::Sender::new(false),
        });
        let workers = Workers::new(app.config.http.workers);
        let public = serve_public(public, &workers, &app).await?;
        let internal = serve_internal(internal, workers, &app).await?;
        tracing::info!(
            issuer = app.config.issuer, public = %public.address(), internal = %internal.address(),
            "auth-service is listening"
        );
        tell_who_may_register(&app.config);
        warn_of_a_missing_proxy(&app.config);
        Ok(Self { app, public, internal, supervisor })
    }

    /// Where clients connect.
    #[must_use]
    pub fn public_address(&self) -> SocketAddr {
        self.public.address()
    }

    /// Where services connect.
    #[must_use]
    pub fn internal_address(&self) -> SocketAddr {
        self.internal.address()
    }

    /// What the handlers work with.
    #[must_use]
    pub fn app(&self) -> &App {
        &self.app
    }

    /// Runs until `stop`, then stops gracefully: first "not ready", and each answer is the last of its connection; then,
    /// after the time that load balancers need to notice, no new connections; what is in flight is finished, committed
    /// work above all.
    ///
    /// # Errors
    /// When a listener ends before that: then the rest is stopped as well.
    pub async fn run_until_stopped(mut self, stop: impl Future<Output = ()>) -> io::Result<()> {
        let ended = tokio::select! {
            () = stop => Ok(()),
            why = self.public.ended() => Err(why),
            why = self.internal.ended() => Err(why),
        };
        tracing::info!("auth-service is stopping");
        self.app.draining.store(true, Ordering::Relaxed);
        self.public.drain();
        self.internal.drain();
        tokio::time::sleep(Duration::from_secs(self.app.config.http.drain_seconds)).await;
        self.app.stopping.send_replace(true);
        tokio::join!(self.public.stop(), self.internal.stop());
        self.supervisor.stop().await;
        self.app.store.close().await;
        ended
    }
}

/// The origin of the issuer's own pages.
fn own_origin(config: &Config) -> Result<Origin, ConfigError> {
    Origin::of_web(&config.issuer).ok_or(ConfigError::Value {
        key: "issuer",
        problem: "must be an address on the web".to_owned(),
    })
}

/// What the service's own routes demand of an access token.
fn expectations(config: &Config) -> Expectations {
    let max_staleness = Duration::from_secs(config.revocation.max_staleness_seconds);
    Expectations::new(&config.issuer, &config.issuer, max_staleness)
}

/// The task that reads the revocations.
fn keep_reading(
    supervisor: &mut Supervisor,
    feed: &Arc<Feed>,
    store: &Store,
    watch: &Arc<ClockWatch>,
) {
    let (feed, store, watch) = (Arc::clone(feed), store.clone(), Arc::clone(watch));
    supervisor.keep_vital("revocations", move || {
        revocation::poll(Arc::clone(&feed), store.clone(), Arc::clone(&watch))
    });
}

/// The tasks that delete what is old and end what is too much.
fn keep_in_order(
    supervisor: &mut Supervisor,
    store: &Store,
    config: &Config,
    watch: &Arc<ClockWatch>,
) {
    let (limits, events) = (config.tokens.session_limits(), config.events);
    let most = config.tokens.max_sessions;
    let (cleaned, clock) = (store.clone(), Arc::clone(watch));
    supervisor.keep("housekeeping", move || {
        housekeeping::run(cleaned.clone(), limits, events, Arc::clone(&clock))
    });
    // 0 is no limit.
    if most > 0 {
        let (store, watch) = (store.clone(), Arc::clone(watch));
        supervisor.keep("session_limit", move || {
            session_limit::run(store.clone(), most, Arc::clone(&watch))
        });
    }
}

/// The task that forgets what is left of users who were deleted.
fn keep_forgetting(supervisor: &mut Supervisor, store: &Store, pseudonyms: &Arc<Pseudonyms>) {
    let (store, pseudonyms) = (store.clone(), Arc::clone(pseudonyms));
    supervisor.keep("deletions", move || deletion::run(store.clone(), Arc::clone(&pseudonyms)));
}

async fn serve_public(
    socket: TcpListener,
    workers: &Workers,
    app: &web::Data<App>,
) -> io::Result<Server> {
    let cors = Cors {
        origins: app.config.http.allowed_origins.clone(),
        credentials: true,
        headers: vec![http::PAGE_HEADER],
        allowed_headers: app.config.http.allowed_headers.clone(),
    };
    let base = app.config.issuer.clone();
    let registration = app.config.registration_mode();
    let protection = web::Data::new(protection(app));
    let docs = web::Data::new(http::docs(&base, registration));
    let (app, serving) = (app.clone(), web::Data::new(workers.clone()));
    Server::start(socket, workers, &base, cors, move |routes| {
        routes
            .app_data(app.clone())
            .app_data(protection.clone())
            .app_data(docs.clone())
            .app_data(serving.clone())
            .configure(http::public);
        if app.config.page.enabled {
            routes.configure(http::page);
        }
    })
    .await
}

/// What the service's own routes say to who may not come in.
fn protection(app: &App) -> Protection {
    Protection::new(Arc::clone(&app.verifier), "latchkey", None)
}

/// `public`: the workers of the other listener, whose health is told here too.
async fn serve_internal(
    socket: TcpListener,
    public: Workers,
    app: &web::Data<App>,
) -> io::Result<Server> {
    let (base, one) = (app.config.issuer.clone(), Workers::new(1));
    let protection = web::Data::new(protection(app));
    let (app, serving) = (app.clone(), web::Data::new(public));
    Server::start(socket, &one, &base, Cors::default(), move |routes| {
        routes
            .app_data(app.clone())
            .app_data(protection.clone())
            .app_data(serving.clone())
            .configure(http::internal);
    })
    .await
}

/// An installation that was open, and is not any more, finds the reason here.
fn tell_who_may_register(config: &Config) {
    let mode = config.registration_mode().as_str();
    let why = match (config.registration, config.is_local()) {
        (Some(_), _) => "the setting `registration` says so",
        (None, true) => "the setting `registration` is empty and the issuer is this machine",
        (None, false) => "the setting `registration` is empty and the issuer is not this machine",
    };
    tracing::info!(registration = mode, "registration is {mode}: {why}");
}

/// TLS ends in front of this service, so elsewhere than on one machine there is a proxy.
fn warn_of_a_missing_proxy(config: &Config) {
    if !config.is_local() && config.http.trusted_proxies.is_empty() {
        tracing::warn!(
            "http.trusted_proxies is empty: everybody counts as the proxy, and shares its limits"
        );
    }
}
