//! Writes the secrets of a deployment, once: what is there already is kept.
//!
//! Each is in a directory named for who needs it, so that each can be handed out alone.

use std::fs;
use std::path::Path;

use aws_lc_rs::{digest, rand};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use hosting::secret_file;

/// Users of Redis.
const SERVICE: &str = "latchkey";
const READER: &str = "reader";

type Failure = Box<dyn std::error::Error>;

/// `auth/master_key`, `feed/feed_secret`, `postgres/postgres_password` with `auth/database_url` made
/// of it, and `auth/redis_url` and `redis/reader_url` with `redis/users.acl` made of them.
pub(crate) fn write(directory: &Path, group_readable: bool) -> Result<(), Failure> {
    let mode = if group_readable { 0o440 } else { 0o400 };
    let keep_or_write = |name, secret: &str| {
        let path = directory.join(name);
        secret_file::create(&path, mode, secret)
            .map_err(|error| format!("cannot write {}: {error}", path.display()))
    };
    keep_or_write("auth/master_key", &STANDARD.encode(random()?))?;
    keep_or_write("feed/feed_secret", &URL_SAFE_NO_PAD.encode(random()?))?;
    keep_or_write("postgres/postgres_password", &URL_SAFE_NO_PAD.encode(random()?))?;
    let password = fs::read_to_string(directory.join("postgres/postgres_password"))?;
    let url = format!("postgres://latchkey:{}@postgres/latchkey", password.trim());
    keep_or_write("auth/database_url", &url)?;
    let password = || -> Result<String, Failure> { Ok(URL_SAFE_NO_PAD.encode(random()?)) };
    keep_or_write("auth/redis_url", &redis_url(SERVICE, &password()?))?;
    keep_or_write("redis/reader_url", &redis_url(READER, &password()?))?;
    let service = redis_password(directory, "auth/redis_url", SERVICE)?;
    let reader = redis_password(directory, "redis/reader_url", READER)?;
    if let (Some(service), Some(reader)) = (service, reader) {
        keep_or_write("redis/users.acl", &redis_users(&service, &reader))?;
    }
    Ok(())
}

fn redis_url(user: &str, password: &str) -> String {
    format!("redis://{user}:{password}@redis")
}

/// `None` when the file names a Redis that is not ours, and has users of its own.
fn redis_password(directory: &Path, file: &str, user: &str) -> Result<Option<String>, Failure> {
    let url = fs::read_to_string(directory.join(file))?;
    let (before, after) = (format!("redis://{user}:"), "@redis");
    let password = url.trim().strip_prefix(&before).and_then(|rest| rest.strip_suffix(after));
    Ok(password.map(str::to_owned))
}

/// Redis's access list: anybody may ask whether it is there, the auth-service may do what its
/// blacklist and its limits need, and whoever asks the blacklist may read it.
fn redis_users(service: &str, reader: &str) -> String {
    let (service, reader) = (sha256(service), sha256(reader));
    format!(
        "user default on nopass resetkeys resetchannels -@all +ping\n\
         user {SERVICE} on #{service} resetkeys ~revoked:* ~limit:* resetchannels \
         &latchkey:revoked -@all +ping +info +get +set +exists +eval +time +publish +subscribe\n\
         user {READER} on #{reader} resetkeys %R~revoked:* resetchannels \
         -@all +ping +get +mget +exists +ttl\n"
    )
}

fn sha256(text: &str) -> String {
    let hash = digest::digest(&digest::SHA256, text.as_bytes());
    hash.as_ref().iter().fold(String::new(), |hash, byte| format!("{hash}{byte:02x}"))
}

fn random() -> Result<[u8; 32], Failure> {
    let mut bytes = [0; 32];
    rand::fill(&mut bytes).map_err(|_| "the operating system gives no randomness")?;
    Ok(bytes)
}
