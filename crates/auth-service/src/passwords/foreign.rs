//! Hashes as they are stored: our own, and those of other systems, which are checked until their
//! first login renews them. In which forms other systems have them, `imported` knows.
//!
//! A hash of another system is of the password as it was received, where ours is of its NFC. (Argon2id
//! cannot be told apart from ours and is checked as ours.)

use std::num::NonZeroU32;

use argon2::password_hash::phc::{Output, PasswordHash, Salt};
use argon2::{Algorithm, Argon2, Params, Version};
use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::pbkdf2::{self, PBKDF2_HMAC_SHA1, PBKDF2_HMAC_SHA256, PBKDF2_HMAC_SHA512};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use icu_normalizer::ComposingNormalizer;
use zeroize::Zeroizing;

use super::Checked;
use crate::config::{MAX_MEMORY_KIB, MAX_WORK};

const MAX_ARGON2_LANES: u32 = 16;
const BCRYPT_COSTS: std::ops::RangeInclusive<u32> = 4..=14;
/// bcrypt looks at no more.
const BCRYPT_BYTES: usize = 72;
const MAX_SCRYPT_KIB: u64 = 64 * 1024;
const MAX_SCRYPT_LANES: u32 = 16;
/// All lanes together, one after the other.
const MAX_SCRYPT_WORK_KIB: u64 = 256 * 1024;
/// With SHA-1 or SHA-256; a round of SHA-512 takes twice as long.
const MAX_PBKDF2_ROUNDS: u32 = 5_000_000;
/// Of hashes: shorter ones fit too many passwords.
const HASH_BYTES: std::ops::RangeInclusive<usize> = 16..=64;
const SALT_BYTES: std::ops::RangeInclusive<usize> = 4..=64;
/// The digits of better-auth's salt and key.
const BETTER_AUTH_DIGITS: (usize, usize) = (32, 128);

/// What stands before a bcrypt hash of which only the first 72 bytes of a password count, because whoever
/// imported it said so.
pub(super) const TRUNCATED: &str = "bcrypt_truncated$";
/// What stands before a bcrypt hash of the password's SHA-256, as Django writes it.
const DIGESTED: &str = "bcrypt_sha256$";

/// Why a text is no hash that passwords are checked against.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BadForm {
    /// None of the schemes.
    #[error(
        "the hash has none of the forms that can be imported; they are listed in docs/import.md"
    )]
    Unknown,
    /// The scheme is known and the rest is not as it prescribes.
    #[error("the {0} hash is malformed")]
    Malformed(&'static str),
    /// Checking it would stall the service.
    #[error("the {0} hash costs more than this service spends on a check")]
    TooCostly(&'static str),
}

/// A stored hash, read: in one of the forms that are stored, and of a cost that is bounded.
///
/// These are PHC strings of `argon2id`, `argon2i`, `scrypt`, `pbkdf2-sha1`, `pbkdf2-sha256` and `pbkdf2-sha512`,
/// passlib's and Django's own forms of the last three, bcrypt's `$2a$`, `$2b$` and `$2y$`, the last also behind
/// [`TRUNCATED`] or [`DIGESTED`], and better-auth's `salt:key`.
pub(super) enum Stored {
    Argon2id(Argon2Hash),
    Foreign(Foreign),
}

/// One that we made, or could have made.
#[derive(Debug)]
pub(super) struct Argon2Hash {
    pub(super) params: Params,
    pub(super) salt: Salt,
    pub(super) hash: Output,
}

/// One that another system made.
pub(super) enum Foreign {
    Argon2i(Argon2Hash),
    Bcrypt { hash: String, of: BcryptInput },
    Scrypt { params: scrypt::Params, memory_kib: u32, salt: Vec<u8>, hash: Vec<u8>, nfkc: bool },
    Pbkdf2 { algorithm: pbkdf2::Algorithm, rounds: NonZeroU32, salt: Vec<u8>, hash: Vec<u8> },
}

/// What of a password a bcrypt hash is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum BcryptInput {
    /// All of it, of at most 72 bytes. It would cut off what is longer: two passwords that are equal so far are
    /// different ones.
    Whole,
    /// Its first 72 bytes.
    Truncated,
    /// The digits of its SHA-256.
    Digest,
}

