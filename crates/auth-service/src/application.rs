//! The service as a value: built from its settings, run until it is told to stop.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use actix_web::web;
use hosting::origin::Origin;
use hosting::server::ListenError;
use hosting::{Cors, Server, Workers, listen, telemetry};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use verifier::{Clock, Expectations, Protection, Verifier};

use crate::app::App;
use crate::background::clock_watch::ClockWatch;
use crate::background::housekeeping;
use crate::config::{Config, ConfigError};
use crate::http;
use crate::identity::pseudonyms::Pseudonyms;
use crate::limits::owners::Owners;
use crate::limits::{Limits, PATIENCE, Shared};
use crate::passwords::{Passwords, Unusable};
use crate::policy::session_limit;
use crate::redis::client;
use crate::revocation::blacklist::Blacklist;
use crate::revocation::{self, Feed};
use crate::store::{OpenError, Store};
use crate::tokens::keyring::KeyringError;
use crate::tokens::rotation::Rotation;
use crate::tokens::seal::MasterKeys;

/// Why the service does not start. Each message says what to do.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A setting.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// An address.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// The database.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The keys.
    #[error(transparent)]
    Keyring(#[from] KeyringError),
    /// Passwords.
    #[error(transparent)]
    Passwords(#[from] Unusable),
    /// The server.
    #[error("the server cannot be started: {0}")]
    Io(#[from] io::Error),
}

/// A running service.
pub struct Application {
    app: web::Data<App>,
    public: Server,
    internal: Server,
    background: Vec<JoinHandle<()>>,
}

/// The tasks that delete what is old and end what is too much.
fn keep_in_order(store: &Store, config: &Config, watch: &Arc<ClockWatch>) -> [JoinHandle<()>; 2] {
    let (tokens, events) = (config.tokens.clone(), config.events);
    let most = tokens.max_sessions;
    [
        tokio::spawn(housekeeping::run(store.clone(), tokens, events, Arc::clone(watch))),
        tokio::spawn(session_limit::run(store.clone(), most, Arc::clone(watch))),
    ]
}

impl Application {
    /// Connects, checks and starts serving. On the runtime that is to do the database work.
    pub async fn build(config: Config, clock: Clock) -> Result<Self, StartError> {
        telemetry::init_metrics();
        let public = listen("http.listen", &config.http.listen)?;
        let internal = listen("http.internal_listen", &config.http.internal_listen)?;
        let redis = client::open(&config.redis)?;
        let masters = MasterKeys::from_settings(&config)?;
        let pseudonyms = Pseudonyms::new(&*config.master_key()?);
        let store = Store::open(&config.database, clock.clone()).await?;
        let passwords = Passwords::new(&config.passwords)?;
        let max_staleness = Duration::from_secs(config.revocation.max_staleness_seconds);
        let expectations = Expectations::new(&config.issuer, &config.issuer, max_staleness);
        let shared = redis.clone().map(|redis| Shared::new(redis, clock.clone(), PATIENCE));
        let max_wait = Duration::from_secs(config.passwords.max_wait_seconds);
        let limits = Limits::new(config.limits, max_wait, shared, clock.clone());
        let settle = Duration::from_secs(config.housekeeping.settle_seconds);
        let watch = Arc::new(ClockWatch::new(clock.clone(), settle));
        let verifier = Arc::new(Verifier::new(expectations, clock));
        let feed = Arc::new(Feed::new(Arc::clone(&verifier)));
        let rotation = Rotation {
            store: store.clone(),
            masters,
            config: config.clone(),
            verifier: Arc::clone(&verifier),
            feed: Arc::clone(&feed),
            watch: Arc::clone(&watch),
        };
        let (known, keyring) = rotation.begin().await?;
        let keyring = Arc::new(keyring);
        let mut background =
            redis.map_or_else(Vec::new, |redis| Blacklist(redis).run(&feed, store.commits()));
        let poll = revocation::poll(Arc::clone(&feed), store.clone(), Arc::clone(&watch));
        background.push(tokio::spawn(poll));
        background.push(tokio::spawn(rotation.run(Arc::clone(&keyring), known)));
        background.extend(keep_in_order(&store, &config, &watch));
        let protection = web::Data::new(Protection::new(Arc::clone(&verifier), "latchkey", None));
        let own_origin = Origin::of_web(&config.issuer).ok_or(ConfigError::Value {
            key: "issuer",
            problem: "must be an address on the web".to_owned(),
        })?;
        let app = web::Data::new(App {
            config,
            own_origin,
            store,
            passwords,
            keyring,
            limits,
            owners: Owners::new(),
            pseudonyms,
            feed,
            verifier,
            draining: AtomicBool::new(false),
            stopping: watch::Sender::new(false),
        });
        let cors = Cors {
            origins: app.config.http.allowed_origins.clone(),
            credentials: true,
            headers: vec![http::PAGE_HEADER],
            allowed_headers: app.config.http.allowed_headers.clone(),
        };
        let (workers, base) = (Workers::new(app.config.http.workers), app.config.issuer.clone());
        let serving = web::Data::new(workers.clone());
        let docs = web::Data::new(http::docs(&base));
        let data = (app.clone(), protection, docs, serving.clone());
        let public = Server::start(public, &workers, &base, cors, move |routes| {
            routes
                .app_data(data.0.clone())
                .app_data(data.1.clone())
                .app_data(data.2.clone())
                .app_data(data.3.clone())
                .configure(http::public);
            if data.0.config.page.enabled {
                routes.configure(http::page);
            }
        })
        .await?;
        let data = (app.clone(), serving);
        let one = Workers::new(1);
        let internal = Server::start(internal, &one, &base, Cors::default(), move |routes| {
            routes.app_data(data.0.clone()).app_data(data.1.clone()).configure(http::internal);
        })
        .await?;
        tracing::info!(
            issuer = app.config.issuer, public = %public.address(), internal = %internal.address(),
            "auth-service is listening"
        );
        // TLS ends in front of this service, so elsewhere than on one machine there is a proxy.
        if !app.config.is_local() && app.config.http.trusted_proxies.is_empty() {
            tracing::warn!(
                "http.trusted_proxies is empty: everybody counts as the proxy, and shares its limits"
            );
        }
        Ok(Self { app, public, internal, background })
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

    /// Runs until `stop`, then stops gracefully: first "not ready", then, after the time that load
    /// balancers need to notice, no new connections; what is in flight is finished, committed work
    /// above all.
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
        tokio::time::sleep(Duration::from_secs(self.app.config.http.drain_seconds)).await;
        self.app.stopping.send_replace(true);
        tokio::join!(self.public.stop(), self.internal.stop());
        for task in &self.background {
            task.abort();
        }
        self.app.store.close().await;
        ended
    }
}
