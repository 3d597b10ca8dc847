//! `cargo xtask growth`: many refreshes, and what they do to the table.

use std::ffi::OsString;

use crate::project::{Project, run as run_command};
use crate::{Result, servers};

/// On a server of its own, so that nobody else's snapshot is open.
pub(crate) fn run(project: &Project, rest: &[OsString]) -> Result {
    let postgres = servers::postgres(project)?;
    let mut growth = project.cargo();
    growth
        .args(["run", "--release", "--package", "acceptance", "--bin", "growth", "--"])
        .args(rest);
    growth.env("LATCHKEY_TEST_POSTGRES", postgres.said());
    run_command(&mut growth)
}
