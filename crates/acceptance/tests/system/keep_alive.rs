//! Connections that stay open, while the service they lead to stops: nothing is lost that was sent before the client was
//! told that its connection ends.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use serde_json::json;
use testbed::service::until;
use testbed::{Database, Kind, PASSWORD, Service, on_each_empty_database};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::Barrier;
use tokio::time::timeout;

use crate::restart::Lock;

/// Longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(15);
/// At each listener.
const CLIENTS: usize = 8;
const LIVE: &str = "GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n";
const UNKNOWN: &str = "GET /nothing HTTP/1.1\r\nHost: x\r\n\r\n";

/// A connection that its client keeps.
struct Kept {
    stream: TcpStream,
    read: Vec<u8>,
}

/// An answer: its status, and whether it says that it is the last of its connection.
type Told = (u16, bool);

impl Kept {
    async fn to(url: &str) -> Self {
        let address = url.strip_prefix("http://").expect("plain HTTP");
        let stream = TcpStream::connect(address).await.expect("the service listens");
        Self { stream, read: Vec::new() }
    }

    async fn send(&mut self, bytes: &str) -> io::Result<()> {
        self.stream.write_all(bytes.as_bytes()).await
    }

    /// The next answer, whole.
    async fn answer(&mut self) -> io::Result<Told> {
        loop {
            if let Some((length, told)) = whole_answer(&self.read) {
                self.read.drain(..length);
                return Ok(told);
            }
            match timeout(PATIENCE, self.stream.read_buf(&mut self.read)).await? {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(_) => {}
                Err(error) => return Err(error),
            }
        }
    }

    async fn ask(&mut self, request: &str) -> io::Result<Told> {
        self.send(request).await?;
        self.answer().await
    }

    /// Whether the connection ends, with nothing more on it and without breaking.
    async fn ends(&mut self) -> bool {
        let end = timeout(PATIENCE, self.stream.read_buf(&mut self.read)).await;
        matches!(end, Ok(Ok(0))) && self.read.is_empty()
    }
}

fn whole_answer(read: &[u8]) -> Option<(usize, Told)> {
    let head = read.windows(4).position(|four| four == b"\r\n\r\n")? + 4;
    let text = str::from_utf8(&read[..head]).expect("a head is text").to_ascii_lowercase();
    let value = |name: &str| text.lines().find_map(|line| line.strip_prefix(name));
    let body = value("content-length: ").map_or(0, |length| length.parse().expect("a length"));
    let status = text.get(9..12).and_then(|status| status.parse().ok()).expect("a status");
    let last = value("connection: ") == Some("close");
    (read.len() >= head + body).then_some((head + body, (status, last)))
}

async fn both(database: &Database) -> (Service, Service) {
    let mut auth = Service::auth(&database.url, &[("AUTH__HTTP__DRAIN_SECONDS", "2")]);
    auth.start().await;
    let mut resource = Service::resource(&auth, &[("RESOURCE__HTTP__DRAIN_SECONDS", "2")]);
    resource.start().await;
    (auth, resource)
}

/// Tells a service to stop, and waits until it says so.
async fn stopping(service: &Service) {
    service.terminate();
    until("it says that it stops", async || {
        service.get("/health/ready").await.text.contains("stopping")
    })
    .await;
}

fn login() -> String {
    let body = json!({"username": "ada", "password": PASSWORD}).to_string();
    format!(
        "POST /login HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_that_is_idle_at_a_stop_is_told_with_its_next_answer_or_ends() {
    let database = Database::create(Kind::Sqlite).await;
    let (mut auth, mut resource) = both(&database).await;
    // The resource-service first: it needs the other one to be ready.
    for service in [&mut resource, &mut auth] {
        let listeners = [service.public.clone(), service.internal.clone()];
        let (mut asking, mut silent) = (Vec::new(), Vec::new());
        for listener in &listeners {
            asking.push(Kept::to(listener).await);
            silent.push(Kept::to(listener).await);
        }
        for connection in asking.iter_mut().chain(&mut silent) {
            assert_eq!(connection.ask(LIVE).await.expect("an answer"), (200, false));
        }
        stopping(service).await;
        for connection in &mut asking {
            assert_eq!(connection.ask(LIVE).await.expect("an answer"), (200, true));
            assert!(connection.ends().await);
        }
        for connection in &mut silent {
            assert!(connection.ends().await);
        }
        assert!(service.ended().await, "the exit code is 0");
    }
}

/// Asks again and again, from before the stop until an answer says that it is the last; whether it was.
async fn ask_to_the_end(url: String, all_ask: Arc<Barrier>) -> io::Result<bool> {
    let mut connection = Kept::to(&url).await;
    assert_eq!(connection.ask(LIVE).await?, (200, false));
    all_ask.wait().await;
    for (request, status) in [(LIVE, 200), (UNKNOWN, 404)].into_iter().cycle() {
        let told = connection.ask(request).await?;
        assert_eq!(told.0, status);
        if told.1 {
            break;
        }
    }
    Ok(connection.ends().await)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_asks_without_a_pause_is_answered_until_they_are_told() {
    let database = Database::create(Kind::Sqlite).await;
    let (mut auth, mut resource) = both(&database).await;
    for service in [&mut resource, &mut auth] {
        let all_ask = Arc::new(Barrier::new(2 * CLIENTS + 1));
        let listeners = [&service.public, &service.internal].into_iter().cycle();
        let asking = listeners
            .take(2 * CLIENTS)
            .map(|listener| tokio::spawn(ask_to_the_end(listener.clone(), Arc::clone(&all_ask))));
        let asking: Vec<_> = asking.collect();
        all_ask.wait().await;
        service.terminate();
        for client in join_all(asking).await {
            assert!(client.expect("no panic").expect("no request is lost"));
        }
        assert!(service.ended().await, "the exit code is 0");
    }
}

on_each_empty_database! {
    async fn a_request_in_flight_at_a_stop_is_answered_and_told_that_it_is_the_last(database) {
        let (mut auth, mut resource) = both(&database).await;
        let access = auth.newcomer("ada").await.access;
        let body = json!({"title": "Late"}).to_string();
        let (begun, rest) = body.split_at(5);
        let report = format!(
            "POST /reports HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {access}\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{begun}",
            body.len()
        );
        // One whose body has not come, and one that the service works on.
        let mut half = Kept::to(&resource.public).await;
        assert_eq!(half.ask(LIVE).await.expect("an answer"), (200, false));
        half.send(&report).await.expect("it is read");
        stopping(&resource).await;
        half.send(rest).await.expect("it is read");
        assert_eq!(half.answer().await.expect("an answer"), (201, true));
        assert!(half.ends().await);
        assert!(resource.ended().await, "the exit code is 0");

        let lock = Lock::on_users(&database).await;
        let mut worked_on = Kept::to(&auth.public).await;
        assert_eq!(worked_on.ask(LIVE).await.expect("an answer"), (200, false));
        worked_on.send(&login()).await.expect("it is read");
        let login = login();
        let mut half = Kept::to(&auth.public).await;
        let (begun, rest) = login.split_at(login.len() - 5);
        half.send(begun).await.expect("it is read");
        stopping(&auth).await;
        half.send(rest).await.expect("it is read");
        lock.release().await;
        for mut connection in [worked_on, half] {
            assert_eq!(connection.answer().await.expect("an answer"), (200, true));
            assert!(connection.ends().await);
        }
        assert!(auth.ended().await, "the exit code is 0");
    }
}
