//! Certificate authorities of a test's own, and certificates by them, as files.

#![expect(clippy::missing_panics_doc, reason = "panics where openssl does not do as it is told")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;
use uuid::Uuid;

use crate::process::succeeds;

/// An authority that is trusted only where its file is named.
#[derive(Debug)]
pub struct Authority {
    directory: TempDir,
}

/// A certificate and its key in PEM.
#[derive(Debug, Clone)]
pub struct Certificate {
    pub certificate: String,
    pub key: String,
}

impl Authority {
    /// A new one, with a name that no other has.
    #[must_use]
    pub fn create() -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let mut request = openssl(directory.path(), "req");
        let name = format!("/CN=An authority of a test {}", Uuid::new_v4());
        request.args(["-x509", "-nodes", "-days", "2", "-subj", &name]);
        request.args(["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"]);
        request.args(["-keyout", "ca.key", "-out", "ca.pem"]);
        succeeds(&mut request);
        Self { directory }
    }

    /// The file that says whom to trust.
    #[must_use]
    pub fn file(&self) -> PathBuf {
        self.directory.path().join("ca.pem")
    }

    /// A certificate for that host name or that user, good from now on for so many days.
    #[must_use]
    pub fn certify(&self, name: &str, days: u32) -> Certificate {
        let here = tempfile::tempdir_in(self.directory.path()).expect("a directory");
        let mut request = openssl(here.path(), "req");
        request.args(["-new", "-nodes", "-subj", &format!("/CN={name}")]);
        request.args(["-addext", &format!("subjectAltName=DNS:{name}")]);
        request.args(["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"]);
        request.args(["-keyout", "key.pem", "-out", "request.pem"]);
        succeeds(&mut request);
        let mut sign = openssl(here.path(), "x509");
        sign.args(["-req", "-in", "request.pem", "-out", "cert.pem", "-days", &days.to_string()]);
        sign.args(["-copy_extensions", "copy", "-CAcreateserial", "-CA", "../ca.pem"]);
        sign.args(["-CAkey", "../ca.key"]);
        succeeds(&mut sign);
        let read = |name| fs::read_to_string(here.path().join(name)).expect("openssl wrote it");
        Certificate { certificate: read("cert.pem"), key: read("key.pem") }
    }
}

fn openssl(directory: &Path, command: &str) -> Command {
    let mut openssl = Command::new("openssl");
    openssl.arg(command).current_dir(directory);
    openssl
}
