//! Feels whether the machine is fast enough for it to be said what was slow: on one that is busy with
//! other things news may arrive after the bound, and no service is to blame.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use tokio::time::{sleep, timeout};

use super::person::Stage;
use super::weather::Concern;
use testbed::service::Running;
use testbed::usage::waited_for_processor;

/// Between two times that a service is asked.
const EVERY: Duration = Duration::from_millis(100);
/// An answer that touches nothing takes a few milliseconds.
const SLOW: Duration = Duration::from_millis(150);

/// Asks every service for what touches nothing, until the play is over. One that is slow with it while its
/// threads waited for a processor is in trouble. A service that is slow by itself is not excused.
pub(super) async fn feel(stage: &Stage) {
    let replicas = stage.direct.iter().zip(&stage.auth_processes).enumerate();
    let replicas = replicas
        .map(|(at, (host, process))| (Concern::Replica(at), format!("http://{host}"), process));
    let resources = stage.resources.iter().zip(&stage.resource_processes).enumerate();
    let resources =
        resources.map(|(at, (url, process))| (Concern::Resource(at), url.clone(), process));
    join_all(replicas.chain(resources).map(|(concern, url, process)| async move {
        while !stage.is_over() {
            let begun = stage.now();
            let watch = Watch::begin(process);
            let asking = stage.http.get(format!("{url}/health/live")).send();
            let _ = timeout(Duration::from_secs(1), asking).await;
            let took = stage.now().saturating_sub(begun);
            if took > SLOW && watch.starved() {
                let spell = stage.weather.begin(Some(concern), "no processor", begun);
                stage.weather.end(spell, stage.now());
            }
            sleep(EVERY).await;
        }
    }))
    .await;
}

/// What tells from a moment on whether a process had the processor that it needed.
pub(super) struct Watch<'a> {
    process: &'a Running,
    begun: Instant,
    before: Option<(u32, Duration)>,
}

impl<'a> Watch<'a> {
    /// That moment is now.
    pub(super) fn begin(process: &'a Running) -> Self {
        Self { process, begun: Instant::now(), before: waited(process) }
    }

    /// How long ago it was.
    pub(super) fn lasts(&self) -> Duration {
        self.begun.elapsed()
    }

    /// Whether the threads of the process have waited for a processor for a third of the time. Not where it
    /// was started again meanwhile.
    pub(super) fn starved(&self) -> bool {
        let waited = self.before.zip(waited(self.process));
        waited.is_some_and(|((pid, before), (now, after))| {
            pid == now && after.saturating_sub(before) > self.lasts() / 3
        })
    }
}

/// Which process, and how long its threads waited so far.
fn waited(process: &Running) -> Option<(u32, Duration)> {
    let pid = process.pid()?;
    Some((pid, waited_for_processor(pid)?))
}
