//! Many end sessions at the same moment: their commits overtake each other.

use std::time::Duration;

use claims::Transport;
use fastrand::Rng;
use futures_util::future::join_all;
use tokio::time::sleep;

use super::super::history::{Ending, Outcome};
use super::super::person::{Person, TIMEOUT};
use super::{newcomer, watching};

/// All bursts are at multiples of this.
const BEAT: Duration = Duration::from_secs(2);

pub(super) async fn live(person: Person, mut rng: Rng) {
    let Some(grant) = newcomer(&person, &mut rng).await else { return };
    let logins: Vec<_> = (0..3).map(|at| person.log_in(at % 2, Transport::Body)).collect();
    let others: Vec<_> = join_all(logins).await.into_iter().flatten().collect();
    person.present(rng.usize(..3), &grant.access).await;
    let beat = BEAT.as_micros();
    let into = person.stage.now().as_micros() % beat;
    sleep(Duration::from_micros(u64::try_from(beat - into).unwrap_or(0))).await;
    let at = rng.usize(..2);
    // Several in one statement take a while, and one alone overtakes them.
    let ending = if rng.bool() { Ending::Others } else { Ending::Current };
    if person.log_out(at, &grant.refresh, ending).await != Outcome::Done {
        return;
    }
    let ended = if ending == Ending::Others { others } else { vec![grant] };
    for grant in &ended {
        person.refresh(1 - at, &grant.refresh, TIMEOUT).await;
    }
    let tokens: Vec<_> = ended.into_iter().map(|grant| grant.access).collect();
    watching::watch(&person, &tokens).await;
}
