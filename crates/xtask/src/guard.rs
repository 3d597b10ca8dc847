//! Servers that end when this process ends, however it ends.
//!
//! A second xtask, the guard, starts the server and then reads its standard input, a pipe whose
//! other end only we hold. When we return, panic, are interrupted or are killed, the kernel closes
//! that end; the guard sees it, ends the server by its pid and removes its directory. The guard is
//! in a process group of its own, so that Ctrl-C does not end it before its work is done.

use std::ffi::OsString;
use std::io::{BufRead as _, BufReader};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, Stdio};

use crate::Result;
use crate::project::Project;

/// A server that lives as long as this value at the most.
pub(crate) struct Guard {
    process: Child,
    said: String,
}

impl Guard {
    /// Starts a guard. `arguments` are those of a [`Held`](crate::hold::Held); `adjust` sees the command before it
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
