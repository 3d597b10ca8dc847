//! The measurements of the `acceptance` crate, in a release build.

use std::ffi::OsString;
use std::process::Command;

use crate::project::{Project, run as run_command};
use crate::{Result, servers};

/// `cargo xtask growth`, on a server of its own, so that nobody else's snapshot is open.
pub(crate) fn growth(project: &Project, rest: &[OsString]) -> Result {
    let postgres = servers::postgres(project)?;
    run_command(program(project, "growth", rest).env("LATCHKEY_TEST_POSTGRES", &postgres.url))
}

/// `cargo xtask drill`, on whatever installation it is pointed at.
pub(crate) fn drill(project: &Project, rest: &[OsString]) -> Result {
    run_command(&mut program(project, "drill", rest))
}

fn program(project: &Project, name: &str, rest: &[OsString]) -> Command {
    let mut program = project.cargo();
    program.args(["run", "--release", "--package", "acceptance", "--bin", name, "--"]).args(rest);
    program
}
