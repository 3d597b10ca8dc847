//! The settings, read and checked once at the start. `defaults.toml` explains each.

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use claims::{Algorithm, ClientId, Scope};
use hosting::cors::{HeaderName, header_names};
use hosting::origin::{Origin, origins};
pub use hosting::settings::ConfigError;
use hosting::settings::{self, ClockOffset, Revocation, Telemetry, is_loopback, list, one_of};
use ipnet::IpNet;
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;
use zeroize::Zeroizing;

mod check;
mod peppers;
mod registration;
mod scopes;
mod session_limits;
mod tls;
mod token_size;

pub(crate) use check::{MAX_MEMORY_KIB, MAX_WORK};
pub(crate) use peppers::{Pepper, Peppers};
pub use registration::RegistrationMode;
pub use scopes::{ScopeRule, ScopeRules};
pub use session_limits::SessionLimits;
pub use tls::Tls;
pub(crate) use tls::explain;
pub(crate) use token_size::bytes_of_roles;

const DEFAULTS: &str = include_str!("defaults.toml");

/// All settings.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    pub issuer: String,
    /// Who may make an account; `None` where the setting is empty.
    #[serde(deserialize_with = "registration::mode_or_unset")]
    pub registration: Option<RegistrationMode>,
    /// What scopes are bound to.
    #[serde(deserialize_with = "scopes::table")]
    pub scopes: ScopeRules,
    pub http: Http,
    pub database: Database,
    pub redis: Redis,
    pub keys: Keys,
    pub tokens: Tokens,
    /// Password policy and cost.
    pub passwords: Passwords,
    pub events: Events,
    /// What is too often.
    pub limits: Limits,
    pub page: Page,
    pub feed: FeedSettings,
    pub revocation: Revocation,
    /// When what is old is deleted or replaced.
    pub housekeeping: Housekeeping,
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
    /// Browser origins besides the issuer's.
    #[serde(deserialize_with = "origins")]
    pub allowed_origins: Vec<Origin>,
    /// Request headers that their pages may send besides those that the service reads.
    #[serde(deserialize_with = "header_names")]
    pub allowed_headers: Vec<HeaderName>,
    /// `SameSite` of the refresh cookie.
    pub cookie_same_site: SameSite,
    #[serde(deserialize_with = "networks")]
    pub trusted_proxies: Vec<IpNet>,
    /// Seconds between "not ready" and the end of serving.
    pub drain_seconds: u64,
}

/// `SameSite` of the refresh cookie.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub enum SameSite {
    /// Sent from pages of the issuer's site only.
    Strict,
    /// Sent from anywhere; the origin check is then the defence.
    None,
}

impl TryFrom<String> for SameSite {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        one_of(&text, &[("strict", Self::Strict), ("none", Self::None)])
    }
}

/// `[database]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Database {
    pub url: SecretString,
    /// The server itself where `url` leads to a pooler; empty: `url`.
    pub direct_url: SecretString,
    /// Whether statements are prepared once for each connection.
    pub statement_cache: bool,
    /// Where the URL says nothing of it.
    pub tls: Tls,
    pub max_connections: u32,
    /// Whether to migrate at the start.
    pub migrate_on_start: bool,
}

/// `[redis]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Redis {
    /// Connection URL; empty: without.
    pub url: SecretString,
    /// `Disable` lets a URL without TLS lead to another machine.
    pub tls: Tls,
    /// Certificates of authorities in PEM; empty: the system's.
    pub root_cert: PathBuf,
}

/// `[keys]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Keys {
    /// 32 bytes in base64.
    pub master_key: SecretString,
    /// Another one that opens; empty: none.
    pub other_master_key: SecretString,
    /// How new tokens are signed.
    #[serde(deserialize_with = "algorithm")]
    pub algorithm: Algorithm,
    /// How long a key is published before it is used, seconds.
    pub publish_seconds: u32,
    /// How long a key is used, days; 0: until somebody says otherwise.
    pub rotate_days: u32,
}

/// `[tokens]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tokens {
    /// `aud` besides the issuer.
    #[serde(deserialize_with = "list")]
    pub audience: Vec<String>,
    pub client_id: ClientId,
    /// What may be granted.
    pub scopes: Scope,
    /// What is granted by default.
    pub default_scopes: Scope,
    /// Access-token lifetime, seconds.
    pub access_seconds: u64,
    /// Idle limit, seconds.
    pub idle_seconds: u32,
    /// Absolute limit, seconds.
    pub absolute_seconds: u32,
    /// How many live sessions a user may have; 0: any number.
    pub max_sessions: u32,
    /// Grace window, seconds: a session rotates at most once in it.
    pub grace_seconds: u32,
}

