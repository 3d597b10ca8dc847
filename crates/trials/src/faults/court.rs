//! Where histories end up: judged, measured, and some kept for the last question.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use fastrand::Rng;

use super::checker::{Rule, Violation, check};
use super::history::{Ending, Episode, Moment, Operation, Outcome};
use super::weather::Weather;

/// How many violations are kept in full.
const SHOWN: usize = 20;
/// How many histories are kept to be asked again at the end.
const KEPT: usize = 250;
/// How many measured times are kept.
const MEASURED: usize = 200_000;

/// What was found.
#[derive(Debug)]
pub struct Court(Mutex<Files>);

#[derive(Debug)]
struct Files {
    rng: Rng,
    judged: usize,
    due: usize,
    violations: usize,
    shown: Vec<String>,
    kept: Vec<Episode>,
    seen_after: Vec<Duration>,
}

impl Court {
    /// Nothing was found yet.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        let rng = Rng::with_seed(seed);
        let (shown, kept, seen_after) = (Vec::new(), Vec::new(), Vec::new());
        Self(Mutex::new(Files { rng, judged: 0, due: 0, violations: 0, shown, kept, seen_after }))
    }

    /// Judges a history that is over, and keeps it with every other one's chance; says whether it
    /// is in order.
    pub fn judge(&self, episode: Episode) -> bool {
        let good = self.judge_from(&episode, Moment::ZERO);
        let mut files = self.files();
        let times = refusals(&episode);
        if files.seen_after.len() < MEASURED {
            files.seen_after.extend(times);
        }
        files.judged += 1;
        let judged = files.judged;
        if files.kept.len() < KEPT {
            files.kept.push(episode);
        } else {
            let place = files.rng.usize(..judged);
            if let Some(kept) = files.kept.get_mut(place) {
                *kept = episode;
            }
        }
        good
    }

    /// Judges whether everybody was served who could have been; says so.
    pub fn judge_service(&self, episode: &Episode, weather: &Weather) -> bool {
        let (due, unserved) = service(episode, weather);
        self.files().due += due;
        for violation in &unserved {
            let until = episode.events[violation.event].over;
            self.report(episode, violation, &weather.before(until));
        }
        unserved.is_empty()
    }

    /// Judges what began after that moment in a history; says whether it is in order.
    pub fn judge_from(&self, episode: &Episode, from: Moment) -> bool {
        let mut violations = check(episode);
        violations.retain(|violation| episode.events[violation.event].begun >= from);
        for violation in &violations {
            self.report(episode, violation, "");
        }
        violations.is_empty()
    }

    /// Adds what no history shows.
    pub fn object(&self, rule: Rule, because: &str) {
        let mut files = self.files();
        files.violations += 1;
        files.shown.push(format!("{rule:?}: {because}\n"));
    }

    fn report(&self, episode: &Episode, violation: &Violation, weather: &str) {
        let mut files = self.files();
        files.violations += 1;
        if files.shown.len() < SHOWN {
            let Violation { rule, event, because } = violation;
            let history = episode.around(*event, 40);
            files
                .shown
                .push(format!("{rule:?}: {because} ({})\n{weather}{history}", episode.actor));
        }
    }

    /// The histories that were kept, and that no longer are.
    #[must_use]
    pub fn kept(&self) -> Vec<Episode> {
        std::mem::take(&mut self.files().kept)
    }

    /// How many violations there are.
    #[must_use]
    pub fn violations(&self) -> usize {
        self.files().violations
    }

    /// The first of them, to read.
    #[must_use]
    pub fn shown(&self) -> Vec<String> {
        self.files().shown.clone()
    }

    /// How many histories were judged.
    #[must_use]
    pub fn judged(&self) -> usize {
        self.files().judged
    }

    /// How many answers were due from services that had no trouble at the time.
    #[must_use]
    pub fn due(&self) -> usize {
        self.files().due
    }

    /// Half, ninety-nine in a hundred and all of the ended tokens were refused after this long.
    #[must_use]
    pub fn seen_after(&self) -> Option<[Duration; 3]> {
        let mut times = self.files().seen_after.clone();
        times.sort_unstable();
        let last = times.len().checked_sub(1)?;
        Some([times[last / 2], times[last * 99 / 100], times[last]])
    }

    fn files(&self) -> std::sync::MutexGuard<'_, Files> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How many answers were due from services that had no trouble, and which of them were 503. A request
/// without an answer says nothing: it may have been lost on its way.
fn service(episode: &Episode, weather: &Weather) -> (usize, Vec<Violation>) {
    let (mut due, mut unserved) = (0, Vec::new());
    for (index, event) in episode.events.iter().enumerate() {
        let could = match event.operation {
            Operation::Use(_) => weather.could_follow(event.at, event.begun, event.over),
            Operation::Refresh(_) | Operation::LogOut(..) => {
                weather.could_serve(event.at, event.begun, event.over)
            }
            // May be refused for want of a place.
            Operation::Register | Operation::LogIn => false,
        };
        if !could || event.outcome == Outcome::Lost {
            continue;
        }
        due += 1;
        if matches!(event.outcome, Outcome::Refused { status: 503, .. }) {
            let because = "nothing that it needs was in trouble for a while".to_owned();
            unserved.push(Violation { rule: Rule::Serves, event: index, because });
        }
    }
    (due, unserved)
}

/// From each logout's answer to the first refusal at each resource-service.
fn refusals(episode: &Episode) -> Vec<Duration> {
    let mut times = Vec::new();
    for event in &episode.events {
        let Operation::LogOut(by, Ending::Current) = &event.operation else { continue };
        if event.outcome != Outcome::Done {
            continue;
        }
        for resource in 0..3 {
            let refused = episode.events.iter().find(|later| match &later.operation {
                Operation::Use(token) => {
                    later.at == resource
                        && token.session == by.session
                        && later.begun >= event.over
                        && later.outcome.is_refused_as("invalid-token")
                }
                _ => false,
            });
            times.extend(refused.map(|later| later.over.saturating_sub(event.over)));
        }
    }
    times
}
