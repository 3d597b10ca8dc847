//! Charging attempts, waiting for what becomes of others, and settling.

use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::time::timeout;
use tracing::Instrument as _;
use verifier::Clock;

use super::bucket::{Bucket, Charge, Outcome, Verdict};
use super::queue::{Queues, Turn};
use super::{Local, Refusal, Shared};

/// How soon the first of a queue asks again at first, and at the latest. What is settled here wakes it
/// at once, so this is for what is in flight at other replicas.
const FIRST_PAUSE: Duration = Duration::from_millis(20);
const LONGEST_PAUSE: Duration = Duration::from_millis(160);

/// Where attempts are counted: in Redis, and in this process while there is none.
#[derive(Debug)]
pub(super) struct Counter {
    shared: Option<Arc<Shared>>,
    local: Local,
    queues: Arc<Queues>,
    clock: Clock,
    /// The main one: what was begun in Redis is finished there, also when the client has gone.
    runtime: Handle,
}

/// An attempt that was admitted and charged. One that is dropped without being settled has failed.
#[derive(Debug)]
pub(crate) struct Attempt {
    counter: Arc<Counter>,
    charges: Vec<Charge>,
    shared: bool,
    begun: Duration,
}

impl Attempt {
    /// How long ago it came: what it waited for others counts towards every later wait.
    pub(crate) fn waited(&self) -> Duration {
        self.counter.clock.elapsed().saturating_sub(self.begun)
    }

    /// To be called when it is known what became of it.
    pub(crate) async fn settle(mut self, outcome: Outcome) {
        if let Some(work) = self.settling(outcome) {
            work.await;
        }
    }

    /// In a task of its own where Redis is to be asked.
    fn settling(&mut self, outcome: Outcome) -> Option<impl Future<Output = ()> + use<>> {
        let charges = std::mem::take(&mut self.charges);
        if charges.is_empty() {
            return None;
        }
        let counter = &self.counter;
        match &counter.shared {
            // Where it was charged; a Redis that went away meanwhile forgives nothing.
            Some(shared) if self.shared => {
                let (shared, queues) = (Arc::clone(shared), Arc::clone(&counter.queues));
                let work = async move {
                    shared.settle(&charges, outcome).await;
                    queues.wake(&charges);
                };
                let work = counter.runtime.spawn(work.in_current_span());
                Some(async move { drop(work.await) })
            }
            _ => {
                counter.local.settle(&charges, outcome, now(&counter.clock));
                counter.queues.wake(&charges);
                None
            }
        }
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        drop(self.settling(Outcome::Failed));
    }
}

impl Counter {
    /// On the runtime that is to finish what was begun.
    pub(super) fn new(shared: Option<Arc<Shared>>, local: Local, clock: Clock) -> Arc<Self> {
        let (queues, runtime) = (Arc::default(), Handle::current());
        Arc::new(Self { shared, local, queues, clock, runtime })
    }

    /// Charges an attempt, unless its buckets refuse it, or somebody who came before waits for one of
    /// them.
    pub(super) async fn charge(
        self: &Arc<Self>,
        buckets: &[Bucket],
        begun: Duration,
    ) -> Result<Attempt, Refusal> {
        match self.queues.before(buckets) {
            Some(refusal) => Err(refusal),
            None => self.ask(buckets, begun).await,
        }
    }

    /// The same for somebody who was refused while attempts were in flight: what becomes of those
    /// decides, and until then, or `until`, this waits.
    pub(super) async fn wait(
        self: &Arc<Self>,
        buckets: &[Bucket],
        mut refusal: Refusal,
        (begun, until): (Duration, Duration),
    ) -> Result<Attempt, Refusal> {
        // What it waits for may be over before it has a place in the queue, so it asks at once; when it
        // goes from one queue to another, it does not, so that it never does so without a pause.
        let mut pause = Duration::ZERO;
        while refusal.in_flight && !self.left(until).is_zero() {
            let Some(turn) = self.queues.join(refusal, buckets) else { break };
            refusal = loop {
                if !self.first_by(&turn, until).await {
                    return Err(turn.refusal().unwrap_or(refusal));
                }
                let most = pause.min(self.left(until));
                pause = if timeout(most, turn.called()).await.is_ok() {
                    FIRST_PAUSE
                } else {
                    (pause * 2).clamp(FIRST_PAUSE, LONGEST_PAUSE)
                };
                match self.ask(buckets, begun).await {
                    Ok(attempt) => return Ok(attempt),
                    Err(same) if same.in_flight && same.key() == refusal.key() => turn.told(same),
                    Err(other) => break other,
                }
                if self.left(until).is_zero() {
                    return Err(turn.refusal().unwrap_or(refusal));
                }
            };
        }
        Err(refusal)
    }

    async fn first_by(&self, turn: &Turn, until: Duration) -> bool {
        while !turn.is_first() {
            if timeout(self.left(until), turn.called()).await.is_err() {
                return false;
            }
        }
        true
    }

    fn left(&self, until: Duration) -> Duration {
        until.saturating_sub(self.clock.elapsed())
    }

    async fn ask(
        self: &Arc<Self>,
        buckets: &[Bucket],
        begun: Duration,
    ) -> Result<Attempt, Refusal> {
        let Some(shared) = &self.shared else { return self.judged(buckets, None, begun) };
        let (counter, shared) = (Arc::clone(self), Arc::clone(shared));
        let (of, runtime) = (buckets.to_vec(), &self.runtime);
        let asked = async move {
            let answer = shared.take(&of).await;
            counter.judged(&of, answer.map(|(verdict, _)| verdict), begun)
        };
        let asked = runtime.spawn(asked.in_current_span());
        // A task is lost only with the runtime, which ends with the process.
        asked.await.unwrap_or_else(|_| self.judged(buckets, None, begun))
    }

    /// By the verdict of Redis, or else by what is counted here.
    fn judged(
        self: &Arc<Self>,
        buckets: &[Bucket],
        verdict: Option<Verdict>,
        begun: Duration,
    ) -> Result<Attempt, Refusal> {
        let shared = verdict.is_some();
        match verdict.unwrap_or_else(|| self.local.take(buckets, now(&self.clock))) {
            Verdict::Admitted(charges) => {
                Ok(Attempt { counter: Arc::clone(self), charges, shared, begun })
            }
            Verdict::Refused { bucket, wait_ms, in_flight } => {
                Err(Refusal { bucket: buckets[bucket], wait_ms, in_flight })
            }
        }
    }
}

/// Time that nobody can set, with the offset of a test.
pub(super) fn now(clock: &Clock) -> u64 {
    let elapsed = u64::try_from(clock.elapsed().as_millis()).unwrap_or(u64::MAX / 2);
    elapsed.saturating_add_signed(clock.offset_millis())
}
