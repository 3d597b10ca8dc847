//! A private Postgres: a directory, a port and a life of its own.

use std::ffi::OsStr;
use std::fs;
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::guard::Guard;
use crate::project::Project;
use crate::{Result, project, setup};

/// A private Postgres, as the guard has it.
pub(crate) struct Postgres {
    pub(crate) process: Child,
    pub(crate) url: String,
    /// Removed with this value.
    _directory: TempDir,
}

/// Starts one; [`Guard::said`] is its URL.
pub(crate) fn postgres(project: &Project) -> Result<Guard> {
    let programs = setup::postgres_programs()?;
    Guard::start(project, [OsStr::new("postgres"), programs.as_os_str()], |_| {})
}

/// `cargo xtask db`
pub(crate) fn keep_postgres(project: &Project) -> Result {
    let mut guard = postgres(project)?;
    println!("export LATCHKEY_TEST_POSTGRES={}", guard.said());
    println!("export LATCHKEY_TEST_BIN_DIR={}", project.debug().display());
    println!("# Postgres runs until Ctrl-C.");
    while !guard.has_ended() {
        thread::sleep(Duration::from_millis(200));
    }
    Err("Postgres has ended".into())
}

/// A port that was free a moment ago.
pub(crate) fn free_port() -> Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}

/// The guard's part: initializes, starts, and waits until connections are accepted. Durability is
/// as it is in production: what is tested is what runs.
pub(crate) fn start_postgres(programs: &Path) -> Result<Postgres> {
    let directory = tempfile::Builder::new().prefix("latchkey-postgres-").tempdir()?;
    let account = setup::server_account()?;
    if let Some((user, group)) = account {
        chown(directory.path(), Some(user), Some(group))?;
    }
    let log = directory.path().join("log");
    let command = |name: &str| -> Result<Command> {
        let file = fs::File::options().create(true).append(true).open(&log)?;
        let mut command = Command::new(programs.join(name));
        // Nothing of ours, such as PGPORT, is to reach it.
        command.env_clear().env("LC_ALL", "C").env("PATH", programs);
        command.current_dir(directory.path());
        command.stdin(Stdio::null()).stdout(file.try_clone()?).stderr(file);
        if let Some((user, group)) = account {
            command.uid(user).gid(group);
        }
        Ok(command)
    };
    let failed = |what: &str| {
        let log = fs::read_to_string(&log).unwrap_or_default();
        format!("{what} in {}:\n{log}", directory.path().display())
    };

    let mut initdb = command("initdb")?;
    initdb.args(["--no-sync", "--locale=C", "--encoding=UTF8", "--auth=trust"]);
    initdb.args(["--username=postgres", "--pgdata=data"]);
    if !initdb.status()?.success() {
        return Err(failed("initdb failed").into());
    }

    let port = free_port()?;
    let mut server = command("postgres")?;
    server.args(["-D", "data", "-p", &port.to_string()]);
    for setting in [
        "listen_addresses=127.0.0.1",
        "unix_socket_directories=",
        "max_connections=300",
        "wal_level=minimal",
        "max_wal_senders=0",
    ] {
        server.args(["-c", setting]);
    }
    let mut process = server.spawn()?;
    let deadline = Instant::now() + Duration::from_mins(1);
    let mut probe = command("pg_isready")?;
    probe.args(["--host=127.0.0.1", "--username=postgres", "--port", &port.to_string()]);
    while !project::succeeds(&mut probe) {
        if process.try_wait()?.is_some() || Instant::now() > deadline {
            let _ = process.kill();
            let _ = process.wait();
            return Err(failed("Postgres does not start").into());
        }
        thread::sleep(Duration::from_millis(20));
    }
    let url = format!("postgres://postgres@127.0.0.1:{port}/postgres");
    Ok(Postgres { process, url, _directory: directory })
}
