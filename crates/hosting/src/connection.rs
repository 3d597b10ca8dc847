//! One connection: each request is collected until it is whole, and only then given to the HTTP library.
//!
//! The HTTP library takes some ten kilobytes for a connection, up to 128 more for a head that does not
//! end, and the memory of a route for a body that does not. It bounds neither the sum of these nor the
//! time that a later head may take. So it sees nothing that is unfinished: below it a connection is a
//! socket and what has come of a request, with bounds of size and time for each and of number and size
//! for all. Between two requests the HTTP library has no part in a connection.

mod chunks;
mod collect;
mod exchange;
mod framing;
mod timer;
mod waiting;
mod worker;

use std::future::poll_fn;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::Poll;

use actix_http::Protocol;
use actix_http::error::DispatchError;
use actix_service::Service;
use tokio::io::Interest;
use tokio::net::TcpStream;

use collect::{Collected, Connection, LINGER_TIME};
use exchange::{Exchange, Progress};
pub(crate) use worker::{Shared, Worker};

/// Serves a connection to its end.
pub(crate) async fn serve<S>(
    stream: TcpStream,
    worker: Rc<Worker>,
    http: Rc<S>,
) -> Result<(), DispatchError>
where
    S: Service<(Exchange, Protocol, Option<SocketAddr>), Response = (), Error = DispatchError>,
{
    let peer = stream.peer_addr().ok();
    let mut connection = Connection::new(stream, worker);
    connection.worker.make_room();
    loop {
        let (request, whole) = match connection.collect().await {
            Collected::Request { bytes, whole } => (bytes, whole),
            Collected::Refused(status, reason) => {
                worker::count(reason, 1);
                connection.refuse(status).await;
                return Ok(());
            }
            Collected::Over => return Ok(()),
        };
        // An answer takes its memory before anybody can count it, so that it is begun only where there is
        // room: otherwise all that are asked for at once would be held before the first is closed.
        while connection.worker.shared.unread.is_full() {
            if connection.place.was_closed() {
                return Ok(());
            }
            tokio::task::yield_now().await;
        }
        poll_fn(|cx| http.poll_ready(cx)).await?;
        let exchange = Exchange::new(Rc::clone(&connection.stream), request, whole);
        let progress = exchange.progress();
        // In a place of its own, which a connection that waits does not have.
        let answering = Box::pin(http.call((exchange, Protocol::Http1, peer)));
        let done = is_answered(answering, &mut connection, &progress).await;
        if !(done && whole && progress.goes_on()) {
            // Who learns only by this answer that it is the last may have sent the next request.
            let ends = connection.worker.shared.ending.announced.is_cancelled();
            if progress.has_begun() && (ends || !(whole && connection.held.is_empty())) {
                connection.linger(LINGER_TIME).await;
            }
            return Ok(());
        }
        if !connection.held.is_empty() {
            // What was sent ahead waits for what others sent.
            tokio::task::yield_now().await;
        }
    }
}

/// Lets the HTTP library answer. False if the answer is not finished and never will be.
async fn is_answered<F>(
    mut answering: Pin<Box<F>>,
    connection: &mut Connection,
    progress: &Progress,
) -> bool
where
    F: Future<Output = Result<(), DispatchError>>,
{
    let stream = Rc::clone(&connection.stream);
    let mut reset = pin!(stream.ready(Interest::ERROR));
    let done = poll_fn(|cx| {
        if let Poll::Ready(done) = answering.as_mut().poll(cx) {
            return Poll::Ready(done.is_ok());
        }
        connection.wait_for_reader(progress.unread());
        if connection.timer.is_over(progress.deadline(), cx) {
            worker::count(if progress.has_begun() { "unread" } else { "unanswered" }, 1);
            return Poll::Ready(false);
        }
        let gone = connection.place.is_closed(cx) || reset.as_mut().poll(cx).is_ready();
        if gone { Poll::Ready(false) } else { Poll::Pending }
    })
    .await;
    drop(answering);
    connection.wait_for_reader(0);
    done
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::future::{Ready, ready};
    use std::sync::Arc;
    use std::time::Duration;

    use tokio::io::AsyncWriteExt as _;
    use tokio::time::{Instant, timeout};

    use super::*;
    use crate::stop::Ending;

    /// A connection, what it shares with others, and its client.
    async fn connect() -> (Connection, Arc<Shared>, TcpStream) {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (stream, _) = listener.accept().await.unwrap();
        let shared = Arc::new(Shared::new(Ending::default()));
        let worker = Rc::new(Worker::new(Arc::clone(&shared), 16));
        (Connection::new(stream, worker), shared, client)
    }

    #[tokio::test]
    async fn an_answer_that_is_not_at_its_end_in_time_is_cut_off_whatever_is_taken_of_it() {
        let (mut connection, _, _client) = connect().await;
        // The last part was taken just now.
        let progress = Progress::new();
        progress.begun.set(Instant::now().checked_sub(Duration::from_mins(1)));
        let answering = Box::pin(std::future::pending());
        let done =
            timeout(Duration::from_secs(10), is_answered(answering, &mut connection, &progress));
        assert_eq!(done.await, Ok(false));
    }

    /// Says that it has begun, and is done.
    struct Answering(Rc<Cell<bool>>);

    impl Service<(Exchange, Protocol, Option<SocketAddr>)> for Answering {
        type Response = ();
        type Error = DispatchError;
        type Future = Ready<Result<(), DispatchError>>;

        actix_service::always_ready!();

        fn call(&self, _: (Exchange, Protocol, Option<SocketAddr>)) -> Self::Future {
            self.0.set(true);
            ready(Ok(()))
        }
    }

    /// What becomes of a request while others that were closed still hold as much as all may.
    #[tokio::test]
    async fn an_answer_is_begun_when_those_that_were_closed_have_freed_theirs() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (stream, _) = listener.accept().await.unwrap();
        let shared = Arc::new(Shared::new(Ending::default()));
        let worker = Rc::new(Worker::new(Arc::clone(&shared), 16));
        let begun = Rc::new(Cell::new(false));
        let http = Rc::new(Answering(Rc::clone(&begun)));
        let closed: Arc<waiting::Place> = Arc::default();
        let (turn, _) = shared.unread.enter(&closed, usize::MAX / 2);
        assert!(closed.was_closed());
        client.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
        let serving = serve(stream, worker, http);
        let others = async {
            for _ in 0..1000 {
                tokio::task::yield_now().await;
                assert!(!begun.get(), "there is no room");
            }
            shared.unread.leave(&turn);
        };
        let both = timeout(Duration::from_mins(1), async { tokio::join!(serving, others).0 });
        assert!(both.await.is_ok());
        assert!(begun.get());
    }

    #[tokio::test]
    async fn a_connection_whose_answer_is_not_read_may_be_closed_for_others() {
        let (mut connection, shared, _client) = connect().await;
        let mut exchange = Exchange::new(Rc::clone(&connection.stream), Vec::new(), true);
        let progress = exchange.progress();
        let answering = Box::pin(async move {
            let _ = exchange.write_all(&vec![0; 32 << 20]).await;
            Ok(())
        });
        let closing = async {
            while !shared.unread.close_first() {
                tokio::task::yield_now().await;
            }
        };
        let done = is_answered(answering, &mut connection, &progress);
        let both = timeout(Duration::from_mins(1), async { tokio::join!(done, closing).0 });
        assert_eq!(both.await, Ok(false));
        assert!(!shared.unread.close_first(), "it waits no longer");
    }
}
