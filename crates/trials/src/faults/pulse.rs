//! Feels whether the machine is fast enough for it to be said what was slow: on one that is busy with
//! other things news may arrive after the bound, and no service is to blame.

use std::time::Duration;

use futures_util::future::join_all;
use tokio::time::{sleep, timeout};

use super::person::Stage;
use super::weather::Concern;

/// Between two times that a service is asked.
const EVERY: Duration = Duration::from_millis(100);
/// An answer that touches nothing takes a few milliseconds.
const SLOW: Duration = Duration::from_millis(150);

/// Asks every service for what touches nothing, until the play is over. One that is slow with it is in
/// trouble, and so is one that does not answer.
pub(super) async fn feel(stage: &Stage) {
    let replicas = stage.direct.iter().enumerate();
    let replicas = replicas.map(|(at, host)| (Concern::Replica(at), format!("http://{host}")));
    let resources = stage.resources.iter().enumerate();
    let resources = resources.map(|(at, url)| (Concern::Resource(at), url.clone()));
    join_all(replicas.chain(resources).map(|(concern, url)| async move {
        while !stage.is_over() {
            let begun = stage.now();
            let asking = stage.http.get(format!("{url}/health/live")).send();
            let _ = timeout(Duration::from_secs(1), asking).await;
            if stage.now() - begun > SLOW {
                let spell = stage.weather.begin(concern, begun);
                stage.weather.end(spell, stage.now());
            }
            sleep(EVERY).await;
        }
    }))
    .await;
}
