//! Makes what the plan says go wrong, and makes it good again.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use fastrand::Rng;
use sqlx::{Connection as _, Executor as _, PgConnection};
use tokio::time::sleep;

use super::history::BOUND;
use super::person::Stage;
use super::site::Site;
use super::trouble::{Ends, Fault, Lane, Part, Way};
use crate::Link;
use crate::link::Mode;

/// Faults that came, by kind.
pub type Counts = Mutex<BTreeMap<Fault, u64>>;

/// One lane of the plan, until the play is over. All is well again afterwards.
pub async fn run(mut lane: Lane, site: &Site, stage: &Stage, counts: &Counts) {
    while !stage.is_over() {
        sleep(lane.peace()).await;
        let fault = lane.draw();
        *counts.lock().unwrap_or_else(PoisonError::into_inner).entry(fault).or_default() += 1;
        suffer(site, fault, &mut lane.rng).await;
    }
}

async fn suffer(site: &Site, fault: Fault, rng: &mut Rng) {
    let lasts = fault.lasts(rng);
    match fault {
        Fault::Link(ends, way) => fail(&chosen(site, ends, rng), way, lasts, rng).await,
        Fault::Kill(part) => kill(site, part, lasts, rng).await,
        Fault::Pause(part) => pause(site, part, lasts, rng).await,
        Fault::PauseBeyondBound => pause(site, Part::Resource, lasts, rng).await,
        Fault::Lock => lock(site, lasts).await,
        Fault::Flush => command(site, &["FLUSHALL"]).await,
        Fault::Full => {
            command(site, &["CONFIG", "SET", "maxmemory", "1"]).await;
            sleep(lasts).await;
            command(site, &["CONFIG", "SET", "maxmemory", "0"]).await;
        }
    }
}

/// The links between these ends that fail together.
fn chosen<'a>(site: &'a Site, ends: Ends, rng: &mut Rng) -> Vec<&'a Link> {
    let links = &site.links;
    match ends {
        Ends::Database => vec![&links.database[rng.usize(..2)]],
        Ends::Redis => links.redis.iter().collect(),
        Ends::Clients => vec![&links.clients[rng.usize(..2)]],
        Ends::Feeds => links.feeds[rng.usize(..3)].iter().collect(),
        Ends::Keys => vec![&links.keys[rng.usize(..3)]],
    }
}

async fn fail(links: &[&Link], way: Way, lasts: Duration, rng: &mut Rng) {
    let set = |mode| links.iter().for_each(|link| link.set(mode));
    match way {
        Way::Slow => {
            let late = Duration::from_millis(rng.u64(40..150));
            set(Mode::Delay(late));
            sleep(lasts).await;
        }
        Way::Cut => {
            set(Mode::Cut);
            sleep(lasts).await;
        }
        Way::Held => {
            set(Mode::Hold);
            sleep(lasts).await;
        }
        Way::Mute => {
            set(Mode::Mute);
            sleep(lasts).await;
        }
        Way::Swallowed => {
            set(Mode::SwallowReplies);
            sleep(lasts).await;
        }
        Way::Reset => {
            for _ in 0..10 {
                for link in links {
                    link.reset();
                }
                sleep(lasts / 10).await;
            }
        }
        Way::Late => {
            set(Mode::DelayReplies(Duration::from_millis(rng.u64(800..950))));
            sleep(lasts).await;
            set(Mode::Hold);
            sleep(BOUND + Duration::from_millis(1200)).await;
        }
    }
    set(Mode::Pass);
}

async fn kill(site: &Site, part: Part, lasts: Duration, rng: &mut Rng) {
    match part {
        Part::Auth => {
            let replica = rng.usize(..2);
            site.auths[replica].lock().await.kill();
            sleep(lasts).await;
            site.revive(replica).await;
        }
        Part::Resource => {
            let mut resource = site.resources[rng.usize(..3)].lock().await;
            resource.kill();
            sleep(lasts).await;
            resource.spawn();
        }
        Part::Postgres | Part::Backend => {
            site.postgres.kill();
            sleep(lasts).await;
            site.postgres.accepts(&site.database).await;
        }
        Part::Redis => {
            let mut redis = site.redis.lock().await;
            redis.kill();
            sleep(lasts).await;
            redis.restart().await;
        }
    }
}

async fn pause(site: &Site, part: Part, lasts: Duration, rng: &mut Rng) {
    match part {
        Part::Auth => {
            let auth = &site.auths[rng.usize(..2)];
            auth.lock().await.pause();
            sleep(lasts).await;
            auth.lock().await.resume();
        }
        Part::Resource => {
            let resource = &site.resources[rng.usize(..3)];
            resource.lock().await.pause();
            sleep(lasts).await;
            resource.lock().await.resume();
        }
        Part::Postgres => {
            let paused = site.postgres.pause();
            sleep(lasts).await;
            drop(paused);
        }
        Part::Backend => {
            let paused = site.postgres.pause_one(rng.usize(..16));
            sleep(lasts).await;
            drop(paused);
        }
        Part::Redis => {
            let redis = site.redis.lock().await;
            redis.pause();
            sleep(lasts).await;
            redis.resume();
        }
    }
}

/// Holds the rows of a quarter of the new sessions, lets go for a moment, and holds others.
async fn lock(site: &Site, lasts: Duration) {
    const ROWS: &str = "select id from sessions where revoked_at is null \
        and created_at > latchkey_now(0) - 5000 and hashtext(id) % 4 = 0 for update skip locked";
    let Ok(mut connection) = PgConnection::connect(&site.database.url).await else { return };
    for _ in 0..5 {
        let Ok(mut held) = connection.begin().await else { return };
        let _ = held.execute(ROWS).await;
        sleep(lasts / 6).await;
        let _ = held.rollback().await;
        sleep(lasts / 30).await;
    }
}

/// To Redis itself, not by way of a link.
async fn command(site: &Site, words: &[&str]) {
    let mut connection = site.redis.lock().await.connect().await;
    let mut command = redis::cmd(words[0]);
    for word in &words[1..] {
        command.arg(word);
    }
    let done: Result<(), redis::RedisError> = command.query_async(&mut connection).await;
    done.expect("Redis obeys");
}
