//! One run: everything is started, lived in, broken, healed and judged.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use fastrand::Rng;
use tokio::task::JoinSet;

use super::actors::{ACTORS, Actor};
use super::chaos::{self, Counts};
use super::court::Court;
use super::finale;
use super::pair::Pair;
use super::person::{Person, Stage};
use super::pulse;
use super::site::Site;
use super::small::Small;
use super::trouble::{Fault, Lane};

/// Who lives in the installations beside the whole one, which are to leave that the processor.
const FEW: [&str; 5] = ["honest", "forgetful", "tabs", "everywhere", "resetter"];
/// After this time each of the faults that an installation is there for has come.
const EVERYTHING_WITHIN: Duration = Duration::from_mins(2);
/// After this time one of them has.
const SOMETHING_WITHIN: Duration = Duration::from_secs(45);

/// How to run.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    /// What everything is drawn from.
    pub seed: u64,
    /// How long people live. On a machine that is busy with other things they go on until enough was tested,
    /// up to [`LONGEST`](Self::LONGEST) times as long.
    pub lasts: Duration,
    /// Whether the first violation is the end.
    pub until_first: bool,
    /// Whether anything goes wrong.
    pub faults: bool,
}

impl Plan {
    /// How many times as long a run may take.
    pub const LONGEST: u32 = 3;
}

/// Users in an installation, and what was found there.
#[derive(Debug)]
pub struct Play {
    pub name: &'static str,
    /// What was asked and answered.
    pub stage: Arc<Stage>,
    pub court: Arc<Court>,
    /// One of so many of each kind of users is here.
    one_of: usize,
    /// What must go wrong here, each at least once in [`EVERYTHING_WITHIN`].
    expected: Vec<Fault>,
}

impl Play {
    fn new(name: &'static str, stage: Stage, seed: u64, one_of: usize) -> Self {
        Self {
            name,
            stage: Arc::new(stage),
            court: Arc::new(Court::new(seed)),
            one_of,
            expected: Vec::new(),
        }
    }

    /// Everybody comes.
    fn begin(&self, everybody: &mut JoinSet<()>, plan: Plan, rng: &mut Rng) {
        let stage = Arc::clone(&self.stage);
        everybody.spawn(async move { pulse::feel(&stage).await });
        for actor in ACTORS.iter().filter(|actor| self.one_of == 1 || FEW.contains(&actor.name)) {
            for number in 0..actor.number.div_ceil(self.one_of) {
                let (stage, court) = (Arc::clone(&self.stage), Arc::clone(&self.court));
                everybody.spawn(lives(*actor, number, stage, court, plan, rng.fork()));
            }
        }
    }

    /// What was done too seldom for the judgement to mean anything.
    fn lacks(&self, plan: Plan) -> Vec<String> {
        // About a twelfth of what two cores do that have nothing else to do.
        let least = [
            ("login", "granted", 2),
            ("refresh", "granted", 4),
            ("logout", "done", 1),
            ("use", "accepted", 8),
            ("use", "401 invalid-token", 15),
        ];
        let counted = least.map(|(operation, outcome, a_second)| {
            let count = self.stage.tally.of(operation, outcome);
            let least = a_second * plan.lasts.as_secs() * 2 / 3 / self.one_of as u64;
            let name = self.name;
            (count < least).then(|| format!("{name}: {count} {operation} {outcome}, not {least}"))
        });
        counted.into_iter().flatten().collect()
    }
}

/// What came of it.
#[derive(Debug)]
pub struct Verdict {
    pub plays: Vec<Play>,
    pub faults: Arc<Counts>,
    /// What cannot be done here, and why.
    pub unchecked: Vec<String>,
}

