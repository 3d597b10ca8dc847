//! In which forms other systems have the hashes of passwords, and how each is stored here.
//!
//! The mathematics is that of `foreign`, which also bounds what a check may cost; this only reads what
//! each system writes around it.

mod aspnet;
mod keycloak;
mod spring;

use base64::Engine as _;
// With padding or without, as each system writes it.
use base64::engine::general_purpose::STANDARD_NO_PAD_INDIFFERENT as BASE64;

use super::foreign::{Argon2Hash, BadForm, BcryptInput, Foreign, Stored, TRUNCATED, number, unhex};
use crate::config::{self, ConfigError, Peppers};

/// Why a hash is not imported.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NotImported {
    #[error(transparent)]
    Form(#[from] BadForm),
    #[error(
        "the hash was made with the pepper {0:?}, which is not in passwords.peppers, so that nobody could log in with it"
    )]
    Pepper(String),
}

/// A hash as it is to be stored.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct ImportedHash {
    pub(crate) text: String,
    /// It is bcrypt's, and no password of more than 72 bytes is taken for the one.
    pub(crate) refuses_long: bool,
}

/// How the hashes of one file are read.
#[derive(Debug)]
pub(crate) struct Importer {
    peppers: Peppers,
    /// Memory and passes of the hashes that are made here.
    cost: (u32, u32),
    bcrypt_truncate: bool,
}

impl Importer {
    /// With the peppers of these settings. `bcrypt_truncate`: of a password of more than 72 bytes bcrypt's rule
    /// counts, by which the rest means nothing.
    pub(crate) fn new(
        settings: &config::Passwords,
        bcrypt_truncate: bool,
    ) -> Result<Self, ConfigError> {
        let peppers = Peppers::read(&settings.peppers)?;
        let cost = (settings.memory_kib, settings.iterations);
        Ok(Self { peppers, cost, bcrypt_truncate })
    }

    /// What to store for a hash as another system has it.
    pub(crate) fn read(&self, text: &str) -> Result<ImportedHash, NotImported> {
        let text = stored_form(text)?;
        // A salt that is text may have anything in it, also what a database does not take.
        if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(BadForm::Unknown.into());
        }
        let whole_bcrypt = match Stored::read(&text)? {
            Stored::Argon2id(hash) => {
                let version = hash.params.keyid();
                if !version.is_empty() && self.peppers.of_version(version).is_none() {
                    return Err(NotImported::Pepper(version.escape_ascii().to_string()));
                }
                false
            }
            Stored::Foreign(Foreign::Bcrypt { of, .. }) => of == BcryptInput::Whole,
            Stored::Foreign(_) => false,
        };
        Ok(match (whole_bcrypt, self.bcrypt_truncate) {
            (true, true) => {
                ImportedHash { text: format!("{TRUNCATED}{text}"), refuses_long: false }
            }
            (refuses_long, _) => ImportedHash { text, refuses_long },
        })
    }

    /// Whether `stored` is what a login makes of a hash such as `brought`: as hashes are made now, where the other
    /// one is not.
    pub(crate) fn is_renewed(&self, stored: &str, brought: &str) -> bool {
        self.is_made_here(stored) && !self.is_made_here(brought)
    }

    fn is_made_here(&self, text: &str) -> bool {
        let Ok(Stored::Argon2id(Argon2Hash { params, .. })) = Stored::read(text) else {
            return false;
        };
        let pepper = self.peppers.first().map_or(&b""[..], |pepper| pepper.version.as_bytes());
        (params.m_cost(), params.t_cost()) == self.cost
            && params.p_cost() == 1
            && params.keyid() == pepper
    }
}