impl Stored {
    pub(super) fn read(text: &str) -> Result<Self, BadForm> {
        use BcryptInput::{Digest, Truncated, Whole};
        let parts: Vec<&str> = text.split('$').collect();
        match parts[..] {
            ["", "argon2id", ..] => return Argon2Hash::read(text, "argon2id").map(Self::Argon2id),
            ["", "argon2i", ..] => argon2i(text),
            ["", "2a" | "2b" | "2y", ..] => bcrypt(text, Whole),
            ["bcrypt_truncated", "", "2a" | "2b" | "2y", ..] => {
                bcrypt(&text[TRUNCATED.len()..], Truncated)
            }
            ["bcrypt_sha256", "", "2a" | "2b" | "2y", ..] => {
                bcrypt(&text[DIGESTED.len()..], Digest)
            }
            ["", "scrypt", params, salt, hash] => {
                let bad = BadForm::Malformed("scrypt");
                let (salt, hash) = (decode(salt, bad)?, decode(hash, bad)?);
                scrypt(params, salt, hash, false)
            }
            ["", kind, params, salt, hash] if kind.starts_with("pbkdf2") => {
                let algorithm = pbkdf2_algorithm(kind).ok_or(BadForm::Unknown)?;
                let bad = BadForm::Malformed("pbkdf2");
                // passlib writes a dot for a plus.
                let (salt, hash) =
                    (decode(&salt.replace('.', "+"), bad)?, decode(&hash.replace('.', "+"), bad)?);
                let rounds = pbkdf2_rounds(params, hash.len()).ok_or(bad)?;
                pbkdf2(algorithm, rounds, salt, hash)
            }
            ["pbkdf2_sha256", rounds, salt, hash] => {
                let bad = BadForm::Malformed("pbkdf2");
                let hash = STANDARD.decode(hash).map_err(|_| bad)?;
                let rounds = number(rounds).ok_or(bad)?;
                // Django's salt is the text itself.
                pbkdf2(PBKDF2_HMAC_SHA256, rounds, salt.as_bytes().to_vec(), hash)
            }
            [text] => better_auth(text),
            _ => Err(BadForm::Unknown),
        }
        .map(Self::Foreign)
    }
}

impl Argon2Hash {
    pub(super) fn read(text: &str, scheme: &'static str) -> Result<Self, BadForm> {
        let bad = BadForm::Malformed(scheme);
        let stored = PasswordHash::new(text).map_err(|_| bad)?;
        let params = Params::try_from(&stored).map_err(|_| bad)?;
        let (Some(19), Some(salt), Some(hash)) = (stored.version, stored.salt, stored.hash) else {
            return Err(bad);
        };
        if !HASH_BYTES.contains(&hash.len()) || !params.data().is_empty() {
            return Err(bad);
        }
        let work = u64::from(params.m_cost()) * u64::from(params.t_cost());
        if params.m_cost() > MAX_MEMORY_KIB || work > MAX_WORK || params.p_cost() > MAX_ARGON2_LANES
        {
            return Err(BadForm::TooCostly(scheme));
        }
        Ok(Self { params, salt, hash })
    }
}

impl Foreign {
    /// What a check takes besides almost nothing.
    pub(super) fn memory_kib(&self) -> u32 {
        match self {
            Self::Argon2i(hash) => hash.params.m_cost(),
            Self::Scrypt { memory_kib, .. } => *memory_kib,
            Self::Bcrypt { .. } | Self::Pbkdf2 { .. } => 0,
        }
    }

    /// Whether it is the password's. One of which bcrypt knows the first 72 bytes only is good and not renewed:
    /// a new hash would be of all of it, and whoever mistyped what comes after them would have another
    /// password from then on.
    pub(super) fn check(&self, password: &str) -> Checked {
        let cut = password.len() > BCRYPT_BYTES
            && matches!(self, Self::Bcrypt { of: BcryptInput::Truncated, .. });
        match self.is_hash_of(password) {
            false => Checked::Wrong,
            true if cut => Checked::Good,
            true => Checked::Outdated,
        }
    }

