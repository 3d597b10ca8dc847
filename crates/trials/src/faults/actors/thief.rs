//! A token is stolen. Its owner goes on, and when the thief presents it, the session must die for
//! both.

use std::time::Duration;

use fastrand::Rng;
use tokio::time::sleep;

use super::super::person::{Person, TIMEOUT};
use super::{a_window, keep_refreshing, newcomer, pause, watching};

pub(super) async fn live(person: Person, mut rng: Rng) {
    let _ = try_to_live(&person, &mut rng).await;
}

async fn try_to_live(person: &Person, rng: &mut Rng) -> Option<()> {
    let stolen = newcomer(person, rng).await?;
    let mut grant = keep_refreshing(person, rng, &stolen).await?;
    for _ in 0..rng.usize(..3) {
        sleep(Duration::from_millis(rng.u64(0..150))).await;
        grant = keep_refreshing(person, rng, &grant).await?;
    }
    // It is the parent of the newest token, after the window; or older, within the newest one's.
    a_window(person).await?;
    if rng.bool() {
        grant = keep_refreshing(person, rng, &grant).await?;
    }
    let access = grant.access.clone();
    person.present(rng.usize(..3), &access).await;
    // Until it was heard; by then the session must be dead for whoever asks.
    let mut at = rng.usize(..2);
    while person.refresh(at, &stolen.refresh, TIMEOUT).await.is_open() {
        pause(person, rng).await?;
        at = 1 - at;
    }
    person.refresh(1 - at, &grant.refresh, TIMEOUT).await;
    person.refresh(at, &stolen.refresh, TIMEOUT).await;
    watching::watch(person, &[access]).await;
    person.refresh(at, &grant.refresh, TIMEOUT).await;
    Some(())
}
