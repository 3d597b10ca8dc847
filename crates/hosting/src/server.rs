//! A listening HTTP server.

use std::future::ready;
use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

use actix_http::error::DispatchError;
use actix_http::{HttpService, Protocol};
use actix_server::ServerHandle;
use actix_service::{IntoServiceFactory as _, ServiceFactoryExt as _, fn_service, map_config};
use actix_web::dev::AppConfig;
use actix_web::middleware::from_fn;
use actix_web::web::ServiceConfig;
use actix_web::{App, Error, web};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::answers::{self, ProblemBase};
use crate::cors::Cors;
use crate::patience::{PATIENCE, Patient};

/// Of one listener. More wait to be accepted, so that those that are open can be served.
const MAX_CONNECTIONS: usize = 16_384;

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
    stopping: CancellationToken,
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
        let stopping = CancellationToken::new();
        let stop = stopping.clone();
        // As `HttpServer` does it, but for the connections: those are patient, and not for ever.
        let connections = move || {
            let app = App::new()
                .app_data(base.clone())
                .wrap(cors.middleware())
                .wrap(from_fn(answers::complete))
                .configure(configure.clone())
                .default_service(web::to(answers::not_found))
                .into_factory()
                .map_err(|error: Error| error.error_response());
            let http = HttpService::build()
                .client_request_timeout(Duration::from_secs(10))
                .client_disconnect_timeout(Duration::from_secs(2))
                .keep_alive(Duration::from_secs(75))
                .local_addr(address)
                .finish(map_config(app, |()| AppConfig::default()));
            let stop = stop.clone();
            fn_service(move |stream: TcpStream| {
                let peer = stream.peer_addr().ok();
                let stream = Patient::new(stream, PATIENCE, stop.clone());
                ready(Ok::<_, DispatchError>((stream, Protocol::Http1, peer)))
            })
            .and_then(http)
        };
        let server = actix_server::Server::build()
            .workers(workers)
            .max_concurrent_connections(MAX_CONNECTIONS / workers.max(1))
            .shutdown_timeout(15)
            .disable_signals()
            .listen("http", listener, connections)?
            .run();
        let handle = server.handle();
        Ok(Self { address, handle, stopping, task: tokio::spawn(server) })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Takes no more connections, finishes what is in flight, and ends.
    pub async fn stop(self) {
        self.stopping.cancel();
        self.handle.stop(true).await;
        let _ = self.task.await;
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::net::TcpStream;

    use actix_web::HttpResponse;

    use super::*;

    fn get(address: SocketAddr, path: &str) -> String {
        let mut stream = TcpStream::connect(address).unwrap();
        write!(stream, "GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_panic_is_answered_without_content_and_counted_and_the_service_goes_on() {
        crate::telemetry::init_metrics();
        let listener = listen("here", "127.0.0.1:0").unwrap();
        let server = Server::start(listener, 1, "http://x", Cors::default(), |routes| {
            routes
                .route("/defect", web::get().to(async || -> HttpResponse { panic!("a secret") }))
                .route("/metrics", web::get().to(async || crate::telemetry::metrics().await));
        });
        let server = server.unwrap();
        let address = server.address();
        let (defect, metrics) = tokio::task::spawn_blocking(move || {
            (get(address, "/defect"), get(address, "/metrics"))
        })
        .await
        .unwrap();
        assert!(defect.starts_with("HTTP/1.1 500 "), "{defect}");
        assert!(defect.contains("\"code\":\"internal\"") && !defect.contains("secret"), "{defect}");
        assert!(defect.contains("x-content-type-options"), "{defect}");
        assert!(metrics.contains("latchkey_panics_total 1"), "{metrics}");
        server.stop().await;
    }
}
