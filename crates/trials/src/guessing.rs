//! Tries to tell from login's answers, and from how long they take, which accounts exist.

#![expect(
    clippy::missing_panics_doc,
    reason = "everything here panics when a service is not as it should be"
)]

use std::fmt;
use std::time::{Duration, Instant};

use reqwest::Client;
use serde_json::json;

use crate::drill::Times;
use testbed::service::run;
use testbed::{Answer, Database, Kind, PASSWORD, Service};

/// Accounts of each kind that exist.
const ACCOUNTS: usize = 20;
/// What a classifier may be right about at the most, where there are many samples: a coin is at 0.5.
const BOUND: f64 = 0.55;
/// How far from a coin chance alone may lead, in standard deviations. Six comparisons of a test run
/// exceed it in one of 20,000 runs.
const CHANCE: f64 = 4.5;

/// What a login is told no to for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// Nobody has the name.
    Unknown,
    /// Somebody has; the password is another.
    Wrong,
    /// Somebody had; the password is theirs every other time.
    Disabled,
}

impl Class {
    const ALL: [Self; 3] = [Self::Unknown, Self::Wrong, Self::Disabled];

    const fn name(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Wrong => "wrong password",
            Self::Disabled => "disabled",
        }
    }
}

/// What was found.
#[derive(Debug)]
pub struct Report {
    /// Answers that differed from the first in anything but request id and date.
    pub different: usize,
    /// The answer of all, as text.
    pub answer: String,
    samples: [Vec<Duration>; 3],
}

impl Report {
    /// How well a threshold on the time tells two classes apart, with the better of the two sides
    /// chosen afterwards: the area under the ROC curve, from 0.5 (not at all) to 1 (always).
    #[must_use]
    pub fn separations(&self) -> [(Class, Class, f64); 3] {
        let [unknown, wrong, disabled] = &self.samples;
        [
            (Class::Unknown, Class::Wrong, separation(unknown, wrong)),
            (Class::Unknown, Class::Disabled, separation(unknown, disabled)),
            (Class::Wrong, Class::Disabled, separation(wrong, disabled)),
        ]
    }

    /// The most that a separation may be. Of few samples chance alone makes more than `BOUND`: the
    /// area of two classes that are alike has a standard deviation of `√((2n + 1) / 12n²)`.
    #[must_use]
    pub fn bound(&self) -> f64 {
        let n = count(self.samples[0].len());
        BOUND.max(0.5 + CHANCE * ((2.0 * n + 1.0) / (12.0 * n * n)).sqrt())
    }

    /// Whether nothing can be told.
    #[must_use]
    pub fn is_good(&self) -> bool {
        self.different == 0 && self.separations().iter().all(|one| one.2 <= self.bound())
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{:<34}{:>10}{}", "login, ms", "logins", Times::heads())?;
        for (class, samples) in Class::ALL.iter().zip(&self.samples) {
            let mut times = Times::default();
            for sample in samples {
                times.push(*sample);
            }
            writeln!(f, "{:<34}{:>10}{times}", class.name(), times.count())?;
        }
        writeln!(f, "answers that differ                {}", self.different)?;
        writeln!(f, "told apart by time (0.5: not at all; at most {:.3})", self.bound())?;
        for (one, other, separation) in self.separations() {
            writeln!(f, "  {:<32}{separation:.3}", format!("{}, {}", one.name(), other.name()))?;
        }
        write!(f, "the one answer                     {}", self.answer)
    }
}

