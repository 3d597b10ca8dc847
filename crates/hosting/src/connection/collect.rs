//! A connection between two answers: what has come of the next request, and where it waits.

use std::future::{Future as _, poll_fn};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead as _, AsyncWriteExt as _, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};
use tokio_util::sync::WaitForCancellationFutureOwned;

use super::exchange::CONTINUE;
use super::framing::{Found, Framing};
use super::timer::Timer;
use super::waiting::{Place, Turn};
use super::worker::{self, READ_BYTES, Worker};
use crate::stop::LAST_REQUEST;

/// Memory for a request grows by so much.
const GROWTH_BYTES: usize = 2 * 1024;
/// For a head, and again for the body after it.
const PART_TIME: Duration = Duration::from_secs(10);
/// Between two requests: longer than proxies keep their connections.
const IDLE_TIME: Duration = Duration::from_secs(75);
/// How often nothing but empty lines may come in place of a request. Some clients send one after a body.
const MAX_EMPTY: u32 = 4;
/// For a client to hear an answer while it still sends.
pub(crate) const LINGER_TIME: Duration = Duration::from_secs(2);

/// What came of waiting for a request.
pub(crate) enum Collected {
    /// Bytes that decide the answer, and whether they are the whole request.
    Request { bytes: Vec<u8>, whole: bool },
    /// Not to be served: the status, and the reason for the metrics.
    Refused(&'static str, &'static str),
    /// There is nothing more to serve.
    Over,
}

/// What happened while more was waited for.
enum Came {
    Bytes,
    End,
    Late,
    /// Closed for the sake of others.
    Closed,
    /// There will be no answers any more.
    Stopped,
}

/// Where a connection waits.
enum Wait {
    Nowhere,
    Idle(Turn),
    Unfinished(Turn),
}

/// A connection.
pub(crate) struct Connection {
    pub(crate) stream: Rc<TcpStream>,
    pub(crate) worker: Rc<Worker>,
    /// What has come of the next request.
    pub(crate) held: Vec<u8>,
    wait: Wait,
    /// Where it waits for the client to read an answer.
    unread: Option<Turn>,
    pub(crate) place: Arc<Place>,
    pub(crate) timer: Timer,
    end: Pin<Box<WaitForCancellationFutureOwned>>,
    /// Whether a request was answered.
    used: bool,
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.wait_nowhere();
        self.wait_for_reader(0);
        self.worker.open.set(self.worker.open.get() - 1);
    }
}

impl Connection {
    pub(crate) fn new(stream: TcpStream, worker: Rc<Worker>) -> Self {
        worker.open.set(worker.open.get() + 1);
        let end = Box::pin(worker.shared.ending.due.clone().cancelled_owned());
        Self {
            stream: Rc::new(stream),
            worker,
            held: Vec::new(),
            wait: Wait::Nowhere,
            unread: None,
            place: Arc::default(),
            timer: Timer::new(Instant::now() + PART_TIME),
            end,
            used: false,
        }
    }

    /// Waits until a request is whole.
    pub(crate) async fn collect(&mut self) -> Collected {
        let mut framing = Framing::default();
        let mut begun = Instant::now();
        let mut in_body = false;
        let mut empty = 0;
        loop {
            self.drop_empty_lines();
            let idle = self.is_nothing_held();
            if idle && empty > MAX_EMPTY {
                return Collected::Over;
            }
            let found = if idle { Found::Head } else { framing.look(&mut self.held) };
            let room = match found {
                Found::Whole(length) => return self.request(length, true),
                Found::Decided(length) => return self.request(length, false),
                Found::HeadTooLong => {
                    return Collected::Refused(
                        "431 Request Header Fields Too Large",
                        "head-too-long",
                    );
                }
                Found::BodyTooLong => {
                    return Collected::Refused("413 Content Too Large", "body-too-long");
                }
                Found::Head => READ_BYTES,
                Found::Body(room) => {
                    if !in_body {
                        (in_body, begun) = (true, Instant::now());
                    }
                    if framing.take_ask() {
                        // Who does not hear it sends the body after a moment all the same.
                        let _ = self.stream.try_write(CONTINUE);
                    }
                    room
                }
            };
            self.wait_for(idle);
            let time = if idle && self.used { IDLE_TIME } else { PART_TIME };
            match poll_fn(|cx| self.poll_more(room, (begun, time), idle, cx)).await {
                Came::Bytes if idle => {
                    self.drop_empty_lines();
                    if self.is_nothing_held() {
                        empty += 1;
                    } else {
                        begun = Instant::now();
                    }
                }
                Came::Bytes => {}
                // The HTTP library says what is wrong with a body that breaks off.
                Came::End if in_body => return self.request(self.held.len(), true),
                Came::End | Came::Closed => return Collected::Over,
                // Who sends at this very moment sees the connection end, and not break.
                Came::Stopped => {
                    self.linger(LAST_REQUEST).await;
                    return Collected::Over;
                }
                // An answer that nobody asked for may be taken for that of the next request.
                Came::Late if idle => {
                    if !self.used {
                        worker::count("too-slow", 1);
                    }
                    return Collected::Over;
                }
                Came::Late => return Collected::Refused("408 Request Timeout", "too-slow"),
            }
        }
    }

