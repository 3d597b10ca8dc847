//! A flood of logins, and what it does to everybody else.

#![expect(
    clippy::missing_panics_doc,
    reason = "everything here panics when a service is not as it should be"
)]

pub mod flood;
pub mod measurer;
pub mod unfinished;

use std::fmt;
use std::io;
use std::time::Duration;

use auth_service::passwords::permits;

use crate::drill::Times;
use flood::{Answers, Flood, Running};
use measurer::{Measurer, Seen};
use testbed::service::owned;
use testbed::usage::{cpu_seconds, postmaster, resident_kib, server_cpu_seconds};
use testbed::{Database, Kind, PASSWORD, Redis, Service};

/// How much slower a flood may make others.
const MOST: f64 = 3.0;
/// What a service may take besides the memory that hashing works in.
const SLACK_KIB: u64 = 20 * 1024;

/// What to do.
#[derive(Debug, Clone)]
pub struct Options {
    /// How long each phase lasts.
    pub seconds: u64,
    /// Connections of the flood.
    pub clients: usize,
    /// Priority of the flood's process.
    pub nice: i32,
    /// Memory of one hash.
    pub memory_kib: u32,
    /// Passes of one hash.
    pub iterations: u32,
}

/// One phase.
#[derive(Debug)]
pub struct Phase {
    /// What honest clients saw.
    pub seen: Seen,
    /// Processor time, by whom.
    cpu: Vec<(&'static str, f64)>,
}

/// What was found.
#[derive(Debug)]
pub struct Report {
    pub idle: Phase,
    pub flooded: Phase,
    /// What the flood was answered.
    pub answers: Answers,
    /// The auth-service's resident memory before anything was hashed, and the most it ever was.
    pub memory_kib: (u64, u64),
    /// The most it may be.
    pub memory_bound_kib: u64,
    seconds: u64,
}

impl Report {
    /// Flooded to idle, of the times that are promised: refresh and verification, p99.
    #[must_use]
    pub fn ratios(&self) -> [f64; 2] {
        let p99 = |times: &Times| times.at(990).as_secs_f64();
        let (idle, flooded) = (&self.idle.seen, &self.flooded.seen);
        [p99(&flooded.refresh) / p99(&idle.refresh), p99(&flooded.verify) / p99(&idle.verify)]
    }

    /// What must hold on any machine, however busy: logouts are done, nobody honest is refused,
    /// whoever is refused is told when to come back, and memory is bounded.
    #[must_use]
    pub fn is_orderly(&self) -> bool {
        let allowed = |status: &u16| matches!(status, 401 | 429 | 503);
        let refused = |seen: &Seen| seen.logouts_refused + seen.refused;
        refused(&self.idle.seen) + refused(&self.flooded.seen) == 0
            && self.answers.counts.keys().all(allowed)
            && self.answers.without_retry_after == 0
            && self.memory_kib.1 <= self.memory_bound_kib
    }

