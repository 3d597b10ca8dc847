//! The services as processes, held by guards, with settings that leave nothing to the environment.

use std::ffi::OsString;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use crate::Result;
use crate::guard::Guard;
use crate::project::Project;
use crate::servers::free_port;

/// Any 32 bytes: what they seal is thrown away.
const MASTER_KEY: &str = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";

/// How to start a service.
pub(crate) struct Service {
    line: Vec<OsString>,
    variables: Vec<(&'static str, String)>,
    pub(crate) public: SocketAddr,
    pub(crate) internal: SocketAddr,
}

/// Limits that 0 turns off.
const UNLIMITED: [&str; 7] = [
    "AUTH__LIMITS__LOGIN_FREE",
    "AUTH__LIMITS__ACCOUNT_FREE",
    "AUTH__LIMITS__NAMES_FREE",
    "AUTH__LIMITS__NETWORK_BURST",
    "AUTH__LIMITS__REGISTER_BURST",
    "AUTH__LIMITS__REFRESH_BURST",
    "AUTH__LIMITS__FORGED_BURST",
];

impl Service {
    /// The auth-service on a database.
    pub(crate) fn auth(programs: &Path, database: &str) -> Result<Self> {
        let mut service = Self::new(programs, "auth-service")?;
        service.auth_variables();
        service.variables.push(("AUTH__DATABASE__URL", database.to_owned()));
        service.variables.push(("AUTH__KEYS__MASTER_KEY", MASTER_KEY.to_owned()));
        Ok(service)
    }

    /// The resource-service that follows an auth-service.
    pub(crate) fn resource(programs: &Path, auth: &Self) -> Result<Self> {
        let mut service = Self::new(programs, "resource-service")?;
        service.resource_variables();
        let (public, internal) = (auth.public, auth.internal);
        service.variables.extend([
            ("RESOURCE__KEYS__JWKS_URL", format!("http://{public}/.well-known/jwks.json")),
            ("RESOURCE__FEED__URLS", format!("http://{internal}/internal/revocations")),
        ]);
        Ok(service)
    }

    /// Both in one process, with their data in a directory. It is ready when the second is.
    pub(crate) fn standalone(programs: &Path, data: &Path) -> Result<Self> {
        let mut service = Self::new(programs, "latchkey")?;
        service.line.extend(["--data".into(), data.into()]);
        service.auth_variables();
        (service.public, service.internal) = (free_address()?, free_address()?);
        service.resource_variables();
        Ok(service)
    }

    /// One setting more.
    pub(crate) fn set(&mut self, name: &'static str, value: &str) {
        self.variables.push((name, value.to_owned()));
    }

    /// Another command of its program, with its settings.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.line[1]);
        let variables = self.variables.iter().map(|(name, value)| (name, value));
        command.args(arguments).env_clear().envs(variables);
        command
    }

    fn new(programs: &Path, name: &str) -> Result<Self> {
        let line = vec!["program".into(), programs.join(name).into()];
        let variables = vec![("RUST_LOG", "error".to_owned())];
        Ok(Self { line, variables, public: free_address()?, internal: free_address()? })
    }

    fn auth_variables(&mut self) {
        self.variables.extend([
            ("AUTH__HTTP__LISTEN", self.public.to_string()),
            ("AUTH__HTTP__INTERNAL_LISTEN", self.internal.to_string()),
            ("AUTH__HTTP__DRAIN_SECONDS", "0".to_owned()),
        ]);
        // Everything here comes from one address, as fast as it can.
        self.variables.extend(UNLIMITED.map(|name| (name, "0".to_owned())));
    }

    fn resource_variables(&mut self) {
        self.variables.extend([
            ("RESOURCE__HTTP__LISTEN", self.public.to_string()),
            ("RESOURCE__HTTP__INTERNAL_LISTEN", self.internal.to_string()),
            ("RESOURCE__HTTP__DRAIN_SECONDS", "0".to_owned()),
        ]);
    }

    /// Starts it and waits until it is ready; also how long that took from its `exec`.
    pub(crate) fn start(&self, project: &Project) -> Result<(Guard, Duration)> {
        let mut guard = Guard::start(project, &self.line, |command| {
            command.env_clear().envs(self.variables.iter().map(|(name, value)| (name, value)));
        })?;
        // The guard has just spoken, and it speaks as soon as the program runs.
        let begun = Instant::now();
        while !is_ready(self.public) {
            if guard.has_ended() || begun.elapsed() > Duration::from_secs(20) {
                return Err(format!("{} does not become ready", self.line[1].display()).into());
            }
            thread::sleep(Duration::from_millis(1));
        }
        Ok((guard, begun.elapsed()))
    }
}

fn free_address() -> Result<SocketAddr> {
    Ok((Ipv4Addr::LOCALHOST, free_port()?).into())
}

fn is_ready(address: SocketAddr) -> bool {
    let ask = || -> std::io::Result<[u8; 12]> {
        let mut stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(Duration::from_secs(2)))?;
        write!(
            stream,
            "GET /health/ready HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n"
        )?;
        let mut head = [0; 12];
        stream.read_exact(&mut head)?;
        Ok(head)
    };
    ask().is_ok_and(|head| &head == b"HTTP/1.1 200")
}