    /// Takes a request off what has come. What was sent ahead of the answer is the next one,
    /// unfinished, whatever it is.
    fn request(&mut self, length: usize, whole: bool) -> Collected {
        let ahead = self.held.split_off(length);
        let bytes = std::mem::replace(&mut self.held, ahead);
        self.used = true;
        self.drop_empty_lines();
        if self.is_nothing_held() {
            self.wait_nowhere();
        } else {
            self.wait_for(false);
        }
        // Another thread may have closed it after the last bytes had come: nothing is begun that
        // would be cut off at once.
        if self.place.was_closed() {
            return Collected::Over;
        }
        Collected::Request { bytes, whole }
    }

    /// Drops empty lines before a request (RFC 9112 section 2.2). They make no connection unfinished.
    fn drop_empty_lines(&mut self) {
        let mut rest = &self.held[..];
        while let Some(after) = rest.strip_prefix(b"\r\n").or_else(|| rest.strip_prefix(b"\n")) {
            rest = after;
        }
        let empty = self.held.len() - rest.len();
        if empty > 0 {
            self.held.drain(..empty);
        }
        if self.is_nothing_held() {
            self.held.shrink_to_fit();
        }
    }

    /// Whether no byte of a request is held: nothing, or half an empty line.
    fn is_nothing_held(&self) -> bool {
        matches!(self.held[..], [] | [b'\r'])
    }

