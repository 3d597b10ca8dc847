//! What a setting must not be.

use claims::time::LIFETIME_CAP_SECONDS;
use hosting::origin::{self, Origin};
use hosting::settings::{self, ConfigError, fail};
use secrecy::ExposeSecret as _;

use super::{Config, Limits, Peppers, SameSite};

/// The most memory that one hash may be configured to take, in KiB.
pub(crate) const MAX_MEMORY_KIB: u32 = 128 * 1024;
/// The most work that one Argon2id hash may be: memory in KiB, times passes.
pub(crate) const MAX_WORK: u64 = 1024 * 1024;

impl Config {
    /// Every setting by itself and beside the others.
    pub(super) fn check(&self) -> Result<(), ConfigError> {
        self.check_issuer()?;
        self.check_tokens()?;
        self.check_scopes()?;
        self.check_token_size()?;
        self.check_keys()?;
        let url = self.database.url.expose_secret();
        if url.is_empty() {
            return fail(
                "database.url",
                "is not set: postgres://… or sqlite:…, AUTH__DATABASE__URL",
            );
        }
        if !["postgres://", "postgresql://", "sqlite:"].iter().any(|s| url.starts_with(s)) {
            return fail("database.url", "must start with postgres:// or sqlite:");
        }
        let direct = self.database.direct_url.expose_secret();
        let names_postgres =
            |url: &str| ["postgres://", "postgresql://"].iter().any(|start| url.starts_with(start));
        if !(direct.is_empty() || names_postgres(direct) && names_postgres(url)) {
            return fail(
                "database.direct_url",
                "must start with postgres://, beside a database.url that does so too",
            );
        }
        if url.contains(":memory:") {
            return fail("database.url", "must name a file: sessions are to survive a restart");
        }
        // A pool makes room for all of them at the start; no server admits more.
        if !(2..=10_000).contains(&self.database.max_connections) {
            return fail("database.max_connections", "must be from 2 to 10000");
        }
        settings::check_http(self.http.workers, self.http.drain_seconds)?;
        if self.http.cookie_same_site == SameSite::None && self.http.allowed_origins.is_empty() {
            return fail("http.cookie_same_site", "is none, but http.allowed_origins is empty");
        }
        if self.passwords.min_length < 8 || self.passwords.max_length < self.passwords.min_length {
            return fail("passwords.min_length", "must be at least 8 and at most max_length");
        }
        // Either of OWASP's equivalents costs as much as 19 MiB and two passes.
        let cost = u64::from(self.passwords.memory_kib) * u64::from(self.passwords.iterations);
        if !self.is_local() && cost < 19_456 * 2 {
            return fail(
                "passwords.memory_kib",
                "is below what OWASP recommends (19456, 2 passes)",
            );
        }
        if self.passwords.memory_kib > MAX_MEMORY_KIB || cost > MAX_WORK {
            return fail(
                "passwords.memory_kib",
                "must be at most 131072, and at most 1048576 when multiplied by the passes",
            );
        }
        // With the hash itself less than the time after which a connection is given up.
        if !(1..=15).contains(&self.passwords.max_wait_seconds) {
            return fail("passwords.max_wait_seconds", "must be from 1 to 15");
        }
        Peppers::read(&self.passwords.peppers)?;
        self.limits.check()?;
        self.check_page()?;
        self.revocation.check()?;
        self.telemetry.check()?;
        self.clock.check(&self.issuer)?;
        if !self.is_local() && self.feed.secret.expose_secret().len() < 32 {
            return fail("feed.secret", "must have at least 32 characters");
        }
        // Within it, a clock that was wrong at the start is usually set.
        if self.housekeeping.settle_seconds < 60 && !self.is_local() {
            return fail("housekeeping.settle_seconds", "must be at least 60");
        }
        Ok(())
    }

