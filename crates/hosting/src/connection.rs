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
use std::time::Duration;

use actix_http::Protocol;
use actix_http::error::DispatchError;
use actix_service::Service;
use tokio::io::Interest;
use tokio::net::TcpStream;

use collect::{Collected, Connection};
use exchange::{Exchange, Progress};
pub(crate) use worker::{Shared, Worker};

/// Until a part of the answer is taken. The longest that a route waits on purpose is twenty seconds,
/// for who follows the feed.
const ANSWER_TIME: Duration = Duration::from_secs(24);

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
        poll_fn(|cx| http.poll_ready(cx)).await?;
        let exchange = Exchange::new(Rc::clone(&connection.stream), request, whole);
        let progress = exchange.progress();
        // In a place of its own, which a connection that waits does not have.
        let answering = Box::pin(http.call((exchange, Protocol::Http1, peer)));
        let done = is_answered(answering, &mut connection, &progress).await;
        if !(done && whole && progress.goes_on()) {
            if progress.has_begun() && !(whole && connection.held.is_empty()) {
                connection.linger().await;
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
    poll_fn(|cx| {
        if let Poll::Ready(done) = answering.as_mut().poll(cx) {
            return Poll::Ready(done.is_ok());
        }
        let late = connection.timer.is_over(progress.last() + ANSWER_TIME, cx);
        let gone = late || connection.place.is_closed(cx) || reset.as_mut().poll(cx).is_ready();
        if gone { Poll::Ready(false) } else { Poll::Pending }
    })
    .await
}
