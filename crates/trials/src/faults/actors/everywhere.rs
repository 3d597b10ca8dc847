//! Several sessions of one user, ended together while they refresh, and a login at once after.

use std::time::Duration;

use claims::Transport;
use fastrand::Rng;
use futures_util::future::join_all;
use tokio::time::sleep;

use super::super::history::{Ending, Grant, Outcome};
use super::super::person::{Person, TIMEOUT};
use super::{keep_refreshing, newcomer, watching};

pub(super) async fn live(person: Person, mut rng: Rng) {
    let _ = try_to_live(&person, &mut rng).await;
}

async fn try_to_live(person: &Person, rng: &mut Rng) -> Option<()> {
    let mut grants = vec![newcomer(person, rng).await?];
    let logins = (0..rng.usize(1..4)).map(|at| person.log_in(at % 2, Transport::Body));
    grants.extend(join_all(logins.collect::<Vec<_>>()).await.into_iter().flatten());
    sleep(Duration::from_millis(rng.u64(..500))).await;
    let ending = if rng.u8(..3) == 0 { Ending::Others } else { Ending::All };
    let caller = grants[0].clone();
    let at = rng.usize(..2);
    let racing = grants[1..].iter().map(|grant| {
        let after = Duration::from_millis(rng.u64(..12));
        let at = rng.usize(..2);
        async move {
            sleep(after).await;
            person.refresh(at, &grant.refresh, TIMEOUT).await
        }
    });
    let racing: Vec<_> = racing.collect();
    let before_logout = Duration::from_millis(rng.u64(..8));
    let (minted, done) = tokio::join!(join_all(racing), async {
        sleep(before_logout).await;
        let done = person.log_out(at, &caller.refresh, ending).await;
        if done == Outcome::Done && ending == Ending::All {
            // At once, within the same second, at the other replica: a session like any other.
            let fresh = person.log_in(1 - at, Transport::Body).await;
            if let Some(fresh) = &fresh {
                use_for_a_while(person, fresh).await;
            }
            return fresh.map_or((done, Vec::new()), |fresh| (Outcome::Done, vec![fresh]));
        }
        (done, vec![])
    });
    let (done, fresh) = done;
    if done != Outcome::Done {
        return None;
    }
    let late = minted.into_iter().filter_map(|outcome| match outcome {
        Outcome::Granted(grant) => Some(*grant),
        _ => None,
    });
    let mut ended: Vec<_> = late.chain(grants.iter().skip(1).cloned()).collect();
    if ending == Ending::All {
        ended.push(caller.clone());
    }
    let tokens: Vec<_> = ended.iter().map(|grant| grant.access.clone()).take(5).collect();
    for grant in &ended {
        person.refresh(rng.usize(..2), &grant.refresh, TIMEOUT).await;
    }
    let living = if ending == Ending::All { fresh } else { vec![caller] };
    tokio::join!(watching::watch(person, &tokens), async {
        for grant in &living {
            use_for_a_while(person, grant).await;
        }
    });
    for grant in &living {
        keep_refreshing(person, rng, grant).await?;
    }
    Some(())
}

/// Long enough for what ended the others to be known everywhere.
async fn use_for_a_while(person: &Person, grant: &Grant) {
    for _ in 0..4 {
        join_all((0..3).map(|resource| person.present(resource, &grant.access))).await;
        sleep(Duration::from_millis(60)).await;
    }
}
