//! `cargo xtask test upgrade`: the services of the release before and ours, side by side on one database.
//!
//! `Cargo.toml` says which commit that release is, and its programs are built of the history of this checkout.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::outcome::Outcome;
use crate::project::{Project, run as run_command, said, shown, succeeds};
use crate::{Result, beside, servers, setup};

/// Before the commit, in `Cargo.toml`.
const KEY: &str = "previous-release = ";
/// Before each thing that was wrong, in what the trial prints.
const WRONG: &str = "wrong: ";

/// The part `upgrade` of `cargo xtask test`: that a release is named, and that nobody notices the upgrade from it.
pub(crate) fn check(project: &Project) -> Result<Outcome> {
    let commit = named(&fs::read_to_string(project.root.join("Cargo.toml"))?)?;
    let mut outcome = Outcome::passed();
    if let Some(why) = lacks(&project.root, &commit)? {
        let what = "upgrade: the services of the release before, side by side with ours";
        outcome.unchecked.push(format!("{what}: {why}"));
        return Ok(outcome);
    }
    setup::redis()?;
    let previous = beside::build(project, "previous", |below| export(project, &commit, below))?;
    project.build()?;
    let postgres = servers::postgres(project)?;
    let mut trial = project.command(project.debug().join("upgrade"));
    trial.arg("--previous").arg(previous);
    trial.env("LATCHKEY_TEST_POSTGRES", &postgres.url);
    trial.env("LATCHKEY_TEST_BIN_DIR", project.debug());
    println!("$ {}", shown(&trial));
    let ended = trial.stderr(Stdio::inherit()).output()?;
    let told = String::from_utf8_lossy(&ended.stdout);
    print!("the release before: {commit}\n{told}");
    if ended.status.success() {
        outcome.add(Outcome::passed());
    } else {
        outcome.add(Outcome::failed(format!("upgrade from {commit}: {}", ended.status)));
        let wrong = told.lines().filter(|line| line.starts_with(WRONG));
        outcome.failures.extend(wrong.map(|line| format!("    {line}")));
    }
    Ok(outcome)
}

/// The commit that the manifest of the workspace names.
fn named(manifest: &str) -> Result<String> {
    let value = manifest.lines().find_map(|line| line.strip_prefix(KEY)?.split('"').nth(1));
    let commit = value.ok_or_else(|| format!("Cargo.toml has no line that begins with {KEY}"))?;
    let is_whole = commit.len() == 40 && commit.bytes().all(|byte| byte.is_ascii_hexdigit());
    if !is_whole {
        return Err(
            format!("the previous-release in Cargo.toml is no whole commit: {commit}").into()
        );
    }
    Ok(commit.to_owned())
}

/// Why the programs of that commit cannot be built here; `None` where they can. An error where the checkout has
/// its history and the commit is not the release before.
fn lacks(root: &Path, commit: &str) -> Result<Option<String>> {
    let git = |arguments: &[&str]| {
        let mut git = Command::new("git");
        git.args(arguments).current_dir(root);
        git
    };
    // A copy without history may lie within somebody else's repository.
    let top = said(&mut git(&["rev-parse", "--show-toplevel"]));
    if !top.is_ok_and(|top| Path::new(top.trim()).canonicalize().ok() == root.canonicalize().ok()) {
        return Ok(Some("git finds no history of this directory".to_owned()));
    }
    let is_cut_off = said(&mut git(&["rev-parse", "--is-shallow-repository"]))?.trim() == "true"
        || said(&mut git(&["rev-list", "--count", "--max-count=2", "HEAD"]))?.trim() == "1";
    if !succeeds(&mut git(&["merge-base", "--is-ancestor", commit, "HEAD"])) {
        if is_cut_off {
            let how = "the history of this checkout does not go back to";
            return Ok(Some(format!("{how} {commit}; `git fetch --unshallow` brings it")));
        }
        return Err(format!(
            "{commit}, which Cargo.toml names as the release before, is no commit before this one"
        )
        .into());
    }
    // As soon as there are tags, the newest before this commit is the release before.
    if let Ok(tag) =
        said(&mut git(&["describe", "--tags", "--abbrev=0", "--match=v[0-9]*", "HEAD^"]))
    {
        let tag = tag.trim();
        let tagged = said(&mut git(&["rev-parse", &format!("{tag}^{{commit}}")]))?;
        if tagged.trim() != commit {
            return Err(format!(
                "the release before is {tag}: name {} in Cargo.toml",
                tagged.trim()
            )
            .into());
        }
    }
    Ok(None)
}

