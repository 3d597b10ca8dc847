//! Peppers: secrets that go into hashes and are kept apart from the database.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use secrecy::{ExposeSecret as _, SecretString};
use zeroize::Zeroizing;

use super::ConfigError;

const KEY: &str = "passwords.peppers";
/// What the `keyid` of a PHC string holds.
const MAX_VERSION_LENGTH: usize = 8;

/// One pepper, and the name by which hashes remember it.
pub(crate) struct Pepper {
    pub(crate) version: String,
    pub(crate) secret: Zeroizing<Vec<u8>>,
}

/// The peppers that are configured: the first makes new hashes, all check.
pub(crate) struct Peppers(Vec<Pepper>);

impl fmt::Debug for Peppers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let versions = self.0.iter().map(|pepper| &pepper.version);
        f.debug_set().entries(versions).finish()
    }
}

impl Peppers {
    /// Reads `version:base64,…`; nothing means none.
    pub(crate) fn read(setting: &SecretString) -> Result<Self, ConfigError> {
        let mut peppers: Vec<Pepper> = Vec::new();
        let text = setting.expose_secret().trim();
        if text.is_empty() {
            return Ok(Self(peppers));
        }
        for entry in text.split(',') {
            let pepper = Pepper::read(entry.trim())?;
            if peppers.iter().any(|other| other.version == pepper.version) {
                return Err(bad(format!("has two of version {}", pepper.version)));
            }
            peppers.push(pepper);
        }
        Ok(Self(peppers))
    }

    pub(crate) fn first(&self) -> Option<&Pepper> {
        self.0.first()
    }

    /// By what a hash has as its `keyid`.
    pub(crate) fn of_version(&self, version: &[u8]) -> Option<&Pepper> {
        self.0.iter().find(|pepper| pepper.version.as_bytes() == version)
    }
}

impl Pepper {
    fn read(entry: &str) -> Result<Self, ConfigError> {
        // No part of it is repeated in the message: what looks like a version may be a secret.
        let Some((version, secret)) = entry.split_once(':') else {
            return Err(bad("must be version:secret, with commas between several".to_owned()));
        };
        let fits = (1..=MAX_VERSION_LENGTH).contains(&version.len());
        if !fits || !version.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
            return Err(bad("must have versions of 1 to 8 letters and digits".to_owned()));
        }
        let secret = STANDARD.decode(secret).or_else(|_| URL_SAFE_NO_PAD.decode(secret));
        let secret = secret.ok().map(Zeroizing::new).filter(|secret| secret.len() == 32);
        let Some(secret) = secret else {
            let how = "must be 32 bytes in base64: `openssl rand -base64 32`";
            return Err(bad(format!("{how} (version {version})")));
        };
        Ok(Self { version: version.to_owned(), secret })
    }
}

fn bad(problem: String) -> ConfigError {
    ConfigError::Value { key: KEY, problem }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: &str = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
    const B: &str = "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=";

    fn read(text: &str) -> Result<Peppers, ConfigError> {
        Peppers::read(&SecretString::from(text))
    }

    #[test]
    fn the_first_is_for_new_hashes_and_all_are_found() {
        let peppers = read(&format!(" 2026b:{B}, 1:{A}\n")).unwrap();
        assert_eq!(peppers.first().unwrap().version, "2026b");
        assert_eq!(*peppers.of_version(b"1").unwrap().secret, [0; 32]);
        assert!(peppers.of_version(b"2").is_none() && peppers.of_version(b"").is_none());
        assert!(read(" \n").unwrap().first().is_none());
        assert_eq!(format!("{peppers:?}"), r#"{"2026b", "1"}"#);
    }

    #[test]
    fn a_bad_one_is_refused_by_the_name_of_the_setting_and_not_shown() {
        for text in [
            A.to_owned(),
            format!(":{A}"),
            format!("123456789:{A}"),
            format!("v-1:{A}"),
            "1:AAAA".to_owned(),
            format!("1:{A},"),
            format!("1:{A},1:{B}"),
            format!("1:{A}:2"),
        ] {
            let error = read(&text).unwrap_err().to_string();
            assert!(error.starts_with("passwords.peppers"), "{error}");
            assert!(!error.contains("AAAA"), "{error}");
        }
    }
}
