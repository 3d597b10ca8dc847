//! The last question: everything is healed, so what was acknowledged must be there, and what was
//! ended must not.

use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::{self, StreamExt as _};
use tokio::time::{Instant, sleep};

use super::checker::Rule;
use super::court::Court;
use super::history::{BOUND, Episode, Grant, Outcome};
use super::person::{PATIENCE, Person, World};
use super::site::Site;

/// How long everything may take to be well after it was healed.
const HEALING: Duration = Duration::from_secs(30);

/// Heals, waits, asks about the histories that were kept, and looks at the database.
pub async fn ask(site: &Site, world: &Arc<World>, court: &Court) {
    site.heal();
    if !site.postgres.accepts(&site.database).await {
        court.object(Rule::Heals, "Postgres does not come back: does anybody start it again?");
        return;
    }
    for late in site.ready(HEALING).await {
        court.object(Rule::Heals, &format!("{late} is not ready"));
    }
    // From now on no resource-service may have old news.
    sleep(BOUND).await;
    let episodes = court.kept();
    stream::iter(episodes).for_each_concurrent(8, |episode| ask_about(world, court, episode)).await;
    look_at_the_database(site, court).await;
}

async fn ask_about(world: &Arc<World>, court: &Court, episode: Episode) {
    let mut grants: Vec<Grant> = Vec::new();
    for event in &episode.events {
        let Outcome::Granted(grant) = &event.outcome else { continue };
        match grants.iter_mut().find(|known| known.session == grant.session) {
            Some(known) if known.refresh.generation <= grant.refresh.generation => {
                *known = (**grant).clone();
            }
            Some(_) => {}
            None => grants.push((**grant).clone()),
        }
    }
    let asked_from = world.now();
    let person = Person::again(world, episode);
    for grant in &grants {
        let healed = Instant::now() + HEALING;
        let mut at = 0;
        let answer = loop {
            let answer = person.refresh(at, &grant.refresh, PATIENCE).await;
            at = 1 - at;
            if !answer.is_open() {
                break answer;
            }
            if Instant::now() > healed {
                let name = answer.name();
                court.object(Rule::Heals, &format!("a refresh is still answered: {name}"));
                return;
            }
            sleep(Duration::from_millis(100)).await;
        };
        let newest =
            if let Outcome::Granted(next) = &answer { &next.access } else { &grant.access };
        for resource in 0..3 {
            let answer = person.present(resource, newest).await;
            if answer.is_open() {
                let name = answer.name();
                court.object(Rule::Heals, &format!("a resource-service answers: {name}"));
            }
        }
    }
    court.judge_from(&person.history().await, asked_from);
}

/// Nothing of what a dropped handler leaves behind.
async fn look_at_the_database(site: &Site, court: &Court) {
    let idle = "select count(*) from pg_stat_activity \
                where datname = current_database() and state like 'idle in transaction%'";
    let idle = site.database.number(idle).await;
    if idle > 0 {
        court.object(Rule::Heals, &format!("{idle} connections are idle in a transaction"));
    }
    let aborted = site.postgres.logged("current transaction is aborted");
    if aborted > 0 {
        court.object(Rule::Heals, &format!("{aborted} statements in aborted transactions"));
    }
}
