//! A private Postgres, as the guard has it: a directory, a port and a life of its own.

use std::fs;
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::{Result, project, setup};

/// A private Postgres, as the guard has it.
pub(crate) struct Postgres {
    pub(crate) process: Child,
    server: Command,
    port: u16,
    /// Removed with this value.
    directory: TempDir,
}

impl Postgres {
    /// Initializes, starts, and waits until connections are accepted. Durability is as it is in
    /// production: what is tested is what runs.
    pub(crate) fn start(programs: &Path) -> Result<Self> {
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

        let port = lasting_port()?;
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
        Ok(Self { process, server, port, directory })
    }

    /// Starts it again after its end, without waiting.
    pub(crate) fn spawn(&mut self) -> Result {
        self.process = self.server.spawn()?;
        Ok(())
    }

    /// As clients take it.
    pub(crate) fn url(&self) -> String {
        format!("postgres://postgres@127.0.0.1:{}/postgres", self.port)
    }

    /// Its data directory.
    pub(crate) fn data(&self) -> PathBuf {
        self.directory.path().join("data")
    }
}

/// A free port below the range from which the system takes ports for outgoing connections: a server
/// that was killed finds it free when it comes back.
fn lasting_port() -> Result<u16> {
    let begin = u16::try_from(std::process::id() % 2000)?;
    let mut ports = (begin..2000).chain(0..begin).map(|number| 10_000 + number);
    let free = ports.find(|port| TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok());
    free.ok_or_else(|| "no port is free".into())
}