/// Puts the sources of a commit into a directory.
fn export(project: &Project, commit: &str, directory: &Path) -> Result {
    let archive = tempfile::NamedTempFile::new()?;
    let mut git = project.command("git");
    run_command(git.args(["archive", "--format=tar", "--output"]).arg(archive.path()).arg(commit))?;
    let mut tar = project.command("tar");
    run_command(
        tar.arg("--extract").arg("--file").arg(archive.path()).arg("--directory").arg(directory),
    )
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    /// A repository with so many commits, and what these are.
    fn repository(commits: usize) -> (tempfile::TempDir, Vec<String>) {
        let home = tempfile::tempdir().expect("a directory");
        git(home.path(), &["init", "--quiet"]);
        let made = (0..commits).map(|_| commit(home.path())).collect();
        (home, made)
    }

    fn git(root: &Path, arguments: &[&str]) -> String {
        let mut git = Command::new("git");
        git.args([
            "-c",
            "user.name=A",
            "-c",
            "user.email=a@example.com",
            "-c",
            "commit.gpgsign=false",
        ]);
        said(git.args(arguments).current_dir(root)).expect("git does it").trim().to_owned()
    }

    /// One like no other: two of the same second and words would be the same.
    fn commit(root: &Path) -> String {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let message = format!("Do something {}", NEXT.fetch_add(1, Ordering::Relaxed));
        git(root, &["commit", "--quiet", "--allow-empty", "--message", &message]);
        git(root, &["rev-parse", "HEAD"])
    }

    #[test]
    fn the_manifest_names_a_commit() {
        let manifest = concat!(env!("CARGO_MANIFEST_DIR"), "/../../Cargo.toml");
        named(&fs::read_to_string(manifest).expect("text")).expect("it names one");
        for bad in ["version = \"1\"", "previous-release = \"92a8182\"", "previous-release = 1"] {
            named(bad).expect_err(bad);
        }
    }

    #[test]
    fn a_commit_before_this_one_is_the_release_before_and_any_other_is_not() {
        let (home, made) = repository(3);
        let root = home.path();
        assert_eq!(lacks(root, &made[0]).expect("it is there"), None);
        lacks(root, &"0".repeat(40)).expect_err("nobody knows it");
        git(root, &["checkout", "--quiet", "-b", "other", &made[0]]);
        let aside = commit(root);
        lacks(root, &made[1]).expect_err("it is on another branch");
        assert_eq!(lacks(root, &made[0]).expect("it is there"), None);
        git(root, &["checkout", "--quiet", "--detach", &made[2]]);
        lacks(root, &aside).expect_err("it is on another branch");
    }

    #[test]
    fn the_newest_tag_is_the_release_before() {
        let (home, made) = repository(4);
        let root = home.path();
        git(root, &["tag", "v0.1.0", &made[0]]);
        git(root, &["tag", "nightly", &made[2]]);
        assert_eq!(lacks(root, &made[0]).expect("it is there"), None);
        lacks(root, &made[1]).expect_err("there is a tag");
        // What is about to be released itself was not released before.
        git(root, &["tag", "v0.2.0", &made[3]]);
        assert_eq!(lacks(root, &made[0]).expect("it is there"), None);
        commit(root);
        lacks(root, &made[0]).expect_err("there is a newer one");
        assert_eq!(lacks(root, &made[3]).expect("it is there"), None);
    }

    #[test]
    fn without_its_history_a_checkout_says_what_it_lacks() {
        let (home, made) = repository(4);
        let copies = tempfile::tempdir().expect("a directory");
        let of = format!("file://{}", home.path().display());
        git(copies.path(), &["clone", "--quiet", "--depth", "2", &of, "shallow"]);
        let why = lacks(&copies.path().join("shallow"), &made[0]).expect("not wrong");
        assert!(why.is_some_and(|why| why.contains("git fetch --unshallow")));
        let (new, own) = repository(1);
        let why = lacks(new.path(), &made[0]).expect("not wrong");
        assert!(why.is_some_and(|why| why.contains(&made[0])));
        assert_eq!(lacks(new.path(), &own[0]).expect("it is there"), None);
        // Unpacked within another repository, and in none.
        let within = home.path().join("unpacked");
        fs::create_dir(&within).expect("a directory");
        assert!(lacks(&within, &made[0]).expect("not wrong").is_some());
        assert!(lacks(copies.path(), &made[0]).expect("not wrong").is_some());
    }
}
