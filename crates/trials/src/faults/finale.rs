//! The last question: everything is healed, so what was acknowledged must be there, and what was
//! ended must not.

use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::{self, StreamExt as _};
use tokio::time::{Instant, sleep};

use super::checker::Rule;
use super::court::Court;
use super::history::{BOUND, Ending, Episode, Grant, Moment, Operation, Outcome};
use super::person::{Person, Stage, TIMEOUT};
use super::site::Site;
use super::weather::RECOVERY;

/// How long the blacklist may take to be whole: the tasks that write it wait up to five seconds between
/// attempts to reach Redis, and nobody waits for them.
const HEALING_OF_REDIS: Duration = Duration::from_secs(15);

/// Heals, waits, asks about the histories that were kept, and looks at the database.
pub async fn ask(site: &Site, stage: &Arc<Stage>, court: &Court) {
    site.heal();
    if !site.postgres.accepts(&site.database).await {
        court.object(Rule::Heals, "Postgres does not come back: does anybody start it again?");
        return;
    }
    for wrong in site.ready().await {
        court.object(Rule::Heals, &wrong);
    }
    // From now on no resource-service may have old news.
    sleep(BOUND).await;
    let episodes = court.kept();
    look_at_redis(site, court, &lately_ended(&episodes, stage.now())).await;
    ask_about_all(stage, court, episodes).await;
    look_at_the_database(site, court).await;
}

/// Asks about histories; everything is well again.
pub(super) async fn ask_about_all(stage: &Arc<Stage>, court: &Court, episodes: Vec<Episode>) {
    stream::iter(episodes).for_each_concurrent(8, |episode| ask_about(stage, court, episode)).await;
}

async fn ask_about(stage: &Arc<Stage>, court: &Court, episode: Episode) {
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
    let asked_from = stage.now();
    let person = Person::again(stage, episode);
    for grant in &grants {
        let asking = async |at| person.refresh(at % 2, &grant.refresh, TIMEOUT).await;
        let newest = match answered(court, "a refresh", asking).await {
            Some(Outcome::Granted(next)) => next.access,
            _ => grant.access.clone(),
        };
        for resource in 0..3 {
            let asking = async |_| person.present(resource, &newest).await;
            answered(court, "a use", asking).await;
        }
    }
    court.judge_from(&person.history().await, asked_from);
}

/// Asks until there is an answer; there must be one when all is well.
async fn answered(
    court: &Court,
    what: &str,
    asking: impl AsyncFn(usize) -> Outcome,
) -> Option<Outcome> {
    let healed = Instant::now() + RECOVERY;
    let mut tries = 0;
    loop {
        let outcome = asking(tries).await;
        if !outcome.is_open() {
            return Some(outcome);
        }
        if Instant::now() > healed {
            court.object(Rule::Heals, &format!("{what} is still answered: {}", outcome.name()));
            return None;
        }
        tries += 1;
        sleep(Duration::from_millis(100)).await;
    }
}

/// The sessions whose logout was acknowledged, and whose tokens may be alive.
fn lately_ended(episodes: &[Episode], now: Moment) -> Vec<Arc<str>> {
    let events = episodes.iter().flat_map(|episode| &episode.events);
    let ended = events.filter_map(|event| match &event.operation {
        Operation::LogOut(by, Ending::Current) if event.outcome == Outcome::Done => {
            (event.over + Duration::from_mins(10) > now).then(|| Arc::clone(&by.session))
        }
        _ => None,
    });
    ended.collect()
}

/// The blacklist has everything again, whatever became of Redis meanwhile.
async fn look_at_redis(site: &Site, court: &Court, ended: &[Arc<str>]) {
    let mut connection = site.redis.lock().await.connect().await;
    let healed = Instant::now() + HEALING_OF_REDIS;
    loop {
        let mut asking = redis::pipe();
        asking.exists("revoked:complete");
        for session in ended {
            asking.exists(format!("revoked:session:{session}"));
        }
        let found: Result<Vec<bool>, _> = asking.query_async(&mut connection).await;
        let missing = found.map_or(usize::MAX, |found| found.iter().filter(|one| !**one).count());
        if missing == 0 {
            return;
        }
        if Instant::now() > healed {
            court.object(Rule::Heals, &format!("{missing} keys are missing in Redis"));
            return;
        }
        sleep(Duration::from_millis(100)).await;
    }
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
