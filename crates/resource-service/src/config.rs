//! The settings. `defaults.toml` explains each.

use std::path::Path;
use std::time::Duration;

use hosting::cors::{HeaderName, header_names};
use hosting::origin::{self, Origin, origins};
pub use hosting::settings::ConfigError;
use hosting::settings::{self, ClockOffset, Revocation, Telemetry, fail, list};
use serde::Deserialize;
use verifier::follow::{FollowError, Sources};

const DEFAULTS: &str = include_str!("defaults.toml");

/// All settings.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Whose tokens are accepted.
    pub issuer: String,
    /// Who this service is.
    pub audience: String,
    pub http: Http,
    pub keys: Keys,
    pub feed: FeedSettings,
    pub revocation: Revocation,
    pub telemetry: Telemetry,
    pub clock: ClockOffset,
}

/// `[http]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Http {
    pub listen: String,
    pub internal_listen: String,
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
pub struct FeedSettings {
    /// Where the feeds are.
    #[serde(deserialize_with = "list")]
    pub urls: Vec<String>,
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

    /// What is to be followed.
    pub(crate) fn sources(&self) -> Sources {
        let secret = Some(self.feed.secret.clone()).filter(|secret| !secret.is_empty());
        Sources {
            key_refresh: Duration::from_secs(self.keys.refresh_seconds),
            ..Sources::new(self.keys.jwks_url.clone(), self.feed.urls.clone(), secret)
        }
    }

    fn check(&self) -> Result<(), ConfigError> {
        self.revocation.check()?;
        self.telemetry.check()?;
        self.clock.check(&self.issuer)?;
        self.sources().check().or_else(|error| match error {
            FollowError::NoKeySet | FollowError::ForgeableKeys => {
                fail("keys.jwks_url", &error.to_string())
            }
            _ => fail("feed.urls", &error.to_string()),
        })?;
        // A key is published for at least a quarter of an hour before it is used.
        if !(1..=300).contains(&self.keys.refresh_seconds) {
            return fail("keys.refresh_seconds", "must be from 1 to 300");
        }
        settings::check_http(self.http.workers, self.http.drain_seconds)?;
        origin::check_identifier("issuer", &self.issuer)?;
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

#[cfg(test)]
mod tests {
    use super::*;

    fn load(variables: &[(&str, &str)]) -> Result<Config, String> {
        let variables = variables.iter().map(|(k, v)| (format!("RESOURCE__{k}"), (*v).to_owned()));
        Config::load(None, variables).map_err(|error| error.to_string())
    }

    #[test]
    fn addresses_may_be_one_or_several() {
        let urls = |config: Config| config.keys.jwks_url;
        let one = "http://127.0.0.1:1/jwks";
        assert_eq!(urls(load(&[("KEYS__JWKS_URL", one)]).unwrap()), [one]);
        let two =
            load(&[("KEYS__JWKS_URL", "http://127.0.0.1:1/jwks, https://b.example.com/jwks")]);
        assert_eq!(urls(two.unwrap()), [one, "https://b.example.com/jwks"]);
        assert_eq!(urls(load(&[]).unwrap()).len(), 1);
    }

    #[test]
    fn what_could_be_forged_on_the_way_is_refused_by_name() {
        let keys = ("KEYS__JWKS_URL", "http://auth:9080/internal/keys");
        let feed = ("FEED__URLS", "http://auth:9080/internal/revocations");
        let secret = ("FEED__SECRET", "0123456789abcdef0123456789abcdef");
        assert!(load(&[keys, feed, secret]).is_ok());
        for (variables, key) in [
            (vec![keys], "keys.jwks_url"),
            (vec![("KEYS__JWKS_URL", ",")], "keys.jwks_url"),
            (
                vec![("KEYS__JWKS_URL", "http://auth:8080/.well-known/jwks.json"), secret],
                "keys.jwks_url",
            ),
            (vec![feed], "feed.urls"),
            (vec![("FEED__URLS", ",")], "feed.urls"),
            (vec![secret, ("FEED__URLS", "auth:9080/internal/revocations")], "feed.urls"),
        ] {
            let error = load(&variables).err().unwrap();
            assert!(error.starts_with(key), "{error}");
            assert!(!error.contains("auth:"), "addresses are not repeated: {error}");
        }
    }
}
