//! The services with bugs in them, which the fault harness must catch.
//!
//! Each bug is a patch below `crates/trials/planted`, and nothing of it is in the sources. All are applied
//! together to a copy of the sources, so that there is one build for all of them; each sleeps until
//! a variable names it.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::Result;
use crate::project::{Project, run as run_command, succeeds};

/// The variable that names the bug that is awake.
pub(crate) const BUG: &str = "LATCHKEY_PLANTED_BUG";
const SERVICES: [&str; 2] = ["auth-service", "resource-service"];
const PATCHES: &str = "crates/trials/planted";
/// Where the crates lie in the copy, from the top of its workspace.
const BELOW: &str = "planted";
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
    let home = project.target.join("planted");
    let (sources, built) = (home.join("sources"), home.join("built"));
    fs::create_dir_all(&sources)?;
    let fresh = tempfile::tempdir_in(&home)?;
    // Cargo tells crates of one name apart by where they lie below the top of their workspace, and by nothing
    // else. One step further down, what is built of the copy is never taken for what is built of the
    // sources, though both are kept in one directory.
    let below = fresh.path().join(BELOW);
    for path in read_by_a_build(project)? {
        copy(&project.root.join(&path), &below.join(&path))?;
    }
    run_command(apply(&below).args(patches(project)?))?;
    fs::rename(below.join("Cargo.lock"), fresh.path().join("Cargo.lock"))?;
    let manifest = fs::read_to_string(below.join("Cargo.toml"))?;
    fs::remove_file(below.join("Cargo.toml"))?;
    let manifest = manifest.replace("\"crates/", &format!("\"{BELOW}/crates/"));
    fs::write(fresh.path().join("Cargo.toml"), manifest)?;
    replace(fresh.path(), &sources)?;

    // What is built of other people's crates is used again. Only the programs go elsewhere: where they
    // are built in the ordinary way, nothing with a bug in it ever lies.
    let mut cargo = project.cargo();
    cargo.args(["build", "--locked", "--workspace", "--target-dir"]).arg(&built);
    cargo.env("CARGO_BUILD_BUILD_DIR", &project.target).current_dir(&sources);
    for name in SERVICES {
        cargo.args(["--bin", name]);
    }
    run_command(&mut cargo)?;
    let programs = built.join("debug");
    for name in SERVICES {
        if !asks_for_bugs(&programs.join(name)) || asks_for_bugs(&project.debug().join(name)) {
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

/// Makes `to` what `from` is. A file that is the same stays as it is, and what was built of it stays good.
fn replace(from: &Path, to: &Path) -> Result {
    fs::create_dir_all(to)?;
    let mut names = BTreeSet::new();
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let (source, target) = (entry.path(), to.join(entry.file_name()));
        if source.is_dir() {
            replace(&source, &target)?;
        } else if fs::read(&target).ok() != Some(fs::read(&source)?) {
            fs::copy(&source, &target)?;
        }
        names.insert(entry.file_name());
    }
    for entry in fs::read_dir(to)? {
        let entry = entry?;
        if names.contains(&entry.file_name()) {
            continue;
        }
        if entry.path().is_dir() {
            fs::remove_dir_all(entry.path())?;
        } else {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

/// Whether the name of the variable is in the program.
fn asks_for_bugs(program: &Path) -> bool {
    succeeds(Command::new("grep").args(["-q", "-a", "-F", BUG]).arg(program))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_changed_is_written_again() {
        let home = tempfile::tempdir().expect("a directory");
        let (from, to) = (home.path().join("from"), home.path().join("to"));
        let write = |path: &Path, text: &str| {
            fs::create_dir_all(path.parent().expect("a parent")).expect("a directory");
            fs::write(path, text).expect("a file");
        };
        write(&from.join("same/a.rs"), "a");
        write(&from.join("b.rs"), "new");
        write(&to.join("same/a.rs"), "a");
        write(&to.join("b.rs"), "old");
        write(&to.join("gone/c.rs"), "c");
        let changed = |path: &str| fs::metadata(to.join(path)).and_then(|it| it.modified());
        let before = changed("same/a.rs").expect("a time");
        replace(&from, &to).expect("it can be done");
        assert_eq!(changed("same/a.rs").expect("a time"), before);
        assert_eq!(fs::read_to_string(to.join("b.rs")).expect("text"), "new");
        assert!(!to.join("gone").exists());
    }
}
