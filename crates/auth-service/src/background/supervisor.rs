//! Keeps the tasks that run beside the answers. One that panics or ends is told in the log and counted,
//! and begun again after a pause: nobody waits for it, so else nobody would notice.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::FutureExt as _;
use tokio::time::{Instant, sleep};
use tokio_util::task::AbortOnDropHandle;

const PAUSE: Duration = Duration::from_millis(500);
const HOLDS_AFTER: Duration = Duration::from_mins(1);
/// The longest pause is the first one times this.
const MOST_PAUSES: u32 = 64;
/// So many failures in a row and the task counts as broken.
const BROKEN_AFTER: u32 = 3;

/// Starts tasks, and stops them.
#[derive(Debug)]
pub(crate) struct Supervisor {
    tasks: Vec<AbortOnDropHandle<()>>,
    pace: Pace,
    broken: Broken,
}

#[derive(Debug, Clone, Copy)]
struct Pace {
    /// Before a task is begun again; then twice as long each time.
    pause: Duration,
    /// A task that ran for longer is well again.
    holds_after: Duration,
}

/// How many vital tasks fail again and again at the moment.
#[derive(Debug, Clone, Default)]
pub(crate) struct Broken(Arc<AtomicUsize>);

impl Broken {
    /// Whether there is one: then the service does not learn what it must.
    pub(crate) fn any(&self) -> bool {
        self.0.load(Ordering::Relaxed) > 0
    }
}

impl Supervisor {
    pub(crate) fn new() -> Self {
        let pace = Pace { pause: PAUSE, holds_after: HOLDS_AFTER };
        Self { tasks: Vec::new(), pace, broken: Broken::default() }
    }

    /// Runs what `begin` makes, for ever: whenever it panics or ends, it is begun again. `task` names it
    /// in the log and in the metrics.
    pub(crate) fn keep<F>(
        &mut self,
        task: &'static str,
        begin: impl Fn() -> F + Send + Sync + 'static,
    ) where
        F: Future<Output = ()> + Send + 'static,
    {
        self.start(task, begin, Broken::default());
    }

    /// The same for a task that answers rely on: while it fails again and again, it is among the
    /// [`broken`](Self::broken).
    pub(crate) fn keep_vital<F>(
        &mut self,
        task: &'static str,
        begin: impl Fn() -> F + Send + Sync + 'static,
    ) where
        F: Future<Output = ()> + Send + 'static,
    {
        self.start(task, begin, self.broken.clone());
    }

    fn start<F>(
        &mut self,
        task: &'static str,
        begin: impl Fn() -> F + Send + Sync + 'static,
        broken: Broken,
    ) where
        F: Future<Output = ()> + Send + 'static,
    {
        metrics::counter!("latchkey_background_failures_total", "task" => task).increment(0);
        let kept = tokio::spawn(keep(task, begin, self.pace, broken));
        self.tasks.push(AbortOnDropHandle::new(kept));
    }

    /// Whether a vital task fails again and again; to be asked at any time.
    pub(crate) fn broken(&self) -> Broken {
        self.broken.clone()
    }

    /// Stops the tasks, the last one first, and waits until each is gone. What they have asked of the
    /// store is finished by the store.
    pub(crate) async fn stop(self) {
        for task in self.tasks.into_iter().rev() {
            task.abort();
            let _ = task.await;
        }
    }
}