    fn check_issuer(&self) -> Result<(), ConfigError> {
        origin::check_identifier("issuer", &self.issuer)?;
        let local = self.is_local() && self.issuer.starts_with("http://");
        if !local && !self.issuer.starts_with("https://") {
            return fail("issuer", "must be https, unless it is this machine");
        }
        Ok(())
    }

    fn check_keys(&self) -> Result<(), ConfigError> {
        self.master_key()?;
        self.other_master_key()?;
        let keys = &self.keys;
        // Verifiers fetch the key set every five minutes, and caches keep it as long.
        let least = if self.is_local() { 1 } else { 900 };
        if keys.publish_seconds < least {
            let problem =
                format!("must be at least {least}, or services meet keys they do not know");
            return Err(ConfigError::Value { key: "keys.publish_seconds", problem });
        }
        if keys.rotate_days > 0 && keys.publish_seconds >= keys.rotate_days.saturating_mul(86_400) {
            return fail("keys.rotate_days", "must be longer than keys.publish_seconds, or 0");
        }
        if self.events.keep_days == 0 || self.events.most == 0 {
            return fail("events.keep_days", "and events.most must be at least 1");
        }
        Ok(())
    }

    fn check_page(&self) -> Result<(), ConfigError> {
        let page = &self.page;
        if !page.resource.is_empty() {
            match Origin::parse(&page.resource) {
                Ok(origin) if origin.is_of_web() => {}
                Ok(_) => return fail("page.resource", "must begin with https:// or http://"),
                Err(problem) => return fail("page.resource", &problem.to_string()),
            }
        }
        if !page.demo_username.is_empty() && !self.is_local() {
            return fail("page.demo_username", "is for trying out; the issuer is not this machine");
        }
        Ok(())
    }

    fn check_tokens(&self) -> Result<(), ConfigError> {
        let tokens = &self.tokens;
        if !(60..=LIFETIME_CAP_SECONDS).contains(&tokens.access_seconds) {
            return fail("tokens.access_seconds", "must be from 60 to 900");
        }
        if tokens.idle_seconds == 0 || tokens.idle_seconds > tokens.absolute_seconds {
            return fail("tokens.idle_seconds", "must be at least 1 and at most absolute_seconds");
        }
        // Within the window a session does not rotate, and being given the same again is no use of it.
        if tokens.idle_seconds <= tokens.grace_seconds.saturating_mul(2) {
            return fail("tokens.idle_seconds", "must be more than twice grace_seconds");
        }
        // RFC 6265bis caps a cookie's life at 400 days.
        if tokens.absolute_seconds > 400 * 24 * 3600 {
            return fail("tokens.absolute_seconds", "must be at most 400 days");
        }
        if tokens.grace_seconds > 300 {
            return fail(
                "tokens.grace_seconds",
                "must be at most 300: it is how long theft goes unseen",
            );
        }
        if let Some(value) = tokens.default_scopes.values().find(|v| !tokens.scopes.contains(v)) {
            let problem = format!("{value} is not in tokens.scopes");
            return Err(ConfigError::Value { key: "tokens.default_scopes", problem });
        }
        Ok(())
    }
}

impl Limits {
    fn check(self) -> Result<(), ConfigError> {
        let longest = self.login_most_seconds.max(self.account_most_seconds);
        // What is forgotten while it still waits would start anew.
        if longest >= self.login_forget_seconds {
            return fail("limits.login_forget_seconds", "must be longer than the longest wait");
        }
        if self.login_forget_seconds > 7 * 24 * 3600 {
            return fail("limits.login_forget_seconds", "must be at most 7 days");
        }
        for (key, count) in [
            ("limits.network_per_minute", self.network_per_minute),
            ("limits.register_per_hour", self.register_per_hour),
            ("limits.refresh_per_minute", self.refresh_per_minute),
            ("limits.forged_per_minute", self.forged_per_minute),
        ] {
            if !(1..=60_000).contains(&count) {
                return fail(key, "must be from 1 to 60000; a burst of 0 turns the limit off");
            }
        }
        Ok(())
    }
}
