//! `cargo xtask test`: the parts, in an order in which each uses what the one before has built.
//!
//! Always the whole workspace: another selection would build dependencies again. That selection has
//! every feature that serves, because the packages in it ask for each other's; what is tested is
//! what runs.

use std::ffi::OsString;
use std::io::{BufRead as _, BufReader};
use std::process::{Command, ExitCode, Stdio};
use std::time::Instant;

use clap::ValueEnum;

use crate::outcome::Outcome;
use crate::project::{Project, run as run_command, shown, succeeds};
use crate::{Result, clients, compose, deny, faults, packages, schema, servers, setup};

/// One part of the tests.
#[derive(Clone, Copy, Debug, ValueEnum)]
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

/// Runs a part or all of them: one that fails does not hide what the others find.
pub(crate) fn run(project: &Project, part: Option<Part>, rest: &[OsString]) -> ExitCode {
    let all = Part::value_variants();
    let mut sum = Outcome::default();
    for part in part.as_ref().map_or(all, std::slice::from_ref) {
        println!("\n== {part:?}");
        let begun = Instant::now();
        let outcome = one(project, *part, rest).unwrap_or_else(|error| {
            eprintln!("{part:?} failed: {error}");
            Outcome::failed(format!("{part:?}: {error}"))
        });
        println!("== {part:?}: {} s", begun.elapsed().as_secs());
        sum.add(outcome);
    }
    println!();
    for what in &sum.unchecked {
        println!("NOT CHECKED: {what}");
    }
    if !sum.failures.is_empty() {
        println!("FAILED:\n{}", sum.failures.join("\n"));
    }
    println!("{} passed, {} failed", sum.passed, sum.failed);
    if sum.failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn one(project: &Project, part: Part, rest: &[OsString]) -> Result<Outcome> {
    match part {
        Part::Fmt => {
            component(project, "fmt", "rustfmt")?;
            run_command(project.cargo().args(["fmt", "--all", "--check"]))?;
        }
        Part::Compose => return compose::check(project),
        Part::Clippy => {
            component(project, "clippy", "clippy")?;
            for features in [&[][..], &["--features", "planted-bugs"]] {
                let mut clippy = project.cargo();
                clippy.args(["clippy", "--workspace"]).args(features);
                run_command(clippy.args(["--all-targets", "--", "-D", "warnings"]))?;
            }
        }
        Part::Rust => return rust(project, rest),
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
fn rust(project: &Project, rest: &[OsString]) -> Result<Outcome> {
    setup::curl()?;
    setup::redis()?;
    setup::proxies()?;
    let postgres = servers::postgres(project)?;
    run_command(project.cargo().args(["build", "--workspace", "--bins"]))?;
    let mut test = project.cargo();
    test.args(["test", "--workspace", "--no-fail-fast"]).args(rest);
    test.env("LATCHKEY_TEST_POSTGRES", &postgres.url);
    test.env("LATCHKEY_TEST_BIN_DIR", project.debug());
    count(&mut test)
}

/// Shows the output of `cargo test` and adds up what each binary reports.
fn count(test: &mut Command) -> Result<Outcome> {
    println!("$ {}", shown(test));
    let mut process = test.stdout(Stdio::piped()).spawn()?;
    let mut outcome = Outcome::default();
    let mut failing = false;
    if let Some(output) = process.stdout.take() {
        for line in BufReader::new(output).lines() {
            let line = line?;
            println!("{line}");
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
