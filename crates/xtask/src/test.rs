//! `cargo xtask test`: the parts, in an order in which each uses what the one before has built.
//!
//! Tests of a system wait more than they work. So more of them run at once than there are processors, and
//! what only works (lints, documents, other workspaces) is done meanwhile, with what the tests leave of the
//! processors. The fault harness has the machine to itself: it judges how soon services serve again.
//!
//! Always the whole workspace: another selection would build dependencies again. That selection has
//! every feature that serves, because the packages in it ask for each other's; what is tested is
//! what runs.

use std::ffi::OsString;
use std::io::{BufRead as _, BufReader, Read, Seek as _};
use std::process::{Command, ExitCode, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Instant;

use clap::ValueEnum;

use crate::outcome::Outcome;
use crate::project::{Project, run as run_command, shown, succeeds};
use crate::{
    Result, clients, compose, deny, dist, faults, packages, planted, schema, servers, setup,
    upgrade,
};

/// One part of the tests.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Part {
    /// Formatting.
    Fmt,
    /// The image and the compose files, on a Docker engine of its own; `--compile` compiles in the image.
    Compose,
    /// Lints.
    Clippy,
    /// Unit and acceptance tests, on a private Postgres.
    Rust,
    /// The libraries in other workspaces, and packed for publishing.
    Packages,
    /// The browser client, and the page in a browser.
    Clients,
    /// The OpenAPI documents against the services, by schemathesis.
    Schema,
    /// The fault harness, as the services are and with bugs planted in them.
    Faults,
    /// That the services can be built with the bugs that the fault harness must catch.
    Planted,
    /// Rustdoc without warnings.
    Doc,
    /// Licences, banned crates, advisories.
    Deny,
    /// The Debian package in a fresh root.
    Dist,
    /// The services of the release before, side by side with ours, there and back.
    Upgrade,
}

/// Before what a part could not check.
const UNCHECKED: &str = "NOT CHECKED: ";
/// The line above the checks that failed, in the sum at the end of a run.
const FAILED: &str = "FAILED:";
/// One after the other.
const IN_TURN: [Part; 4] = [Part::Fmt, Part::Rust, Part::Clients, Part::Schema];
/// What needs nothing of the tests and is not needed by them: what compiles, and what waits for downloads and
/// for programs that start. Both begin when the build of the tests is over.
const MEANWHILE: [&[Part]; 2] = [
    &[Part::Planted, Part::Upgrade, Part::Clippy, Part::Packages, Part::Doc, Part::Deny],
    &[Part::Compose, Part::Dist],
];
/// Low, and yet enough to come to an end beside others that are busy for ever.
const LOW: &str = "5";
/// Lines of cargo that are shown again at the end: all of them are in the log.
const MOST_COMPLAINTS: usize = 40;
/// Tests that run at once, for each processor.
const THREADS: usize = 3;

/// Runs a part or all of them: one that fails does not hide what the others find.
pub(crate) fn run(project: &Project, part: Option<Part>, rest: &[OsString]) -> ExitCode {
    let mut sum = Outcome::default();
    if let Some(part) = part {
        sum.add(timed(project, part, rest, || ()));
    } else {
        thread::scope(|scope| {
            // Builds share a directory that one at a time may use. It is free as soon as tests run.
            let mut until_built = Vec::new();
            let others = MEANWHILE.map(|parts| {
                let (built, when_built) = mpsc::channel::<()>();
                until_built.push(built);
                scope.spawn(move || meanwhile(project, parts, &when_built))
            });
            for part in IN_TURN {
                sum.add(timed(project, part, rest, || until_built.clear()));
                if part == Part::Rust {
                    until_built.clear();
                }
            }
            for some in others {
                sum.add(some.join().unwrap_or_else(|_| {
                    Outcome::failed("a part that ran beside others: a panic".to_owned())
                }));
            }
        });
        sum.add(timed(project, Part::Faults, rest, || ()));
    }
    println!();
    for what in &sum.unchecked {
        println!("{UNCHECKED}{what}");
    }
    if !sum.failures.is_empty() {
        println!("{FAILED}\n{}", sum.failures.join("\n"));
    }
    if part.is_none() {
        println!("seconds: {}", sum.took.join(", "));
    }
    println!("{} passed, {} failed", sum.passed, sum.failed);
    if sum.failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Runs a part, says how long it took, and calls `tests_run` once its build is over if it is that of the
/// tests.
fn timed(project: &Project, part: Part, rest: &[OsString], tests_run: impl FnMut()) -> Outcome {
    println!("\n== {part:?}");
    let begun = Instant::now();
    let mut outcome = one(project, part, rest, tests_run).unwrap_or_else(|error| {
        eprintln!("{part:?} failed: {error}");
        Outcome::failed(format!("{part:?}: {error}"))
    });
    let seconds = begun.elapsed().as_secs();
    println!("== {part:?}: {seconds} s");
    outcome.took.push(format!("{part:?} {seconds}"));
    outcome
}

/// Runs parts that are done meanwhile, one after the other, once the other end of `begin` is gone.
fn meanwhile(project: &Project, parts: &[Part], begin: &mpsc::Receiver<()>) -> Outcome {
    let _ = begin.recv();
    let mut sum = Outcome::default();
    for &part in parts {
        sum.add(
            apart(project, part)
                .unwrap_or_else(|error| Outcome::failed(format!("{part:?}: {error}"))),
        );
    }
    sum
}

/// Runs a part in a process of its own, at a low priority, and shows what it said when it has ended: the lines
/// of two parts at once would be hard to read.
fn apart(project: &Project, part: Part) -> Result<Outcome> {
    let begun = Instant::now();
    let part_name = part.to_possible_value().ok_or("a part has a name")?;
    let mut command = project.command("nice");
    command.args(["-n", LOW]).arg(&project.xtask).args(["test", part_name.get_name()]);
    let mut log = tempfile::tempfile()?;
    command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log.try_clone()?);
    let status = command.status()?;
    log.rewind()?;
    let mut said = Vec::new();
    log.read_to_end(&mut said)?;
    let said = String::from_utf8_lossy(&said);
    print!("\n{said}");
    let seconds = begun.elapsed().as_secs();
    println!("== {part:?}, beside others: {seconds} s");
    let mut outcome = summed(&said, part, status.success());
    outcome.took.push(format!("{part:?} {seconds} beside others"));
    Ok(outcome)
}

