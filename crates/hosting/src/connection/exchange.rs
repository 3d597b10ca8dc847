//! What the HTTP library takes for a connection: one request that has come, and then its end. The
//! answer goes out as it is written.

use std::cell::Cell;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::Instant;

/// The answer to `Expect: 100-continue` (RFC 9110 §10.1.1).
pub(crate) const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

/// Until an answer begins. The longest that a route takes is forty seconds, where very many sessions end,
/// and fifteen before that for a password in a queue. Usual proxies wait a minute too.
const FIRST_TIME: Duration = Duration::from_mins(1);
/// Until a part of the answer is taken.
const ANSWER_TIME: Duration = Duration::from_secs(24);
/// For an answer from its beginning to its end, and again for each [`PART_BYTES`] of it that were taken:
/// whoever takes 100 kB in a second has any answer whole.
const WHOLE_TIME: Duration = Duration::from_mins(1);
const PART_TIME: Duration = Duration::from_secs(1);
const PART_BYTES: usize = 64 * 1024;

/// What the HTTP library takes for an exchange besides the answer: two buffers.
const HTTP_BYTES: usize = 2 * 8 * 1024;

/// What became of an exchange so far.
#[derive(Debug)]
pub(crate) struct Progress {
    /// Whether the answer has begun, and whether it says that the connection goes on.
    answer: Cell<Option<bool>>,
    /// When the answer began.
    pub(super) begun: Cell<Option<Instant>>,
    /// When the request had come, or a part of the answer was last taken.
    last: Cell<Instant>,
    /// How many bytes of the answer were taken.
    taken: Cell<usize>,
    /// The memory of what is not taken yet: its largest length since nothing was left. It is freed
    /// only when all of it is taken.
    unread: Cell<usize>,
}

impl Progress {
    /// The request has come now.
    pub(crate) fn new() -> Self {
        Self {
            answer: Cell::new(None),
            begun: Cell::new(None),
            last: Cell::new(Instant::now()),
            taken: Cell::new(0),
            unread: Cell::new(0),
        }
    }

    /// Whether there is an answer, or the beginning of one.
    pub(crate) fn has_begun(&self) -> bool {
        self.answer.get().is_some()
    }

    /// Whether the client was told that the connection goes on after the answer.
    pub(crate) fn goes_on(&self) -> bool {
        self.answer.get() == Some(true)
    }

    /// How many bytes of memory wait to be read by the client.
    pub(crate) fn unread(&self) -> usize {
        self.unread.get()
    }

    /// When the exchange ends, if nothing more is taken until then.
    pub(crate) fn deadline(&self) -> Instant {
        let last = self.last.get();
        let Some(begun) = self.begun.get() else { return last + FIRST_TIME };
        let parts = u32::try_from(self.taken.get() / PART_BYTES).unwrap_or(u32::MAX);
        (last + ANSWER_TIME).min(begun + WHOLE_TIME + PART_TIME.saturating_mul(parts))
    }

    /// The HTTP library has `length` bytes to write.
    fn offered(&self, length: usize) {
        if self.begun.get().is_none() {
            self.begun.set(Some(Instant::now()));
        }
        self.unread.set(self.unread.get().max(HTTP_BYTES + length));
    }

    /// The system took `taken` of `length` bytes.
    fn took(&self, taken: usize, length: usize) {
        self.last.set(Instant::now());
        self.taken.set(self.taken.get() + taken);
        if taken == length {
            self.unread.set(0);
        }
    }
}

/// A stream of one request and its answer.
#[derive(Debug)]
pub(crate) struct Exchange {
    stream: Rc<TcpStream>,
    request: Vec<u8>,
    read: usize,
    /// Nothing more belongs to the request.
    whole: bool,
    progress: Rc<Progress>,
}

impl Exchange {
    pub(crate) fn new(stream: Rc<TcpStream>, request: Vec<u8>, whole: bool) -> Self {
        Self { stream, request, read: 0, whole, progress: Rc::new(Progress::new()) }
    }

    pub(crate) fn progress(&self) -> Rc<Progress> {
        Rc::clone(&self.progress)
    }
}

