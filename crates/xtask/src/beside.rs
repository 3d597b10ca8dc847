//! The services built of other sources than ours, so that nothing of them is ever taken for ours.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::Result;
use crate::project::{Project, run as run_command, succeeds};

/// What is built.
pub(crate) const SERVICES: [&str; 2] = ["auth-service", "resource-service"];

/// Builds the services of the sources that `fill` puts into a directory, and says where they are. `name` says
/// which sources these are; all of it is kept below the directory of that name in `target`.
pub(crate) fn build(
    project: &Project,
    name: &str,
    fill: impl FnOnce(&Path) -> Result,
) -> Result<PathBuf> {
    let home = project.target.join(name);
    let (sources, built) = (home.join("sources"), home.join("built"));
    fs::create_dir_all(&sources)?;
    let fresh = tempfile::tempdir_in(&home)?;
    // Cargo tells crates of one name apart by where they lie below the top of their workspace, and by nothing
    // else. One step further down, what is built of the other sources is never taken for what is built of ours,
    // though both are kept in one directory.
    let below = fresh.path().join(name);
    fs::create_dir(&below)?;
    fill(&below)?;
    fs::rename(below.join("Cargo.lock"), fresh.path().join("Cargo.lock"))?;
    let manifest = fs::read_to_string(below.join("Cargo.toml"))?;
    fs::remove_file(below.join("Cargo.toml"))?;
    let manifest = manifest.replace("\"crates/", &format!("\"{name}/crates/"));
    fs::write(fresh.path().join("Cargo.toml"), manifest)?;
    replace(fresh.path(), &sources)?;

    // What is built of other people's crates is used again. Only the programs go elsewhere: where they
    // are built in the ordinary way, nothing of other sources ever lies.
    let mut cargo = project.cargo();
    cargo.args(["build", "--locked", "--workspace", "--target-dir"]).arg(&built);
    cargo.env("CARGO_BUILD_BUILD_DIR", &project.target).current_dir(&sources);
    // As ours has it for crates of others; what sources of before say of it would have all of them built anew.
    cargo.env("CARGO_PROFILE_DEV_DEBUG", "false");
    for name in SERVICES {
        cargo.args(["--bin", name]);
    }
    run_command(&mut cargo)?;
    let programs = built.join("debug");
    for service in SERVICES {
        // Where a program may panic, it has the path of the source.
        let path = format!("{name}/crates/{service}/src/");
        if !says(&programs.join(service), &path) || says(&project.debug().join(service), &path) {
            return Err(
                format!("the {service} of {name} and the ordinary one were mixed up").into()
            );
        }
    }
    Ok(programs)
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

/// Whether the text is in the program.
pub(crate) fn says(program: &Path, text: &str) -> bool {
    succeeds(Command::new("grep").args(["-q", "-a", "-F", text]).arg(program))
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
