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
use std::thread;
use std::time::Duration;

use clap::Subcommand;
use rustix::process::{Pid, Signal, kill_process};

use crate::project::Project;
use crate::{Result, servers};

/// How long a server may take to end by itself.
const PATIENCE: Duration = Duration::from_secs(10);

/// What a guard can hold.
#[derive(Subcommand)]
pub(crate) enum Held {
    /// A private Postgres; says its URL.
    Postgres {
        /// Where its programs are.
        programs: PathBuf,
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

    /// What the guard said once the server was started: its address or its pid.
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
        Held::Postgres { programs } => {
            let postgres = servers::start_postgres(&programs)?;
            until_released(postgres.process, &postgres.url)
            // Here the directory is removed.
        }
        Held::Program { line } => {
            let (program, arguments) = line.split_first().ok_or("no program")?;
            let mut command = Command::new(program);
            command.args(arguments).stdin(Stdio::null()).stdout(Stdio::null());
            let started = command.spawn();
            let process = started.map_err(|error| format!("{}: {error}", program.display()))?;
            let pid = process.id().to_string();
            until_released(process, &pid)
        }
    }
}

fn until_released(mut process: Child, said: &str) -> Result {
    let pid = Pid::from_child(&process);
    thread::spawn(move || {
        let _ = io::copy(&mut io::stdin().lock(), &mut io::sink());
        let _ = kill_process(pid, Signal::INT);
        thread::sleep(PATIENCE);
        let _ = kill_process(pid, Signal::KILL);
    });
    // Nobody may be there to hear it any more: then the pipe is closed, and the thread sees that.
    let _ = writeln!(io::stdout(), "{said}");
    process.wait()?;
    Ok(())
}
