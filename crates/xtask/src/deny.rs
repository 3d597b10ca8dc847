//! Dependencies: licences, banned crates, sources, advisories. `deny.toml` says what is wanted.

use std::process::Command;

use crate::Result;
use crate::outcome::Outcome;
use crate::project::{Project, run, succeeds};

/// Built for this checkout where there is none, once; without optimisation, which would take longer
/// than it saves.
const VERSION: &str = "0.20.2";

/// Runs cargo-deny. Without its advisory database, which is fetched anew each time, the rest.
pub(crate) fn check(project: &Project) -> Result<Outcome> {
    let mut outcome = Outcome::passed();
    if !succeeds(deny(project).arg("--version")) {
        println!("cargo-deny is missing: building it for this checkout, which takes minutes");
        let mut install = project.cargo();
        install.args([
            "install",
            "cargo-deny",
            "--locked",
            "--debug",
            "--version",
            VERSION,
            "--root",
        ]);
        install.arg(project.tools()).env("CARGO_PROFILE_DEV_DEBUG", "false");
        run(&mut install)?;
    }
    let mut check = deny(project);
    check.arg("check");
    if !succeeds(deny(project).args(["fetch", "db"])) {
        let why = "security advisories: their database cannot be fetched from here";
        outcome.unchecked.push(why.to_owned());
        check.args(["bans", "licenses", "sources"]);
    }
    run(&mut check)?;
    Ok(outcome)
}

/// Ours if there is one, else the user's.
fn deny(project: &Project) -> Command {
    let ours = project.tools().join("bin/cargo-deny");
    if ours.is_file() { project.command(ours) } else { project.command("cargo-deny") }
}
