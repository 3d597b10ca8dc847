//! One run: everything is started, lived in, broken, healed and judged.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use fastrand::Rng;
use tokio::task::JoinSet;

use super::actors::{ACTORS, Actor};
use super::chaos::{self, Counts};
use super::court::Court;
use super::finale;
use super::person::{Person, Stage};
use super::site::Site;
use super::tally::Tally;
use super::trouble::Lane;
use super::weather::Weather;

/// How to run.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    /// What everything is drawn from.
    pub seed: u64,
    /// How long people live.
    pub lasts: Duration,
    /// Whether the first violation is the end.
    pub until_first: bool,
    /// Whether anything goes wrong.
    pub faults: bool,
}

/// What came of it.
#[derive(Debug)]
pub struct Verdict {
    /// What was found.
    pub court: Court,
    /// What was asked and answered.
    pub stage: Arc<Stage>,
    /// What went wrong.
    pub faults: Counts,
}

/// Runs to the end, or panics where there is nothing to run.
///
/// # Panics
/// When the installation cannot be made.
pub async fn run(plan: Plan) -> Verdict {
    let site = Arc::new(Site::start().await);
    let stage = Arc::new(stage(&site));
    let court = Arc::new(Court::new(plan.seed));
    let faults = Arc::new(Counts::default());
    let mut everybody = JoinSet::new();
    let mut rng = Rng::with_seed(plan.seed);
    for actor in ACTORS {
        for number in 0..actor.number {
            let (stage, court) = (Arc::clone(&stage), Arc::clone(&court));
            everybody.spawn(lives(*actor, number, stage, court, plan, rng.fork()));
        }
    }
    for lane in Lane::all(plan.seed).into_iter().filter(|_| plan.faults) {
        let (site, stage, faults) = (Arc::clone(&site), Arc::clone(&stage), Arc::clone(&faults));
        everybody.spawn(async move { chaos::run(lane, &site, &stage, &faults).await });
    }
    let deadline = Instant::now() + plan.lasts;
    while Instant::now() < deadline && !stage.is_over() {
        tokio::time::sleep(Duration::from_millis(20)).await;
        if let Some(ended) = everybody.try_join_next() {
            // Before its time only by a panic.
            ended.expect("nobody panics");
        }
    }
    stage.over.store(true, Ordering::Relaxed);
    while let Some(ended) = everybody.join_next().await {
        ended.expect("nobody panics");
    }
    if !(plan.until_first && court.violations() > 0) {
        finale::ask(&site, &stage, &court).await;
    }
    drop(site);
    let (court, faults) = (Arc::into_inner(court), Arc::into_inner(faults));
    let court = court.expect("everybody who held it has ended");
    Verdict { court, stage, faults: faults.expect("everybody who held it has ended") }
}

fn stage(site: &Site) -> Stage {
    let direct = |service: &tokio::sync::Mutex<crate::Service>| {
        let service = service.try_lock().expect("nobody else has it yet");
        service.public.clone()
    };
    let http = reqwest::Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .user_agent("acceptance")
        .no_proxy()
        .build()
        .expect("a client can be made");
    Stage {
        auths: site.links.clients.each_ref().map(|link| format!("http://{}", link.address())),
        direct: site.auths.each_ref().map(|auth| direct(auth).replace("http://", "")),
        resources: site.resources.each_ref().map(direct),
        http,
        origin: Instant::now(),
        over: AtomicBool::new(false),
        tally: Tally::default(),
        weather: Weather::default(),
    }
}

/// One life after the other.
async fn lives(
    actor: Actor,
    number: usize,
    stage: Arc<Stage>,
    court: Arc<Court>,
    plan: Plan,
    mut rng: Rng,
) {
    let mut life = 0;
    // Not all at once.
    tokio::time::sleep(Duration::from_millis(rng.u64(..500))).await;
    while !stage.is_over() {
        life += 1;
        let username = format!("{} {number} {life} of {}", actor.name, plan.seed);
        let person = Person::new(&stage, actor.name, username);
        (actor.life)(person.clone(), rng.fork()).await;
        let history = person.history().await;
        let served = court.judge_service(&history, &stage.weather);
        let good = court.judge(history) && served;
        if !good && plan.until_first {
            stage.over.store(true, Ordering::Relaxed);
        }
    }
}

impl Verdict {
    /// What there was too little of for the judgement to mean anything.
    #[must_use]
    pub fn idle(&self, plan: Plan) -> Vec<String> {
        // About an eighth of what two cores do that have nothing else to do.
        let least = [
            ("login", "granted", 2),
            ("refresh", "granted", 4),
            ("logout", "done", 1),
            ("use", "accepted", 8),
            ("use", "401 invalid-token", 15),
        ];
        let too_few = least.into_iter().filter_map(|(operation, outcome, a_second)| {
            let (count, least) =
                (self.stage.tally.of(operation, outcome), a_second * plan.lasts.as_secs());
            (count < least).then(|| format!("{count} {operation} {outcome}, not {least}"))
        });
        too_few.collect()
    }
}
