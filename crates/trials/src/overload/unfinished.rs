//! Requests that do not end, on as many connections as the listeners take: what they cost in memory and
//! in the time of others, and what is left a minute after they are gone.

use std::fmt;
use std::io::{self, Read as _};
use std::process::{Child, Stdio};
use std::time::Duration;

use clap::Args;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::measurer::{Measurer, Seen};
use super::{MOST, Options, Site};
use testbed::usage::resident_kib;
use testbed::{Service, process};

/// For the connections to be made before anything is measured, beside the time in which they come.
const RISE: Duration = Duration::from_secs(2);
/// Memory is looked at again so long after the flood.
const AFTER: Duration = Duration::from_mins(1);
/// What a service may hold then, to what it held before, in per cent.
const MOST_AFTER: u64 = 150;
/// What a service may hold at any time.
const MOST_KIB: u64 = 256 * 1024;
/// File descriptors that a process needs for other things.
const OTHER_FILES: u64 = 500;

/// How many, and how stubborn.
#[derive(Args, Debug, Clone)]
pub struct How {
    /// At each listener; fewer where the system gives a process too few file descriptors.
    #[arg(long, default_value_t = 16_384)]
    pub connections: usize,
    /// Seconds until a connection that the service closed is made again.
    #[arg(long, default_value_t = 5.0)]
    pub again: f64,
}

/// What the flood's process does.
#[derive(Args, Debug, Clone)]
pub struct Hold {
    /// `host:port` of a listener; may be given several times.
    #[arg(long)]
    pub address: Vec<String>,
    /// The priority of the process: 19 leaves it what nobody else wants.
    #[arg(long, default_value_t = 0)]
    pub nice: i32,
    /// How it does it.
    #[command(flatten)]
    pub how: How,
}

/// Holds connections with unfinished requests until the standard input is closed. Each that is closed
/// by the service is made again.
pub fn hold(hold: &Hold) -> io::Result<()> {
    super::be_nice(hold.nice)?;
    let each = per_listener(hold.how.connections, hold.address.len());
    let again = Duration::from_secs_f64(hold.how.again);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        for address in &hold.address {
            for number in 0..each {
                let (address, begins) = (address.clone(), form(number));
                // Not all at the same moment, nor later all again.
                let first = again.mul_f64(fraction(number, each));
                tokio::spawn(async move {
                    tokio::time::sleep(first).await;
                    loop {
                        let _ = once(&address, &begins).await;
                        tokio::time::sleep(again).await;
                    }
                });
            }
        }
        let closed = tokio::task::spawn_blocking(|| io::stdin().read_to_end(&mut Vec::new()));
        let _ = closed.await;
    });
    Ok(())
}

fn fraction(part: usize, whole: usize) -> f64 {
    let number = |count| f64::from(u32::try_from(count).unwrap_or(u32::MAX));
    number(part) / number(whole)
}

/// One connection, until the service closes it.
async fn once(address: &str, begins: &str) -> io::Result<()> {
    let mut stream = TcpStream::connect(address).await?;
    stream.write_all(begins.as_bytes()).await?;
    while stream.read(&mut [0; 512]).await? > 0 {}
    Ok(())
}

/// The beginning of a request: heads and bodies of several sizes, alone and after a whole request.
fn form(number: usize) -> String {
    let whole = "GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n";
    let head = |lines| {
        let line = format!("X-Header: {}\r\n", "a".repeat(1000));
        format!("GET /health/live HTTP/1.1\r\nHost: x\r\n{}", line.repeat(lines))
    };
    let body = "POST /refresh HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n";
    let body = format!("{body}Content-Length: 16384\r\n\r\n{}", "a".repeat(16_000));
    match number % 6 {
        0 => head(0),
        1 => head(1),
        2 => head(15),
        3 => body,
        4 => format!("{whole}{}", head(3)),
        _ => format!("{whole}{body}"),
    }
}

/// How many connections each of `listeners` gets. Asks the system for as many files as it gives.
fn per_listener(wanted: usize, listeners: usize) -> usize {
    let files = getrlimit(Resource::Nofile);
    let _ = setrlimit(Resource::Nofile, Rlimit { current: files.maximum, ..files });
    let room = files.maximum.map_or(u64::MAX, |most| most.saturating_sub(OTHER_FILES));
    wanted.min(usize::try_from(room).unwrap_or(usize::MAX) / listeners.max(1))
}

