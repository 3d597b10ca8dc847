//! Writes the secrets of a deployment, once: what is there already is kept.
//!
//! Each is in a directory named for who needs it, so that each can be handed out alone.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::Path;

use aws_lc_rs::rand;
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};

type Failure = Box<dyn std::error::Error>;

/// `auth/master_key`, `feed/feed_secret`, `postgres/postgres_password`, and `auth/database_url` made
/// of the last.
pub(crate) fn write(directory: &Path, group_readable: bool) -> Result<(), Failure> {
    let mode = if group_readable { 0o440 } else { 0o400 };
    let keep_or_write = |name, secret: &str| keep_or_write(&directory.join(name), secret, mode);
    keep_or_write("auth/master_key", &STANDARD.encode(random()?))?;
    keep_or_write("feed/feed_secret", &URL_SAFE_NO_PAD.encode(random()?))?;
    keep_or_write("postgres/postgres_password", &URL_SAFE_NO_PAD.encode(random()?))?;
    let password = fs::read_to_string(directory.join("postgres/postgres_password"))?;
    let url = format!("postgres://latchkey:{}@postgres/latchkey", password.trim());
    keep_or_write("auth/database_url", &url)
}

fn random() -> Result<[u8; 32], Failure> {
    let mut bytes = [0; 32];
    rand::fill(&mut bytes).map_err(|_| "the operating system gives no randomness")?;
    Ok(bytes)
}

/// Written beside and then renamed: a secret is there whole or not at all.
fn keep_or_write(path: &Path, secret: &str, mode: u32) -> Result<(), Failure> {
    let cannot = |error| format!("cannot write {}: {error}", path.display());
    let beside = path.with_extension("new");
    if path.exists() {
        return Ok(());
    }
    if let Some(directory) = path.parent() {
        DirBuilder::new().recursive(true).mode(0o700).create(directory).map_err(cannot)?;
    }
    match fs::remove_file(&beside) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(cannot(error).into()),
        _ => {}
    }
    let mut file =
        OpenOptions::new().write(true).create_new(true).mode(mode).open(&beside).map_err(cannot)?;
    file.write_all(secret.as_bytes()).and_then(|()| file.sync_all()).map_err(cannot)?;
    Ok(fs::rename(&beside, path).map_err(cannot)?)
}
