//! Where things are, and how programs are run there.

use std::env;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};

use crate::Result;

/// This checkout and what is built of it.
pub(crate) struct Project {
    pub(crate) root: PathBuf,
    pub(crate) xtask: PathBuf,
    pub(crate) target: PathBuf,
    /// Whether this run has built every program.
    pub(crate) built: AtomicBool,
}

impl Project {
    /// Found at the start: a build may replace this program's file while it runs.
    pub(crate) fn find() -> Result<Self> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize()?;
        let xtask = env::current_exe()?;
        let target = xtask.ancestors().nth(2).ok_or("this program is not in a target directory")?;
        Ok(Self { target: target.to_owned(), root, xtask, built: false.into() })
    }

    /// Builds every program: always the whole workspace and its tests, since another selection would be built
    /// anew. (What only tests need asks for more of a crate that programs need too.)
    ///
    /// Not twice in a run. There would be nothing to build, but cargo would wait for whoever builds something
    /// else meanwhile.
    pub(crate) fn build(&self) -> Result {
        if !self.built.load(Ordering::Relaxed) {
            run(self.cargo().args(["build", "--workspace", "--all-targets"]))?;
            self.built.store(true, Ordering::Relaxed);
        }
        Ok(())
    }

    /// Where the dev profile's binaries are.
    pub(crate) fn debug(&self) -> PathBuf {
        self.target.join("debug")
    }

    /// Tools that are installed for this checkout alone; gone with `cargo clean`.
    pub(crate) fn tools(&self) -> PathBuf {
        self.target.join("tools")
    }

    /// A program run at the root of the checkout.
    pub(crate) fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new(program);
        command.current_dir(&self.root);
        command
    }

    /// The cargo that runs us.
    pub(crate) fn cargo(&self) -> Command {
        self.command(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
    }
}

/// Runs it, shown as it is typed; fails if it fails.
pub(crate) fn run(command: &mut Command) -> Result {
    println!("$ {}", shown(command));
    let status = command.status().map_err(|error| format!("{}: {error}", shown(command)))?;
    if status.success() { Ok(()) } else { Err(format!("{}: {status}", shown(command)).into()) }
}

/// Runs it silently; whether it is there and succeeds.
pub(crate) fn succeeds(command: &mut Command) -> bool {
    let silent = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    silent.status().is_ok_and(|status| status.success())
}

/// What a program writes to its standard output.
pub(crate) fn said(command: &mut Command) -> Result<String> {
    let output = command.output().map_err(|error| format!("{}: {error}", shown(command)))?;
    if !output.status.success() {
        let why = String::from_utf8_lossy(&output.stderr);
        return Err(format!("{}: {why}", shown(command)).into());
    }
    Ok(String::from_utf8(output.stdout)?)
}

/// The command line, with the program by its name alone.
pub(crate) fn shown(command: &Command) -> String {
    let program = Path::new(command.get_program());
    let mut words = vec![program.file_name().unwrap_or(program.as_os_str()).to_string_lossy()];
    words.extend(command.get_args().map(OsStr::to_string_lossy));
    words.join(" ")
}
