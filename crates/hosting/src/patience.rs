//! Connections that are closed when their other end does not get on.
//!
//! The HTTP library bounds how long the first head of a connection may take, and how long a connection
//! may be idle. It waits for ever for the rest of a later head, for the rest of a body that no route
//! reads, and for an answer to be taken: a client with some thousand sockets and one byte for each
//! would keep everybody out. Below HTTP one rule covers all of these: whoever has sent something is
//! given an answer within seconds, or is gone.

use std::future::Future as _;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep_until};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

/// How long a connection is kept.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Patience {
    /// From the first byte that was read until a part of an answer is taken.
    unanswered: Duration,
    /// Where nothing was read since the last answer.
    silent: Duration,
}

/// The longest that a route waits on purpose is twenty seconds, for who follows the feed. Where nothing
/// comes any more, the rest of a request is indeed missing or the connection is idle, which here is
/// all the same: somewhat longer than the HTTP library keeps those that it knows to be idle.
pub(crate) const PATIENCE: Patience =
    Patience { unanswered: Duration::from_secs(24), silent: Duration::from_secs(80) };

/// A stream that fails when its other end has had its time, and ends when the service stops.
pub(crate) struct Patient<S> {
    stream: S,
    patience: Patience,
    /// When a part of an answer was last taken, or the connection was made.
    answered: Instant,
    /// When something was first read after that.
    asked: Option<Instant>,
    timer: Pin<Box<Sleep>>,
    stopping: Pin<Box<WaitForCancellationFutureOwned>>,
    stopped: bool,
}

impl<S> Patient<S> {
    pub(crate) fn new(stream: S, patience: Patience, stopping: CancellationToken) -> Self {
        let answered = Instant::now();
        let timer = Box::pin(sleep_until(answered + patience.silent));
        let stopping = Box::pin(stopping.cancelled_owned());
        Self { stream, patience, answered, asked: None, timer, stopping, stopped: false }
    }

    /// Whether the other end has had its time; if not, wakes the task when it has. The timer is moved
    /// only where it would be late: mostly the moment just moves on.
    fn is_over(&mut self, cx: &mut Context<'_>) -> bool {
        let Patience { unanswered, silent } = self.patience;
        let over = self.asked.map_or(self.answered + silent, |asked| asked + unanswered);
        if over < self.timer.deadline() {
            self.timer.as_mut().reset(over);
        }
        while self.timer.as_mut().poll(cx).is_ready() {
            if Instant::now() >= over {
                return true;
            }
            self.timer.as_mut().reset(over);
        }
        false
    }

    fn is_stopping(&mut self, cx: &mut Context<'_>) -> bool {
        self.stopped = self.stopped || self.stopping.as_mut().poll(cx).is_ready();
        self.stopped
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Patient<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(cx, buffer);
        if read.is_ready() {
            if buffer.filled().len() > before {
                self.asked.get_or_insert_with(Instant::now);
            }
            return read;
        }
        if self.is_over(cx) {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        // What was begun is finished; an idle connection ends here.
        if self.is_stopping(cx) && self.asked.is_none() {
            return Poll::Ready(Ok(()));
        }
        Poll::Pending
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Patient<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, bytes);
        if let Poll::Ready(Ok(1..)) = written {
            (self.answered, self.asked) = (Instant::now(), None);
            if self.stopped {
                // To be read from once more, and so to end.
                cx.waker().wake_by_ref();
            }
        } else if written.is_pending() && self.is_over(cx) {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        written
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};

    use super::*;

    const SHORT: Patience =
        Patience { unanswered: Duration::from_millis(500), silent: Duration::from_secs(2) };

    fn pair(stopping: &CancellationToken) -> (DuplexStream, Patient<DuplexStream>) {
        let (theirs, ours) = duplex(16);
        (theirs, Patient::new(ours, SHORT, stopping.clone()))
    }

    /// How long it takes until reading fails.
    async fn over(stream: &mut Patient<DuplexStream>, begun: Instant) -> Duration {
        let error = stream.read(&mut [0; 16]).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        begun.elapsed()
    }

    #[tokio::test]
    async fn whoever_has_sent_something_is_waited_for_less_long() {
        let begun = Instant::now();
        let (mut theirs, mut ours) = pair(&CancellationToken::new());
        assert!(over(&mut ours, begun).await >= SHORT.silent);

        let begun = Instant::now();
        let (mut other, mut stream) = pair(&CancellationToken::new());
        other.write_all(b"half").await.unwrap();
        assert_eq!(stream.read(&mut [0; 16]).await.unwrap(), 4);
        let waited = over(&mut stream, begun).await;
        assert!(waited < SHORT.silent, "{waited:?}");

        // An answer begins a new wait, also where it came after the rest of a request was read.
        let (mut third, mut stream) = pair(&CancellationToken::new());
        third.write_all(b"whole, half").await.unwrap();
        assert_eq!(stream.read(&mut [0; 16]).await.unwrap(), 11);
        let begun = Instant::now();
        stream.write_all(b"answer").await.unwrap();
        assert!(over(&mut stream, begun).await >= SHORT.unanswered);
        theirs.shutdown().await.unwrap();
    }

    #[tokio::test]
    async fn whoever_does_not_read_is_not_written_to_for_ever() {
        let (_theirs, mut ours) = pair(&CancellationToken::new());
        let error = ours.write_all(&[0; 100]).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }

    #[tokio::test]
    async fn an_idle_connection_ends_with_the_service_and_one_in_use_after_its_answer() {
        let stopping = CancellationToken::new();
        let ((_theirs, mut idle), (mut other, mut used)) = (pair(&stopping), pair(&stopping));
        other.write_all(b"asked").await.unwrap();
        assert_eq!(used.read(&mut [0; 16]).await.unwrap(), 5);
        stopping.cancel();
        assert_eq!(idle.read(&mut [0; 16]).await.unwrap(), 0);
        used.write_all(b"answer").await.unwrap();
        assert_eq!(used.read(&mut [0; 16]).await.unwrap(), 0);
    }
}
