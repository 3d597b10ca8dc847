//! Whether the threads that serve a listener do serve.
//!
//! A listening socket takes connections also when nobody serves them, so that it listens says nothing. Each
//! worker reports when its routes are built, and answers on its own thread when it is asked. A worker that
//! could not start, that ended or that is stuck does not.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};

/// How long a worker may take to answer: less than whoever asks for readiness waits.
const TIMEOUT: Duration = Duration::from_millis(1500);
/// Questions that wait for one worker; when there are more, it is stuck.
const MAX_WAITING: usize = 16;

type Questions = mpsc::Sender<oneshot::Sender<()>>;

/// The workers of one listener.
#[derive(Debug, Clone)]
pub struct Workers(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    count: usize,
    started: watch::Sender<usize>,
    asked: Mutex<Vec<Questions>>,
}

impl Workers {
    /// So many workers, none of which has started yet.
    #[must_use]
    pub fn new(count: usize) -> Self {
        let started = watch::Sender::new(0);
        Self(Arc::new(Inner { count, started, asked: Mutex::default() }))
    }

    /// How many there are to be.
    #[must_use]
    pub fn count(&self) -> usize {
        self.0.count
    }

    /// Reports the worker whose thread calls this. One that is started again, after another has ended,
    /// takes that one's place.
    pub(crate) fn report(&self) {
        let (questions, mut asked) = mpsc::channel::<oneshot::Sender<()>>(MAX_WAITING);
        // On this thread's own runtime, beside its connections, and gone with it.
        tokio::spawn(async move {
            while let Some(question) = asked.recv().await {
                let _ = question.send(());
            }
        });
        let mut all = self.0.asked.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|one| !one.is_closed());
        all.push(questions);
        self.0.started.send_modify(|started| *started += 1);
    }

    /// Waits until every worker has reported once.
    pub(crate) async fn started(&self) {
        let count = self.0.count;
        let _ = self.0.started.subscribe().wait_for(|started| *started >= count).await;
    }

    /// Whether every worker answers, on its own thread, within a second and a half.
    pub async fn answer(&self) -> bool {
        let asked: Vec<_> = self.0.asked.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let mut answers = Vec::with_capacity(asked.len());
        for worker in asked {
            let (question, answer) = oneshot::channel();
            if worker.try_send(question).is_ok() {
                answers.push(answer);
            }
        }
        if answers.len() < self.0.count {
            return false;
        }
        let all = async {
            for answer in answers {
                if answer.await.is_err() {
                    return false;
                }
            }
            true
        };
        tokio::time::timeout(TIMEOUT, all).await.unwrap_or(false)
    }
}
