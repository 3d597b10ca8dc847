//! `cargo xtask test`: the parts, in an order in which each uses what the one before has built.
//!
//! Tests of a system wait more than they work. So more of them run at once than there are processors, and
//! what only works (lints, documents) is done meanwhile, with what the tests leave of the processors.
//!
//! Always the whole workspace: another selection would build dependencies again. That selection has
//! every feature that serves, because the packages in it ask for each other's; what is tested is
//! what runs.

use std::ffi::OsString;
use std::io::{BufRead as _, BufReader};
use std::process::{Command, ExitCode, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Instant;

use clap::ValueEnum;

use crate::outcome::Outcome;
use crate::project::{Project, run as run_command, shown, succeeds};
use crate::{Result, clients, compose, deny, faults, packages, schema, servers, setup};

/// One part of the tests.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Part {
    /// Formatting.
    Fmt,
    /// Dockerfile, docker-compose.yml.
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
    /// Rustdoc without warnings.
    Doc,
    /// Licences, banned crates, advisories.
    Deny,
}

/// Before what a part could not check.
const UNCHECKED: &str = "NOT CHECKED: ";
/// What needs nothing of the tests and is not needed by them: done while they run.
const MEANWHILE: [Part; 3] = [Part::Clippy, Part::Doc, Part::Deny];
/// Tests that run at once, for each processor.
const THREADS: usize = 3;

/// Runs a part or all of them: one that fails does not hide what the others find.
pub(crate) fn run(project: &Project, part: Option<Part>, rest: &[OsString]) -> ExitCode {
    let mut sum = Outcome::default();
    if let Some(part) = part {
        sum.add(timed(project, part, rest, || ()));
    } else {
        // They share a directory that only one build at a time may use. It is free as soon as tests run.
        let (tests_run, begin) = mpsc::channel::<()>();
        thread::scope(|scope| {
            let meanwhile = scope.spawn(move || {
                let _ = begin.recv();
                MEANWHILE.map(|part| behind(project, part))
            });
            let mut tests_run = Some(tests_run);
            for part in Part::value_variants().iter().filter(|part| !MEANWHILE.contains(part)) {
                sum.add(timed(project, *part, rest, || drop(tests_run.take())));
                if *part == Part::Rust {
                    tests_run = None;
                }
            }
            match meanwhile.join() {
                Ok(outcomes) => outcomes.into_iter().for_each(|outcome| sum.add(outcome)),
                Err(_) => sum.add(Outcome::failed("lints and documents: a panic".to_owned())),
            }
        });
    }
    println!();
    for what in &sum.unchecked {
        println!("{UNCHECKED}{what}");
    }
    if !sum.failures.is_empty() {
        println!("FAILED:\n{}", sum.failures.join("\n"));
    }
    println!("{} passed, {} failed", sum.passed, sum.failed);
    if sum.failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Runs a part, says how long it took, and calls `tests_run` once its build is over if it is that of the
/// tests.
fn timed(project: &Project, part: Part, rest: &[OsString], tests_run: impl FnMut()) -> Outcome {
    println!("\n== {part:?}");
    let begun = Instant::now();
    let outcome = one(project, part, rest, tests_run).unwrap_or_else(|error| {
        eprintln!("{part:?} failed: {error}");
        Outcome::failed(format!("{part:?}: {error}"))
    });
    println!("== {part:?}: {} s", begun.elapsed().as_secs());
    outcome
}

/// Runs a part that is one check in a process of the lowest priority, and shows what it said at its end.
fn behind(project: &Project, part: Part) -> Outcome {
    let begun = Instant::now();
    let name = part.to_possible_value().map_or_else(String::new, |it| it.get_name().to_owned());
    let mut command = project.command("nice");
    command.args(["-n", "19"]).arg(&project.xtask).args(["test", &name]);
    let output = match command.stdin(Stdio::null()).output() {
        Ok(output) => output,
        Err(error) => return Outcome::failed(format!("{part:?}: {error}")),
    };
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    println!("\n== {part:?}, meanwhile\n{said}== {part:?}: {} s", begun.elapsed().as_secs());
    let mut outcome = if output.status.success() {
        Outcome::passed()
    } else {
        Outcome::failed(format!("{part:?}: {}; what it said is above", output.status))
    };
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
        Part::Compose => return compose::check(project),
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
        Part::Doc => {
            let mut doc = project.cargo();
            doc.args(["doc", "--workspace", "--no-deps"]).env("RUSTDOCFLAGS", "-Dwarnings");
            run_command(&mut doc)?;
        }
        Part::Deny => return deny::check(project),
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
    setup::proxies()?;
    let postgres = servers::postgres(project)?;
    run_command(project.cargo().args(["build", "--workspace", "--bins"]))?;
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
    let mut process = test.stdout(Stdio::piped()).spawn()?;
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
    // It does not build, or a binary died before it could report.
    if !status.success() && outcome.failed == 0 {
        outcome.add(Outcome::failed(format!("cargo test: {status}")));
    }
    Ok(outcome)
}

/// Of `---- a_test stdout ----`, after which comes what it said.
fn failure(line: &str) -> Option<&str> {
    line.strip_prefix("---- ")?.strip_suffix(" stdout ----")
}

/// Of `test result: ok. 3 passed; 0 failed; 0 ignored; …`
fn reported(line: &str) -> Option<(usize, usize)> {
    let (_, counts) = line.strip_prefix("test result: ")?.split_once(". ")?;
    let mut counts = counts.split("; ");
    let passed = counts.next()?.strip_suffix(" passed")?.parse().ok()?;
    let failed = counts.next()?.strip_suffix(" failed")?.parse().ok()?;
    Some((passed, failed))
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
}
