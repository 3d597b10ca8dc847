//! A listening HTTP server.

use std::net::{SocketAddr, TcpListener};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use actix_http::{HttpService, KeepAlive};
use actix_server::ServerHandle;
use actix_service::{
    IntoServiceFactory as _, ServiceFactory as _, ServiceFactoryExt as _, fn_factory, fn_service,
    map_config,
};
use actix_web::dev::AppConfig;
use actix_web::middleware::from_fn;
use actix_web::web::ServiceConfig;
use actix_web::{App, Error, web};
use tokio::net::TcpStream;
use tokio::task::{JoinError, JoinHandle};

use crate::answers::{self, ProblemBase};
use crate::connection::{self, Shared, Worker};
use crate::cors::Cors;
use crate::stop::{Ending, LAST_REQUEST};
use crate::workers::Workers;

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
    ending: Ending,
    task: JoinHandle<std::io::Result<()>>,
}

impl Server {
    /// Serves the routes of `configure` on `listener`, on the threads of `workers`, with everything that
    /// every answer has. Problem documents point to pages below `problem_base`. Returns when each of the
    /// threads serves.
    ///
    /// # Errors
    /// When one of them cannot.
    pub async fn start<F>(
        listener: TcpListener,
        workers: &Workers,
        problem_base: &str,
        cors: Cors,
        configure: F,
    ) -> std::io::Result<Self>
    where
        F: Fn(&mut ServiceConfig) + Clone + Send + 'static,
    {
        let address = listener.local_addr()?;
        let base = web::Data::new(ProblemBase(problem_base.to_owned()));
        let ending = Ending::default();
        let (shared, told) = (Arc::new(Shared::new(ending.clone())), ending.clone());
        let (reporting, count) = (workers.clone(), workers.count());
        let most = (MAX_CONNECTIONS / count.max(1)).max(1);
        // As `HttpServer` does it, but the HTTP library is given requests, not connections. Its own
        // times do not count: a request has come when it sees it.
        let connections = move || {
            let app = App::new()
                .app_data(base.clone())
                .app_data(told.clone())
                .wrap(cors.middleware())
                .wrap(from_fn(answers::complete))
                .configure(configure.clone())
                .default_service(web::to(answers::not_found))
                .into_factory()
                .map_err(|error: Error| error.error_response());
            let http = HttpService::build()
                .client_request_timeout(Duration::ZERO)
                .client_disconnect_timeout(Duration::from_secs(2))
                .keep_alive(KeepAlive::Os)
                .local_addr(address)
                .finish(map_config(app, |()| AppConfig::default()));
            let (shared, reporting) = (shared.clone(), reporting.clone());
            fn_factory(move || {
                let (http, reporting) = (http.new_service(()), reporting.clone());
                let worker = Rc::new(Worker::new(shared.clone(), most));
                async move {
                    let http = Rc::new(http.await?);
                    reporting.report();
                    Ok::<_, ()>(fn_service(move |stream: TcpStream| {
                        connection::serve(stream, worker.clone(), http.clone())
                    }))
                }
            })
        };
        let server = actix_server::Server::build()
            .workers(count)
            .max_concurrent_connections(most)
            .shutdown_timeout(15)
            .disable_signals()
            .listen("http", listener, connections)?
            .run();
        let handle = server.handle();
        let mut task = tokio::spawn(server);
        tokio::select! {
            biased;
            ended = &mut task => Err(why_ended(ended)),
            () = workers.started() => Ok(Self { address, handle, ending, task }),
        }
    }

