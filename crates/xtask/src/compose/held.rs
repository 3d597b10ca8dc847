//! The guard's side of a private Docker engine: it starts it, and takes away whatever it left behind.
//!
//! The engine has name spaces of its own for mounts, network and processes. When its first process is killed, the
//! kernel kills all others in them, and the mounts and the network are gone with the last. So nothing of this
//! machine's network is changed, and runs do not disturb each other. What is left is a directory and control groups,
//! of a name that no other run has.

use std::fs::{self, File};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::Result;
use crate::hold::{released, say};

const SCRIPT: &str = include_str!("engine.sh");
/// How long the first process of the engine may take to say which one it is.
const TIMEOUT: Duration = Duration::from_secs(30);
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// Of a log, enough to tell why.
const LINES: usize = 20;
const CGROUPS: &str = "/sys/fs/cgroup";

/// What there is of an engine.
struct Held {
    home: TempDir,
    cgroup: String,
    /// `unshare`, which waits for the first process.
    engine: Option<Child>,
    /// The first process, by its number outside.
    first: Option<Pid>,
    /// The way out of its network.
    network: Option<Child>,
}

/// Starts an engine with the programs of `root`, says the number of its first process and its directory, and stays
/// until it has ended.
pub(crate) fn hold(root: &Path, cache: &Path, checkout: &Path) -> Result {
    let home = tempfile::Builder::new().prefix("engine-").tempdir_in(cache)?;
    let cgroup = format!("latchkey-{}", std::process::id());
    let mut held = Held { home, cgroup, engine: None, first: None, network: None };
    let first = held.start(root, checkout)?;
    let said = format!("{} {}", first.as_raw_nonzero(), held.home.path().display());
    let let_go = Arc::new(AtomicBool::new(false));
    let by_us = Arc::clone(&let_go);
    thread::spawn(move || {
        released();
        by_us.store(true, Ordering::Relaxed);
        let _ = kill_process(first, Signal::KILL);
    });
    say(&said);
    if let Some(engine) = &mut held.engine {
        engine.wait()?;
    }
    if let_go.load(Ordering::Relaxed) {
        return Ok(());
    }
    Err(format!("the Docker engine has ended:\n{}", held.log()).into())
}

impl Held {
    /// The last lines of what it said.
    fn log(&self) -> String {
        let log = fs::read_to_string(self.home.path().join("log")).unwrap_or_default();
        let lines: Vec<_> = log.lines().collect();
        lines[lines.len().saturating_sub(LINES)..].join("\n")
    }

    fn start(&mut self, root: &Path, checkout: &Path) -> Result<Pid> {
        let home = self.home.path();
        fs::create_dir(home.join("data"))?;
        let log = File::create(home.join("log"))?;
        let mut unshare = Command::new("unshare");
        unshare.args(["--mount", "--net", "--pid", "--ipc", "--uts", "--propagation", "private"]);
        unshare.args(["--fork", "--kill-child", "sh", "-c", SCRIPT, "engine"]);
        unshare.args([root, home, checkout]).arg(&self.cgroup);
        unshare.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        let engine = self.engine.insert(unshare.spawn()?);
        let begun = Instant::now();
        let first = loop {
            if let Ok(number) = fs::read_to_string(home.join("pid")) {
                break Pid::from_raw(number.trim().parse()?).ok_or("a process has a number")?;
            }
            if engine.try_wait()?.is_some() || begun.elapsed() > TIMEOUT {
                return Err(format!("name spaces cannot be made:\n{}", self.log()).into());
            }
            thread::sleep(LOOK_EVERY);
        };
        self.first = Some(first);
        // A program that passes on what comes out of that network, as if it were its own: nothing is routed.
        let mut network = Command::new("nsenter");
        network.args(["--mount", "--target", &first.as_raw_nonzero().to_string()]);
        network.args(["/usr/bin/slirp4netns", "--configure", "--disable-host-loopback"]);
        network.args(["--netns-type=path", "/proc/1/ns/net", "tap0"]);
        let log = File::create(home.join("network"))?;
        network.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        self.network = Some(network.spawn()?);
        Ok(first)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if let Some(first) = self.first {
            let _ = kill_process(first, Signal::KILL);
        }
        for process in [&mut self.engine, &mut self.network].into_iter().flatten() {
            let _ = process.kill();
            let _ = process.wait();
        }
        remove_groups(Path::new(CGROUPS), &self.cgroup);
    }
}

/// Those of a name: in each hierarchy, or at the top where there is one alone.
fn remove_groups(top: &Path, name: &str) {
    remove_group(&top.join(name));
    for entry in fs::read_dir(top).into_iter().flatten().flatten() {
        remove_group(&entry.path().join(name));
    }
}

/// A group is removed after those in it; its files go by themselves.
fn remove_group(group: &Path) {
    for entry in fs::read_dir(group).into_iter().flatten().flatten() {
        if entry.path().is_dir() {
            remove_group(&entry.path());
        }
    }
    let _ = fs::remove_dir(group);
}
