//! The measurements of the `trials` crate, in a release build.

use std::ffi::OsString;
use std::process::Command;

use crate::project::{Project, run as run_command};
use crate::{Result, servers, setup};

/// `cargo xtask growth`, on a server of its own, so that nobody else's snapshot is open.
pub(crate) fn growth(project: &Project, rest: &[OsString]) -> Result {
    on_a_server_of_its_own(project, "growth", rest)
}

/// `cargo xtask promises`, likewise.
pub(crate) fn promises(project: &Project, rest: &[OsString]) -> Result {
    setup::redis()?;
    on_a_server_of_its_own(project, "promises", rest)
}

/// `cargo xtask rotations`, likewise.
pub(crate) fn rotations(project: &Project, rest: &[OsString]) -> Result {
    on_a_server_of_its_own(project, "rotations", rest)
}

/// `cargo xtask guessing`, likewise.
pub(crate) fn guessing(project: &Project, rest: &[OsString]) -> Result {
    on_a_server_of_its_own(project, "guessing", rest)
}

/// `cargo xtask overload`, likewise.
pub(crate) fn overload(project: &Project, rest: &[OsString]) -> Result {
    setup::redis()?;
    on_a_server_of_its_own(project, "overload", rest)
}

/// `cargo xtask drill`, on whatever installation it is pointed at.
pub(crate) fn drill(project: &Project, rest: &[OsString]) -> Result {
    run_command(&mut program(project, "drill", rest)?)
}

fn on_a_server_of_its_own(project: &Project, name: &str, rest: &[OsString]) -> Result {
    let mut program = program(project, name, rest)?;
    let postgres = servers::postgres(project)?;
    run_command(program.env("LATCHKEY_TEST_POSTGRES", &postgres.url))
}

/// With the services beside it, which some of them start.
fn program(project: &Project, name: &str, rest: &[OsString]) -> Result<Command> {
    run_command(project.cargo().args(["build", "--release", "--workspace", "--bins"]))?;
    let programs = project.target.join("release");
    let mut program = project.command(programs.join(name));
    program.args(rest).env("LATCHKEY_TEST_BIN_DIR", programs);
    Ok(program)
}