    fn is_hash_of(&self, password: &str) -> bool {
        let plain = password.as_bytes();
        match self {
            Self::Argon2i(Argon2Hash { params, salt, hash }) => {
                let argon2 = Argon2::new(Algorithm::Argon2i, Version::V0x13, params.clone());
                let mut output = Zeroizing::new(vec![0; hash.len()]);
                let done = argon2.hash_password_into(plain, salt.as_ref(), &mut output);
                // `Output` compares in constant time.
                done.is_ok() && Output::new(&output).is_ok_and(|output| output == *hash)
            }
            Self::Bcrypt { hash, of: BcryptInput::Digest } => {
                let digits = Zeroizing::new(hex(digest(&SHA256, plain).as_ref()));
                bcrypt::verify(digits.as_bytes(), hash).unwrap_or(false)
            }
            // The work is done also where the password is too long.
            Self::Bcrypt { hash, of } => {
                bcrypt::verify(plain, hash).unwrap_or(false)
                    && (plain.len() <= BCRYPT_BYTES || *of == BcryptInput::Truncated)
            }
            Self::Scrypt { params, salt, hash, nfkc, .. } => {
                let compatible = nfkc.then(|| {
                    let nfkc = ComposingNormalizer::new_nfkc();
                    Zeroizing::new(nfkc.normalize(password).into_owned())
                });
                let plain = compatible.as_ref().map_or(plain, |text| text.as_bytes());
                let mut output = Zeroizing::new(vec![0; hash.len()]);
                let done = scrypt::scrypt(plain, salt, params, &mut output);
                done.is_ok() && verify_slices_are_equal(&output, hash).is_ok()
            }
            Self::Pbkdf2 { algorithm, rounds, salt, hash } => {
                pbkdf2::verify(*algorithm, *rounds, salt, plain, hash).is_ok()
            }
        }
    }
}

fn argon2i(text: &str) -> Result<Foreign, BadForm> {
    let hash = Argon2Hash::read(text, "argon2i")?;
    // A pepper is ours, and goes into Argon2id only.
    if !hash.params.keyid().is_empty() {
        return Err(BadForm::Malformed("argon2i"));
    }
    Ok(Foreign::Argon2i(hash))
}

fn bcrypt(text: &str, of: BcryptInput) -> Result<Foreign, BadForm> {
    let parts: bcrypt::HashParts = text.parse().map_err(|_| BadForm::Malformed("bcrypt"))?;
    if text.len() != 60 || parts.get_cost() < *BCRYPT_COSTS.start() {
        return Err(BadForm::Malformed("bcrypt"));
    }
    if !BCRYPT_COSTS.contains(&parts.get_cost()) {
        return Err(BadForm::TooCostly("bcrypt"));
    }
    Ok(Foreign::Bcrypt { hash: text.to_owned(), of })
}

/// better-auth's `salt:key`, whose parameters are always the same. Its salt is the text of the digits, and its
/// passwords are taken in NFKC.
fn better_auth(text: &str) -> Result<Foreign, BadForm> {
    let (salt, key) = text.split_once(':').ok_or(BadForm::Unknown)?;
    let (Some(_), Some(hash)) = (unhex(salt), unhex(key)) else { return Err(BadForm::Unknown) };
    if (salt.len(), key.len()) != BETTER_AUTH_DIGITS {
        return Err(BadForm::Unknown);
    }
    scrypt("ln=14,r=16,p=1", salt.as_bytes().to_vec(), hash, true)
}

