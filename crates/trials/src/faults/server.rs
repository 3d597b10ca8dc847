//! The Postgres server as processes: killed, paused, and its log read.

#![expect(clippy::missing_panics_doc, reason = "panics where the server is not as it must be")]

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use testbed::database::{Database, SERVER};
use testbed::process::children;

/// The variable that names the data directory of the server. Whoever starts the server starts it
/// again whenever it ends.
pub const DATA: &str = "LATCHKEY_TEST_POSTGRES_DATA";

/// The server.
#[derive(Debug)]
pub struct Server {
    data: PathBuf,
    /// How long the log was at the start.
    log_begins: u64,
}

/// The server's processes, without the processor as long as the value lives.
#[derive(Debug)]
pub struct Paused(Vec<Pid>);

impl Drop for Paused {
    fn drop(&mut self) {
        for process in &self.0 {
            let _ = kill_process(*process, Signal::CONT);
        }
    }
}

impl Server {
    /// The one that [`DATA`] names.
    #[must_use]
    pub fn find() -> Self {
        let data = std::env::var_os(DATA).unwrap_or_else(|| {
            panic!("{DATA} names no directory beside {SERVER}: run `cargo xtask faults`")
        });
        let data = PathBuf::from(data);
        let log_begins = fs::metadata(log(&data)).map_or(0, |log| log.len());
        Self { data, log_begins }
    }

    /// Ends the postmaster as a power cut would; its children follow within moments.
    pub fn kill(&self) {
        if let Some(postmaster) = self.postmaster() {
            let _ = kill_process(postmaster, Signal::KILL);
        }
    }

    /// Stops every process of the server.
    #[must_use]
    pub fn pause(&self) -> Paused {
        let Some(postmaster) = self.postmaster() else { return Paused(Vec::new()) };
        // The parent first, so that there are no new ones.
        let _ = kill_process(postmaster, Signal::STOP);
        let mut all = children(postmaster);
        for child in &all {
            let _ = kill_process(*child, Signal::STOP);
        }
        all.push(postmaster);
        Paused(all)
    }

    /// Stops one of its processes, that serves a connection if there is one, by a number.
    #[must_use]
    pub fn pause_one(&self, number: usize) -> Paused {
        let all = self.postmaster().map(children).unwrap_or_default();
        let chosen = all.get(number % all.len().max(1)).copied();
        if let Some(process) = chosen {
            let _ = kill_process(process, Signal::STOP);
        }
        Paused(chosen.into_iter().collect())
    }

    /// Waits until it accepts connections again, and says whether it does.
    pub async fn accepts(&self, database: &Database) -> bool {
        let deadline = Instant::now() + Duration::from_secs(30);
        while Instant::now() < deadline {
            if database.answers().await {
                return true;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        false
    }

    /// The lines with `text` that the log has got since the start.
    #[must_use]
    pub fn logged(&self, text: &str) -> usize {
        let log = fs::read(log(&self.data)).unwrap_or_default();
        let begins = usize::try_from(self.log_begins).unwrap_or(0).min(log.len());
        let log = String::from_utf8_lossy(&log[begins..]);
        log.lines().filter(|line| line.contains(text)).count()
    }

    fn postmaster(&self) -> Option<Pid> {
        let text = fs::read_to_string(self.data.join("postmaster.pid")).ok()?;
        Pid::from_raw(text.lines().next()?.trim().parse().ok()?)
    }
}

fn log(data: &Path) -> PathBuf {
    data.with_file_name("log")
}
