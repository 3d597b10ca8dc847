//! A refresh is overtaken by several others of its session, at the other replica.
//!
//! If the first replica is slow, the token has already been spent when its refresh reaches the database.
//! If a window ended meanwhile, the session may rightly end as reused. What must not happen is that its
//! generation goes back.

use std::time::Duration;

use fastrand::Rng;
use tokio::time::sleep;

use super::super::history::{Ending, Outcome};
use super::super::person::{Person, TIMEOUT, granted};
use super::{a_window, newcomer, watching};

pub(super) async fn live(person: Person, mut rng: Rng) {
    let _ = try_to_live(&person, &mut rng).await;
}

async fn try_to_live(person: &Person, rng: &mut Rng) -> Option<()> {
    let mut grant = newcomer(person, rng).await?;
    for _ in 0..rng.usize(2..5) {
        // Otherwise nothing rotates any more.
        if rng.u8(..4) == 0 {
            a_window(person).await?;
        }
        let slow = rng.usize(..2);
        let (token, generations) = (grant.refresh.clone(), rng.usize(2..5));
        let head_start = Duration::from_millis(rng.u64(..250));
        let (_, newest) = tokio::join!(person.refresh(slow, &token, TIMEOUT), async {
            sleep(head_start).await;
            for _ in 0..generations {
                let next = person.refresh(1 - slow, &grant.refresh, TIMEOUT).await;
                grant = granted(next)?;
            }
            Some(grant)
        });
        // And now that the slow one has arrived.
        grant = granted(person.refresh(1 - slow, &newest?.refresh, TIMEOUT).await)?;
    }
    if person.log_out(rng.usize(..2), &grant.refresh, Ending::Current).await == Outcome::Done {
        watching::watch(person, &[grant.access]).await;
    }
    Some(())
}
