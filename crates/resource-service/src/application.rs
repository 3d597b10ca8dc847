//! The service as a value: built from its settings, run until it is told to stop.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use actix_web::web;
use hosting::cors::HeaderName;
use hosting::server::ListenError;
use hosting::{Cors, Server, Workers, listen, telemetry};
use verifier::follow::{self, FollowError, Follower};
use verifier::{Clock, Expectations, Protection, Verifier};

use crate::app::App;
use crate::config::{Config, ConfigError};
use crate::reports::Reports;
use crate::routes;

/// Why the service does not start. Each message says what to do.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// The sources of keys and revocations.
    #[error("keys and revocations cannot be followed: {0}")]
    Follow(#[from] FollowError),
    #[error("the server cannot be started: {0}")]
    Io(#[from] io::Error),
}

/// A running service.
pub struct Application {
    app: web::Data<App>,
    public: Server,
    internal: Server,
    drain: Duration,
    _follower: Follower,
}

impl Application {
    /// Starts serving. Until keys are loaded and revocations fresh, it answers 503.
    pub async fn build(config: Config, clock: Clock) -> Result<Self, StartError> {
        telemetry::init_metrics();
        crate::describe_metrics();
        let public = listen("http.listen", &config.http.listen)?;
        let internal = listen("http.internal_listen", &config.http.internal_listen)?;
        let max_staleness = Duration::from_secs(config.revocation.max_staleness_seconds);
        let expectations = Expectations::new(&config.issuer, &config.audience, max_staleness);
        let verifier = Arc::new(Verifier::new(expectations, clock));
        let follower = follow::follow(&verifier, config.sources())?;
        let docs = routes::docs(&config.issuer, &config.audience);
        let metadata = format!("{}/.well-known/oauth-protected-resource", config.audience);
        let protection = Protection::new(Arc::clone(&verifier), "resource", Some(&metadata));
        let app = web::Data::new(App { verifier, draining: AtomicBool::new(false) });
        let data = (
            app.clone(),
            web::Data::new(protection),
            web::Data::new(Reports::default()),
            web::Data::new(docs),
        );
        let cors = Cors {
            origins: config.http.allowed_origins,
            credentials: false,
            headers: vec![HeaderName::from_static("dpop")],
            allowed_headers: config.http.allowed_headers,
        };
        let (workers, base) = (Workers::new(config.http.workers), config.issuer);
        let serving = web::Data::new(workers.clone());
        let data = (data, serving.clone());
        let public = Server::start(public, &workers, &base, cors, move |routes| {
            routes
                .app_data(data.0.0.clone())
                .app_data(data.0.1.clone())
                .app_data(data.0.2.clone())
                .app_data(data.0.3.clone())
                .app_data(data.1.clone())
                .configure(routes::public);
        })
        .await?;
        let data = (app.clone(), serving);
        let one = Workers::new(1);
        let internal = Server::start(internal, &one, &base, Cors::default(), move |routes| {
            routes.app_data(data.0.clone()).app_data(data.1.clone()).configure(routes::internal);
        })
        .await?;
        tracing::info!(
            public = %public.address(), internal = %internal.address(),
            "resource-service is listening"
        );
        let drain = Duration::from_secs(config.http.drain_seconds);
        Ok(Self { app, public, internal, drain, _follower: follower })
    }

    /// Where clients connect.
    #[must_use]
    pub fn public_address(&self) -> SocketAddr {
        self.public.address()
    }

    /// Whether a token could be accepted now.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.app.verifier.ready().is_ok()
    }

    /// Runs until `stop`, then stops gracefully: first "not ready", and each answer is the last of its connection; then
    /// no new connections, then the end of what is in flight.
    ///
    /// # Errors
    /// When a listener ends before that: then the rest is stopped as well.
    pub async fn run_until_stopped(mut self, stop: impl Future<Output = ()>) -> io::Result<()> {
        let ended = tokio::select! {
            () = stop => Ok(()),
            why = self.public.ended() => Err(why),
            why = self.internal.ended() => Err(why),
        };
        tracing::info!("resource-service is stopping");
        self.app.draining.store(true, Ordering::Relaxed);
        self.public.drain();
        self.internal.drain();
        tokio::time::sleep(self.drain).await;
        tokio::join!(self.public.stop(), self.internal.stop());
        ended
    }
}
