//! A Postgres that only reads, where it wrote before: a standby behind the same address, a server on
//! which writing was turned off, and a failover. Connections that are open stay open in all of them.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, chown};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use sqlx::{Connection as _, Executor as _, PgConnection};
use tempfile::TempDir;
use testbed::process::Process;
use testbed::service::{lasting_address, until};
use testbed::{Database, Kind, Link, Service, Tokens};

/// A server of one's own, of the same programs and the same user as the tests' server.
struct Server {
    address: String,
    programs: PathBuf,
    user: (u32, u32),
    directory: TempDir,
    process: Option<Process>,
}

impl Server {
    async fn new() -> Self {
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

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(self.programs.join(program));
        command.env_clear().env("LC_ALL", "C").current_dir(self.directory.path());
        // The same as ourselves where we are not root.
        command.uid(self.user.0).gid(self.user.1);
        command
    }

    fn data(&self) -> PathBuf {
        self.directory.path().join("data")
    }

    fn initialize(&self) {
        let mut initdb = self.command("initdb");
        initdb.args(["--no-sync", "--locale=C", "--encoding=UTF8", "--auth=trust"]);
        initdb.args(["--username=postgres", "--pgdata=data"]);
        let output = initdb.output().expect("initdb can be run");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    /// Becomes a standby of another one that has not run yet: of a copy of its files.
    fn follow(&self, primary: &Self) {
        copy(&primary.data(), &self.data(), self.user);
        let signal = self.data().join("standby.signal");
        fs::write(&signal, "").expect("it can be written");
        chown(&signal, Some(self.user.0), Some(self.user.1)).expect("it can be given away");
    }

    async fn start(&mut self, primary: Option<&Self>) {
        let (_, port) = self.address.split_once(':').expect("a port");
        let mut server = self.command("postgres");
        server.args(["-D", "data", "-p", port]);
        let source = primary.map(|primary| {
            let (host, port) = primary.address.split_once(':').expect("a port");
            format!("primary_conninfo=host={host} port={port} user=postgres")
        });
        let settings = ["listen_addresses=127.0.0.1", "unix_socket_directories=", "fsync=off"];
        for setting in settings.into_iter().chain(["wal_level=replica", "wal_keep_size=256MB"]) {
            server.args(["-c", setting]);
        }
        if let Some(source) = &source {
            server.args(["-c", source]);
        }
        let log = self.directory.path().join("log");
        self.process = Some(Process::recorded(&mut server, &log));
        until("the server answers", async || self.connect().await.is_ok()).await;
    }

    /// Once a standby has everything that was acknowledged.
    fn stop(&self) {
        let mut stop = self.command("pg_ctl");
        stop.args(["stop", "-w", "-m", "fast", "-D", "data"]);
        assert!(stop.output().expect("pg_ctl can be run").status.success());
    }

    async fn connect(&self) -> Result<PgConnection, sqlx::Error> {
        PgConnection::connect(&format!("postgres://postgres@{}/postgres", self.address)).await
    }

    async fn run(&self, sql: &'static str) {
        let mut connection = self.connect().await.expect("it answers");
        connection.execute(sql).await.expect("the statement is right");
    }

    async fn says(&self, sql: &'static str) -> bool {
        let mut connection = self.connect().await.expect("it answers");
        sqlx::query_scalar(sql).fetch_one(&mut connection).await.expect("the question is right")
    }
}

impl Drop for Server {
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

/// Refreshes until it works, and it then is the service that says that it is ready.
async fn serves(auth: &Service, tokens: &mut Tokens) {
    until("it serves", async || {
        let answer = auth.refresh(&tokens.refresh).await;
        if answer.status == 200 {
            *tokens = Tokens::of(&answer);
        } else {
            answer.assert_problem(503, "unavailable");
        }
        answer.status == 200
    })
    .await;
    until("it is ready", async || auth.get("/health/ready").await.status == 200).await;
}

async fn says_that_it_cannot(auth: &Service, tokens: &Tokens) {
    until("it is not ready", async || auth.get("/health/ready").await.status == 503).await;
    auth.refresh(&tokens.refresh).await.assert_problem(503, "unavailable");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_only_reads_is_left_as_soon_as_there_is_one_that_writes() {
    let (mut primary, mut standby) = (Server::new().await, Server::new().await);
    primary.initialize();
    standby.follow(&primary);
    primary.start(None).await;
    standby.start(Some(&primary)).await;
    let link = Link::start(primary.address.clone()).await;
    // Every refresh writes.
    let settings = [("AUTH__TOKENS__GRACE_SECONDS", "0")];
    let mut auth =
        Service::auth(&format!("postgres://postgres@{}/postgres", link.address()), &settings);
    auth.start().await;
    let mut tokens = auth.newcomer("ada").await;

    // The address leads to the standby, and new connections get there; then back, and nothing is cut.
    link.lead_to(standby.address.clone());
    link.reset();
    says_that_it_cannot(&auth, &tokens).await;
    link.lead_to(primary.address.clone());
    serves(&auth, &mut tokens).await;

    // Writing is turned off under open connections, as before a move to another server.
    primary.run("alter system set default_transaction_read_only = on").await;
    primary.run("select pg_reload_conf()").await;
    says_that_it_cannot(&auth, &tokens).await;
    primary.run("alter system reset all").await;
    primary.run("select pg_reload_conf()").await;
    serves(&auth, &mut tokens).await;

    // The standby takes over. What the primary acknowledged is there, so the token is good.
    primary.stop();
    link.lead_to(standby.address.clone());
    says_that_it_cannot(&auth, &tokens).await;
    assert!(standby.says("select pg_promote()").await);
    serves(&auth, &mut tokens).await;
    auth.logout(&tokens.refresh).await;
}