/// `[passwords]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Passwords {
    pub min_length: usize,
    pub max_length: usize,
    /// Argon2 memory, KiB.
    pub memory_kib: u32,
    pub iterations: u32,
    /// How long a login or registration may wait for its hash to be begun, seconds.
    pub max_wait_seconds: u64,
    /// `version:secret,…`; the first makes new hashes.
    pub peppers: SecretString,
}

/// `[events]`
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Events {
    /// How long events are kept, days.
    pub keep_days: u32,
    /// How many are kept at the most.
    pub most: u32,
}

/// `[housekeeping]`
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Housekeeping {
    /// How long nothing is deleted or replaced for its age after the start and after a step of the
    /// clock, seconds.
    pub settle_seconds: u64,
}

/// `[limits]`; 0 of a `free` or a `burst` turns that limit off.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Limits {
    /// Failed logins of one name from one network without a wait.
    pub login_free: u32,
    /// The longest wait after that.
    pub login_most_seconds: u32,
    /// When they are forgotten.
    pub login_forget_seconds: u32,
    /// Failed logins of one name from everywhere without a wait.
    pub account_free: u32,
    /// The longest wait after that.
    pub account_most_seconds: u32,
    /// Different names from one network without a wait.
    pub names_free: u32,
    /// Failed logins from one network at once.
    pub network_burst: u32,
    pub network_per_minute: u32,
    /// Registrations from one network at once.
    pub register_burst: u32,
    pub register_per_hour: u32,
    /// Refreshes of one session at once.
    pub refresh_burst: u32,
    pub refresh_per_minute: u32,
    /// Forged tokens from one network at once.
    pub forged_burst: u32,
    pub forged_per_minute: u32,
}

/// `[page]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Page {
    /// Whether it is served.
    pub enabled: bool,
    /// The origin of a resource-service that it calls; empty: none.
    pub resource: String,
    /// An account that everybody may use; empty: none.
    pub demo_username: String,
    pub demo_password: String,
}

/// `[feed]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FeedSettings {
    /// What bearers and codes are derived from.
    pub secret: SecretString,
    /// Whether the secret itself is a bearer too.
    pub accept_plain_secret: bool,
}

/// An algorithm by its name.
fn algorithm<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Algorithm, D::Error> {
    let all = [Algorithm::Es256, Algorithm::EdDsa, Algorithm::Rs256];
    let text = String::deserialize(deserializer)?;
    one_of(&text, &all.map(|one| (one.as_str(), one))).map_err(serde::de::Error::custom)
}

/// Networks, or single addresses.
fn networks<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Vec<IpNet>, D::Error> {
    let network = |text: String| {
        let address = || text.parse::<IpAddr>().map(|address| IpNet::from(address.to_canonical()));
        text.parse().or_else(|_| address()).map_err(|_| {
            serde::de::Error::custom(format!("{text:?} is no address and no network (10.0.0.0/8)"))
        })
    };
    list(deserializer)?.into_iter().map(network).collect()
}

