//! Many log out at the same moment: their commits overtake each other.

use std::time::Duration;

use fastrand::Rng;
use tokio::time::sleep;

use super::super::history::{Ending, Outcome};
use super::super::person::{PATIENCE, Person};
use super::{newcomer, watching};

/// All bursts are at multiples of this.
const BEAT: Duration = Duration::from_secs(2);

pub(super) async fn live(person: Person, mut rng: Rng) {
    let Some(grant) = newcomer(&person, &mut rng).await else { return };
    person.present(rng.usize(..3), &grant.access).await;
    let beat = BEAT.as_micros();
    let into = person.world.now().as_micros() % beat;
    sleep(Duration::from_micros(u64::try_from(beat - into).unwrap_or(0))).await;
    let at = rng.usize(..2);
    if person.log_out(at, &grant.refresh, Ending::Current).await == Outcome::Done {
        person.refresh(1 - at, &grant.refresh, PATIENCE).await;
        watching::watch(&person, &[grant.access]).await;
    }
}