async fn keep<F: Future<Output = ()>>(
    task: &'static str,
    begin: impl Fn() -> F,
    pace: Pace,
    broken: Broken,
) {
    let (mut failures, mut pause) = (0, pace.pause);
    loop {
        let since = Instant::now();
        // What a task shares with others is behind locks that outlive a panic.
        let running = AssertUnwindSafe(async { begin().await }).catch_unwind();
        // Where it runs for long enough it is well, which nobody should have to wait for its end to learn.
        let mut running = std::pin::pin!(running);
        let ended = tokio::select! {
            biased;
            ended = &mut running => ended,
            () = sleep(pace.holds_after) => {
                if failures >= BROKEN_AFTER {
                    broken.0.fetch_sub(1, Ordering::Relaxed);
                }
                (failures, pause) = (0, pace.pause);
                running.await
            }
        };
        // The message of a panic is not repeated: it may quote what a client sent.
        let what = if ended.is_ok() { "ended" } else { "panicked" };
        failures += 1;
        if failures == BROKEN_AFTER {
            broken.0.fetch_add(1, Ordering::Relaxed);
        }
        metrics::counter!("latchkey_background_failures_total", "task" => task).increment(1);
        tracing::error!(
            task,
            failures,
            ran_seconds = since.elapsed().as_secs(),
            "a background task {what}; it is begun again"
        );
        sleep(pause).await;
        pause = (pause * 2).min(pace.pause * MOST_PAUSES);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicU32;

    use tokio::sync::mpsc;

    use super::*;

    /// A task that says when it is begun, and then does what `then` does with the number of its run.
    fn kept<F>(
        then: impl Fn(u32) -> F + Send + Sync + 'static,
    ) -> (Supervisor, mpsc::UnboundedReceiver<u32>)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let (begun, runs) = mpsc::unbounded_channel();
        let number = AtomicU32::new(0);
        let mut supervisor = Supervisor::new();
        supervisor.pace.pause = Duration::from_millis(1);
        supervisor.keep_vital("test", move || {
            let run = number.fetch_add(1, Ordering::Relaxed) + 1;
            let _ = begun.send(run);
            then(run)
        });
        (supervisor, runs)
    }

    #[tokio::test]
    async fn a_task_that_panics_is_begun_again() {
        let (supervisor, mut runs) = kept(async |run| {
            assert!(run > 1, "on purpose");
            std::future::pending::<()>().await;
        });
        assert_eq!((runs.recv().await, runs.recv().await), (Some(1), Some(2)));
        assert!(!supervisor.broken().any(), "once is not again and again");
    }

    #[tokio::test]
    async fn a_task_that_ends_is_begun_again() {
        let (supervisor, mut runs) = kept(async |_| ());
        for run in 1..=4 {
            assert_eq!(runs.recv().await, Some(run));
        }
        assert!(supervisor.broken().any());
    }

    #[tokio::test]
    async fn a_panic_while_a_task_is_made_is_a_panic_of_the_task() {
        let (_supervisor, mut runs) = kept(|run| {
            assert!(run > 1, "on purpose");
            std::future::pending()
        });
        assert_eq!((runs.recv().await, runs.recv().await), (Some(1), Some(2)));
    }

    #[tokio::test]
    async fn a_task_that_failed_again_and_again_and_then_runs_is_no_longer_broken() {
        let mut supervisor = Supervisor::new();
        let short = Duration::from_millis(1);
        supervisor.pace = Pace { pause: short, holds_after: short };
        let (broken, run) = (supervisor.broken(), AtomicU32::new(0));
        let was_broken = broken.clone();
        let (said, mut saw) = mpsc::unbounded_channel();
        supervisor.keep_vital("test", move || {
            let (run, broken, said) =
                (run.fetch_add(1, Ordering::Relaxed), was_broken.clone(), said.clone());
            async move {
                assert!(run >= BROKEN_AFTER, "on purpose");
                let _ = said.send(broken.any());
                std::future::pending::<()>().await;
            }
        });
        assert_eq!(saw.recv().await, Some(true));
        while broken.any() {
            sleep(short).await;
        }
    }

    #[tokio::test]
    async fn after_the_stop_nothing_runs() {
        let held = Arc::new(());
        let of_the_task = Arc::clone(&held);
        let (supervisor, mut runs) = kept(move |_| {
            let held = Arc::clone(&of_the_task);
            async move {
                std::future::pending::<()>().await;
                drop(held);
            }
        });
        assert_eq!(runs.recv().await, Some(1));
        supervisor.stop().await;
        assert_eq!((Arc::strong_count(&held), runs.recv().await), (1, None));
    }
}
