//! Real reverse proxies in front of a service, each with a configuration and a life of its own.

#![expect(
    clippy::missing_panics_doc,
    reason = "everything here panics when a proxy is not as a test needs it"
)]

use std::fs;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::process::Process;
use crate::service::lasting_address;

/// Which proxy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// It passes bodies on as they come, over one lasting connection.
    Nginx,
    /// The same, and it lets pass what it would rather refuse. It asks again where a lasting
    /// connection was closed, as whoever shares them should.
    Haproxy,
    /// Nginx that passes on the host and says nothing else of who asked it and how.
    SilentNginx,
    /// The same of haproxy.
    SilentHaproxy,
}

/// A running proxy, ended with the value.
#[derive(Debug)]
pub struct Proxy {
    pub address: String,
    _process: Process,
    _directory: TempDir,
}

impl Proxy {
    /// Starts one in front of `target`, `host:port`, and waits until it listens.
    pub async fn start(kind: Kind, target: &str) -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory can be made");
        let place = directory.path().to_str().expect("text");
        let (address, file) = (lasting_address(), format!("{place}/conf"));
        let (program, arguments, configuration) = match kind {
            Kind::Nginx | Kind::SilentNginx => {
                let header = if kind == Kind::Nginx {
                    "X-Forwarded-For $proxy_add_x_forwarded_for"
                } else {
                    "Host $host"
                };
                let arguments = vec!["-p", place, "-e", "stderr", "-c", &file];
                ("nginx", arguments, nginx(place, &address, target, header))
            }
            Kind::Haproxy | Kind::SilentHaproxy => {
                let option = if kind == Kind::Haproxy { "option forwardfor" } else { "" };
                ("haproxy", vec!["-db", "-f", &file], haproxy(&address, target, option))
            }
        };
        fs::write(&file, configuration).expect("it can be written");
        let mut command = Command::new(program);
        let process = Process::run(command.args(arguments).stderr(Stdio::null()));
        let deadline = Instant::now() + Duration::from_secs(20);
        while tokio::net::TcpStream::connect(&address).await.is_err() {
            assert!(Instant::now() < deadline, "{program} does not start");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        Self { address, _process: process, _directory: directory }
    }
}

/// One process, so that its end is the end of it.
fn nginx(place: &str, address: &str, target: &str, header: &str) -> String {
    let places = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|name| format!("{name}_temp_path {place}/{name};\n"))
        .concat();
    format!(
        "daemon off; master_process off; pid {place}/pid; error_log stderr crit;\n\
         events {{ worker_connections 256; }}\n\
         http {{\naccess_log off;\n{places}\
         upstream service {{ server {target}; keepalive 1; }}\n\
         server {{ listen {address};\n\
         location / {{ proxy_pass http://service; proxy_http_version 1.1;\n\
         proxy_request_buffering off; proxy_set_header Connection \"\";\n\
         proxy_set_header {header}; }} }} }}\n"
    )
}

fn haproxy(address: &str, target: &str, option: &str) -> String {
    format!(
        "global\n  maxconn 200\n  nbthread 1\n\
         defaults\n  mode http\n  timeout connect 5s\n  timeout client 20s\n  timeout server 20s\n  \
         {option}\n  option accept-invalid-http-request\n  http-reuse always\n  \
         retries 3\n  retry-on conn-failure empty-response\n\
         frontend front\n  bind {address}\n  default_backend back\n\
         backend back\n  server service {target}\n"
    )
}
