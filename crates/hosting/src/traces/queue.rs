//! Spans on their way: a queue that is never long, and the task that sends what is in it.
//!
//! The batch processor of the library keeps what it had to leave out to itself, and takes a thread of its own.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use opentelemetry::Context;
use opentelemetry_otlp::SpanExporter;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{Span, SpanData, SpanExporter as _, SpanProcessor};
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

use super::collector::Collector;
use crate::outage::Outage;

/// The name of the task in the log.
pub(super) const TASK: &str = "traces";
/// How many spans may wait: less than ten megabytes. What comes then is lost.
const MAX_WAITING: usize = 8192;
/// How many spans are sent at once.
const MAX_BATCH: usize = 512;
/// How long the first of them waits for others.
const GATHERING: Duration = Duration::from_secs(1);
/// How often the log is told that some were lost.
const TELL_EVERY: Duration = Duration::from_mins(1);
/// For how long the collector must take spans before it counts as back.
const BACK_AFTER: Duration = Duration::from_secs(30);

/// Where spans go when they end. It never waits.
#[derive(Debug)]
pub(super) struct Queue {
    waiting: mpsc::Sender<SpanData>,
    lost: Arc<AtomicU64>,
}

impl SpanProcessor for Queue {
    fn on_start(&self, _: &mut Span, _: &Context) {}

    fn on_end(&self, span: SpanData) {
        if self.waiting.try_send(span).is_err() {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn force_flush(&self) -> OTelSdkResult {
        Ok(())
    }

    /// The sender is stopped, not the queue.
    fn shutdown_with_timeout(&self, _: Duration) -> OTelSdkResult {
        Ok(())
    }
}

/// Sends what is in the queue.
pub(super) struct Sender {
    waiting: mpsc::Receiver<SpanData>,
    exporter: SpanExporter,
    collector: Arc<Collector>,
    stopping: CancellationToken,
    lost: Arc<AtomicU64>,
    told: Option<Instant>,
    outage: Outage,
}

/// An empty queue, and what sends spans from it.
pub(super) fn open(exporter: SpanExporter, collector: Arc<Collector>) -> (Queue, Sender) {
    let (queue, waiting) = mpsc::channel(MAX_WAITING);
    let lost = Arc::new(AtomicU64::new(0));
    let outage = Outage::new(
        TASK,
        "the collector takes no traces; their spans are lost, and nothing else depends on it",
        "the collector takes traces again",
    );
    let sender = Sender {
        waiting,
        exporter,
        collector,
        stopping: CancellationToken::new(),
        lost: Arc::clone(&lost),
        told: None,
        outage: outage.back_after(BACK_AFTER),
    };
    (Queue { waiting: queue, lost }, sender)
}

impl Sender {
    /// Has it send what waits, and end.
    pub(super) fn stopping(&self) -> CancellationToken {
        self.stopping.clone()
    }

    pub(super) async fn run(mut self) {
        loop {
            let batch = self.next().await;
            if batch.is_empty() {
                break;
            }
            self.send(batch).await;
            // While the collector is away the log knows that all are lost; their number comes when it is back.
            let again = self.told.is_none_or(|told| told.elapsed() >= TELL_EVERY);
            if again && !self.outage.is_on() {
                self.tell();
            }
        }
        self.tell();
    }

    async fn send(&mut self, batch: Vec<SpanData>) {
        let spans = u64::try_from(batch.len()).unwrap_or(u64::MAX);
        if let Err(error) = self.exporter.export(batch).await {
            self.lost.fetch_add(spans, Ordering::Relaxed);
            let why = self.collector.failure().unwrap_or_else(|| error.to_string());
            self.outage.failed(&*Box::<dyn std::error::Error>::from(why));
        } else {
            self.outage.works();
        }
    }

    /// The first spans that come, however long that takes, and what comes soon after them. None at the end.
    async fn next(&mut self) -> Vec<SpanData> {
        let mut batch = Vec::new();
        self.receive(&mut batch).await;
        let others = async {
            while (1..MAX_BATCH).contains(&batch.len()) && self.receive(&mut batch).await {}
        };
        let _ = timeout(GATHERING, others).await;
        batch
    }

    /// Waits for more spans, and says whether there were any. It may be given up at any moment.
    async fn receive(&mut self, batch: &mut Vec<SpanData>) -> bool {
        let most = MAX_BATCH - batch.len();
        if !self.stopping.is_cancelled() {
            tokio::select! {
                biased;
                () = self.stopping.cancelled() => {}
                received = self.waiting.recv_many(batch, most) => return received > 0,
            }
        }
        // What is in it can still be had.
        self.waiting.close();
        self.waiting.recv_many(batch, most).await > 0
    }

    fn tell(&mut self) {
        let lost = self.lost.swap(0, Ordering::Relaxed);
        if lost > 0 {
            self.told = Some(Instant::now());
            tracing::warn!(
                task = TASK,
                spans = lost,
                "spans were lost: too many waited, or the collector did not take them"
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use opentelemetry::trace::{Span as _, Tracer as _, TracerProvider as _};
    use opentelemetry_sdk::trace::SdkTracerProvider;

    use super::*;

    #[test]
    fn a_span_that_finds_no_place_is_lost_and_counted_and_nobody_waits() {
        let (waiting, mut sent) = mpsc::channel(2);
        let lost = Arc::new(AtomicU64::new(0));
        let queue = Queue { waiting, lost: Arc::clone(&lost) };
        let provider = SdkTracerProvider::builder().with_span_processor(queue).build();
        let tracer = provider.tracer("test");
        for _ in 0..5 {
            tracer.start("a span").end();
        }
        assert_eq!((sent.len(), lost.load(Ordering::Relaxed)), (2, 3));
        sent.close();
        tracer.start("one that is too late").end();
        assert_eq!((sent.len(), lost.load(Ordering::Relaxed)), (2, 4));
    }
}
