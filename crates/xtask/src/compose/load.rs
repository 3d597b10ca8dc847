//! Clients that log in, refresh, call and log out without a pause, and note whatever was not answered as it should be.

use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;

use super::single::{DEMO, log_in};
use super::site::{Site, bearer};
use crate::Result;

const CLIENTS: usize = 4;
/// Pairs of a refresh and a call for each login, over one connection.
const ROUNDS: usize = 10;
/// After each answer.
const SAID: &str = "%{http_code} %{method} %{url} %{errormsg}\n";

/// What came of it so far.
#[derive(Default)]
pub(super) struct Load {
    answered: AtomicUsize,
    /// Each with what was seen instead.
    lost: Mutex<Vec<String>>,
    stop: AtomicBool,
}

impl Load {
    /// Requests that were answered as they should be.
    pub(super) fn answered(&self) -> usize {
        self.answered.load(Ordering::Relaxed)
    }

    pub(super) fn lost(&self) -> Vec<String> {
        self.lost.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Keeps the clients at it while `meanwhile` runs.
    pub(super) fn during<T>(&self, site: &Site<'_>, meanwhile: impl FnOnce() -> T) -> T {
        thread::scope(|scope| {
            for _ in 0..CLIENTS {
                scope.spawn(|| {
                    while !self.stop.load(Ordering::Relaxed) {
                        if let Err(error) = self.session(site) {
                            self.note(error.to_string());
                        }
                    }
                });
            }
            let result = meanwhile();
            self.stop.store(true, Ordering::Relaxed);
            result
        })
    }

    fn note(&self, lost: String) {
        self.lost.lock().unwrap_or_else(PoisonError::into_inner).push(lost);
    }

    /// One session from its login to its logout. Within the window a spent token gets the same successor again, so
    /// the first one serves for every refresh.
    fn session(&self, site: &Site<'_>) -> Result {
        let (access, token) = log_in(site, &[])?;
        self.answered.fetch_add(1, Ordering::Relaxed);
        let body = format!("{{\"refresh_token\":\"{token}\"}}");
        let mut curl = site.engine.beside("curl");
        for _ in 0..ROUNDS {
            next(&mut curl, site, &format!("{}/refresh", site.auth));
            curl.args(["--header", "content-type: application/json", "--data", &body, "--next"]);
            next(&mut curl, site, &format!("{}/whoami", site.resource));
            curl.args(["--header", &bearer(&access), "--next"]);
        }
        next(&mut curl, site, &format!("{}/logout", site.auth));
        curl.args(["--header", "content-type: application/json", "--data", &body]);
        let output = curl.output()?;
        let said = String::from_utf8_lossy(&output.stdout);
        let mut answers = 0;
        for line in said.lines() {
            answers += 1;
            let expected = if line.contains("/logout") { "204" } else { "200" };
            if line.starts_with(expected) {
                self.answered.fetch_add(1, Ordering::Relaxed);
            } else {
                self.note(line.to_owned());
            }
        }
        if answers != 2 * ROUNDS + 1 {
            return Err(format!("curl made {answers} requests: {}", output.status).into());
        }
        Ok(())
    }
}

/// The next request of a curl.
fn next(curl: &mut Command, site: &Site<'_>, address: &str) {
    curl.args(["--silent", "--max-time", "30", "--output", "/dev/null", "--write-out", SAID]);
    if let Some(certificate) = &site.certificate {
        curl.arg("--cacert").arg(certificate);
    }
    curl.arg(address);
}

/// Registers whom the clients log in as.
pub(super) fn register(site: &Site<'_>) -> Result {
    let answer = site.post("/register", DEMO)?;
    if answer.status == 201 { Ok(()) } else { Err(answer.seen().into()) }
}
