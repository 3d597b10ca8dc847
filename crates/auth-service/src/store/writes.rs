//! Whether the database takes writes: a full disk, or a server that only reads, answers every
//! question and serves nobody.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::FutureExt as _;
use verifier::Clock;

use super::postgres::Lane;
use super::{Backend, FaultKind, Store, StoreError};

/// How long a write that worked speaks for the next one.
const FRESH: Duration = Duration::from_secs(5);
/// The least time between two probes while they fail, however often somebody asks.
const PROBE_EVERY: Duration = Duration::from_millis(250);

/// What is known of it. Times are on the clock that cannot be set.
#[derive(Debug)]
pub(super) struct Writes {
    clock: Clock,
    known: Mutex<Known>,
    /// One probe at a time; whoever else asks waits for what it finds.
    turn: tokio::sync::Mutex<()>,
}

#[derive(Debug, Default, Clone, Copy)]
struct Known {
    /// When one last worked, if nothing has failed since.
    worked: Option<Duration>,
    /// When a probe last failed, and how.
    probe_failed: Option<(Duration, FaultKind)>,
    /// Whether anything has failed since one last worked.
    failed: bool,
}

impl Writes {
    pub(super) fn new(clock: Clock) -> Self {
        Self { clock, known: Mutex::default(), turn: tokio::sync::Mutex::default() }
    }

    /// Takes note of what became of a verb; `wrote` says whether this result is that of a write.
    pub(super) fn made<T>(
        &self,
        result: Result<T, StoreError>,
        wrote: impl FnOnce(&T) -> bool,
    ) -> Result<T, StoreError> {
        match &result {
            Ok(done) if wrote(done) => self.worked(),
            // Of the two errors: the database works, and had nothing to do.
            Ok(_) | Err(StoreError::NotActing | StoreError::OutOfReach) => {}
            // It may have been reading that failed; a probe will tell.
            Err(_) => {
                let mut known = self.known();
                (known.worked, known.failed) = (None, true);
            }
        }
        result
    }

    pub(super) fn worked(&self) {
        *self.known() = Known { worked: Some(self.clock.elapsed()), ..Known::default() };
    }

    /// What can be said without trying.
    fn verdict(&self) -> Option<Result<(), FaultKind>> {
        let (known, now) = (*self.known(), self.clock.elapsed());
        if known.worked.is_some_and(|at| now < at + FRESH) {
            return Some(Ok(()));
        }
        let failed = known.probe_failed.filter(|(at, _)| now < *at + PROBE_EVERY);
        failed.map(|(_, kind)| Err(kind))
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Store {
    /// Whether the database answers and a write works; an error says why not. Nothing is written to find out
    /// where one has worked within the last five seconds and nothing has failed since.
    pub async fn takes_writes(&self) -> Result<(), FaultKind> {
        if let Some(verdict) = self.writes.verdict() {
            return self.confirmed(verdict).await;
        }
        let _turn = self.writes.turn.lock().await;
        if let Some(verdict) = self.writes.verdict() {
            return self.confirmed(verdict).await;
        }
        // After a failure a little may still fit where nothing of use does.
        let thorough = self.writes.known().failed;
        let backend = self.backend.clone();
        let probe = async move {
            match &backend {
                Backend::Postgres(db) => db.probe().await,
                Backend::Sqlite(db) => db.probe(thorough).await,
            }
        };
        let probed = self.run("takes_writes", probe.boxed()).await.map_err(|error| error.kind());
        match probed {
            Ok(()) => self.writes.worked(),
            Err(kind) => {
                self.writes.known().probe_failed = Some((self.writes.clock.elapsed(), kind));
            }
        }
        probed
    }

    /// What is known of writing, if the database answers now.
    async fn confirmed(&self, verdict: Result<(), FaultKind>) -> Result<(), FaultKind> {
        verdict?;
        let read = self.read("confirmed", Lane::Main, "select 1", Vec::new()).await;
        read.map(drop).map_err(|error| error.kind())
    }
}
