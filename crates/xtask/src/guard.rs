//! Servers that end when this process ends, however it ends.
//!
//! A second xtask, the guard, starts the server and then reads its standard input, a pipe whose
//! other end only we hold. When we return, panic, are interrupted or are killed, the kernel closes
//! that end; the guard sees it, ends the server by its pid and removes its directory. The guard is
//! in a process group of its own, so that Ctrl-C does not end it before its work is done.

use std::ffi::OsString;
use std::io::{self, BufRead as _, BufReader, Write as _};
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use clap::Subcommand;
use rustix::process::{Pid, Signal, kill_process};

use crate::project::Project;
use crate::{Result, servers};

/// How long a server may take to end by itself.
const PATIENCE: Duration = Duration::from_secs(10);
/// Between two looks at a server that is started again whenever it has ended, and therefore between
/// two starts: the first ones fail while the memory of the server that was killed is still held.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// What a guard can hold.
#[derive(Subcommand)]
pub(crate) enum Held {
    /// A private Postgres; says its URL and, after a space, its data directory.
    Postgres {
        /// Where its programs are.
        programs: PathBuf,
        /// Start it again whenever it ends by itself: it is killed on purpose.
        #[arg(long)]
        again: bool,
    },
    /// Any program; says its pid.
    Program {
        /// The program and its arguments.
        #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
        line: Vec<OsString>,
    },
}

/// A server that lives as long as this value at the most.
pub(crate) struct Guard {
    process: Child,
    said: String,
}

impl Guard {
    /// Starts a guard. `arguments` are those of a [`Held`]; `adjust` sees the command before it
    /// runs, and the server inherits its environment and directory.
    pub(crate) fn start<I, A>(
        project: &Project,
        arguments: I,
        adjust: impl FnOnce(&mut Command),
    ) -> Result<Self>
    where
        I: IntoIterator<Item = A>,
        A: Into<OsString>,
    {
        let mut command = Command::new(&project.xtask);
        command.arg("hold").args(arguments.into_iter().map(Into::into));
        adjust(&mut command);
        let piped = command.stdin(Stdio::piped()).stdout(Stdio::piped()).process_group(0);
        let mut guard = Self { process: piped.spawn()?, said: String::new() };
        if let Some(output) = guard.process.stdout.take() {
            BufReader::new(output).read_line(&mut guard.said)?;
        }
        // Why not, the guard has written to standard error.
        if guard.said.is_empty() { Err("a server could not be started".into()) } else { Ok(guard) }
    }

    /// What the guard said once the server was started: where it is, or its pid.
    pub(crate) fn said(&self) -> &str {
        self.said.trim_end()
    }

    /// Whether the server has ended by itself.
    pub(crate) fn has_ended(&mut self) -> bool {
        self.process.try_wait().is_ok_and(|status| status.is_some())
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        drop(self.process.stdin.take());
        let _ = self.process.wait();
    }
}

/// The guard's side: starts what is to be held, says so, and stays until it has ended.
pub(crate) fn hold(held: Held) -> Result {
    match held {
        Held::Postgres { programs, again } => {
            let mut postgres = servers::Postgres::start(&programs)?;
            let said = format!("{} {}", postgres.url(), postgres.data().display());
            if again {
                again_until_released(&mut postgres, &said)
            } else {
                until_released(&mut postgres.process, &said)
            }
            // Here the directory is removed.
        }
        Held::Program { line } => {
            let (program, arguments) = line.split_first().ok_or("no program")?;
            let mut command = Command::new(program);
            command.args(arguments).stdin(Stdio::null()).stdout(Stdio::null());
            let started = command.spawn();
            let mut process = started.map_err(|error| format!("{}: {error}", program.display()))?;
            let pid = process.id().to_string();
            until_released(&mut process, &pid)
        }
    }
}

fn until_released(process: &mut Child, said: &str) -> Result {
    let pid = Pid::from_child(process);
    thread::spawn(move || {
        released();
        let _ = kill_process(pid, Signal::INT);
        thread::sleep(PATIENCE);
        let _ = kill_process(pid, Signal::KILL);
    });
    say(said);
    process.wait()?;
    Ok(())
}

/// Which process it is changes, so it is ended by whoever waits for it.
fn again_until_released(postgres: &mut servers::Postgres, said: &str) -> Result {
    let (held, release) = mpsc::channel::<()>();
    thread::spawn(move || {
        released();
        drop(held);
    });
    say(said);
    while release.recv_timeout(LOOK_EVERY) == Err(RecvTimeoutError::Timeout) {
        if postgres.process.try_wait()?.is_some() {
            postgres.spawn()?;
        }
    }
    let pid = Pid::from_child(&postgres.process);
    let deadline = Instant::now() + PATIENCE;
    let _ = kill_process(pid, Signal::INT);
    // It may have been paused on purpose, and then hears nothing.
    let _ = kill_process(pid, Signal::CONT);
    while postgres.process.try_wait()?.is_none() && Instant::now() < deadline {
        thread::sleep(LOOK_EVERY);
    }
    let _ = postgres.process.kill();
    postgres.process.wait()?;
    Ok(())
}

/// Returns when the one who started us is gone.
fn released() {
    let _ = io::copy(&mut io::stdin().lock(), &mut io::sink());
}

/// Nobody may be there to hear it any more: then the pipe is closed, which [`released`] sees.
fn say(what: &str) {
    let _ = writeln!(io::stdout(), "{what}");
}