impl AsyncRead for Exchange {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let rest = &self.request[self.read..];
        if !rest.is_empty() {
            let part = rest.len().min(buffer.remaining());
            buffer.put_slice(&rest[..part]);
            self.read += part;
            if self.read == self.request.len() {
                (self.request, self.read) = (Vec::new(), 0);
            }
            return Poll::Ready(Ok(()));
        }
        // The end. What is left out of a request that is not whole cannot change its answer, and once
        // that is written the HTTP library has to end too.
        if self.whole || self.progress.answer.get().is_some() {
            return Poll::Ready(Ok(()));
        }
        Poll::Pending
    }
}

impl AsyncWrite for Exchange {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.progress.answer.get().is_none() {
            let answer = bytes.strip_prefix(CONTINUE).unwrap_or(bytes);
            if !answer.is_empty() {
                self.progress.answer.set(Some(goes_on(answer)));
                if !self.whole {
                    // To be read from once more, and so to end.
                    cx.waker().wake_by_ref();
                }
            }
        }
        self.progress.offered(bytes.len());
        loop {
            ready!(self.stream.poll_write_ready(cx))?;
            match self.stream.try_write(bytes) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Ok(written) => {
                    self.progress.took(written, bytes.len());
                    return Poll::Ready(Ok(written));
                }
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    /// The connection may have further exchanges; whoever has it shuts it down.
    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// Whether an answer says that its connection goes on. The HTTP library writes its head in one piece.
fn goes_on(answer: &[u8]) -> bool {
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n");
    let Some(head) = end.map(|end| &answer[..end]) else { return false };
    let mut lines = head.split(|&byte| byte == b'\n').map(<[u8]>::trim_ascii);
    let modern = lines.next().is_some_and(|line| line.starts_with(b"HTTP/1.1 "));
    let connection = lines.find_map(|line| line.strip_prefix(b"connection: "));
    connection.map_or(modern, |said| said == b"keep-alive")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_takes_an_answer_in_drops_has_a_minute_and_who_takes_it_slowly_has_it_whole() {
        let progress = Progress::new();
        assert_eq!(progress.deadline(), progress.last.get() + FIRST_TIME);
        let begun = Instant::now();
        progress.offered(94_000);
        progress.begun.set(Some(begun));
        // A drop every twenty seconds.
        for second in [20, 40, 50] {
            progress.took(1000, 94_000);
            progress.last.set(begun + Duration::from_secs(second));
            let next = begun + Duration::from_secs(second + 24);
            assert_eq!(progress.deadline(), next.min(begun + Duration::from_mins(1)));
        }
        // An answer of 6.6 MB at 100 kB in a second, as the system takes it.
        let progress = Progress::new();
        progress.offered(6_600_000);
        progress.begun.set(Some(begun));
        for second in 1..=66 {
            progress.took(100_000, 6_600_000);
            progress.last.set(begun + Duration::from_secs(second));
            assert!(progress.deadline() > begun + Duration::from_secs(second + 1), "{second}");
        }
    }

    #[test]
    fn what_is_not_taken_counts_whole_until_all_of_it_is() {
        let progress = Progress::new();
        progress.offered(94_000);
        progress.took(90_000, 94_000);
        progress.offered(4000);
        assert_eq!(progress.unread(), HTTP_BYTES + 94_000);
        progress.took(4000, 4000);
        assert_eq!(progress.unread(), 0);
    }

    #[test]
    fn a_connection_goes_on_if_the_client_was_told_so() {
        for (answer, expected) in [
            ("HTTP/1.1 204 No Content\r\ndate: x\r\n\r\n", true),
            ("HTTP/1.1 200 OK\r\ncontent-length: 25\r\n\r\nabc\r\nconnection: close\r\n\r\n", true),
            ("HTTP/1.1 200 OK\r\ncontent-length: 1\r\nconnection: close\r\n\r\na", false),
            ("HTTP/1.0 200 OK\r\ncontent-length: 1\r\n\r\na", false),
            ("HTTP/1.0 200 OK\r\nconnection: keep-alive\r\n\r\n", true),
            ("HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\n\r\n", false),
            ("HTTP/1.1 200 OK\r\ndate: x\r\n", false),
        ] {
            assert_eq!(goes_on(answer.as_bytes()), expected, "{answer}");
        }
    }
}
