//! When to stop, and what connections know of it.

use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// How long a connection may still bring a request after the listener has closed, or after an answer that did not yet
/// say that it is the last.
pub(crate) const LAST_REQUEST: Duration = Duration::from_millis(200);

/// The end of a server, as its connections see it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Ending {
    /// Cancelled when each answer is to say that it is the last of its connection.
    pub(crate) announced: CancellationToken,
    /// Cancelled when connections are to end as soon as nothing is begun on them.
    pub(crate) due: CancellationToken,
}

/// Waits for SIGTERM or SIGINT.
pub async fn requested() {
    let (Ok(mut terminate), Ok(mut interrupt)) =
        (signal(SignalKind::terminate()), signal(SignalKind::interrupt()))
    else {
        // Without handlers the default action ends the process: it cannot be ended more gently.
        return std::future::pending().await;
    };
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
}