    /// Waits until it ends without having been told to, and says why. Nobody is served then, though the
    /// process lives.
    pub async fn ended(&mut self) -> std::io::Error {
        let why = why_ended((&mut self.task).await);
        std::io::Error::new(why.kind(), format!("{} is no longer served: {why}", self.address))
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves on, and says with each answer that it is the last of its connection (RFC 9112 section 9.6): who sends
    /// now and then has gone elsewhere by the time it stops, and nothing that they send is lost.
    pub fn drain(&self) {
        self.ending.announced.cancel();
    }

    /// Takes no more connections, finishes what is in flight, and ends.
    pub async fn stop(self) {
        self.stop_after(tokio::time::sleep(LAST_REQUEST)).await;
    }

    /// The same, and idle connections are closed after `last_requests`.
    async fn stop_after(self, last_requests: impl Future<Output = ()>) {
        self.drain();
        // It closes the listener at once. A proxy that has just connected has not sent its request yet; closed as an
        // idle one, that connection would lose it, and a proxy may not repeat a POST that it has sent.
        let stopped = self.handle.stop(true);
        last_requests.await;
        self.ending.due.cancel();
        stopped.await;
        if !self.task.is_finished() {
            let _ = self.task.await;
        }
    }
}

fn why_ended(ended: Result<std::io::Result<()>, JoinError>) -> std::io::Error {
    match ended {
        Ok(Err(error)) => error,
        Ok(Ok(())) => std::io::Error::other("it was stopped"),
        // The library panics when the system has no thread for a worker.
        Err(_) => std::io::Error::other(
            "its threads cannot be started; lower http.workers, or let the process have more of them",
        ),
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

    async fn serve(
        workers: &Workers,
        configure: impl Fn(&mut ServiceConfig) + Clone + Send + 'static,
    ) -> std::io::Result<Server> {
        let listener = listen("here", "127.0.0.1:0").unwrap();
        Server::start(listener, workers, "http://x", Cors::default(), configure).await
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_panic_is_answered_without_content_and_counted_and_the_service_goes_on() {
        crate::telemetry::init_metrics();
        let workers = Workers::new(1);
        let server = serve(&workers, |routes| {
            routes
                .route("/defect", web::get().to(async || -> HttpResponse { panic!("a secret") }))
                .route("/metrics", web::get().to(async || crate::telemetry::metrics().await));
        });
        let server = server.await.unwrap();
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

    #[tokio::test(flavor = "multi_thread")]
    async fn a_connection_taken_before_the_stop_may_bring_its_request_after_it() {
        let workers = Workers::new(1);
        let server = serve(&workers, |_| {}).await.unwrap();
        let address = server.address();
        let mut taken = TcpStream::connect(address).unwrap();
        let mut idle = TcpStream::connect(address).unwrap();
        // Whoever is answered came after it.
        tokio::task::spawn_blocking(move || get(address, "/")).await.unwrap();
        // Not a time: on a busy machine the request may come late, and that is not what is tested.
        let (came, last_requests) = tokio::sync::oneshot::channel::<()>();
        let stopped = tokio::spawn(server.stop_after(async move { drop(last_requests.await) }));
        let answer = tokio::task::spawn_blocking(move || {
            while TcpStream::connect(address).is_ok() {}
            taken.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
            let closed = taken.read(&mut [0]);
            assert_eq!(closed.unwrap_err().kind(), std::io::ErrorKind::WouldBlock);
            taken.set_read_timeout(None).unwrap();
            write!(taken, "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
            let mut answer = String::new();
            taken.read_to_string(&mut answer).unwrap();
            answer
        });
        assert!(answer.await.unwrap().starts_with("HTTP/1.1 404"));
        came.send(()).unwrap();
        stopped.await.unwrap();
        assert_eq!(idle.read(&mut [0]).unwrap(), 0, "what brought none is closed");
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_listener_whose_routes_cannot_be_built_does_not_start() {
        let workers = Workers::new(2);
        let started = serve(&workers, |_| panic!("no routes")).await;
        assert!(started.is_err());
        assert!(!workers.answer().await);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_worker_that_is_stuck_or_has_ended_does_not_answer() {
        let workers = Workers::new(2);
        let (reached, mut in_handler) = tokio::sync::mpsc::unbounded_channel();
        let (release, released) = std::sync::mpsc::channel::<()>();
        let released = std::sync::Arc::new(std::sync::Mutex::new(released));
        let server = serve(&workers, move |routes| {
            let (reached, released) = (reached.clone(), released.clone());
            let stuck = move || {
                let (reached, released) = (reached.clone(), released.clone());
                async move {
                    reached.send(()).unwrap();
                    let _ = released.lock().unwrap().recv();
                    HttpResponse::Ok().finish()
                }
            };
            routes.route("/stuck", web::get().to(stuck));
        });
        let server = server.await.unwrap();
        assert!(workers.answer().await);
        let address = server.address();
        let asked = tokio::task::spawn_blocking(move || get(address, "/stuck"));
        in_handler.recv().await.unwrap();
        assert!(!workers.answer().await, "one of two is stuck");
        release.send(()).unwrap();
        assert!(asked.await.unwrap().starts_with("HTTP/1.1 200 "));
        assert!(workers.answer().await);
        server.stop().await;
        assert!(!workers.answer().await);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_server_that_ends_by_itself_is_noticed() {
        let workers = Workers::new(1);
        let mut server = serve(&workers, |_| {}).await.unwrap();
        let handle = server.handle.clone();
        handle.stop(false).await;
        let why = server.ended().await.to_string();
        assert!(why.contains(&server.address().to_string()), "{why}");
        server.stop().await;
    }
}