/// What one service had to bear.
#[derive(Debug)]
struct Borne {
    service: &'static str,
    /// Connections at each of its two listeners.
    connections: usize,
    /// What it would hold without a flood.
    before_kib: u64,
    most_kib: u64,
    after_kib: u64,
    idle: Seen,
    flooded: Seen,
}

/// What was found.
#[derive(Debug)]
pub struct Report(Vec<Borne>);

impl Borne {
    /// Flooded to idle: refresh and verification, p99.
    fn ratios(&self) -> [f64; 2] {
        let p99 = |seen: &Seen| [&seen.refresh, &seen.verify].map(|all| all.at(990).as_secs_f64());
        let ([refresh, verify], idle) = (p99(&self.flooded), p99(&self.idle));
        [refresh / idle[0], verify / idle[1]]
    }

    fn is_good(&self) -> bool {
        self.after_kib * 100 <= self.before_kib * MOST_AFTER
            && self.most_kib <= MOST_KIB
            && self.flooded.refused + self.flooded.logouts_refused == 0
            && self.ratios().iter().all(|ratio| *ratio <= MOST)
    }
}

impl Report {
    /// Whether all of it is as it should be.
    #[must_use]
    pub fn is_good(&self) -> bool {
        self.0.iter().all(Borne::is_good)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for borne in &self.0 {
            let [before, most, after] =
                [borne.before_kib, borne.most_kib, borne.after_kib].map(|kib| kib / 1024);
            writeln!(f, "{}: {} connections at each listener", borne.service, borne.connections)?;
            writeln!(
                f,
                "  resident MiB: {before} before, {most} at the most, {after} a minute after"
            )?;
            for (what, seen) in [("idle", &borne.idle), ("flooded", &borne.flooded)] {
                let [refresh, verify] =
                    [&seen.refresh, &seen.verify].map(|all| all.at(990).as_secs_f64() * 1e3);
                let refused = seen.refused + seen.logouts_refused;
                writeln!(
                    f,
                    "  {what}: p99 refresh {refresh:.1} ms, verify {verify:.1} ms; {refused} refused"
                )?;
            }
            writeln!(f, "  {}", if borne.is_good() { "met" } else { "MISSED" })?;
        }
        write!(f, "wanted: at most {} MiB, {MOST} times the p99 of idle, ", MOST_KIB / 1024)?;
        write!(f, "{MOST_AFTER} % of before a minute after, nobody honest refused")
    }
}

/// Floods one service after the other, each at both of its listeners.
pub async fn unfinished(options: &Options, how: &How) -> Report {
    let site = Site::start(options).await;
    let mut honest = Measurer::start(&site.auth, &site.resource, 4 * options.seconds + 1).await;
    honest.measure(1).await;
    let mut all = Vec::new();
    for (name, service) in [("auth-service", &site.auth), ("resource-service", &site.resource)] {
        let first_kib = resident_kib(service.pid()).0;
        let idle = honest.measure(options.seconds).await;
        // Honest clients leave as much behind in the next phase as in this one: verified tokens are kept.
        let idle_kib = resident_kib(service.pid()).0;
        let before_kib = idle_kib + idle_kib.saturating_sub(first_kib);
        let flood = start(service, how, options.nice);
        tokio::time::sleep(RISE + Duration::from_secs_f64(how.again)).await;
        let flooded = honest.measure(options.seconds).await;
        let most_kib = resident_kib(service.pid()).1;
        stop(flood);
        tokio::time::sleep(AFTER).await;
        let after_kib = resident_kib(service.pid()).0;
        let connections = per_listener(how.connections, 2);
        all.push(Borne {
            service: name,
            connections,
            before_kib,
            most_kib,
            after_kib,
            idle,
            flooded,
        });
    }
    Report(all)
}

/// In a process of its own, whose processor time is not the measurer's.
fn start(service: &Service, how: &How, nice: i32) -> Child {
    let [public, internal] =
        [&service.public, &service.internal].map(|url| url.trim_start_matches("http://"));
    let (connections, again) = (how.connections.to_string(), how.again.to_string());
    let nice = format!("--nice={nice}");
    let mut arguments = vec!["hold", "--address", public, "--address", internal, &nice];
    arguments.extend(["--connections", &connections, "--again", &again]);
    let mut command = process::command("overload", &arguments, &[]);
    command.stdin(Stdio::piped()).spawn().expect("the flood starts")
}

fn stop(mut flood: Child) {
    // Its input is closed by the waiting.
    flood.wait().expect("it ends");
}
