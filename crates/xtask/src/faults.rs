//! `cargo xtask faults`: the fault harness on the services as they are, and on services with bugs
//! planted in them, each of which it must catch.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::{BufRead as _, BufReader, Read};
use std::iter::once;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use clap::Args;
use tempfile::TempDir;

use crate::outcome::Outcome;
use crate::planted::BUG;
use crate::project::{Project, shown, succeeds};
use crate::{Result, planted, servers, setup};

const SMALL_DISK: &str = "LATCHKEY_TEST_SMALL_DISK";

const SECONDS: u64 = 120;
/// For each bug; most are caught in the first few.
const PLANTED_SECONDS: u64 = 120;
/// With the planted programs and no bug chosen.
const ASLEEP_SECONDS: u64 = 20;
/// Runs with bugs in them at a time.
const AT_ONCE: usize = 2;
/// How many times as long a run may take on a machine that is busy with other things.
const LONGEST: u32 = 3;
/// What is told again at the end of a run of tests: the log is long, and some see only its end.
const LINES_OF_WHY: usize = 40;
/// Of one violation, which may come with a long history.
const LINES_OF_A_VIOLATION: usize = 8;
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
    /// How many of them at a time (with --planted 2). Each sees less in a minute then.
    #[arg(long, default_value_t = 1, conflicts_with = "planted")]
    at_once: usize,
    /// Passed on to the harness.
    #[arg(last = true)]
    rest: Vec<OsString>,
}

