//! `cargo xtask faults`: the fault harness on the services as they are, and on services with bugs
//! planted in them, each of which it must catch.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::{BufRead as _, BufReader};
use std::iter::once;
use std::path::{Path, PathBuf};
use std::process::{ChildStdout, Command, ExitCode, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use clap::Args;
use tempfile::TempDir;

use crate::outcome::Outcome;
use crate::planted::BUG;
use crate::project::{Project, run as run_command, shown, succeeds};
use crate::{Result, planted, servers, setup};

const SMALL_DISK: &str = "LATCHKEY_TEST_SMALL_DISK";

const SECONDS: u64 = 120;
/// For each bug; most are caught in the first few.
const PLANTED_SECONDS: u64 = 120;
/// With the planted programs and no bug chosen.
const ASLEEP_SECONDS: u64 = 20;
/// Of the runs on planted programs.
const AT_ONCE: usize = 2;
/// For a run to begin and to look back at what happened. It gives itself less.
const TIMEOUT: Duration = Duration::from_mins(5);

/// What to run.
#[derive(Args)]
pub(crate) struct Options {
    /// Show that each of the planted bugs is caught, instead.
    #[arg(long)]
    planted: bool,
    /// The seed of the first run.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// How long a run lasts (120; with --planted at most, since it ends when the bug is caught).
    #[arg(long)]
    seconds: Option<u64>,
    /// How many runs, each with the next seed.
    #[arg(long, default_value_t = 1, conflicts_with = "planted")]
    runs: u64,
    /// Passed on to the harness.
    #[arg(last = true)]
    rest: Vec<OsString>,
}

/// `cargo xtask faults`
pub(crate) fn run(project: &Project, options: Options) -> Result<ExitCode> {
    let outcome = if options.planted {
        let seconds = options.seconds.unwrap_or(PLANTED_SECONDS);
        planted(project, options.seed, seconds, options.rest)?
    } else {
        build(project)?;
        let harness = Harness::new(project, project.debug(), options.rest)?;
        let seconds = options.seconds.unwrap_or(SECONDS);
        let mut outcome = Outcome::default();
        for seed in (options.seed..).take(usize::try_from(options.runs)?) {
            let ended = harness.run(seed, seconds, None)?;
            println!("seed {seed}: {}", ended.said());
            outcome.add(ended.unharmed(&format!("seed {seed}")));
        }
        println!("{} of {} runs had 0 violations", outcome.passed, options.runs);
        outcome
    };
    Ok(if outcome.failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The part `faults` of `cargo xtask test`: each run is a check.
pub(crate) fn check(project: &Project) -> Result<Outcome> {
    build(project)?;
    let seed = 1;
    let harness = Harness::new(project, project.debug(), Vec::new())?;
    let ended = harness.run(seed, SECONDS, None)?;
    println!("seed {seed}, {SECONDS} s: {}", ended.said());
    let mut outcome = ended.unharmed(&format!("seed {seed}"));
    outcome.unchecked = harness.unchecked();
    outcome.add(planted(project, seed, PLANTED_SECONDS, Vec::new())?);
    Ok(outcome)
}

/// One run in which no bug is awake, since it must be the bug that is caught and not the build, and
/// one for each bug. Some at a time, because each waits most of the time; the one without a bug is among
/// them, and would tell if that were too many for the machine.
fn planted(project: &Project, seed: u64, seconds: u64, rest: Vec<OsString>) -> Result<Outcome> {
    build(project)?;
    let harness = Harness::new(project, planted::build(project)?, rest)?;
    let bugs = planted::bugs(project)?;
    let runs: Vec<_> = once(None).chain(bugs.iter().map(|bug| Some(bug.as_str()))).collect();
    let (next, ended) = (AtomicUsize::new(0), Mutex::new(BTreeMap::new()));
    thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                while let Some(bug) = runs.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let seconds = if bug.is_some() { seconds } else { ASLEEP_SECONDS };
                    let how = harness.run(seed, seconds, *bug);
                    let how = how.unwrap_or_else(|error| Ended::Broken(error.to_string()));
                    ended.lock().unwrap_or_else(PoisonError::into_inner).insert(*bug, how);
                }
            });
        }
    });
    let ended = ended.into_inner().unwrap_or_else(PoisonError::into_inner);
    let (mut outcome, mut caught) = (Outcome::default(), 0);
    println!("\n{:<26}what the harness said", "planted bug");
    for (bug, how) in &ended {
        println!("{:<26}{}", bug.unwrap_or("none"), how.said());
        outcome.add(match (bug, how) {
            (None, how) => how.unharmed("no planted bug awake"),
            (Some(_), Ended::Violated(_)) => {
                caught += 1;
                Outcome::passed()
            }
            (Some(bug), how) => Outcome::failed(format!("faults, planted {bug}: {}", how.said())),
        });
    }
    println!("{caught} of {} caught", bugs.len());
    Ok(outcome)
}

/// The same selection as for the tests: nothing is built twice.
fn build(project: &Project) -> Result {
    run_command(project.cargo().args(["build", "--workspace", "--bins"]))
}

