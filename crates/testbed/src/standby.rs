//! Postgres servers of one's own, which follow each other and take over from each other.

#![expect(clippy::missing_panics_doc, reason = "panics where a server is not as it must be")]

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::process::{Pid, Signal, kill_process};
use sqlx::{Connection as _, Executor as _, PgConnection};
use tempfile::TempDir;

use crate::process::{self, Process, succeeds};
use crate::service::{lasting_address, until};
use crate::{Database, Kind};

/// A server of one's own, of the same programs and the same user as the tests' server.
#[derive(Debug)]
pub struct OwnPostgres {
    /// `host:port`. It stays the same.
    pub address: String,
    programs: PathBuf,
    user: (u32, u32),
    directory: TempDir,
    process: Option<Process>,
}

impl OwnPostgres {
    /// It has no files yet.
    pub async fn new() -> Self {
        let database = Database::create(Kind::Postgres).await;
        let pool = database.postgres().await;
        let text = async |sql: &'static str| -> String {
            sqlx::query_scalar(sql).fetch_one(&pool).await.expect("a superuser may ask")
        };
        let programs = text("select setting from pg_config where name = 'BINDIR'").await;
        let owner = fs::metadata(text("show data_directory").await).expect("it is on this machine");
        pool.close().await;
        let user = (owner.uid(), owner.gid());
        let directory = tempfile::tempdir().expect("a directory");
        chown(directory.path(), Some(user.0), Some(user.1)).expect("it can be given away");
        let address = lasting_address();
        Self { address, programs: programs.into(), user, directory, process: None }
    }

    /// Whether it can be made anew from another server that runs.
    #[must_use]
    pub fn can_be_renewed(&self) -> bool {
        self.programs.join("pg_basebackup").is_file()
    }

    /// As the services take it, by way of this address.
    #[must_use]
    pub fn url_by(address: &str) -> String {
        format!("postgres://postgres@{address}/postgres")
    }

    fn command(&self, program: &str) -> Command {
        self.as_its_user(&self.programs.join(program))
    }

    fn as_its_user(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        command.env_clear().env("LC_ALL", "C").current_dir(self.directory.path());
        // The same as ourselves where we are not root.
        command.uid(self.user.0).gid(self.user.1);
        command
    }

    fn data(&self) -> PathBuf {
        self.directory.path().join("data")
    }

    /// The directory that a server has its socket in that was started with `unix_socket_directories=.`.
    #[must_use]
    pub fn socket_directory(&self) -> String {
        self.data().display().to_string()
    }

    /// The port of its address, which is part of the name of its socket too.
    #[must_use]
    pub fn port(&self) -> &str {
        self.address.split_once(':').expect("a port").1
    }

    /// Makes its files.
    pub fn initialize(&self) {
        let mut initdb = self.command("initdb");
        initdb.args(["--no-sync", "--locale=C", "--encoding=UTF8", "--auth=trust"]);
        initdb.args(["--username=postgres", "--pgdata=data"]);
        succeeds(&mut initdb);
    }

    /// Becomes a standby of another one that has not run yet: of a copy of its files.
    pub fn follow(&self, primary: &Self) {
        copy(&primary.data(), &self.data(), self.user);
        self.own_file("standby.signal");
    }

    /// Becomes a standby of another one that runs, whatever it was before. It does not run now.
    pub async fn renew(&mut self, primary: &Self) {
        self.process = None;
        let _ = fs::remove_dir_all(self.data());
        let mut backup = self.command("pg_basebackup");
        backup.args(["--host=127.0.0.1", "--username=postgres", "--port", primary.port()]);
        backup.args(["--pgdata=data", "--checkpoint=fast", "--wal-method=stream", "--no-sync"]);
        let copied = tokio::task::spawn_blocking(move || succeeds(&mut backup));
        copied.await.expect("the files can be copied");
        // What was set at the primary is not for a server that is to take over alone.
        self.own_file("postgresql.auto.conf");
        self.own_file("standby.signal");
    }

    /// An empty file of its user.
    fn own_file(&self, name: &str) {
        self.write(name, "");
    }

    /// A file beside its data that only its user reads, such as a key.
    pub fn write(&self, name: &str, text: &str) {
        let file = self.data().join(name);
        fs::write(&file, text).expect("it can be written");
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).expect("they can be set");
        chown(&file, Some(self.user.0), Some(self.user.1)).expect("it can be given away");
    }

    /// Starts it, as a standby of another one or by itself, and waits until it answers. It ends with
    /// us, however that ends.
    pub async fn start(&mut self, primary: Option<&Self>, more: &[&str]) {
        // The server hears of it when nobody holds the other end of this pipe any more.
        const HELD: &str = r#""$@" & server=$!; cat >/dev/null; kill -INT $server; wait $server"#;
        let mut server = self.as_its_user(Path::new("/bin/sh"));
        // What ends all of our group is not to end this before its work is done.
        server.process_group(0);
        server.args(["-c", HELD, "sh"]).arg(self.programs.join("postgres"));
        server.args(["-D", "data", "-p", self.port()]);
        let source = primary.map(|primary| {
            format!("primary_conninfo=host=127.0.0.1 port={} user=postgres", primary.port())
        });
        let settings = ["listen_addresses=127.0.0.1", "unix_socket_directories=", "fsync=off"];
        let settings = settings.into_iter().chain(["wal_level=replica", "wal_keep_size=256MB"]);
        for setting in settings.chain(more.iter().copied()).chain(source.as_deref()) {
            server.args(["-c", setting]);
        }
        let log = self.directory.path().join("log");
        self.process = Some(Process::held(&mut server, &log));
        until("the server answers", async || self.connect().await.is_ok()).await;
    }

    /// Stops it once a standby has everything that was acknowledged.
    pub async fn stop(&self) {
        let mut stop = self.command("pg_ctl");
        stop.args(["stop", "-w", "-m", "fast", "-D", "data"]);
        let stopped = tokio::task::spawn_blocking(move || succeeds(&mut stop));
        stopped.await.expect("it can be stopped");
    }

    /// Ends all of it as a power cut would, and waits until nothing of it is left.
    pub async fn kill(&mut self) {
        let text = fs::read_to_string(self.data().join("postmaster.pid")).expect("it runs");
        let number = text.lines().next().and_then(|line| line.trim().parse().ok());
        let postmaster = number.and_then(Pid::from_raw).expect("its number is there");
        // The parent first, so that there are no new ones.
        let _ = kill_process(postmaster, Signal::STOP);
        let mut all = process::children(postmaster);
        all.push(postmaster);
        for process in &all {
            let _ = kill_process(*process, Signal::KILL);
        }
        let runs = |process: &Pid| {
            let stat = format!("/proc/{}/stat", process.as_raw_nonzero());
            // One that is dead and that nobody has asked about yet does nothing any more.
            fs::read_to_string(stat).is_ok_and(|stat| !stat.contains(") Z"))
        };
        until("nothing of the server is left", async || !all.iter().any(runs)).await;
        self.process = None;
    }

    /// A connection to it.
    ///
    /// # Errors
    /// When it does not take one.
    pub async fn connect(&self) -> Result<PgConnection, sqlx::Error> {
        PgConnection::connect(&Self::url_by(&self.address)).await
    }

    /// Runs a statement.
    pub async fn run(&self, sql: &'static str) {
        let mut connection = self.connect().await.expect("it answers");
        connection.execute(sql).await.expect("the statement is right");
    }

    /// The answer to a question.
    pub async fn says(&self, sql: &'static str) -> bool {
        let mut connection = self.connect().await.expect("it answers");
        sqlx::query_scalar(sql).fetch_one(&mut connection).await.expect("the question is right")
    }
}

impl Drop for OwnPostgres {
    /// A server that is killed leaves shared memory behind.
    fn drop(&mut self) {
        let mut stop = self.command("pg_ctl");
        let _ = stop.args(["stop", "-w", "-m", "immediate", "-D", "data"]).output();
    }
}

fn copy(from: &Path, to: &Path, user: (u32, u32)) {
    let here = fs::metadata(from).expect("it is there");
    if here.is_dir() {
        fs::create_dir(to).expect("it can be made");
        for entry in fs::read_dir(from).expect("it can be read").flatten() {
            copy(&entry.path(), &to.join(entry.file_name()), user);
        }
        fs::set_permissions(to, here.permissions()).expect("they can be set");
    } else {
        fs::copy(from, to).expect("it can be copied");
    }
    chown(to, Some(user.0), Some(user.1)).expect("it can be given away");
}