/// Runs to the end, or panics where there is nothing to run.
///
/// # Panics
/// When an installation cannot be made.
pub async fn run(plan: Plan) -> Verdict {
    let (site, small, pair) = tokio::join!(Site::start(), Small::start(), Pair::start());
    let (site, small) = (Arc::new(site), Arc::new(small));
    let (pair, no_pair) = pair.map_or_else(|why| (None, Some(why)), |pair| (Some(pair), None));
    let pair = pair.map(Arc::new);
    let whole = Play::new("two replicas on Postgres", site.stage(), plan.seed, 1);
    let mut on_sqlite = Play::new("one service on SQLite", small.stage(), plan.seed, 16);
    let mut on_pair =
        pair.as_ref().map(|pair| Play::new("Postgres with a standby", pair.stage(), plan.seed, 16));
    let faults = Arc::new(Counts::default());
    let mut everybody = JoinSet::new();
    let mut rng = Rng::with_seed(plan.seed);
    for play in [&whole, &on_sqlite].into_iter().chain(&on_pair) {
        play.begin(&mut everybody, plan, &mut rng);
    }
    if plan.faults {
        for lane in Lane::all(plan.seed) {
            let (site, faults) = (Arc::clone(&site), Arc::clone(&faults));
            let stage = Arc::clone(&whole.stage);
            everybody.spawn(async move { chaos::run(lane, &site, &stage, &faults).await });
        }
        let lane = small.lane(plan.seed);
        on_sqlite.expected = lane.kinds().collect();
        let (small, counts) = (Arc::clone(&small), Arc::clone(&faults));
        let (stage, court) = (Arc::clone(&on_sqlite.stage), Arc::clone(&on_sqlite.court));
        everybody.spawn(async move { small.run(lane, &stage, &court, &counts).await });
    }
    let pair_lane = pair.as_ref().filter(|_| plan.faults).map(|_| Lane::pair(plan.seed));
    if let (Some(lane), Some(play)) = (&pair_lane, &mut on_pair) {
        play.expected = lane.kinds().collect();
    }
    let plays: Vec<_> = [whole, on_sqlite].into_iter().chain(on_pair).collect();
    let waiting = async {
        let begun = Instant::now();
        let is_over = || plays.iter().any(|play| play.stage.is_over());
        let goes_on = || {
            let lasts = begun.elapsed();
            let unfinished = || plays.iter().any(|play| !play.lacks(plan).is_empty());
            lasts < plan.lasts || (lasts < plan.lasts * Plan::LONGEST && unfinished())
        };
        while goes_on() && !is_over() {
            tokio::time::sleep(Duration::from_millis(20)).await;
            if let Some(ended) = everybody.try_join_next() {
                // Before its time only by a panic.
                ended.expect("nobody panics");
            }
        }
        for play in &plays {
            play.stage.over.store(true, Ordering::Relaxed);
        }
    };
    let taking_over = async {
        if let (Some(pair), Some(lane), [_, _, play]) = (&pair, pair_lane, &plays[..]) {
            pair.run(lane, &play.stage, &play.court, &faults).await;
        }
    };
    tokio::join!(waiting, taking_over);
    while let Some(ended) = everybody.join_next().await {
        ended.expect("nobody panics");
    }
    let unchecked = small.unchecked().into_iter().chain(no_pair).collect();
    let verdict = Verdict { plays, faults, unchecked };
    if !(plan.until_first && verdict.violations() > 0) {
        let [whole, on_sqlite, on_pair @ ..] = &verdict.plays[..] else {
            panic!("these are the plays")
        };
        tokio::join!(
            finale::ask(&site, &whole.stage, &whole.court),
            small.ask(&on_sqlite.stage, &on_sqlite.court),
            async {
                if let (Some(pair), [play]) = (&pair, on_pair) {
                    pair.ask(&play.stage, &play.court).await;
                }
            }
        );
    }
    verdict
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
    /// How many violations there are.
    #[must_use]
    pub fn violations(&self) -> usize {
        self.plays.iter().map(|play| play.court.violations()).sum()
    }

    /// How often each fault came; also those that should have come and did not.
    #[must_use]
    pub fn came(&self) -> BTreeMap<Fault, u64> {
        let expected = self.plays.iter().flat_map(|play| &play.expected);
        let mut came: BTreeMap<_, _> = expected.map(|fault| (*fault, 0)).collect();
        came.extend(self.faults.lock().unwrap_or_else(PoisonError::into_inner).iter());
        came
    }

    /// What there was too little of for the judgement to mean anything.
    #[must_use]
    pub fn idle(&self, plan: Plan) -> Vec<String> {
        let mut idle = Vec::new();
        for play in &self.plays {
            idle.extend(play.lacks(plan));
        }
        let came = self.came();
        for Play { name, expected, .. } in &self.plays {
            // In a short run not everything has its turn.
            if plan.lasts >= EVERYTHING_WITHIN {
                let missing = expected.iter().filter(|fault| came[*fault] == 0);
                idle.extend(missing.map(|fault| format!("{name}: it never came to this: {fault}")));
            }
            let none = expected.iter().all(|fault| came[fault] == 0);
            if plan.lasts >= SOMETHING_WITHIN && !expected.is_empty() && none {
                idle.push(format!("{name}: nothing went wrong"));
            }
        }
        idle
    }
}