    /// That, and the promise.
    #[must_use]
    pub fn is_good(&self) -> bool {
        self.is_orderly() && self.ratios().iter().all(|ratio| *ratio <= MOST)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{:<30}{:>8}{}", "ms", "requests", Times::heads())?;
        for (phase, name) in [(&self.idle, "idle"), (&self.flooded, "flooded")] {
            let seen = &phase.seen;
            let rows = [
                ("refresh", &seen.refresh),
                ("verify", &seen.verify),
                ("logout", &seen.logout),
                ("ready", &seen.ready),
            ];
            for (what, times) in rows {
                writeln!(f, "{:<30}{:>8}{times}", format!("{what}, {name}"), times.count())?;
            }
        }
        for (name, ratio) in ["refresh", "verify"].iter().zip(self.ratios()) {
            let verdict = if ratio <= MOST { "met" } else { "MISSED" };
            writeln!(f, "{name}: p99 {ratio:.2} times that of idle; at most {MOST}: {verdict}")?;
        }
        let [idle, flooded] = [&self.idle.seen, &self.flooded.seen];
        writeln!(f, "logouts refused {}", idle.logouts_refused + flooded.logouts_refused)?;
        writeln!(f, "other honest requests refused {}", idle.refused + flooded.refused)?;
        for (status, n) in &self.answers.counts {
            writeln!(f, "flood answered {status}: {n}, {} a second", n / self.seconds)?;
        }
        let without = self.answers.without_retry_after;
        writeln!(f, "429 and 503 without Retry-After {without}")?;
        let (idle, peak) = self.memory_kib;
        let (idle, peak, bound) = (idle / 1024, peak / 1024, self.memory_bound_kib / 1024);
        writeln!(f, "auth-service resident, MiB: idle {idle}, peak {peak}, at most {bound}")?;
        write!(f, "processor seconds of {}", self.seconds)?;
        for (phase, name) in [(&self.idle, "idle"), (&self.flooded, "flooded")] {
            write!(f, "\n  {name:<8}")?;
            for (who, seconds) in &phase.cpu {
                write!(f, "  {who} {seconds:.1}")?;
            }
        }
        Ok(())
    }
}

/// One auth-service and one resource-service, with what they need.
struct Site {
    auth: Service,
    resource: Service,
    redis: Redis,
    postmaster: u32,
    _database: Database,
}

/// Gives this process another priority: before there are threads, since on Linux each has its own, and
/// inherits it.
fn be_nice(nice: i32) -> io::Result<()> {
    if nice == 0 { Ok(()) } else { Ok(rustix::process::setpriority_process(None, nice)?) }
}

/// Measures without a flood, and then with one.
pub async fn overload(options: &Options) -> Report {
    let site = Site::start(options).await;
    let idle_memory = resident_kib(site.auth.pid()).0;
    let honest = Measurer::start(&site.auth, &site.resource, 2 * options.seconds + 2);
    let mut honest = honest.await;
    site.auth.register(flood::KNOWN).await;
    honest.measure(1).await;
    let before = site.cpu(None);
    let seen = honest.measure(options.seconds).await;
    let idle = Phase { seen, cpu: since(&before, site.cpu(None)) };

    let address = site.auth.public.trim_start_matches("http://").to_owned();
    let (clients, nice) = (options.clients, options.nice);
    let running = Running::start(&Flood { address, clients, nice });
    // The flood rises while this goes on.
    honest.measure(1).await;
    let before = site.cpu(Some(running.pid()));
    let seen = honest.measure(options.seconds).await;
    let flooded = Phase { seen, cpu: since(&before, site.cpu(Some(running.pid()))) };
    let stopped = tokio::task::spawn_blocking(|| running.stop());
    let answers = stopped.await.expect("the flood ends");
    let memory_kib = (idle_memory, resident_kib(site.auth.pid()).1);
    // Who comes after the flood is served as before.
    site.auth.ready().await;
    let body = serde_json::json!({"username": flood::KNOWN, "password": PASSWORD});
    testbed::service::until("the queue is empty", async || {
        site.auth.post("/login", &body).await.status == 200
    })
    .await;
    let hashing =
        u64::try_from(permits(options.memory_kib)).expect("few") * u64::from(options.memory_kib);
    let memory_bound_kib = idle_memory + hashing + SLACK_KIB;
    // The second before each phase counts for the flood too.
    let seconds = options.seconds + 1;
    Report { idle, flooded, answers, memory_kib, memory_bound_kib, seconds }
}

impl Site {
    async fn start(options: &Options) -> Self {
        let (database, redis) = (Database::create(Kind::Postgres).await, Redis::start(&[]).await);
        let (memory, passes) = (options.memory_kib.to_string(), options.iterations.to_string());
        let mut auth = Service::auth(&database.url, &[("AUTH__TOKENS__MAX_SESSIONS", "0")]);
        auth.settings.retain(|(name, _)| !name.starts_with("AUTH__PASSWORDS__"));
        auth.settings.retain(|(name, _)| name != "AUTH__DATABASE__MAX_CONNECTIONS");
        auth.settings.extend(owned(&[
            ("AUTH__REDIS__URL", &redis.url()),
            ("AUTH__PASSWORDS__MEMORY_KIB", &memory),
            ("AUTH__PASSWORDS__ITERATIONS", &passes),
        ]));
        auth.start().await;
        let mut resource = Service::resource(&auth, &[]);
        resource.start().await;
        let postmaster = postmaster(&database).await;
        // A first hash is made by nobody so far.
        tokio::time::sleep(Duration::from_millis(500)).await;
        Self { auth, resource, redis, postmaster, _database: database }
    }

    fn cpu(&self, flood: Option<u32>) -> Vec<(&'static str, f64)> {
        let mut all = vec![
            ("auth-service", cpu_seconds(self.auth.pid())),
            ("resource-service", cpu_seconds(self.resource.pid())),
            ("Postgres", server_cpu_seconds(self.postmaster)),
            ("Redis", cpu_seconds(self.redis.pid())),
            ("honest clients", cpu_seconds(std::process::id())),
        ];
        all.extend(flood.map(|flood| ("flood", cpu_seconds(flood))));
        all
    }
}

fn since(
    before: &[(&'static str, f64)],
    after: Vec<(&'static str, f64)>,
) -> Vec<(&'static str, f64)> {
    before.iter().zip(after).map(|(before, after)| (after.0, after.1 - before.1)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What it does to others' waiting is measured by `cargo xtask overload`; a test machine that is busy
    /// says nothing about that.
    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_flood_of_logins_is_turned_away_and_everybody_else_is_served() {
        let options =
            Options { seconds: 3, clients: 128, nice: 19, memory_kib: 19_456, iterations: 2 };
        let report = overload(&options).await;
        println!("{report}");
        assert!(report.is_orderly(), "{report}");
        let answered = |status| report.answers.counts.get(&status).copied().unwrap_or_default();
        assert!(answered(401) > 0 && answered(503) + answered(429) > 0, "{report}");
        assert!(report.flooded.seen.logout.count() == 15, "{report}");
    }
}
