//! Redis as the settings name it.

use redis::{Client, IntoConnectionInfo as _};
use secrecy::ExposeSecret as _;

use crate::config::{self, ConfigError};

/// `None` where the settings name no Redis. Does not connect: it may come later.
pub(crate) fn open(settings: &config::Redis) -> Result<Option<Client>, ConfigError> {
    let url = settings.url.expose_secret();
    if url.is_empty() {
        return Ok(None);
    }
    // What the library says could repeat a password.
    let problem = || ConfigError::Value {
        key: "redis.url",
        problem: "must be redis://user:password@host:port or unix:/path (without TLS)".to_owned(),
    };
    let info = url.into_connection_info().map_err(|_| problem())?;
    Client::open(info).map(Some).map_err(|_| problem())
}
