//! Refreshes, uses the access token everywhere, logs out, and then tries what should not work.

use std::time::Duration;

use claims::Transport;
use fastrand::Rng;
use futures_util::future::join_all;
use tokio::time::sleep;

use super::super::history::{Ending, Outcome};
use super::super::person::{Person, TIMEOUT};
use super::{a_window, keep_refreshing, log_in, newcomer, watching};

pub(super) async fn live(person: Person, mut rng: Rng) {
    let _ = try_to_live(&person, &mut rng).await;
}

async fn try_to_live(person: &Person, rng: &mut Rng) -> Option<()> {
    let mut grant = newcomer(person, rng).await?;
    if rng.bool() {
        grant = log_in(person, rng, Transport::Cookie).await?;
    }
    let mut old = vec![grant.access.clone()];
    for _ in 0..rng.usize(1..6) {
        join_all((0..3).map(|resource| person.present(resource, &grant.access))).await;
        sleep(Duration::from_millis(rng.u64(0..400))).await;
        if rng.u8(..8) == 0 {
            a_window(person).await?;
        }
        grant = keep_refreshing(person, rng, &grant).await?;
        old.push(grant.access.clone());
    }
    // Seen by every resource-service once, so that it is in their caches.
    join_all((0..3).map(|resource| person.present(resource, &grant.access))).await;
    let mut at = rng.usize(..2);
    while person.log_out(at, &grant.refresh, Ending::Current).await != Outcome::Done {
        if person.stage.is_over() {
            return None;
        }
        at = 1 - at;
        sleep(Duration::from_millis(rng.u64(20..200))).await;
    }
    // At once, at the other replica: what was acknowledged is so everywhere.
    person.refresh(1 - at, &grant.refresh, TIMEOUT).await;
    let newest: Vec<_> = old.into_iter().rev().take(2).collect();
    watching::watch(person, &newest).await;
    person.refresh(at, &grant.refresh, TIMEOUT).await;
    Some(())
}
