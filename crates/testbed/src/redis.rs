//! A private Redis: a directory, a port and a life of its own.

#![expect(
    clippy::missing_panics_doc,
    reason = "everything here panics when Redis is not as a test needs it"
)]

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::process::Process;
use crate::service::lasting_address;

/// A Redis that ends with the value. It keeps its address over restarts and, as by its defaults
/// when it is killed, none of its data.
#[derive(Debug)]
pub struct Redis {
    pub address: String,
    arguments: Vec<String>,
    directory: TempDir,
    process: Option<Process>,
}

impl Redis {
    /// Starts one with these settings besides its defaults, and waits until it answers.
    pub async fn start(settings: &[(&str, &str)]) -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory can be made");
        let address = lasting_address();
        let (host, port) = address.split_once(':').expect("an address and a port");
        let own = [("bind", host), ("port", port), ("save", "")];
        let all = own.iter().chain(settings);
        let arguments = all.flat_map(|(name, value)| [format!("--{name}"), (*value).to_owned()]);
        let arguments = arguments.collect();
        let mut redis = Self { address, arguments, directory, process: None };
        redis.restart().await;
        redis
    }

    /// As the auth-service takes it.
    #[must_use]
    pub fn url(&self) -> String {
        format!("redis://{}", self.address)
    }

    /// The number of its process.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.process.as_ref().expect("it runs").id()
    }

    /// Ends it as a power cut would.
    pub fn kill(&mut self) {
        self.process.take().expect("it runs").kill();
    }

    /// Sets something for the next start.
    pub fn set(&mut self, name: &str, value: &str) {
        self.arguments.extend([format!("--{name}"), value.to_owned()]);
    }

    /// Starts it again, and waits until it answers.
    pub async fn restart(&mut self) {
        let mut command = Command::new("redis-server");
        command.args(&self.arguments).current_dir(self.directory.path()).stderr(Stdio::null());
        self.process = Some(Process::run(&mut command));
        let deadline = Instant::now() + Duration::from_secs(20);
        while tokio::net::TcpStream::connect(&self.address).await.is_err() {
            assert!(Instant::now() < deadline, "Redis does not start");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Takes the processor away from it.
    pub fn pause(&self) {
        self.process.as_ref().expect("it runs").pause();
    }

    /// Lets it go on.
    pub fn resume(&self) {
        self.process.as_ref().expect("it runs").resume();
    }

    /// A connection for commands of the test's own.
    pub async fn connect(&self) -> redis::aio::MultiplexedConnection {
        let client = redis::Client::open(self.url()).expect("the URL is right");
        // Half a second, which is the default, is little where a busy machine throws away many keys.
        let patient = redis::AsyncConnectionConfig::new()
            .set_response_timeout(Some(std::time::Duration::from_secs(30)));
        let connected = client.get_multiplexed_async_connection_with_config(&patient).await;
        connected.expect("Redis answers")
    }
}
