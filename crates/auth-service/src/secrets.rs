//! Writes the secrets of a deployment, once: what is there already is kept.

use std::fs::{self, OpenOptions};
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, chown};
use std::path::Path;

use aws_lc_rs::rand;
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};

type Failure = Box<dyn std::error::Error>;

/// `master_key`, `feed_secret`, `postgres_password`, and `database_url` made of the last.
pub(crate) fn write(directory: &Path, owner: Option<&str>) -> Result<(), Failure> {
    let owner = owner.map(parse_owner).transpose()?;
    fs::create_dir_all(directory)?;
    let password = URL_SAFE_NO_PAD.encode(random()?);
    keep_or_write(directory, "master_key", &STANDARD.encode(random()?), owner)?;
    keep_or_write(directory, "feed_secret", &URL_SAFE_NO_PAD.encode(random()?), owner)?;
    keep_or_write(directory, "postgres_password", &password, owner)?;
    let password = fs::read_to_string(directory.join("postgres_password"))?;
    let url = format!("postgres://latchkey:{}@postgres/latchkey", password.trim());
    keep_or_write(directory, "database_url", &url, owner)
}

fn random() -> Result<[u8; 32], Failure> {
    let mut bytes = [0; 32];
    rand::fill(&mut bytes).map_err(|_| "the operating system gives no randomness")?;
    Ok(bytes)
}

/// Written beside and then renamed: a secret is there whole or not at all.
fn keep_or_write(
    directory: &Path,
    name: &str,
    secret: &str,
    owner: Option<(u32, u32)>,
) -> Result<(), Failure> {
    let (path, beside) = (directory.join(name), directory.join(format!(".{name}.new")));
    if path.exists() {
        return Ok(());
    }
    match fs::remove_file(&beside) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error.into()),
        _ => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o400).open(&beside)?;
    file.write_all(secret.as_bytes())?;
    file.sync_all()?;
    if let Some((user, group)) = owner {
        chown(&beside, Some(user), Some(group))?;
    }
    Ok(fs::rename(&beside, &path)?)
}

fn parse_owner(text: &str) -> Result<(u32, u32), Failure> {
    let (user, group) = text.split_once(':').ok_or("--owner is uid:gid")?;
    Ok((user.parse()?, group.parse()?))
}