/// Rewrites what one of the known systems has; whether that is good is for `Stored::read` to say.
fn stored_form(text: &str) -> Result<String, BadForm> {
    if text.starts_with("{\"") {
        return keycloak::stored_form(text);
    }
    if let Some((id, hash)) = text.strip_prefix('{').and_then(|text| text.split_once('}')) {
        return spring::stored_form(id, hash);
    }
    let parts: Vec<&str> = text.split('$').collect();
    match parts[..] {
        // Django names the scheme, and has what the library gave behind it.
        ["argon2", "argon2id" | "argon2i", ..] => Ok(unpadded(&text["argon2".len()..])),
        ["bcrypt", "", ..] => Ok(text["bcrypt$".len()..].to_owned()),
        ["scrypt", n, salt, r, p, hash] => {
            let bad = BadForm::Malformed("scrypt");
            let cost = (number(n).ok_or(bad)?, number(r).ok_or(bad)?, number(p).ok_or(bad)?);
            scrypt(cost, salt.as_bytes(), &decoded(hash, bad)?)
        }
        ["pbkdf2_sha1", rounds, salt, hash] => {
            let bad = BadForm::Malformed("pbkdf2");
            let rounds = number(rounds).ok_or(bad)?;
            Ok(pbkdf2("sha1", rounds, salt.as_bytes(), &decoded(hash, bad)?))
        }
        [method, salt, hash] if !method.is_empty() => werkzeug(method, salt, hash),
        // One word: better-auth's `salt:key` is stored as it is.
        [word] if !word.contains(':') => aspnet::stored_form(word),
        ["", ..] => Ok(unpadded(text)),
        _ => Ok(text.to_owned()),
    }
}

/// Werkzeug's `scrypt:N:r:p` or `pbkdf2:hash:rounds`, the salt as text, and digits.
fn werkzeug(method: &str, salt: &str, hash: &str) -> Result<String, BadForm> {
    let method: Vec<&str> = method.split(':').collect();
    match method[..] {
        ["scrypt", n, r, p] => {
            let bad = BadForm::Malformed("scrypt");
            let cost = (number(n).ok_or(bad)?, number(r).ok_or(bad)?, number(p).ok_or(bad)?);
            scrypt(cost, salt.as_bytes(), &unhex(hash).ok_or(bad)?)
        }
        ["pbkdf2", digest @ ("sha1" | "sha256" | "sha512"), rounds] => {
            let bad = BadForm::Malformed("pbkdf2");
            let rounds = number(rounds).ok_or(bad)?;
            Ok(pbkdf2(digest, rounds, salt.as_bytes(), &unhex(hash).ok_or(bad)?))
        }
        _ => Err(BadForm::Unknown),
    }
}

/// A PHC string whose salt and hash may have the padding of base64, which they should not.
fn unpadded(text: &str) -> String {
    let parts: Vec<&str> = text.split('$').collect();
    // The other parts are names and parameters.
    let salt = parts.len().saturating_sub(2).max(3);
    let part = |(at, part): (usize, &&str)| {
        if at >= salt { part.trim_end_matches('=').to_owned() } else { (*part).to_owned() }
    };
    parts.iter().enumerate().map(part).collect::<Vec<_>>().join("$")
}

/// N, r and p as numbers.
fn scrypt((n, r, p): (u32, u32, u32), salt: &[u8], hash: &[u8]) -> Result<String, BadForm> {
    if !n.is_power_of_two() {
        return Err(BadForm::Malformed("scrypt"));
    }
    let (log_n, salt, hash) = (n.trailing_zeros(), encoded(salt), encoded(hash));
    Ok(format!("$scrypt$ln={log_n},r={r},p={p}${salt}${hash}"))
}

fn pbkdf2(digest: &str, rounds: u32, salt: &[u8], hash: &[u8]) -> String {
    format!("$pbkdf2-{digest}$i={rounds}${}${}", encoded(salt), encoded(hash))
}

fn decoded(text: &str, bad: BadForm) -> Result<Vec<u8>, BadForm> {
    BASE64.decode(text).map_err(|_| bad)
}

fn encoded(bytes: &[u8]) -> String {
    BASE64.encode(bytes)
}

#[cfg(test)]
mod tests;