/// What the last lines of a run of one part tell of it.
fn summed(said: &str, part: Part, success: bool) -> Outcome {
    let mut outcome = Outcome::default();
    let last = said.lines().last().and_then(|line| line.split_once(", "));
    if let Some((passed, failed)) = last.and_then(|(passed, failed)| counted(passed, failed)) {
        (outcome.passed, outcome.failed) = (passed, failed);
    }
    if let Some((_, failures)) = said.rsplit_once(&format!("\n{FAILED}\n")) {
        let failures = failures.lines().take(failures.lines().count() - 1);
        outcome.failures.extend(failures.map(str::to_owned));
    }
    if outcome.failed == 0 && (!success || outcome.passed == 0) {
        outcome.add(Outcome::failed(format!("{part:?}: it did not end as it should")));
    }
    let unchecked = said.lines().filter_map(|line| line.strip_prefix(UNCHECKED));
    outcome.unchecked.extend(unchecked.map(str::to_owned));
    outcome
}

fn one(
    project: &Project,
    part: Part,
    rest: &[OsString],
    tests_run: impl FnMut(),
) -> Result<Outcome> {
    match part {
        Part::Fmt => {
            component(project, "fmt", "rustfmt")?;
            run_command(project.cargo().args(["fmt", "--all", "--check"]))?;
        }
        Part::Compose => return compose::check(project, rest),
        Part::Clippy => {
            component(project, "clippy", "clippy")?;
            let mut clippy = project.cargo();
            clippy.args(["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"]);
            run_command(&mut clippy)?;
        }
        Part::Rust => return rust(project, rest, tests_run),
        Part::Packages => return packages::check(project),
        Part::Clients => return clients::check(project),
        Part::Schema => return schema::check(project),
        Part::Faults => return faults::check(project),
        Part::Planted => drop(planted::build(project)?),
        Part::Doc => {
            let mut doc = project.cargo();
            doc.args(["doc", "--workspace", "--no-deps"]).env("RUSTDOCFLAGS", "-Dwarnings");
            run_command(&mut doc)?;
        }
        Part::Deny => return deny::check(project),
        Part::Dist => return dist::check(project),
        Part::Upgrade => return upgrade::check(project),
    }
    Ok(Outcome::passed())
}

fn component(project: &Project, subcommand: &str, name: &str) -> Result {
    if succeeds(project.cargo().args([subcommand, "--version"])) {
        return Ok(());
    }
    Err(format!("missing: {name}; `rustup component add {name}`").into())
}

/// The binaries come first: some tests start them as processes.
fn rust(project: &Project, rest: &[OsString], tests_run: impl FnMut()) -> Result<Outcome> {
    setup::curl()?;
    setup::redis()?;
    setup::pooler()?;
    setup::proxies()?;
    setup::prometheus()?;
    let postgres = servers::postgres(project)?;
    project.build()?;
    let mut test = project.cargo();
    test.args(["test", "--workspace", "--no-fail-fast"]).args(rest);
    test.env("LATCHKEY_TEST_POSTGRES", &postgres.url);
    test.env("LATCHKEY_TEST_BIN_DIR", project.debug());
    if std::env::var_os("RUST_TEST_THREADS").is_none() {
        let processors = thread::available_parallelism()?.get();
        test.env("RUST_TEST_THREADS", (THREADS * processors).to_string());
    }
    count(&mut test, tests_run)
}

