//! The libraries as their users get them: in workspaces outside of this one, by path, from a copy inside
//! such a workspace, by git, and as the packages that would be published.
//!
//! Everything is built from the files as they are here, committed or not, offline, and with the versions
//! of our Cargo.lock in our target directory: so what all of them need is built once.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

use crate::Result;
use crate::outcome::Outcome;
use crate::project::{Project, run, said};

/// What users name; it brings the others along.
const LIBRARY: &str = "latchkey-verifier";
const PACKAGES: [&str; 3] = ["latchkey-claims", "latchkey-problem", LIBRARY];

/// How many crates a user may need who follows keys and revocations.
const MAX_CRATES: usize = 130;

/// Who uses it: a name, the features, what else is needed, and the heading in the library's README above
/// the program.
const USERS: [(&str, &str, &str, Option<&str>); 3] = [
    (
        "on-actix",
        r#""actix", "follow""#,
        r#"actix-web = { version = "4", default-features = false, features = ["macros"] }"#,
        Some("## actix-web"),
    ),
    (
        "on-axum",
        r#""axum", "follow""#,
        "axum = { version = \"0.8\", default-features = false, features = [\"http1\", \"tokio\"] }\n\
         tokio = { version = \"1\", features = [\"macros\", \"net\", \"rt-multi-thread\"] }",
        Some("## axum"),
    ),
    ("follower", r#""follow""#, "", None),
];

/// Builds each user in each way, and counts crates.
pub(crate) fn check(project: &Project) -> Result<Outcome> {
    let directory = tempfile::tempdir()?;
    let at = |name: &str| directory.path().join(name);
    let mut outcome = Outcome::default();

    let beside = at("beside");
    let path = project.root.join("crates/verifier");
    workspace(project, &beside, &format!("path = \"{}\"", path.display()), "")?;
    build(project, &beside)?;
    outcome.add(Outcome::passed());
    outcome.add(count(project, &beside)?);

    let around = at("around");
    copy(project, &around.join("latchkey"))?;
    workspace(project, &around, r#"path = "../latchkey/crates/verifier""#, "")?;
    build(project, &around)?;
    outcome.add(Outcome::passed());

    let name = directory.path().file_name().ok_or("a directory has a name")?;
    let name = format!("latchkey-{}", name.to_string_lossy().trim_start_matches('.'));
    let (repository, elsewhere) = (at(&name), at("elsewhere"));
    copy(project, &repository)?;
    let source = commit(&repository)?;
    workspace(project, &elsewhere, &format!("git = \"file://{}\"", repository.display()), "")?;
    // With everything locked, cargo asks no registry. It fetches what is said to be elsewhere by git, so
    // it may not be offline.
    let lock = fs::read_to_string(beside.join("Cargo.lock"))?;
    fs::write(elsewhere.join("Cargo.lock"), locked(&lock, &source))?;
    let fetched = Fetched { home: home()?, name };
    let mut check = cargo(project, &elsewhere);
    run(check.args(["check", "--locked", "--quiet", "--workspace"]))?;
    drop(fetched);
    outcome.add(Outcome::passed());

    let (packed, published) = (at("packed"), at("published"));
    let patches = pack(project, &packed)?;
    workspace(project, &published, r#"version = "0.1""#, &patches)?;
    build(project, &published)?;
    outcome.add(Outcome::passed());
    Ok(outcome)
}

/// A workspace of all users, who find the library by `source`.
fn workspace(project: &Project, at: &Path, source: &str, patches: &str) -> Result {
    let members: Vec<_> = USERS.iter().map(|(name, ..)| format!("{name:?}")).collect();
    let members = members.join(", ");
    fs::create_dir_all(at)?;
    fs::copy(project.root.join("Cargo.lock"), at.join("Cargo.lock"))?;
    fs::write(
        at.join("Cargo.toml"),
        format!("[workspace]\nresolver = \"3\"\nmembers = [{members}]\n\n{patches}"),
    )?;
    let readme = fs::read_to_string(project.root.join("crates/verifier/README.md"))?;
    for (name, features, others, heading) in USERS {
        let sources = at.join(name).join("src");
        fs::create_dir_all(&sources)?;
        let manifest = format!(
            "[package]\nname = {name:?}\nversion = \"1.0.0\"\nedition = \"2024\"\n\n[dependencies]\n\
             {LIBRARY} = {{ {source}, features = [{features}] }}\n{others}\n"
        );
        fs::write(at.join(name).join("Cargo.toml"), manifest)?;
        let code = match heading {
            Some(heading) => program(&readme, heading).ok_or(heading)?,
            None => "pub use latchkey_verifier::follow::follow;\nfn main() {}\n",
        };
        fs::write(sources.join("main.rs"), code)?;
    }
    Ok(())
}

/// The Rust program below a heading.
fn program<'a>(readme: &'a str, heading: &str) -> Option<&'a str> {
    let (_, below) = readme.split_once(&format!("\n{heading}\n"))?;
    let (_, code) = below.split_once("\n```rust,no_run\n")?;
    code.split_once("\n```").map(|(code, _)| code)
}

fn build(project: &Project, workspace: &Path) -> Result {
    let mut check = cargo(project, workspace);
    run(check.args(["check", "--offline", "--quiet", "--workspace"]))
}

/// A cargo of another workspace, which builds in our target directory. What both need is built once only where the
/// profile is the same, C libraries too.
fn cargo(project: &Project, workspace: &Path) -> Command {
    let mut cargo = project.cargo();
    cargo.current_dir(workspace).env("CARGO_TARGET_DIR", &project.target);
    cargo.env("CARGO_PROFILE_DEV_DEBUG", "false");
    cargo
}

/// How many crates each user is built from, besides itself.
fn count(project: &Project, workspace: &Path) -> Result<Outcome> {
    let mut outcome = Outcome::passed();
    for (name, ..) in USERS {
        let mut tree = cargo(project, workspace);
        tree.args(["tree", "--offline", "-e", "normal", "--prefix", "none", "-p", name]);
        let output = said(&mut tree)?;
        // Of `name v1.0.0 (proc-macro) (*)`.
        let crates: BTreeSet<_> =
            output.lines().filter_map(|line| line.split(" (").next()).collect();
        let count = crates.len() - 1;
        println!("{name} is built from {count} crates");
        if name == "follower" && count > MAX_CRATES {
            let how = format!("a user with `follow` needs {count} crates; at most {MAX_CRATES}");
            outcome = Outcome::failed(how);
        }
    }
    Ok(outcome)
}

/// The files of this checkout that git knows or would know.
fn copy(project: &Project, to: &Path) -> Result {
    let mut list = project.command("git");
    list.args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"]);
    for name in said(&mut list)?.split('\0').filter(|name| !name.is_empty()) {
        let from = project.root.join(name);
        // Of a file that was removed and is not committed, git knows still.
        if from.is_file() {
            let to = to.join(name);
            fs::create_dir_all(to.parent().ok_or("a file is in a directory")?)?;
            fs::copy(from, to)?;
        }
    }
    Ok(())
}

/// Makes a repository of a directory: what a Cargo.lock calls it.
fn commit(directory: &Path) -> Result<String> {
    let who = ["-c", "user.name=xtask", "-c", "user.email=xtask@example.org"];
    for arguments in
        [&["init", "--quiet"][..], &["add", "--all"], &["commit", "--quiet", "-m", "."]]
    {
        run(Command::new("git").current_dir(directory).args(who).args(arguments))?;
    }
    let commit = said(Command::new("git").current_dir(directory).args(["rev-parse", "HEAD"]))?;
    Ok(format!("git+file://{}#{}", directory.display(), commit.trim()))
}

/// A Cargo.lock in which the libraries are from `source`.
fn locked(lock: &str, source: &str) -> String {
    PACKAGES.iter().fold(lock.to_owned(), |lock, name| {
        let package = format!("name = \"{name}\"\nversion = \"0.1.0\"\n");
        lock.replace(&package, &format!("{package}source = \"{source}\"\n"))
    })
}

/// What cargo fetches from a repository of ours into its home, gone with the value. A home of its own would cost
/// minutes: for cargo, crates of others would lie elsewhere, and be built anew, twice.
struct Fetched {
    home: PathBuf,
    /// The last part of the repository's path.
    name: String,
}

impl Drop for Fetched {
    fn drop(&mut self) {
        for place in ["git/db", "git/checkouts"] {
            let Ok(entries) = fs::read_dir(self.home.join(place)) else { continue };
            let prefix = format!("{}-", self.name);
            let ours = |it: &fs::DirEntry| it.file_name().to_string_lossy().starts_with(&prefix);
            for entry in entries.flatten().filter(ours) {
                let _ = fs::remove_dir_all(entry.path());
            }
        }
    }
}

/// Where cargo keeps what it fetched.
fn home() -> Result<PathBuf> {
    let home = env::var_os("CARGO_HOME").map(PathBuf::from);
    let home = home.or_else(|| env::home_dir().map(|home| home.join(".cargo")));
    home.ok_or_else(|| "cargo has a home".into())
}

/// Packs all libraries with one call and unpacks them: the part of a manifest that makes cargo find them
/// there and not in the registry. Cargo would verify them by building everything once more.
fn pack(project: &Project, to: &Path) -> Result<String> {
    let mut package = project.cargo();
    package.args([
        "package",
        "--offline",
        "--allow-dirty",
        "--no-verify",
        "--quiet",
        "--target-dir",
    ]);
    package.arg(to);
    for name in PACKAGES {
        package.args(["-p", name]);
    }
    run(&mut package)?;
    let packages = to.join("package");
    let mut patches = "[patch.crates-io]\n".to_owned();
    for name in PACKAGES {
        let mut tar = Command::new("tar");
        tar.current_dir(&packages).arg("xzf").arg(format!("{name}-0.1.0.crate"));
        run(&mut tar)?;
        let unpacked = packages.join(format!("{name}-0.1.0"));
        for file in ["README.md", "LICENSE-APACHE", "LICENSE-MIT"] {
            if !unpacked.join(file).is_file() {
                return Err(format!("the package {name} has no {file}").into());
            }
        }
        patches.extend([name, " = { path = \"", &unpacked.display().to_string(), "\" }\n"]);
    }
    Ok(patches)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_is_found_below_its_heading() {
        let readme = "a\n## one\n\n```toml\nx\n```\n\n```rust,no_run\nfn one() {}\n```\n\n## two\n";
        assert_eq!(program(readme, "## one"), Some("fn one() {}"));
        assert_eq!(program(readme, "## two"), None);
    }
}
