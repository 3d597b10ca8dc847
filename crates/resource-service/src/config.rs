//! The settings. `defaults.toml` explains each.

use std::path::Path;

use hosting::cors::{HeaderName, header_names};
use hosting::origin::{Origin, origins};
pub use hosting::settings::ConfigError;
use hosting::settings::{self, ClockOffset, Revocation, fail, list};
use serde::Deserialize;

const DEFAULTS: &str = include_str!("defaults.toml");

/// All settings.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Whose tokens are accepted.
    pub issuer: String,
    /// Who this service is.
    pub audience: String,
    /// Listening and browsers.
    pub http: Http,
    /// Public keys.
    pub keys: Keys,
    /// Revocations.
    pub feed: Feed,
    /// Freshness.
    pub revocation: Revocation,
    /// The test clock.
    pub clock: ClockOffset,
}

/// `[http]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Http {
    /// Public address.
    pub listen: String,
    /// Internal address.
    pub internal_listen: String,
    /// Serving threads.
    pub workers: usize,
    /// Browser origins that may call.
    #[serde(deserialize_with = "origins")]
    pub allowed_origins: Vec<Origin>,
    /// Request headers that their pages may send besides those that the service reads.
    #[serde(deserialize_with = "header_names")]
    pub allowed_headers: Vec<HeaderName>,
    /// Seconds between "not ready" and the end of serving.
    pub drain_seconds: u64,
}

/// `[keys]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Keys {
    /// Where the key set is; one address or several.
    #[serde(deserialize_with = "list")]
    pub jwks_url: Vec<String>,
    /// How often it is fetched, seconds.
    pub refresh_seconds: u64,
}

/// `[feed]`
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Feed {
    /// Where the feeds are.
    #[serde(deserialize_with = "list")]
    pub urls: Vec<String>,
    /// Their secret.
    pub secret: String,
}

impl Config {
    /// Reads the settings from the defaults, `file` and the `RESOURCE__…` ones of `variables`.
    pub fn load(
        file: Option<&Path>,
        variables: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, ConfigError> {
        let config: Self = settings::load("RESOURCE", DEFAULTS, file, variables)?;
        config.check()?;
        Ok(config)
    }

    fn check(&self) -> Result<(), ConfigError> {
        self.revocation.check()?;
        self.clock.check(&self.issuer)?;
        if self.keys.jwks_url.is_empty() {
            return fail("keys.jwks_url", "must name at least one address");
        }
        if self.feed.urls.is_empty() {
            return fail("feed.urls", "must name at least one feed");
        }
        // A key is published for at least a quarter of an hour before it is used.
        if !(1..=300).contains(&self.keys.refresh_seconds) {
            return fail("keys.refresh_seconds", "must be from 1 to 300");
        }
        settings::check_http(self.http.workers, self.http.drain_seconds)?;
        settings::check_identifier("issuer", &self.issuer)?;
        settings::check_text("audience", &self.audience)?;
        for url in &self.keys.jwks_url {
            settings::check_url("keys.jwks_url", url)?;
        }
        for url in &self.feed.urls {
            settings::check_url("feed.urls", url)?;
        }
        Ok(())
    }
}
