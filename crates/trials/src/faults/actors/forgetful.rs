//! Drops replies on purpose, and asks again with the same token.

use std::time::Duration;

use claims::Transport;
use fastrand::Rng;
use tokio::time::sleep;

use super::super::history::{Ending, Outcome};
use super::super::person::{Person, granted};
use super::{a_window, keep_refreshing, log_in, newcomer, watching};

pub(super) async fn live(person: Person, mut rng: Rng) {
    let _ = try_to_live(&person, &mut rng).await;
}

async fn try_to_live(person: &Person, rng: &mut Rng) -> Option<()> {
    let mut grant = newcomer(person, rng).await?;
    if rng.bool() {
        grant = log_in(person, rng, Transport::Cookie).await?;
    }
    for _ in 0..rng.usize(2..6) {
        for _ in 0..rng.usize(1..4) {
            let patience = Duration::from_micros(rng.u64(200..20_000));
            // Heard of by chance.
            let at = rng.usize(..2);
            let _ = granted(person.refresh(at, &grant.refresh, patience).await);
        }
        let next = keep_refreshing(person, rng, &grant).await?;
        // And once more, now that it is known what must come.
        person.refresh(rng.usize(..2), &grant.refresh, Duration::from_secs(3)).await;
        grant = next;
        person.present(rng.usize(..3), &grant.access).await;
        sleep(Duration::from_millis(rng.u64(0..300))).await;
        if rng.u8(..8) == 0 {
            a_window(person).await?;
        }
    }
    if person.log_out(rng.usize(..2), &grant.refresh, Ending::Current).await == Outcome::Done {
        watching::watch(person, &[grant.access]).await;
    }
    Some(())
}