fn scrypt(params: &str, salt: Vec<u8>, hash: Vec<u8>, nfkc: bool) -> Result<Foreign, BadForm> {
    let (bad, costly) = (BadForm::Malformed("scrypt"), BadForm::TooCostly("scrypt"));
    let mut params = params.split(',');
    let mut next = |name: &str| number(params.next()?.strip_prefix(name)?);
    let (Some(log_n), Some(r), Some(p), None) =
        (next("ln="), next("r="), next("p="), params.next())
    else {
        return Err(bad);
    };
    let log_n = u8::try_from(log_n).ok().filter(|log_n| *log_n < 32).ok_or(costly)?;
    // 128·r bytes for each of 2^ln steps.
    let memory_kib = (u64::from(r) << log_n).div_ceil(8);
    let work = memory_kib.saturating_mul(u64::from(p));
    if memory_kib > MAX_SCRYPT_KIB || work > MAX_SCRYPT_WORK_KIB || p > MAX_SCRYPT_LANES {
        return Err(costly);
    }
    let params = scrypt::Params::new(log_n, r, p).map_err(|_| bad)?;
    // RFC 7914 §2 wants more than one step.
    if log_n == 0 || !HASH_BYTES.contains(&hash.len()) || !SALT_BYTES.contains(&salt.len()) {
        return Err(bad);
    }
    let memory_kib = u32::try_from(memory_kib).map_err(|_| costly)?;
    Ok(Foreign::Scrypt { params, memory_kib, salt, hash, nfkc })
}

/// By the name that PHC strings and passlib give it.
fn pbkdf2_algorithm(kind: &str) -> Option<pbkdf2::Algorithm> {
    match kind {
        "pbkdf2" | "pbkdf2-sha1" => Some(PBKDF2_HMAC_SHA1),
        "pbkdf2-sha256" => Some(PBKDF2_HMAC_SHA256),
        "pbkdf2-sha512" => Some(PBKDF2_HMAC_SHA512),
        _ => None,
    }
}

/// `i=rounds,l=length` of a PHC string, the second optional, or passlib's bare number.
fn pbkdf2_rounds(params: &str, length: usize) -> Option<u32> {
    let Some(params) = params.strip_prefix("i=") else { return number(params) };
    let Some((rounds, stated)) = params.split_once(",l=") else { return number(params) };
    (number(stated)? as usize == length).then(|| number(rounds))?
}

fn pbkdf2(
    algorithm: pbkdf2::Algorithm,
    rounds: u32,
    salt: Vec<u8>,
    hash: Vec<u8>,
) -> Result<Foreign, BadForm> {
    let bad = BadForm::Malformed("pbkdf2");
    let (most, digest_bytes) = if algorithm == PBKDF2_HMAC_SHA512 {
        (MAX_PBKDF2_ROUNDS / 2, 64)
    } else if algorithm == PBKDF2_HMAC_SHA256 {
        (MAX_PBKDF2_ROUNDS, 32)
    } else {
        (MAX_PBKDF2_ROUNDS, 20)
    };
    // RFC 8018 5.2: all rounds are done for each digest that the hash takes.
    let digests = u64::try_from(hash.len().div_ceil(digest_bytes)).unwrap_or(u64::MAX);
    if u64::from(rounds).saturating_mul(digests) > u64::from(most) {
        return Err(BadForm::TooCostly("pbkdf2"));
    }
    let rounds = NonZeroU32::new(rounds).ok_or(bad)?;
    if !HASH_BYTES.contains(&hash.len()) || !SALT_BYTES.contains(&salt.len()) {
        return Err(bad);
    }
    Ok(Foreign::Pbkdf2 { algorithm, rounds, salt, hash })
}

fn decode(text: &str, bad: BadForm) -> Result<Vec<u8>, BadForm> {
    STANDARD_NO_PAD.decode(text).map_err(|_| bad)
}

/// Digits and nothing else.
pub(super) fn number(text: &str) -> Option<u32> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| text.parse().ok())?
}

/// The digits of bytes, two for each.
fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut digits, byte| {
        let _ = write!(digits, "{byte:02x}");
        digits
    })
}

/// The bytes that such digits stand for.
pub(super) fn unhex(digits: &str) -> Option<Vec<u8>> {
    if !digits.len().is_multiple_of(2) || !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    let pairs = (0..digits.len()).step_by(2).map(|at| &digits[at..at + 2]);
    pairs.map(|pair| u8::from_str_radix(pair, 16).ok()).collect()
}

#[cfg(test)]
mod tests;