/// `cargo xtask faults`
pub(crate) fn run(project: &Project, options: Options) -> Result<ExitCode> {
    project.build()?;
    let harness = Harness::new(project, options.rest)?;
    let (runs, at_once) = if options.planted {
        (planted(project, options.seed, options.seconds.unwrap_or(PLANTED_SECONDS))?, AT_ONCE)
    } else {
        let seconds = options.seconds.unwrap_or(SECONDS);
        let seeds = (options.seed..).take(usize::try_from(options.runs)?);
        let run = |seed| Run { seed, seconds, programs: project.debug(), bug: Bug::None };
        (seeds.map(run).collect::<Vec<_>>(), options.at_once)
    };
    let outcome = all(&harness, &runs, at_once)?;
    println!("{} of {} runs ended as they should", outcome.passed, runs.len());
    Ok(if outcome.failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The part `faults` of `cargo xtask test`: each run is a check.
pub(crate) fn check(project: &Project) -> Result<Outcome> {
    project.build()?;
    let (seed, harness) = (1, Harness::new(project, Vec::new())?);
    let plain = Run { seed, seconds: SECONDS, programs: project.debug(), bug: Bug::None };
    let mut outcome = all(&harness, &[plain], 1)?;
    outcome.add(all(&harness, &planted(project, seed, PLANTED_SECONDS)?, AT_ONCE)?);
    outcome.unchecked = harness.unchecked();
    Ok(outcome)
}

/// One run in which no bug is awake, since it must be the bug that is caught and not the build, and
/// one for each bug.
fn planted(project: &Project, seed: u64, seconds: u64) -> Result<Vec<Run>> {
    let programs = planted::build(project)?;
    let asleep =
        Run { seed, seconds: ASLEEP_SECONDS, programs: programs.clone(), bug: Bug::Asleep };
    let awake = planted::bugs(project)?.into_iter().map(|bug| Run {
        seed,
        seconds,
        programs: programs.clone(),
        bug: Bug::Awake(bug),
    });
    Ok(once(asleep).chain(awake).collect())
}

/// Some at a time, because each waits most of the time.
fn all(harness: &Harness, runs: &[Run], at_once: usize) -> Result<Outcome> {
    let (next, ended) = (AtomicUsize::new(0), Mutex::new(BTreeMap::new()));
    thread::scope(|scope| {
        for _ in 0..at_once {
            scope.spawn(|| {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    let Some(run) = runs.get(number) else { break };
                    let how = harness.run(run);
                    let how = how.unwrap_or_else(|error| Ended::Broken(error.to_string()));
                    ended.lock().unwrap_or_else(PoisonError::into_inner).insert(number, how);
                }
            });
        }
    });
    let ended = ended.into_inner().unwrap_or_else(PoisonError::into_inner);
    let mut outcome = Outcome::default();
    println!("\n{:<34}what the harness said", "run");
    for (run, how) in runs.iter().zip(ended.values()) {
        println!("{:<34}{}", run.name(), how.said());
        outcome.add(run.judged(how));
    }
    if ended.len() != runs.len() {
        return Err("a run said nothing".into());
    }
    Ok(outcome)
}

/// A run of the harness.
struct Run {
    seed: u64,
    seconds: u64,
    /// Where the services are that it is to torment.
    programs: PathBuf,
    bug: Bug,
}

/// What is planted in them.
enum Bug {
    None,
    Asleep,
    Awake(String),
}

impl Run {
    fn name(&self) -> String {
        match &self.bug {
            Bug::None => format!("seed {}, {} s", self.seed, self.seconds),
            Bug::Asleep => "no planted bug awake".to_owned(),
            Bug::Awake(bug) => format!("planted {bug}"),
        }
    }

    /// The check that a bug was caught, or that nothing was where there is none.
    fn judged(&self, ended: &Ended) -> Outcome {
        match (&self.bug, ended) {
            (Bug::None | Bug::Asleep, Ended::Unharmed) | (Bug::Awake(_), Ended::Violated(..)) => {
                Outcome::passed()
            }
            _ => {
                let mut outcome =
                    Outcome::failed(format!("faults, {}: {}", self.name(), ended.said()));
                outcome.failures.extend(ended.why().iter().map(|line| format!("    {line}")));
                outcome
            }
        }
    }
}

/// How a run ended.
enum Ended {
    /// No promise was broken.
    Unharmed,
    /// One was. What the harness said of it, and how long it took until that was known.
    Violated(Vec<String>, Duration),
    Broken(String),
}

impl Ended {
    fn said(&self) -> String {
        match self {
            Self::Unharmed => "0 violations".to_owned(),
            Self::Violated(_, after) => format!("a violation after {:.1} s", after.as_secs_f64()),
            Self::Broken(how) => format!("the run broke down: {how}"),
        }
    }

    fn why(&self) -> &[String] {
        if let Self::Violated(why, _) = self { why } else { &[] }
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
    rest: Vec<OsString>,
}

impl<'a> Harness<'a> {
    fn new(project: &'a Project, rest: Vec<OsString>) -> Result<Self> {
        // Before the runs, of which several at once would wait for one another's installation.
        setup::redis()?;
        let disk = tempfile::Builder::new().prefix("latchkey-disk-").tempdir()?;
        let disk = succeeds(on_small_disk(project, disk.path()).arg("true")).then_some(disk);
        Ok(Self { project, disk, rest })
    }

    /// What it cannot do here.
    fn unchecked(&self) -> Vec<String> {
        let missing = "faults: a full disk under SQLite, which takes root (`unshare`, `mount`)";
        if self.disk.is_some() { Vec::new() } else { vec![missing.to_owned()] }
    }

    /// A run on a Postgres of its own, which may be killed. With a bug awake it ends when that is caught.
    fn run(&self, run: &Run) -> Result<Ended> {
        let postgres = servers::lasting_postgres(self.project)?;
        let program = self.project.debug().join("faults");
        let mut command = if let Some(disk) = &self.disk {
            let mut command = on_small_disk(self.project, disk.path());
            command.arg(program).env(SMALL_DISK, disk.path());
            command
        } else {
            self.project.command(program)
        };
        let (seed, seconds) = (run.seed.to_string(), run.seconds.to_string());
        command.args(["--seed", &seed, "--seconds", &seconds]);
        command.env("LATCHKEY_TEST_POSTGRES", &postgres.url);
        command.env("LATCHKEY_TEST_POSTGRES_DATA", &postgres.data);
        command.env("LATCHKEY_TEST_BIN_DIR", &run.programs);
        command.env_remove(BUG);
        let (prefix, label) = match &run.bug {
            Bug::None => (String::new(), format!("{}: ", run.seed)),
            Bug::Asleep => (String::new(), "asleep: ".to_owned()),
            Bug::Awake(bug) => {
                command.arg("--until-first").env(BUG, bug);
                (format!("{BUG}={bug} "), format!("{bug}: "))
            }
        };
        command.args(&self.rest);
        println!("\n$ {prefix}{}", shown(&command));
        let begun = Instant::now();
        let started = command.stdout(Stdio::piped()).spawn();
        let mut process = started.map_err(|error| format!("faults: {error}"))?;
        let output = process.stdout.take().ok_or("it has no output")?;
        let reader = thread::spawn(move || show(output, &label));
        let status = loop {
            if let Some(status) = process.try_wait()? {
                break status;
            }
            if begun.elapsed() > Duration::from_secs(run.seconds) * LONGEST + TIMEOUT {
                process.kill()?;
                process.wait()?;
                return Ok(Ended::Broken("it did not end".to_owned()));
            }
            thread::sleep(Duration::from_millis(20));
        };
        let after = begun.elapsed();
        // A run that fails for another reason has caught nothing.
        let (violations, why) = reader.join().map_err(|_| "its output cannot be shown")?;
        Ok(match violations {
            0 if status.success() => Ended::Unharmed,
            0 => Ended::Broken(format!("{status}, and no violation: {}", why.join("; "))),
            _ => Ended::Violated(why, after),
        })
    }
}

/// Shows what it says, each line with the label. Answers how many violations that were, and the lines that say
/// why it ended badly.
fn show(output: impl Read, label: &str) -> (u64, Vec<String>) {
    let (mut violations, mut why, mut more) = (0, Vec::new(), 0);
    for line in BufReader::new(output).lines().map_while(std::result::Result::ok) {
        println!("{label}{line}");
        violations = reported(&line).unwrap_or(violations);
        if line.starts_with("violation: ") {
            more = LINES_OF_A_VIOLATION;
        }
        let is_why = more > 0 || line.starts_with("too little was tested: ");
        more = more.saturating_sub(1);
        if is_why && !line.is_empty() && why.len() < LINES_OF_WHY {
            why.push(line);
        }
    }
    (violations, why)
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

    #[test]
    fn what_was_wrong_with_a_run_is_told_again() {
        let said = "seed 1\n\nviolation: Heals: it is not ready\n  because\n\n  a history\nx\nx\nx\nx\nx\n\
            too little was tested: logins\nviolations: 1, seed 1\n";
        let (violations, why) = show(said.as_bytes(), "");
        assert_eq!(violations, 1);
        assert_eq!(why[..2], ["violation: Heals: it is not ready", "  because"]);
        assert_eq!(why.last().map(String::as_str), Some("too little was tested: logins"));
        assert_eq!(why.len(), LINES_OF_A_VIOLATION, "{why:?}");
    }
}
