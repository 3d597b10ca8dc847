//! A private Docker engine, held by a guard, and how programs are run beside it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::geteuid;

use super::debian::Debian;
use crate::Result;
use crate::guard::Guard;
use crate::project::{Project, succeeds};

/// The engine with its client, and what its network takes.
const PACKAGES: [&str; 14] = [
    "base-files",
    "base-passwd",
    "bash",
    "ca-certificates",
    "coreutils",
    "dash",
    "docker-buildx",
    "docker-cli",
    "docker-compose",
    "docker.io",
    "iproute2",
    "iptables",
    "mount",
    "slirp4netns",
];
/// In its network, the name server that asks this machine's.
const NAME_SERVER: &str = "nameserver 10.0.2.3\n";
const AUTHORITIES: &str = "etc/ssl/certs/ca-certificates.crt";
/// How long an engine may take to answer. It takes a second on a machine with nothing else to do.
const TIMEOUT: Duration = Duration::from_mins(2);
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// An engine that lives as long as this value at the most.
pub(super) struct Engine {
    guard: Guard,
    /// Its first process.
    pid: String,
    /// Its directory, which it sees as `/engine`.
    pub(super) home: PathBuf,
}

impl Engine {
    /// Starts one that sees the checkout as `/checkout`, and cannot write there.
    pub(super) fn start(project: &Project, cache: &Path, debian: &Debian) -> Result<Self> {
        possible()?;
        let root = debian.root("engine", &PACKAGES, |root| {
            for name in ["iptables", "ip6tables"] {
                let link = root.join("usr/sbin").join(name);
                std::os::unix::fs::symlink("xtables-nft-multi", link)?;
            }
            fs::write(root.join("etc/resolv.conf"), NAME_SERVER)?;
            // What this machine trusts, the engine trusts: it may have a registry of its own.
            let authorities = Path::new("/").join(AUTHORITIES);
            if authorities.exists() {
                fs::create_dir_all(root.join("etc/ssl/certs"))?;
                fs::copy(authorities, root.join(AUTHORITIES))?;
            }
            Ok(())
        })?;
        let arguments = ["engine".as_ref(), root.as_os_str(), cache.as_os_str()];
        let arguments = arguments.into_iter().chain([project.root.as_os_str()]);
        let guard = Guard::start(project, arguments, |_| {})?;
        let (pid, home) = guard.said().split_once(' ').ok_or("the guard did not say where")?;
        let (pid, home) = (pid.to_owned(), home.into());
        let mut engine = Self { guard, pid, home };
        engine.until_it_answers()?;
        Ok(engine)
    }

    fn until_it_answers(&mut self) -> Result {
        let begun = Instant::now();
        let mut address = self.inside("ip");
        address.args(["-4", "-o", "address", "show", "dev", "tap0"]);
        while !succeeds(self.docker().arg("version")) || address.output()?.stdout.is_empty() {
            if self.guard.has_ended() || begun.elapsed() > TIMEOUT {
                return Err(format!("the Docker engine does not start:\n{}", self.log()).into());
            }
            thread::sleep(LOOK_EVERY);
        }
        Ok(())
    }

    /// The last lines of what it said.
    fn log(&self) -> String {
        let log = fs::read_to_string(self.home.join("log")).unwrap_or_default();
        let network = fs::read_to_string(self.home.join("network")).unwrap_or_default();
        let lines: Vec<_> = log.lines().chain(network.lines()).collect();
        lines[lines.len().saturating_sub(20)..].join("\n")
    }

    /// A program of the engine's own root, in all its name spaces.
    pub(super) fn inside(&self, program: &str) -> Command {
        let mut command = Command::new("nsenter");
        command.args(["--target", &self.pid, "--mount", "--net", "--pid", program]);
        command.env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
        command.env("HOME", "/tmp").env("DOCKER_HOST", "unix:///run/docker.sock");
        command
    }

    /// The client.
    pub(super) fn docker(&self) -> Command {
        self.inside("docker")
    }

    /// A program of this machine, in the engine's network.
    pub(super) fn beside(&self, program: &str) -> Command {
        let mut command = Command::new("nsenter");
        command.args(["--target", &self.pid, "--net", program]);
        command
    }
}

/// Whether this machine can have one; otherwise why not.
fn possible() -> Result {
    let lacks = |what: &str| Err(format!("a Docker engine of its own needs {what}").into());
    if !geteuid().is_root() {
        return lacks("root: run this as root, or another part without it");
    }
    let systems = fs::read_to_string("/proc/filesystems")?;
    if !systems.lines().any(|line| line.trim_start_matches("nodev").trim() == "overlay") {
        return lacks("the file system `overlay` of the kernel");
    }
    if !Path::new("/dev/net/tun").exists() {
        return lacks("/dev/net/tun");
    }
    for program in ["unshare", "nsenter", "pivot_root"] {
        if !succeeds(Command::new(program).arg("--version")) {
            return lacks(&format!("`{program}` (Debian: util-linux)"));
        }
    }
    let mut spaces = Command::new("unshare");
    if !succeeds(
        spaces.args(["--mount", "--net", "--pid", "--fork", "mount", "-t", "tmpfs", "t", "/mnt"]),
    ) {
        return lacks("name spaces and mounts, which this machine refuses");
    }
    Ok(())
}