    fn poll_more(
        &mut self,
        room: usize,
        (begun, time): (Instant, Duration),
        idle: bool,
        cx: &mut Context<'_>,
    ) -> Poll<Came> {
        if self.place.is_closed(cx) {
            return Poll::Ready(Came::Closed);
        }
        if self.worker.shared.unfinished.is_full() {
            // What has come stays with the system until those that were closed have left.
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let worker = Rc::clone(&self.worker);
        let mut buffer = worker.buffer.borrow_mut();
        let room = room.min(buffer.len());
        let mut buffer = ReadBuf::new(&mut buffer[..room]);
        // Nobody else has the stream while nothing is being answered.
        let Some(stream) = Rc::get_mut(&mut self.stream) else { return Poll::Ready(Came::End) };
        match Pin::new(stream).poll_read(cx, &mut buffer) {
            Poll::Ready(Ok(())) if !buffer.filled().is_empty() => {
                self.keep(buffer.filled());
                return Poll::Ready(Came::Bytes);
            }
            Poll::Ready(_) => return Poll::Ready(Came::End),
            Poll::Pending => {}
        }
        if self.timer.is_over(begun + time, cx) {
            return Poll::Ready(Came::Late);
        }
        let ends = idle && self.end.as_mut().poll(cx).is_ready();
        // Its last answer may have begun before anybody knew.
        if ends && self.timer.is_over(begun + LAST_REQUEST, cx) {
            return Poll::Ready(Came::Stopped);
        }
        Poll::Pending
    }

    fn keep(&mut self, bytes: &[u8]) {
        let length = self.held.len() + bytes.len();
        if length > self.held.capacity() {
            let more = length.next_multiple_of(GROWTH_BYTES) - self.held.len();
            self.held.reserve_exact(more);
        }
        self.held.extend_from_slice(bytes);
    }

    /// Waits among those that are idle, or those whose request is unfinished. A place among these is
    /// kept until the request has come: who sends byte by byte does not wait any less long.
    fn wait_for(&mut self, idle: bool) {
        let shared = &self.worker.shared;
        let closed = match (&self.wait, idle) {
            (Wait::Idle(_), true) => return,
            (Wait::Unfinished(turn), false) => {
                let closed = shared.unfinished.holds(turn, self.held.capacity());
                return self.worker.closed_for_others(&closed);
            }
            (_, false) => {
                let (turn, closed) = shared.unfinished.enter(&self.place, self.held.capacity());
                (std::mem::replace(&mut self.wait, Wait::Unfinished(turn)), closed)
            }
            (_, true) => {
                let (turn, closed) = self.worker.idle.enter(&self.place, 0);
                (std::mem::replace(&mut self.wait, Wait::Idle(turn)), closed)
            }
        };
        self.leave(&closed.0);
        self.worker.closed_for_others(&closed.1);
    }

    /// Waits, or no longer waits, among those whose answer is not read, for which `bytes` are held.
    pub(crate) fn wait_for_reader(&mut self, bytes: usize) {
        let unread = &self.worker.shared.unread;
        let closed = match self.unread.take() {
            None if bytes == 0 => return,
            Some(turn) if bytes == 0 => return unread.leave(&turn),
            None => {
                let (turn, closed) = unread.enter(&self.place, bytes);
                self.unread = Some(turn);
                closed
            }
            Some(turn) => {
                let closed = unread.holds(&turn, bytes);
                self.unread = Some(turn);
                closed
            }
        };
        self.worker.closed_for_others(&closed);
    }

    fn wait_nowhere(&mut self) {
        let before = std::mem::replace(&mut self.wait, Wait::Nowhere);
        self.leave(&before);
    }

    fn leave(&self, wait: &Wait) {
        match wait {
            Wait::Nowhere => {}
            Wait::Idle(turn) => self.worker.idle.leave(turn),
            Wait::Unfinished(turn) => self.worker.shared.unfinished.leave(turn),
        }
    }

    /// Answers what no route sees.
    pub(crate) async fn refuse(&mut self, status: &str) {
        self.held = Vec::new();
        self.wait_nowhere();
        let answer = format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
        if self.stream.try_write(answer.as_bytes()).is_ok() {
            self.linger(LINGER_TIME).await;
        }
    }

    /// Closes so that the client hears the answer: the system resets a connection that is closed with
    /// something unread.
    pub(crate) async fn linger(&mut self, time: Duration) {
        self.held = Vec::new();
        self.wait_nowhere();
        let worker = Rc::clone(&self.worker);
        let Some(stream) = Rc::get_mut(&mut self.stream) else { return };
        if stream.shutdown().await.is_err() {
            return;
        }
        let to_the_end = poll_fn(|cx| {
            let mut buffer = worker.buffer.borrow_mut();
            loop {
                let mut buffer = ReadBuf::new(&mut buffer);
                let read = ready!(Pin::new(&mut *stream).poll_read(cx, &mut buffer));
                if read.is_err() || buffer.filled().is_empty() {
                    return Poll::Ready(());
                }
            }
        });
        let _ = timeout(time, to_the_end).await;
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt as _;

    use super::*;
    use crate::connection::Shared;
    use crate::stop::Ending;

    #[tokio::test]
    async fn a_request_of_a_connection_that_was_closed_for_others_is_not_begun() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let shared = Arc::new(Shared::new(Ending::default()));
        for closed in [false, true] {
            let stream = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
            let worker = Rc::new(Worker::new(Arc::clone(&shared), 16));
            let mut connection = Connection::new(stream, worker);
            connection.keep(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n");
            connection.wait_for(false);
            assert!(!closed || shared.unfinished.close_first());
            let found = connection.collect().await;
            assert_eq!(matches!(found, Collected::Request { whole: true, .. }), !closed);
            assert_eq!(matches!(found, Collected::Over), closed);
        }
    }

    #[tokio::test]
    async fn empty_lines_after_a_body_leave_a_connection_idle_and_are_never_answered() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let shared = Arc::new(Shared::new(Ending::default()));
        let worker = Rc::new(Worker::new(Arc::clone(&shared), 16));
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let mut connection = Connection::new(listener.accept().await.unwrap().0, worker.clone());
        let get = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n";
        for after in ["", "\r\n", "\n", "\r", "\n\r\n"] {
            client.write_all(&[get, after.as_bytes()].concat()).await.unwrap();
            let Collected::Request { bytes, whole } = connection.collect().await else {
                panic!("no request before {after:?}");
            };
            assert!(whole && bytes == get, "{bytes:?}");
            assert!(!shared.unfinished.close_first(), "{after:?} is no request");
            if after == "\r" {
                client.write_all(b"\n").await.unwrap();
            }
        }
        // Who sends nothing else is closed, without a word.
        let dripping = async {
            while client.write_all(b"\r\n").await.is_ok() {
                tokio::task::yield_now().await;
            }
        };
        let closed =
            tokio::select! { found = connection.collect() => found, () = dripping => panic!() };
        assert!(matches!(closed, Collected::Over));
        assert!(worker.idle.close_first() && !shared.unfinished.close_first());
        drop(connection);
        let mut answer = Vec::new();
        let _ = client.read_to_end(&mut answer).await;
        assert_eq!(answer, b"");
    }
}
