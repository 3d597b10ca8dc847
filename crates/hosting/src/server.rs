//! A listening HTTP server.

use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

use actix_web::dev::ServerHandle;
use actix_web::http::header::{AUTHORIZATION, CONTENT_TYPE, HeaderName};
use actix_web::middleware::from_fn;
use actix_web::web::ServiceConfig;
use actix_web::{App, HttpServer, web};
use tokio::task::JoinHandle;

use crate::answers::{self, ProblemBase};

/// Who may call from a browser page of another origin.
#[derive(Debug, Clone, Default)]
pub struct Cors {
    /// The origins, exactly as browsers send them.
    pub origins: Vec<String>,
    /// Whether cookies may come along.
    pub credentials: bool,
    /// Request headers allowed besides `Authorization` and `Content-Type`.
    pub headers: Vec<&'static str>,
}

impl Cors {
    fn middleware(&self) -> actix_cors::Cors {
        let mut headers = vec![AUTHORIZATION, CONTENT_TYPE];
        headers.extend(self.headers.iter().map(|name| HeaderName::from_static(name)));
        let mut cors = actix_cors::Cors::default()
            .allowed_methods(["GET", "POST", "DELETE"])
            .allowed_headers(headers)
            .expose_headers([
                "WWW-Authenticate",
                "Retry-After",
                "RateLimit",
                "RateLimit-Policy",
                "X-Request-Id",
            ])
            .max_age(600)
            .block_on_origin_mismatch(false);
        for origin in &self.origins {
            cors = cors.allowed_origin(origin);
        }
        if self.credentials { cors.supports_credentials() } else { cors }
    }
}

/// A socket to serve on. The error says which setting (`key`) and what can be done.
pub fn listen(key: &'static str, address: &str) -> Result<TcpListener, ListenError> {
    let address = address.to_owned();
    TcpListener::bind(&address).map_err(|source| ListenError { key, address, source })
}

/// The address cannot be listened on.
#[derive(Debug, thiserror::Error)]
#[error(
    "{key}: cannot listen on {address}: {source}; stop what uses it, or choose another address"
)]
pub struct ListenError {
    key: &'static str,
    address: String,
    source: std::io::Error,
}

/// A server that runs until it is stopped.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    handle: ServerHandle,
    task: JoinHandle<std::io::Result<()>>,
}

impl Server {
    /// Serves the routes of `configure` on `listener`, on `workers` threads, with everything that
    /// every answer has. Problem documents point to pages below `problem_base`.
    pub fn start<F>(
        listener: TcpListener,
        workers: usize,
        problem_base: &str,
        cors: Cors,
        configure: F,
    ) -> std::io::Result<Self>
    where
        F: Fn(&mut ServiceConfig) + Clone + Send + 'static,
    {
        let address = listener.local_addr()?;
        let base = web::Data::new(ProblemBase(problem_base.to_owned()));
        let server = HttpServer::new(move || {
            App::new()
                .app_data(base.clone())
                .wrap(cors.middleware())
                .wrap(from_fn(answers::complete))
                .configure(configure.clone())
                .default_service(web::to(answers::not_found))
        })
        .workers(workers)
        .client_request_timeout(Duration::from_secs(10))
        .client_disconnect_timeout(Duration::from_secs(2))
        .keep_alive(Duration::from_secs(75))
        .shutdown_timeout(15)
        .disable_signals()
        .listen(listener)?
        .run();
        let handle = server.handle();
        Ok(Self { address, handle, task: tokio::spawn(server) })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Takes no more connections, finishes what is in flight, and ends.
    pub async fn stop(self) {
        self.handle.stop(true).await;
        let _ = self.task.await;
    }
}
