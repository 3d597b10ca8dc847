//! An installation on the engine: what is asked of Compose, of the engine and, over HTTP, of the services.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use super::engine::Engine;
use crate::Result;
use crate::project::shown;

/// The project, as docker-compose.yml names it.
pub(super) const PROJECT: &str = "latchkey";
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// For one command, in seconds: a build of everything takes some nine minutes on two cores.
const LONGEST: &str = "3600";
/// For one request. Passwords are hashed at the lowest priority, and tests of other parts run beside.
const REQUEST: &str = "30";

/// An installation.
pub(super) struct Site<'a> {
    pub(super) engine: &'a Engine,
    files: &'static [&'static str],
    /// The file with its settings, as the engine sees it.
    settings: String,
    pub(super) auth: &'static str,
    pub(super) resource: &'static str,
    /// What a proxy that ends TLS is to be known by.
    pub(super) certificate: Option<PathBuf>,
}

/// An answer over HTTP.
pub(super) struct Answer {
    /// 0 where there was none.
    pub(super) status: u16,
    pub(super) text: String,
}

impl Answer {
    /// A member of a document in JSON that is a text.
    pub(super) fn member(&self, name: &str) -> Result<String> {
        let rest = self.text.split_once(&format!("\"{name}\":\"")).map(|(_, rest)| rest);
        let value = rest.and_then(|rest| rest.split('"').next());
        value.map(str::to_owned).ok_or_else(|| self.seen().into())
    }

    pub(super) fn seen(&self) -> String {
        format!("{} {}", self.status, self.text)
    }
}

impl<'a> Site<'a> {
    /// Made of these compose files, with these settings and no others.
    pub(super) fn new(
        engine: &'a Engine,
        files: &'static [&'static str],
        name: &str,
        settings: &str,
        [auth, resource]: [&'static str; 2],
    ) -> Result<Self> {
        fs::write(engine.home.join(name), settings)?;
        Ok(Self {
            engine,
            files,
            settings: format!("/engine/{name}"),
            auth,
            resource,
            certificate: None,
        })
    }

    /// `docker compose`
    pub(super) fn compose(&self, arguments: &[&str]) -> Command {
        let mut command = self.engine.inside("timeout");
        command.args([
            LONGEST,
            "docker",
            "compose",
            "--ansi",
            "never",
            "--progress",
            "plain",
            "--project-directory",
            "/checkout",
        ]);
        command.args(["--env-file", &self.settings]);
        for file in self.files {
            command.args(["--file", &format!("/checkout/{file}")]);
        }
        command.args(arguments);
        command
    }

    /// Runs it; what it printed.
    pub(super) fn composed(&self, arguments: &[&str]) -> Result<String> {
        output(&mut self.compose(arguments))
    }

    /// `docker`, likewise.
    pub(super) fn docker(&self, arguments: &[&str]) -> Result<String> {
        output(self.engine.docker().args(arguments))
    }

    /// Its running containers by their names.
    pub(super) fn containers(&self) -> Result<Vec<String>> {
        let names = self.docker(&["ps", "--format", "{{.Names}}"])?;
        Ok(names.lines().map(str::to_owned).collect())
    }

    /// One line of what the engine knows of a container.
    pub(super) fn inspect(&self, container: &str, format: &str) -> Result<String> {
        Ok(self.docker(&["inspect", "--format", format, container])?.trim().to_owned())
    }

    /// Waits until a container is healthy; how long that took.
    pub(super) fn healthy(&self, container: &str, limit: Duration) -> Result<Duration> {
        until(limit, || {
            let health = self.inspect(container, "{{.State.Health.Status}}")?;
            if health == "healthy" {
                Ok(())
            } else {
                Err(format!("{container} is {health}").into())
            }
        })
    }

    /// Asks with curl; `what` are its further arguments, with the address.
    pub(super) fn ask(&self, what: &[&str]) -> Result<Answer> {
        let mut curl = self.engine.beside("curl");
        curl.args(["--silent", "--max-time", REQUEST, "--write-out", "\n%{http_code}"]);
        if let Some(certificate) = &self.certificate {
            curl.arg("--cacert").arg(certificate);
        }
        let output = curl.args(what).output()?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let (text, status) = text.rsplit_once('\n').ok_or("curl said nothing")?;
        Ok(Answer { status: status.parse()?, text: text.to_owned() })
    }

    /// Posts a document in JSON to the auth-service.
    pub(super) fn post(&self, path: &str, body: &str) -> Result<Answer> {
        self.post_with(path, body, &[])
    }

    /// Likewise, with further arguments for curl.
    pub(super) fn post_with(&self, path: &str, body: &str, more: &[&str]) -> Result<Answer> {
        let address = format!("{}{path}", self.auth);
        let mut arguments = vec!["--header", "content-type: application/json", "--data", body];
        arguments.push(&address);
        arguments.extend(more);
        self.ask(&arguments)
    }

    /// Asks the resource-service who a token speaks for.
    pub(super) fn whoami(&self, access: &str) -> Result<Answer> {
        let (header, url) = (bearer(access), format!("{}/whoami", self.resource));
        self.ask(&["--header", &header, &url])
    }
}

pub(super) fn bearer(access: &str) -> String {
    format!("authorization: Bearer {access}")
}

/// Waits until something is so; how long that took. The last reason why it was not is the error.
pub(super) fn until(limit: Duration, mut is_so: impl FnMut() -> Result) -> Result<Duration> {
    let begun = Instant::now();
    loop {
        match is_so() {
            Ok(()) => return Ok(begun.elapsed()),
            Err(error) if begun.elapsed() > limit => {
                return Err(format!("after {} s: {error}", limit.as_secs()).into());
            }
            Err(_) => thread::sleep(LOOK_EVERY),
        }
    }
}

/// Runs a program; what it printed, or what it said when it failed.
pub(super) fn output(command: &mut Command) -> Result<String> {
    let output = command.output()?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let lines: Vec<_> = said.lines().collect();
    let last = lines[lines.len().saturating_sub(30)..].join("\n");
    // How it got to the engine tells nothing.
    let line = shown(command);
    let line = line.find("docker ").map_or(&*line, |at| &line[at..]);
    Err(format!("{line}: {}: {last}", output.status).into())
}