/// How a run ended.
enum Ended {
    /// No promise was broken.
    Unharmed,
    /// One was, and it took this long until that was known.
    Violated(Duration),
    /// It says nothing.
    Broken(String),
}

impl Ended {
    /// The check that no promise was broken in a run.
    fn unharmed(&self, run: &str) -> Outcome {
        match self {
            Self::Unharmed => Outcome::passed(),
            _ => Outcome::failed(format!("faults, {run}: {}", self.said())),
        }
    }

    fn said(&self) -> String {
        match self {
            Self::Unharmed => "0 violations".to_owned(),
            Self::Violated(after) => format!("a violation after {:.1} s", after.as_secs_f64()),
            Self::Broken(how) => format!("the run broke down: {how}"),
        }
    }
}

/// A program that sees a small disk of its own at a directory, and whatever it starts sees it too. It
/// is gone with the last of them. Only root may do that.
fn on_small_disk(project: &Project, directory: &Path) -> Command {
    let mut command = project.command("unshare");
    command.args(["--mount", "--propagation", "private", "--", "sh", "-c"]);
    command.arg("mount -t tmpfs -o size=96m tmpfs \"$0\" && exec \"$@\"").arg(directory);
    command
}

/// How to start the harness.
struct Harness<'a> {
    project: &'a Project,
    /// Where it has a small disk of its own, if that is possible here.
    disk: Option<TempDir>,
    /// Where the services are that it is to torment.
    programs: PathBuf,
    rest: Vec<OsString>,
}

impl<'a> Harness<'a> {
    fn new(project: &'a Project, programs: PathBuf, rest: Vec<OsString>) -> Result<Self> {
        let disk = tempfile::Builder::new().prefix("latchkey-disk-").tempdir()?;
        let disk = succeeds(on_small_disk(project, disk.path()).arg("true")).then_some(disk);
        Ok(Self { project, disk, programs, rest })
    }

    /// What it cannot do here.
    fn unchecked(&self) -> Vec<String> {
        let missing = "faults: a full disk under SQLite, which takes root (`unshare`, `mount`)";
        if self.disk.is_some() { Vec::new() } else { vec![missing.to_owned()] }
    }

    /// A run on a Postgres of its own, which may be killed. With a bug it ends when that is caught.
    fn run(&self, seed: u64, seconds: u64, bug: Option<&str>) -> Result<Ended> {
        setup::redis()?;
        let postgres = servers::lasting_postgres(self.project)?;
        let program = self.project.debug().join("faults");
        let mut command = if let Some(disk) = &self.disk {
            let mut command = on_small_disk(self.project, disk.path());
            command.arg(program).env(SMALL_DISK, disk.path());
            command
        } else {
            self.project.command(program)
        };
        command.args(["--seed", &seed.to_string(), "--seconds", &seconds.to_string()]);
        command.env("LATCHKEY_TEST_POSTGRES", &postgres.url);
        command.env("LATCHKEY_TEST_POSTGRES_DATA", &postgres.data);
        command.env("LATCHKEY_TEST_BIN_DIR", &self.programs);
        command.env_remove(BUG);
        let prefix = bug.map_or_else(String::new, |bug| {
            command.arg("--until-first").env(BUG, bug);
            format!("{BUG}={bug} ")
        });
        command.args(&self.rest);
        println!("\n$ {prefix}{}", shown(&command));
        let begun = Instant::now();
        let started = command.stdout(Stdio::piped()).spawn();
        let mut process = started.map_err(|error| format!("faults: {error}"))?;
        let output = process.stdout.take().ok_or("it has no output")?;
        let label = bug.map_or_else(String::new, |bug| format!("{bug}: "));
        let reader = thread::spawn(move || show(output, &label));
        let status = loop {
            if let Some(status) = process.try_wait()? {
                break status;
            }
            if begun.elapsed() > Duration::from_secs(seconds) + TIMEOUT {
                process.kill()?;
                process.wait()?;
                return Ok(Ended::Broken("it did not end".to_owned()));
            }
            thread::sleep(Duration::from_millis(20));
        };
        let after = begun.elapsed();
        // A run that fails for another reason has caught nothing.
        Ok(match reader.join().map_err(|_| "its output cannot be shown")? {
            0 if status.success() => Ended::Unharmed,
            0 => Ended::Broken(format!("{status}, and no violation")),
            _ => Ended::Violated(after),
        })
    }
}

/// Shows what it says, each line with the label, and how many violations that were.
fn show(output: ChildStdout, label: &str) -> u64 {
    let mut violations = 0;
    for line in BufReader::new(output).lines().map_while(std::result::Result::ok) {
        println!("{label}{line}");
        violations = reported(&line).unwrap_or(violations);
    }
    violations
}

/// Of `violations: 2, seed 1`
fn reported(line: &str) -> Option<u64> {
    let number = line.strip_prefix("violations: ")?;
    number.split(',').next()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_report_of_a_run_is_understood() {
        assert_eq!(reported("violations: 2, seed 1"), Some(2));
        assert_eq!(reported("violations: 0"), Some(0));
        assert_eq!(reported("violation: a refresh after a logout"), None);
    }
}