/// So many logins of each class, one after the other in random order over one connection, to an
/// auth-service of its own with these settings.
pub async fn guess(kind: Kind, logins: usize, settings: &[(&str, &str)]) -> Report {
    let database = Database::create(kind).await;
    let mut auth = Service::auth(&database.url, settings);
    auth.start().await;
    let (known, disabled) = (accounts(&auth).await, accounts(&auth).await);
    for name in &disabled {
        let output = run("auth-service", &["user", "disable", name], &auth.settings);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
    let http = Client::builder().pool_max_idle_per_host(1).build().expect("a client can be made");
    let url = format!("{}/login", auth.public);
    let mut order: Vec<_> = Class::ALL.into_iter().flat_map(|it| vec![it; logins]).collect();
    fastrand::shuffle(&mut order);
    // The first hash takes fresh memory, the first request a connection.
    for _ in 0..10 {
        attempt(&http, &url, &name(), &wrong()).await;
    }
    let (mut samples, mut first, mut different) = ([(); 3].map(|()| Vec::new()), None, 0);
    for (number, class) in order.into_iter().enumerate() {
        let any = fastrand::usize(..ACCOUNTS);
        let (name, password) = match class {
            Class::Unknown => (name(), wrong()),
            Class::Wrong => (known[any].clone(), wrong()),
            Class::Disabled if number % 2 == 0 => (disabled[any].clone(), PASSWORD.to_owned()),
            Class::Disabled => (disabled[any].clone(), wrong()),
        };
        let (answer, took) = attempt(&http, &url, &name, &password).await;
        assert_eq!(answer.status, 401, "{}", answer.text);
        let told = answer.told();
        different += usize::from(*first.get_or_insert_with(|| told.clone()) != told);
        samples[class as usize].push(took);
    }
    let answer = first.map(|(status, _, text)| format!("{status} {text}")).unwrap_or_default();
    Report { different, answer, samples }
}

async fn attempt(http: &Client, url: &str, name: &str, password: &str) -> (Answer, Duration) {
    let request = http.post(url).json(&json!({"username": name, "password": password}));
    let begun = Instant::now();
    let answer = Answer::to(request).await;
    (answer, begun.elapsed())
}

async fn accounts(auth: &Service) -> Vec<String> {
    let mut names = Vec::new();
    for _ in 0..ACCOUNTS {
        let name = name();
        auth.register(&name).await;
        names.push(name);
    }
    names
}

/// All of one shape, those of accounts too.
fn name() -> String {
    format!("user-{:016x}", fastrand::u64(..))
}

/// As long as the right one.
fn wrong() -> String {
    let length = PASSWORD.len();
    format!("{:0>length$x}", fastrand::u64(..))
}

/// Of Mann and Whitney's U, the share of all pairs, from whichever side is larger.
fn separation(one: &[Duration], other: &[Duration]) -> f64 {
    let mut all: Vec<_> = one.iter().map(|it| (*it, true)).collect();
    all.extend(other.iter().map(|it| (*it, false)));
    all.sort();
    let (mut before, mut u) = (0.0, 0.0);
    for equal in all.chunk_by(|left, right| left.0 == right.0) {
        let mine = count(equal.iter().filter(|it| it.1).count());
        let theirs = count(equal.len()) - mine;
        // Pairs that are equal count for one half.
        u += mine * (before + theirs / 2.0);
        before += theirs;
    }
    let share = u / (count(one.len()) * count(other.len()));
    share.max(1.0 - share)
}

#[expect(clippy::cast_precision_loss, reason = "counts far below 2^52")]
fn count(number: usize) -> f64 {
    number as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn times(milliseconds: &[u64]) -> Vec<Duration> {
        milliseconds.iter().map(|it| Duration::from_millis(*it)).collect()
    }

    fn assert_separation(one: &[u64], other: &[u64], expected: f64) {
        let found = separation(&times(one), &times(other));
        assert!((found - expected).abs() < 1e-9, "{one:?} {other:?}: {found}");
    }

    #[test]
    fn classes_are_told_apart_as_far_as_their_times_are() {
        assert_separation(&[1, 2, 3], &[4, 5], 1.0);
        assert_separation(&[4, 5], &[1, 2, 3], 1.0);
        assert_separation(&[1, 2, 3], &[1, 2, 3], 0.5);
        assert_separation(&[1, 4], &[2, 3], 0.5);
        assert_separation(&[1, 3], &[2, 4], 0.75);
    }

    /// 0.15 ms in a noise of one.
    #[test]
    fn a_small_difference_between_many_logins_is_found() {
        let noise = |slower: u64| {
            let any = move |_| Duration::from_micros(fastrand::u64(20_000..21_000) + slower);
            (0..2000).map(any).collect::<Vec<_>>()
        };
        let report = |slower| Report {
            different: 0,
            answer: String::new(),
            samples: [noise(0), noise(slower), noise(0)],
        };
        assert!(report(0).is_good());
        assert!(!report(150).is_good());
    }

    /// Hashing as long as makes it most of a login, as it is by default.
    const COST: [(&str, &str); 2] =
        [("AUTH__PASSWORDS__MEMORY_KIB", "4096"), ("AUTH__PASSWORDS__ITERATIONS", "1")];

    /// `cargo xtask guessing` tries two thousand of each, at the default cost.
    async fn nothing_is_told(kind: Kind) {
        let report = guess(kind, 150, &COST).await;
        println!("{report}");
        assert!(report.is_good(), "{report}");
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn unknown_wrong_and_disabled_are_answered_alike_and_as_late_on_postgres() {
        nothing_is_told(Kind::Postgres).await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn unknown_wrong_and_disabled_are_answered_alike_and_as_late_on_sqlite() {
        nothing_is_told(Kind::Sqlite).await;
    }
}