impl Config {
    /// Reads the settings from the defaults, `file` and the `AUTH__…` ones of `variables`, and
    /// checks them.
    pub fn load(
        file: Option<&Path>,
        variables: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, ConfigError> {
        let variables: Vec<_> = variables.into_iter().collect();
        scopes::refuse_parts(&variables)?;
        let config: Self = settings::load("AUTH", DEFAULTS, file, variables)?;
        config.check()?;
        Ok(config)
    }

    /// Whether everything happens on this machine, so that development defaults do no harm.
    #[must_use]
    pub fn is_local(&self) -> bool {
        is_loopback(&self.issuer)
    }

    /// Who may make an account: what the setting says. Where it says nothing, everybody may on a machine of
    /// one's own, and nobody may elsewhere.
    #[must_use]
    pub fn registration_mode(&self) -> RegistrationMode {
        let unset = if self.is_local() { RegistrationMode::Open } else { RegistrationMode::Closed };
        self.registration.unwrap_or(unset)
    }

    /// The 32 bytes of the master key that seals.
    pub fn master_key(&self) -> Result<Zeroizing<[u8; 32]>, ConfigError> {
        key_of("keys.master_key", &self.keys.master_key)
    }

    /// The 32 bytes of the master key that opens too, while one replaces the other.
    pub fn other_master_key(&self) -> Result<Option<Zeroizing<[u8; 32]>>, ConfigError> {
        let other = &self.keys.other_master_key;
        if other.expose_secret().is_empty() {
            return Ok(None);
        }
        key_of("keys.other_master_key", other).map(Some)
    }
}

/// 32 bytes in base64.
fn key_of(key: &'static str, text: &SecretString) -> Result<Zeroizing<[u8; 32]>, ConfigError> {
    let text = text.expose_secret().trim();
    if text.is_empty() {
        let problem =
            "is not set; name a file with it in AUTH__KEYS__MASTER_KEY_FILE; `auth-service \
                       secrets DIR` makes one"
                .to_owned();
        return Err(ConfigError::Value { key, problem });
    }
    let bytes = STANDARD.decode(text).or_else(|_| URL_SAFE_NO_PAD.decode(text)).map(Zeroizing::new);
    let bytes = bytes.ok().and_then(|bytes| <[u8; 32]>::try_from(bytes.as_slice()).ok());
    bytes.map(Zeroizing::new).ok_or_else(|| {
        let problem = "must be 32 bytes in base64: `openssl rand -base64 32`".to_owned();
        ConfigError::Value { key, problem }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";

    fn load(variables: &[(&str, &str)]) -> Result<Config, ConfigError> {
        let basis = [("AUTH__DATABASE__URL", "sqlite:x.db"), ("AUTH__KEYS__MASTER_KEY", KEY)];
        let all = basis.iter().chain(variables);
        Config::load(None, all.map(|(k, v)| ((*k).to_owned(), (*v).to_owned())))
    }

    #[test]
    fn the_defaults_are_good_for_one_machine() {
        let config = load(&[]).unwrap();
        assert!(config.is_local());
        assert_eq!(config.tokens.access_seconds, 600);
    }

    #[test]
    fn development_defaults_are_refused_elsewhere() {
        let public = ("AUTH__ISSUER", "https://auth.example.com");
        let error = load(&[public]).unwrap_err().to_string();
        assert!(error.starts_with("feed.secret"), "{error}");
        let secret = ("AUTH__FEED__SECRET", "0123456789abcdef0123456789abcdef");
        assert!(load(&[public, secret]).is_ok());
        let error = load(&[public, secret, ("AUTH__CLOCK__OFFSET_SECONDS", "5")]).unwrap_err();
        assert!(error.to_string().starts_with("clock.offset_seconds"), "{error}");
        let error = load(&[("AUTH__ISSUER", "http://auth.example.com")]).unwrap_err();
        assert!(error.to_string().starts_with("issuer"), "{error}");
    }

    #[test]
    fn who_may_register_is_as_it_is_set_and_else_nobody_but_on_this_machine() {
        let here: &[(&str, &str)] = &[];
        let elsewhere: &[(&str, &str)] = &[
            ("AUTH__ISSUER", "https://auth.example.com"),
            ("AUTH__FEED__SECRET", "0123456789abcdef0123456789abcdef"),
        ];
        for (issuer, set, mode) in [
            (here, "", RegistrationMode::Open),
            (here, "invite", RegistrationMode::Invite),
            (here, "closed", RegistrationMode::Closed),
            (elsewhere, "", RegistrationMode::Closed),
            (elsewhere, "open", RegistrationMode::Open),
            (elsewhere, "invite", RegistrationMode::Invite),
        ] {
            let config = load(&[issuer, &[("AUTH__REGISTRATION", set)]].concat()).unwrap();
            assert_eq!(config.registration_mode(), mode, "{issuer:?} {set}");
        }
        for bad in ["Open", "yes", "true", "1", "open,invite"] {
            let error = load(&[("AUTH__REGISTRATION", bad)]).unwrap_err().to_string();
            assert!(error.contains("must be open, invite or closed"), "{error}");
            assert!(error.contains("registration") && !error.contains('\n'), "{error}");
        }
    }

    #[test]
    fn each_bad_value_is_refused_with_its_key() {
        for (variable, value, key) in [
            ("AUTH__REGISTRATION", "everybody", "registration"),
            ("AUTH__DATABASE__URL", "mysql://x", "database.url"),
            ("AUTH__DATABASE__URL", "sqlite::memory:", "database.url"),
            ("AUTH__DATABASE__DIRECT_URL", "sqlite:x", "database.direct_url"),
            ("AUTH__KEYS__MASTER_KEY", "c2hvcnQ=", "keys.master_key"),
            ("AUTH__KEYS__OTHER_MASTER_KEY", "c2hvcnQ=", "keys.other_master_key"),
            ("AUTH__KEYS__ALGORITHM", "HS256", "keys.algorithm"),
            ("AUTH__KEYS__PUBLISH_SECONDS", "0", "keys.publish_seconds"),
            ("AUTH__KEYS__PUBLISH_SECONDS", "90000000", "keys.rotate_days"),
            ("AUTH__EVENTS__KEEP_DAYS", "0", "events.keep_days"),
            ("AUTH__TOKENS__ACCESS_SECONDS", "901", "tokens.access_seconds"),
            ("AUTH__TOKENS__IDLE_SECONDS", "0", "tokens.idle_seconds"),
            ("AUTH__TOKENS__IDLE_SECONDS", "60", "tokens.idle_seconds"),
            ("AUTH__TOKENS__DEFAULT_SCOPES", "other", "tokens.default_scopes"),
            ("AUTH__TOKENS__SCOPES", "a  b", "tokens.scopes"),
            ("AUTH__PASSWORDS__MIN_LENGTH", "7", "passwords.min_length"),
            ("AUTH__PASSWORDS__MEMORY_KIB", "131073", "passwords.memory_kib"),
            ("AUTH__PASSWORDS__ITERATIONS", "54", "passwords.memory_kib"),
            ("AUTH__PASSWORDS__MAX_WAIT_SECONDS", "16", "passwords.max_wait_seconds"),
            ("AUTH__PASSWORDS__PEPPERS", "1:c2hvcnQ=", "passwords.peppers"),
            ("AUTH__LIMITS__LOGIN_MOST_SECONDS", "3600", "limits.login_forget_seconds"),
            ("AUTH__LIMITS__LOGIN_FORGET_SECONDS", "604801", "limits.login_forget_seconds"),
            ("AUTH__LIMITS__REGISTER_PER_HOUR", "0", "limits.register_per_hour"),
            ("AUTH__LIMITS__LOGIN_FREE", "-1", "limits.login_free"),
            ("AUTH__PAGE__RESOURCE", "https://x; script-src *", "page.resource"),
            ("AUTH__PAGE__RESOURCE", "tauri://localhost", "page.resource"),
            ("AUTH__HTTP__COOKIE_SAME_SITE", "none", "http.cookie_same_site"),
            ("AUTH__HTTP__ALLOWED_ORIGINS", "app.example.com", "http.allowed_origins"),
            ("AUTH__HTTP__TRUSTED_PROXIES", "10.0.0.0/8,proxy.example.com", "http.trusted_proxies"),
            ("AUTH__REVOCATION__MAX_STALENESS_SECONDS", "1", "revocation.max_staleness_seconds"),
            ("AUTH__TELEMETRY__OTLP_ENDPOINT", "collector:4318", "telemetry.otlp_endpoint"),
            ("AUTH__TELEMETRY__SAMPLE_RATIO", "2", "telemetry.sample_ratio"),
            ("AUTH__NO__SUCH", "1", "no"),
        ] {
            let error = load(&[(variable, value)]).unwrap_err().to_string();
            assert!(error.contains(key), "{variable}: {error}");
        }
    }

    #[test]
    fn a_word_that_a_setting_does_not_know_is_refused_with_those_that_it_does() {
        for (variable, key, alternatives) in [
            ("AUTH__KEYS__ALGORITHM", "keys.algorithm", "must be ES256, EdDSA or RS256"),
            ("AUTH__HTTP__COOKIE_SAME_SITE", "http.cookie_same_site", "must be strict or none"),
            ("AUTH__REGISTRATION", "registration", "must be open, invite or closed"),
            (
                "AUTH__DATABASE__TLS",
                "database.tls",
                "must be disable, prefer, require, verify-ca or verify-full",
            ),
            (
                "AUTH__REDIS__TLS",
                "redis.tls",
                "must be disable, prefer, require, verify-ca or verify-full",
            ),
        ] {
            let error = load(&[(variable, "a secret")]).unwrap_err().to_string();
            assert!(error.contains(key) && error.contains(alternatives), "{error}");
            assert!(!error.contains("a secret") && !error.contains('\n'), "{error}");
        }
    }

    #[test]
    fn secrets_do_not_show() {
        let pepper = ("AUTH__PASSWORDS__PEPPERS", &*format!("1:{KEY}"));
        let config = load(&[("AUTH__FEED__SECRET", "do-not-show-me"), pepper]).unwrap();
        let shown = format!("{config:?}");
        assert!(!shown.contains("do-not-show-me") && !shown.contains(KEY), "{shown}");
    }
}
