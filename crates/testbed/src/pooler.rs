//! A real PgBouncer between a service and its Postgres.

#![expect(
    clippy::missing_panics_doc,
    reason = "everything here panics when PgBouncer is not as a test needs it"
)]

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::Database;
use crate::process::Process;
use crate::service::lasting_address;

/// The first version that can keep prepared statements in transaction mode.
const KEEPS_STATEMENTS: (u32, u32) = (1, 21);

/// A running PgBouncer, ended with the value.
#[derive(Debug)]
pub struct Pooler {
    address: String,
    _process: Process,
    _directory: TempDir,
}

impl Pooler {
    /// Starts one in front of the server of `database`, which pools by `session`, `transaction` or `statement`,
    /// with these settings besides its defaults, and waits until it listens.
    pub async fn start(database: &Database, mode: &str, settings: &[(&str, &str)]) -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory can be made");
        let (place, address) = (directory.path(), lasting_address());
        let (host, port) = address.split_once(':').expect("an address and a port");
        let server = database.server();
        let (server, server_port) = server.rsplit_once(':').expect("an address and a port");
        let users = place.join("users");
        let mut text = format!(
            "[databases]\n* = host={server} port={server_port}\n[pgbouncer]\nlisten_addr = {host}\n\
             listen_port = {port}\nunix_socket_dir =\nauth_type = trust\nauth_file = {}\npool_mode = {mode}\n",
            users.display()
        );
        for (name, value) in settings {
            text.extend([*name, " = ", *value, "\n"]);
        }
        let file = place.join("pgbouncer.ini");
        fs::write(&users, "\"postgres\" \"\"\n").expect("it can be written");
        fs::write(&file, text).expect("it can be written");
        let mut command = Command::new("pgbouncer");
        command.arg("-q").arg(&file).stderr(Stdio::null());
        if rustix::process::geteuid().is_root() {
            // It refuses to run as root, and reads its files as the other user.
            fs::set_permissions(place, Permissions::from_mode(0o755)).expect("they are ours");
            command.args(["-u", "postgres"]);
        }
        let process = Process::run(&mut command);
        let deadline = Instant::now() + Duration::from_secs(20);
        while tokio::net::TcpStream::connect(&address).await.is_err() {
            assert!(Instant::now() < deadline, "pgbouncer does not start");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        Self { address, _process: process, _directory: directory }
    }

    /// The URL of `database` by way of it.
    #[must_use]
    pub fn url(&self, database: &Database) -> String {
        database.url.replace(&database.server(), &self.address)
    }

    /// Whether the version that is installed can keep prepared statements in transaction mode.
    #[must_use]
    pub fn can_keep_statements() -> bool {
        let output = Command::new("pgbouncer").arg("--version").output().expect("pgbouncer runs");
        let text = String::from_utf8_lossy(&output.stdout);
        let version = text.split_whitespace().nth(1).expect("PgBouncer and its version");
        let mut parts = version.split('.').map(|part| part.parse().expect("a number"));
        let version: (u32, u32) =
            (parts.next().expect("a number"), parts.next().expect("another number"));
        version >= KEEPS_STATEMENTS
    }
}
