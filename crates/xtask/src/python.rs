//! Tools that are written in Python, each set in a place of its own for this checkout.

use std::path::PathBuf;

use crate::project::{Project, run, succeeds};
use crate::{Result, setup};

/// Where the programs are that come with `packages`, installed first if need be. Their versions are
/// in the place's name: another version is another place.
pub(crate) fn tools(project: &Project, packages: &[&str]) -> Result<PathBuf> {
    let place = project.tools().join(format!("python-{}", packages.join("-")));
    let (programs, complete) = (place.join("bin"), place.join("complete"));
    if complete.is_file() {
        return Ok(programs);
    }
    setup::python()?;
    run(project.command("python3").args(["-m", "venv", "--clear"]).arg(&place))?;
    let mut pip = project.command(programs.join("pip"));
    pip.args(["install", "--quiet", "--disable-pip-version-check", "--retries", "1"]);
    if !succeeds(pip.args(packages)) {
        let packages = packages.join(", ");
        return Err(
            format!("pip cannot install {packages}: it needs PyPI or a mirror of it").into()
        );
    }
    std::fs::write(complete, "")?;
    Ok(programs)
}
