//! The users. Each kind lives in episodes, with a user of its own in each.

mod burst;
mod everywhere;
mod forgetful;
mod honest;
mod overtaken;
mod resetter;
mod tabs;
mod thief;
mod watching;

use std::pin::Pin;
use std::time::Duration;

use claims::Transport;
use fastrand::Rng;
use tokio::time::sleep;

use super::history::{Grant, Outcome, WINDOW};
use super::person::Person;

/// A life of one user, from the registration on.
pub type Life = fn(Person, Rng) -> Pin<Box<dyn Future<Output = ()> + Send>>;

/// A kind of user.
#[derive(Debug, Clone, Copy)]
pub struct Actor {
    pub name: &'static str,
    /// How many there are at a time.
    pub number: usize,
    pub life: Life,
}

/// All kinds.
pub const ACTORS: &[Actor] = &[
    Actor { name: "honest", number: 10, life: |person, rng| Box::pin(honest::live(person, rng)) },
    Actor {
        name: "forgetful",
        number: 6,
        life: |person, rng| Box::pin(forgetful::live(person, rng)),
    },
    Actor { name: "tabs", number: 8, life: |person, rng| Box::pin(tabs::live(person, rng)) },
    Actor {
        name: "everywhere",
        number: 8,
        life: |person, rng| Box::pin(everywhere::live(person, rng)),
    },
    Actor {
        name: "overtaken",
        number: 10,
        life: |person, rng| Box::pin(overtaken::live(person, rng)),
    },
    Actor { name: "thief", number: 16, life: |person, rng| Box::pin(thief::live(person, rng)) },
    Actor { name: "burst", number: 32, life: |person, rng| Box::pin(burst::live(person, rng)) },
    Actor {
        name: "resetter",
        number: 6,
        life: |person, rng| Box::pin(resetter::live(person, rng)),
    },
];

/// Registers and logs in, however often that takes; `None` when the play is over before.
async fn newcomer(person: &Person, rng: &mut Rng) -> Option<Grant> {
    loop {
        let outcome = person.register(rng.usize(..2)).await;
        if outcome == Outcome::Done || outcome.is_refused_as("conflict") {
            return log_in(person, rng, Transport::Body).await;
        }
        pause(person, rng).await?;
    }
}

/// Logs in, however often that takes.
async fn log_in(person: &Person, rng: &mut Rng, transport: Transport) -> Option<Grant> {
    loop {
        if let Some(grant) = person.log_in(rng.usize(..2), transport).await {
            return Some(grant);
        }
        pause(person, rng).await?;
    }
}

/// A moment after a failure; `None` when the play is over.
async fn pause(person: &Person, rng: &mut Rng) -> Option<()> {
    sleep(Duration::from_millis(rng.u64(50..300))).await;
    (!person.stage.is_over()).then_some(())
}

/// Lets a grace window pass, so that the next refresh rotates; `None` when the play is over before.
async fn a_window(person: &Person) -> Option<()> {
    for _ in 0..11 {
        sleep(WINDOW / 10).await;
        if person.stage.is_over() {
            return None;
        }
    }
    Some(())
}

/// Refreshes as a good client does: the same token again, at the other replica, until there is an
/// answer. `None` when the session is over or the play is over.
async fn keep_refreshing(person: &Person, rng: &mut Rng, grant: &Grant) -> Option<Grant> {
    let mut at = rng.usize(..2);
    loop {
        let patience = Duration::from_millis(rng.u64(2000..4000));
        match person.refresh(at, &grant.refresh, patience).await {
            Outcome::Granted(next) => return Some(*next),
            outcome if outcome.is_open() => {}
            _ => return None,
        }
        at = 1 - at;
        pause(person, rng).await?;
    }
}
