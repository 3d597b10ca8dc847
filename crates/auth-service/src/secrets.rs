//! Writes the secrets of a deployment, once: what is there already is kept.
//!
//! Each is in a directory named for who needs it, so that each can be handed out alone.

use std::fs;
use std::path::Path;

use aws_lc_rs::{digest, rand};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use hosting::secret_file;

const REDIS: &str = "redis://latchkey:";

type Failure = Box<dyn std::error::Error>;

/// `auth/master_key`, `feed/feed_secret`, `postgres/postgres_password` with `auth/database_url` made
/// of it, and `auth/redis_url` with `redis/users.acl` made of that.
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
    let url = format!("{REDIS}{}@redis", URL_SAFE_NO_PAD.encode(random()?));
    keep_or_write("auth/redis_url", &url)?;
    let url = fs::read_to_string(directory.join("auth/redis_url"))?;
    let password = url.trim().strip_prefix(REDIS).and_then(|rest| rest.strip_suffix("@redis"));
    let password = password.ok_or("auth/redis_url is not what this program wrote there")?;
    Ok(keep_or_write("redis/users.acl", &redis_users(password))?)
}

/// Redis's access list: anybody may ask whether it is there, and the auth-service may do what its
/// blacklist needs.
fn redis_users(password: &str) -> String {
    let hash = digest::digest(&digest::SHA256, password.as_bytes());
    let hash = hash.as_ref().iter().fold(String::new(), |hash, byte| format!("{hash}{byte:02x}"));
    format!(
        "user default on nopass resetkeys resetchannels -@all +ping\n\
         user latchkey on #{hash} resetkeys ~revoked:* resetchannels &latchkey:revoked \
         -@all +ping +info +set +exists +publish +subscribe\n"
    )
}

fn random() -> Result<[u8; 32], Failure> {
    let mut bytes = [0; 32];
    rand::fill(&mut bytes).map_err(|_| "the operating system gives no randomness")?;
    Ok(bytes)
}
