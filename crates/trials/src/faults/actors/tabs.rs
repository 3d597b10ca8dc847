//! Several tabs with one token, at both replicas. Patient ones wait for each other; hasty ones go on
//! with the first answer, so that a slow presentation arrives when its token is long spent.

use std::time::Duration;

use claims::Transport;
use fastrand::Rng;
use futures_util::stream::{FuturesUnordered, StreamExt as _};
use tokio::time::sleep;

use super::super::history::{Ending, Grant, Outcome};
use super::super::person::{Person, TIMEOUT};
use super::{a_window, keep_refreshing, log_in, newcomer, watching};

pub(super) async fn live(person: Person, mut rng: Rng) {
    let _ = try_to_live(&person, &mut rng).await;
}

async fn try_to_live(person: &Person, rng: &mut Rng) -> Option<()> {
    let mut grant = newcomer(person, rng).await?;
    if rng.u8(..3) == 0 {
        grant = log_in(person, rng, Transport::Cookie).await?;
    }
    let hasty = rng.u8(..4) == 0;
    for _ in 0..rng.usize(2..6) {
        // Otherwise all are given the same token again.
        if rng.u8(..4) == 0 {
            a_window(person).await?;
        }
        let spread = if rng.bool() { 4 } else { 60 };
        let tabs = rng.usize(3..9);
        let mut answers: FuturesUnordered<_> = (0..tabs)
            .map(|tab| {
                let (after, token) = (rng.u64(..spread), grant.refresh.clone());
                let person = person.clone();
                // A task: it goes on when nobody waits for it.
                tokio::spawn(async move {
                    sleep(Duration::from_millis(after)).await;
                    person.refresh(tab % 2, &token, TIMEOUT).await
                })
            })
            .collect();
        let mut next: Option<Grant> = None;
        while let Some(answer) = answers.next().await {
            if let Ok(Outcome::Granted(grant)) = answer {
                let ahead = |next: &Grant| next.refresh.generation > grant.refresh.generation;
                // Just as the window ends, the old one is given too.
                if !next.as_ref().is_some_and(ahead) {
                    next = Some(*grant);
                }
                if hasty {
                    break;
                }
            }
        }
        grant = match next {
            Some(next) => next,
            None => keep_refreshing(person, rng, &grant).await?,
        };
        if hasty {
            grant = chain(person, rng, grant).await?;
            while answers.next().await.is_some() {}
        }
        person.present(rng.usize(..3), &grant.access).await;
        sleep(Duration::from_millis(rng.u64(0..200))).await;
    }
    if person.log_out(rng.usize(..2), &grant.refresh, Ending::Current).await == Outcome::Done {
        watching::watch(person, &[grant.access]).await;
    }
    Some(())
}

/// Several refreshes, as fast as one replica answers.
async fn chain(person: &Person, rng: &mut Rng, mut grant: Grant) -> Option<Grant> {
    for _ in 0..rng.usize(1..5) {
        grant = keep_refreshing(person, rng, &grant).await?;
    }
    Some(grant)
}
