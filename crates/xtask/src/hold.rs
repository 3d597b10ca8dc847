//! The guard's side: a process that holds a server for another one, and ends it with that.

use std::ffi::OsString;
use std::io::{self, Write as _};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use clap::Subcommand;
use rustix::process::{Pid, Signal, kill_process};

use crate::postgres::Postgres;
use crate::{Result, compose};

/// How long a server may take to end by itself.
const TIMEOUT: Duration = Duration::from_secs(10);
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
    /// A private Docker engine; says the pid of its first process and, after a space, its directory.
    Engine {
        /// The directory that becomes its root.
        root: PathBuf,
        /// Where it gets a directory of its own.
        cache: PathBuf,
        /// What it sees as `/checkout`.
        checkout: PathBuf,
    },
    /// Any program; says its pid.
    Program {
        /// The program and its arguments.
        #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
        line: Vec<OsString>,
    },
}

/// Starts what is to be held, says so, and stays until it has ended.
pub(crate) fn hold(held: Held) -> Result {
    match held {
        Held::Postgres { programs, again } => {
            let mut postgres = Postgres::start(&programs)?;
            let said = format!("{} {}", postgres.url(), postgres.data().display());
            if again {
                again_until_released(&mut postgres, &said)
            } else {
                until_released(&mut postgres.process, &said)
            }
            // Here the directory is removed.
        }
        Held::Engine { root, cache, checkout } => compose::hold(&root, &cache, &checkout),
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
        thread::sleep(TIMEOUT);
        let _ = kill_process(pid, Signal::KILL);
    });
    say(said);
    process.wait()?;
    Ok(())
}

/// Which process it is changes, so it is ended by whoever waits for it.
fn again_until_released(postgres: &mut Postgres, said: &str) -> Result {
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
    let deadline = Instant::now() + TIMEOUT;
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
pub(crate) fn released() {
    let _ = io::copy(&mut io::stdin().lock(), &mut io::sink());
}

/// Nobody may be there to hear it any more: then the pipe is closed, which [`released`] sees.
pub(crate) fn say(what: &str) {
    let _ = writeln!(io::stdout(), "{what}");
}