/// Shows the output of `cargo test` and adds up what each binary reports. Calls `tests_run` when all is
/// built.
fn count(test: &mut Command, mut tests_run: impl FnMut()) -> Result<Outcome> {
    println!("$ {}", shown(test));
    let mut process = test.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    let complaints = process.stderr.take().map(|said| thread::spawn(move || complaints(said)));
    let mut outcome = Outcome::default();
    let mut failing = false;
    if let Some(output) = process.stdout.take() {
        for line in BufReader::new(output).lines() {
            let line = line?;
            println!("{line}");
            if line.starts_with("running ") {
                tests_run();
            }
            if let Some((passed, failed)) = reported(&line) {
                outcome.passed += passed;
                outcome.failed += failed;
            }
            if let Some(test) = failure(&line) {
                outcome.failures.push(test.to_owned());
                failing = true;
            } else if line == "stack backtrace:" || line == "failures:" {
                failing = false;
            } else if failing && !line.is_empty() {
                outcome.failures.push(format!("    {line}"));
            }
        }
    }
    let status = process.wait()?;
    let complaints = complaints.and_then(|reader| reader.join().ok()).unwrap_or_default();
    // It does not build, or a binary died before it could report.
    if !status.success() && outcome.failed == 0 {
        outcome.add(Outcome::failed(format!("cargo test: {status}")));
    }
    if !status.success() {
        outcome.failures.extend(complaints);
    }
    Ok(outcome)
}

/// Shows what cargo and the tests say besides, and keeps what cargo says of a binary that ended badly.
fn complaints(said: impl Read) -> Vec<String> {
    let (mut kept, mut more) = (Vec::new(), false);
    for line in BufReader::new(said).lines().map_while(std::result::Result::ok) {
        eprintln!("{line}");
        // What belongs to an error is indented, and so is what is begun next.
        let begins = |what: &&str| line.trim_start().starts_with(what);
        let next = ["Running ", "Doc-tests ", "Compiling "].iter().any(begins);
        let opens = ["error", "Caused by:"].iter().any(|what| line.starts_with(what));
        more = opens || (more && line.starts_with(' ') && !next);
        if more && kept.len() < MOST_COMPLAINTS {
            kept.push(format!("    {line}"));
        }
    }
    kept
}

/// Of `---- a_test stdout ----`, after which comes what it said.
fn failure(line: &str) -> Option<&str> {
    line.strip_prefix("---- ")?.strip_suffix(" stdout ----")
}

/// Of `test result: ok. 3 passed; 0 failed; 0 ignored; …`
fn reported(line: &str) -> Option<(usize, usize)> {
    let (_, counts) = line.strip_prefix("test result: ")?.split_once(". ")?;
    let mut counts = counts.split("; ");
    counted(counts.next()?, counts.next()?)
}

/// Of `3 passed` and `0 failed`
fn counted(passed: &str, failed: &str) -> Option<(usize, usize)> {
    let number = |text: &str, what| text.strip_suffix(what)?.parse().ok();
    Some((number(passed, " passed")?, number(failed, " failed")?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_report_of_a_test_binary_is_understood() {
        let line =
            "test result: FAILED. 12 passed; 3 failed; 0 ignored; 0 measured; 0 filtered out";
        assert_eq!(reported(line), Some((12, 3)));
        assert_eq!(reported("test rotation ... ok"), None);
        assert_eq!(failure("---- tabs::five_tabs stdout ----"), Some("tabs::five_tabs"));
        assert_eq!(failure("---- tabs::five_tabs"), None);
    }

    #[test]
    fn what_cargo_says_of_a_binary_that_ended_badly_is_kept() {
        let said = "   Compiling a v0.1.0\nerror: test failed, to rerun pass `-p a --lib`\n\n\
            Caused by:\n  process didn't exit\nerror: 1 target failed:\n    `-p a --lib`\n     Running b\n";
        let kept = [
            "error: test failed, to rerun pass `-p a --lib`",
            "Caused by:",
            "  process didn't exit",
            "error: 1 target failed:",
            "    `-p a --lib`",
        ];
        assert_eq!(complaints(said.as_bytes()), kept.map(|line| format!("    {line}")));
    }

    #[test]
    fn a_part_that_ran_apart_is_counted_like_any_other() {
        let good = "== Deny\n== Deny: 3 s\n\nNOT CHECKED: advisories\n2 passed, 0 failed\n";
        let outcome = summed(good, Part::Deny, true);
        assert_eq!((outcome.passed, outcome.failed), (2, 0));
        assert_eq!(outcome.unchecked, ["advisories"]);
        let bad = "x\n\nFAILED:\n3 - a tab\n    error: late\n70 passed, 1 failed\n";
        let outcome = summed(bad, Part::Clients, false);
        assert_eq!((outcome.passed, outcome.failed), (70, 1));
        assert_eq!(outcome.failures, ["3 - a tab", "    error: late"]);
        // A process that was killed, one that ran nothing, and one that is not of one mind with itself.
        for (said, success) in
            [("== Clients\n", false), ("0 passed, 0 failed\n", true), (good, false)]
        {
            assert_eq!(summed(said, Part::Clients, success).failed, 1, "{said}");
        }
    }
}
