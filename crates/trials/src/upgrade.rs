//! An upgrade and the way back, on one Postgres, with people at work: the programs of the release before and ours,
//! side by side.
//!
//! Two auth-services and two resource-services are replaced one after the other, as docs/upgrade.md says. Nobody
//! may be refused for it, nothing may be answered by a 5xx, no session may be lost, and what is over stays over.

mod across;
mod addresses;
mod crowd;
mod site;
mod stage;

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use across::{both_ways, keys_are_shared};
use crowd::Crowd;
use site::Site;
use stage::Wrong;

/// Below that the trial has shown nothing: requests that services of each version were sent.
const LEAST_SENT: u64 = 300;

/// Which program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Version {
    /// Of the release before.
    Before,
    /// Of these sources.
    Ours,
}

impl Version {
    fn other(self) -> Self {
        match self {
            Self::Before => Self::Ours,
            Self::Ours => Self::Before,
        }
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Before => "the version before",
            Self::Ours => "our version",
        })
    }
}

/// What came of it.
#[derive(Debug)]
pub struct Report {
    /// The newest migration before and after.
    pub schemas: [i64; 2],
    /// The states that the installation went through, and how long it was in each.
    pub steps: Vec<(&'static str, Duration)>,
    /// What was asked, and how often.
    pub asked: BTreeMap<&'static str, u64>,
    /// Requests to auth-services and to resource-services, of the version before and of ours.
    pub sent: [[u64; 2]; 2],
    /// From the answer that ends a session to the last verifier that refuses its token, at the most.
    pub slowest: Duration,
    /// Sessions that live on, and how many should.
    pub sessions: (usize, usize),
    /// All in all.
    pub took: Duration,
    wrong: BTreeMap<Wrong, u64>,
    /// The first of what was wrong, in words.
    pub words: Vec<String>,
}

impl Report {
    /// Whether nothing was wrong, and enough was done to say so.
    #[must_use]
    pub fn is_good(&self) -> bool {
        self.wrong.is_empty()
            && self.sessions.0 == self.sessions.1
            && self.sent.as_flattened().iter().all(|sent| *sent >= LEAST_SENT)
    }

    fn count(&self, wrong: Wrong) -> u64 {
        self.wrong.get(&wrong).copied().unwrap_or(0)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut row = |what: &str, value: String| writeln!(f, "{what:<50}{value}");
        let [before, after] = self.schemas;
        row("newest migration, before and after", format!("{before}, {after}"))?;
        for (what, took) in &self.steps {
            row(&format!("  {what}, ms"), took.as_millis().to_string())?;
        }
        for (service, [before, ours]) in
            ["auth-services", "resource-services"].iter().zip(self.sent)
        {
            let what = format!("requests to {service} of before, of ours");
            row(&what, format!("{before}, {ours}"))?;
        }
        for (what, count) in &self.asked {
            row(&format!("  {what}"), count.to_string())?;
        }
        row("slowest end of a session to be seen, ms", self.slowest.as_millis().to_string())?;
        row("without an answer", self.count(Wrong::NoAnswer).to_string())?;
        row("answers of 5xx", self.count(Wrong::ServerError).to_string())?;
        row("refused who was in the right", self.count(Wrong::Refused).to_string())?;
        row("accepted what is over", self.count(Wrong::Accepted).to_string())?;
        row("of two minds, or otherwise wrong", self.count(Wrong::Different).to_string())?;
        let (live, expected) = self.sessions;
        row("sessions lost", format!("{} of {expected}", expected - live))?;
        row("seconds", format!("{:.0}", self.took.as_secs_f64()))
    }
}

/// Goes there and back with the programs in these two directories.
///
/// # Panics
/// When not even the version before can be started, or a database does not answer.
pub async fn upgrade(before: &Path, ours: &Path) -> Report {
    let begun = Instant::now();
    let mut site = Site::start(before, ours).await;
    let schema = site.schema().await;
    let crowd = Crowd::start(&site.stage).await;
    let mut steps = Steps { entered: Instant::now(), all: Vec::new() };
    let went = there_and_back(&mut site, &mut steps).await;
    let stage = &site.stage;
    if let Err(why) = went {
        stage.wrong(Wrong::Different, &why);
    }
    stage.over.store(true, Ordering::Relaxed);
    let sessions = crowd.end(stage).await;
    let stolen = "select count(*) from sessions s join users u on u.id = s.user_id \
        where s.revoke_reason = 'reuse' and u.username not like 'eve-%'";
    let stolen = site.database.number(stolen).await;
    if stolen > 0 {
        stage.wrong(Wrong::Refused, &format!("{stolen} sessions ended as if stolen"));
    }
    let sent = [&stage.auths, &stage.verifiers]
        .map(|all| [Version::Before, Version::Ours].map(|version| all.sent(version)));
    let (wrong, words) = stage.all_wrong();
    Report {
        schemas: [schema, site.schema().await],
        steps: steps.all,
        asked: stage.counts(),
        sent,
        slowest: stage.slowest(),
        sessions,
        took: begun.elapsed(),
        wrong,
        words,
    }
}

struct Steps {
    entered: Instant,
    all: Vec<(&'static str, Duration)>,
}

impl Steps {
    fn done(&mut self, what: &'static str) {
        self.all.push((what, self.entered.elapsed()));
        self.entered = Instant::now();
    }
}

/// Ends early where a service does not serve any more.
async fn there_and_back(site: &mut Site<'_>, steps: &mut Steps) -> Result<(), String> {
    tokio::time::sleep(Duration::from_secs(1)).await;
    steps.done("as it was");
    let migrated = site.command(Version::Ours, &["migrate"]).await;
    migrated.ok_or("our migrations cannot be applied")?;
    steps.done("our migrations");
    both_ways(site, "migrated").await;
    steps.done("migrated");
    site.replace_auth(1, Version::Before).await?;
    steps.done("one of before started again on our schema");

    site.replace_auth(0, Version::Ours).await?;
    mixed(site, Version::Before, "on-the-way").await;
    steps.done("one of each");
    site.replace_auth(1, Version::Ours).await?;
    // Each begins anew with the feed and the keys of the other version.
    site.replace_verifier(0, Version::Ours).await?;
    site.replace_verifier(1, Version::Before).await?;
    both_ways(site, "upgraded").await;
    steps.done("both auth-services ours");

    // And back, as somebody does who does not like the new version.
    site.replace_auth(0, Version::Before).await?;
    mixed(site, Version::Ours, "on-the-way-back").await;
    steps.done("one of each, on the way back");
    site.replace_auth(1, Version::Before).await?;
    site.replace_verifier(0, Version::Ours).await?;
    both_ways(site, "taken-back").await;
    steps.done("both auth-services of before, on our schema");
    Ok(())
}

/// Both versions serve, and keys are made by a command of one of them.
async fn mixed(site: &Site<'_>, keys_by: Version, round: &str) {
    site.make_keys(keys_by).await;
    both_ways(site, round).await;
    // What goes wrong is written down there.
    let _ = keys_are_shared(site, keys_by, &format!("keys-{round}")).await;
}
