//! The services with bugs in them, which the fault harness must catch.
//!
//! Each bug is a patch below `crates/trials/planted`, and nothing of it is in the sources. All are applied
//! together to a copy of the sources, so that there is one build for all of them; each sleeps until
//! a variable names it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::project::{Project, run as run_command};
use crate::{Result, beside};

/// The variable that names the bug that is awake.
pub(crate) const BUG: &str = "LATCHKEY_PLANTED_BUG";
const PATCHES: &str = "crates/trials/planted";
/// Asks for the variable, and is applied first.
const AWAKE: &str = "0-awake";

/// The bugs by the names of their patches.
pub(crate) fn bugs(project: &Project) -> Result<Vec<String>> {
    let patches = patches(project)?;
    let names = patches.iter().filter_map(|patch| patch.file_stem()?.to_str());
    let bugs: Vec<_> = names.filter(|name| *name != AWAKE).map(str::to_owned).collect();
    if bugs.is_empty() { Err(format!("there is no bug in {PATCHES}").into()) } else { Ok(bugs) }
}

/// Builds the services with every bug in them, asleep, and says where they are.
pub(crate) fn build(project: &Project) -> Result<PathBuf> {
    let programs = beside::build(project, "planted", |below| {
        for path in read_by_a_build(project)? {
            copy(&project.root.join(&path), &below.join(&path))?;
        }
        run_command(apply(below).args(patches(project)?))
    })?;
    for name in beside::SERVICES {
        let asks = |programs: &Path| beside::says(&programs.join(name), BUG);
        if !asks(&programs) || asks(&project.debug()) {
            return Err(format!("the planted and the ordinary {name} were mixed up").into());
        }
    }
    Ok(programs)
}

/// All of them, in their order.
fn patches(project: &Project) -> Result<Vec<PathBuf>> {
    let mut patches = Vec::new();
    for entry in fs::read_dir(project.root.join(PATCHES))? {
        let path = entry?.path();
        if path.extension().is_some_and(|it| it == "patch") {
            patches.push(path);
        }
    }
    patches.sort();
    Ok(patches)
}

/// What an image is built from too: the exceptions of .dockerignore.
fn read_by_a_build(project: &Project) -> Result<Vec<String>> {
    let text = fs::read_to_string(project.root.join(".dockerignore"))?;
    Ok(text.lines().filter_map(|line| line.strip_prefix('!')).map(str::to_owned).collect())
}

/// `git apply` in a directory that belongs to no repository, also where it lies within one.
fn apply(directory: &Path) -> Command {
    let mut command = Command::new("git");
    command.arg("apply").current_dir(directory);
    command.env("GIT_CEILING_DIRECTORIES", directory.parent().unwrap_or(directory));
    command
}

fn copy(from: &Path, to: &Path) -> Result {
    if from.is_file() {
        fs::create_dir_all(to.parent().unwrap_or(to))?;
        fs::copy(from, to)?;
        return Ok(());
    }
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        copy(&entry.path(), &to.join(entry.file_name()))?;
    }
    Ok(())
}
