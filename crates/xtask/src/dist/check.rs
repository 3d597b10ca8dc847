//! `cargo xtask test dist`: the Debian package, installed and run in a fresh root.
//!
//! It is made of the programs that tests run, because a build of the `dist` profile takes many minutes; by the same
//! code and with the same files otherwise.

use std::fs;
use std::path::PathBuf;

use rustix::process::geteuid;

use super::{Release, VERSION};
use crate::outcome::Outcome;
use crate::project::{Project, run, said};
use crate::{Result, setup};

const INSTALL: &str = include_str!("install.sh");
/// What the package depends on, besides what every Debian has. A root with other packages is another root.
const NEEDED: [&str; 2] = ["adduser", "ca-certificates"];
/// Before each check of the script that passed.
const PASSED: &str = "ok: ";

/// Makes everything but images, installs, runs, upgrades, removes and purges.
pub(crate) fn check(project: &Project) -> Result<Outcome> {
    project.build()?;
    let directory = tempfile::tempdir_in(&project.target)?;
    let release = Release::of(project, &project.debug(), &directory.path().join("artefacts"))?;
    release.tarball()?;
    release.sboms()?;
    let package = release.debian_package(VERSION)?;
    let newer = release.debian_package(&format!("{VERSION}+next"))?;
    release.checksums()?;
    release.show()?;
    let mut outcome = Outcome::passed();
    if !geteuid().is_root() {
        outcome.unchecked.push("dist: the package in a fresh root, which takes root".to_owned());
        return Ok(outcome);
    }

    setup::fresh_root()?;
    setup::curl()?;
    let base = base(project)?;
    let root = directory.path().join("root");
    fs::create_dir(&root)?;
    // All of it ends with this process: the kernel kills `unshare`, and that its first process, and that all others.
    let mut install = project.command("setpriv");
    install.args(["--pdeathsig", "KILL", "unshare", "--mount", "--net", "--pid", "--fork"]);
    install.args(["--kill-child", "sh", "-c", INSTALL, "install"]);
    let output =
        install.arg(base).arg(root).arg(package).arg(newer).arg(&release.place).output()?;
    let (lines, errors) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    print!("{lines}{errors}");
    outcome.passed += lines.lines().filter(|line| line.starts_with(PASSED)).count();
    if !output.status.success() {
        let said = lines.lines().skip_while(|line| !line.starts_with("FAILED: "));
        let said = said.map(str::to_owned).collect::<Vec<_>>().join("\n");
        outcome.add(Outcome::failed(format!("the package in a fresh root: {said}{errors}")));
    }
    Ok(outcome)
}

/// The smallest Debian that a package can be installed in, of this machine's own release: made once.
fn base(project: &Project) -> Result<PathBuf> {
    let release =
        said(project.command("sh").args(["-c", ". /etc/os-release; echo $VERSION_CODENAME"]))?;
    let release = release.trim();
    let base = project.tools().join(format!("root-{release}-{}", NEEDED.join("-")));
    if base.exists() {
        return Ok(base);
    }
    fs::create_dir_all(project.tools())?;
    let unfinished = project.tools().join("root-unfinished");
    if unfinished.exists() {
        fs::remove_dir_all(&unfinished)?;
    }
    // From where this machine has its own packages, which may be the only place that it reaches.
    let mut targets = project.command("apt-get");
    targets.args(["indextargets", "--format", "$(RELEASE) $(REPO_URI)", "Created-By: Packages"]);
    let targets = said(&mut targets)?;
    let place = targets.lines().find_map(|line| line.strip_prefix(&format!("{release} ")));
    // It mounts in the root while it works: gone with its namespace, also when it fails.
    let mut make = project.command("unshare");
    make.args([
        "--mount",
        "debootstrap",
        "--variant=minbase",
        "--include",
        &NEEDED.join(","),
        release,
    ]);
    run(make.arg(&unfinished).args(place.filter(|place| place.starts_with("http"))))?;
    fs::rename(&unfinished, &base)?;
    Ok(base)
}
