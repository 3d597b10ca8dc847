//! Hashes as they are stored: our own, and those of other systems, which are checked until their
//! first login renews them.
//!
//! An imported hash is of the password as it was received, where ours is of its NFC. (Argon2id
//! cannot be told apart from ours and is checked as ours.)

use std::num::NonZeroU32;

use argon2::Params;
use argon2::password_hash::phc::{Output, PasswordHash, Salt};
use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::pbkdf2::{self, PBKDF2_HMAC_SHA256, PBKDF2_HMAC_SHA512};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use zeroize::Zeroizing;

use crate::config::{MAX_MEMORY_KIB, MAX_WORK};

const MAX_ARGON2_LANES: u32 = 16;
const BCRYPT_COSTS: std::ops::RangeInclusive<u32> = 4..=14;
/// bcrypt looks at no more.
const BCRYPT_BYTES: usize = 72;
const MAX_SCRYPT_KIB: u64 = 64 * 1024;
const MAX_SCRYPT_LANES: u32 = 16;
/// All lanes together, one after the other.
const MAX_SCRYPT_WORK_KIB: u64 = 256 * 1024;
/// With SHA-256; a round of SHA-512 takes twice as long.
const MAX_PBKDF2_ROUNDS: u32 = 5_000_000;
/// Of hashes: shorter ones fit too many passwords.
const HASH_BYTES: std::ops::RangeInclusive<usize> = 16..=64;
const SALT_BYTES: std::ops::RangeInclusive<usize> = 4..=64;

/// Why a text is no hash that passwords are checked against.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadForm {
    /// None of the schemes.
    #[error("the hash is of no known scheme: argon2id, bcrypt, scrypt or pbkdf2")]
    Unknown,
    /// The scheme is known and the rest is not as it prescribes.
    #[error("the {0} hash is malformed")]
    Malformed(&'static str),
    /// Checking it would stall the service.
    #[error("the {0} hash costs more than this service spends on a check")]
    TooCostly(&'static str),
}

/// Whether a hash may be imported: in one of the known forms, and of a cost that is bounded.
///
/// Known are PHC strings of `argon2id`, `scrypt`, `pbkdf2-sha256` and `pbkdf2-sha512`, bcrypt's
/// `$2a$`, `$2b$` and `$2y$`, passlib's `$pbkdf2-sha256$rounds$…` and `$pbkdf2-sha512$rounds$…`,
/// and Django's `pbkdf2_sha256$…`.
pub fn check_form(hash: &str) -> Result<(), BadForm> {
    Stored::read(hash).map(|_| ())
}

/// A stored hash, read.
pub(super) enum Stored {
    Argon2id(Argon2id),
    Foreign(Foreign),
}

/// One that we made, or could have made.
#[derive(Debug)]
pub(super) struct Argon2id {
    pub(super) params: Params,
    pub(super) salt: Salt,
    pub(super) hash: Output,
}

/// One that another system made.
pub(super) enum Foreign {
    Bcrypt(String),
    Scrypt { params: scrypt::Params, memory_kib: u32, salt: Vec<u8>, hash: Vec<u8> },
    Pbkdf2 { algorithm: pbkdf2::Algorithm, rounds: NonZeroU32, salt: Vec<u8>, hash: Vec<u8> },
}

impl Stored {
    pub(super) fn read(text: &str) -> Result<Self, BadForm> {
        let parts: Vec<&str> = text.split('$').collect();
        match parts[..] {
            ["", "argon2id", ..] => Argon2id::read(text).map(Self::Argon2id),
            ["", "2a" | "2b" | "2y", ..] => bcrypt(text).map(Self::Foreign),
            ["", "scrypt", params, salt, hash] => {
                let bad = BadForm::Malformed("scrypt");
                let (salt, hash) = (decode(salt, bad)?, decode(hash, bad)?);
                scrypt(params, salt, hash).map(Self::Foreign)
            }
            ["", kind @ ("pbkdf2-sha256" | "pbkdf2-sha512"), params, salt, hash] => {
                let bad = BadForm::Malformed("pbkdf2");
                let algorithm = match kind {
                    "pbkdf2-sha256" => PBKDF2_HMAC_SHA256,
                    _ => PBKDF2_HMAC_SHA512,
                };
                // passlib writes a dot for a plus.
                let (salt, hash) =
                    (decode(&salt.replace('.', "+"), bad)?, decode(&hash.replace('.', "+"), bad)?);
                let rounds = pbkdf2_rounds(params, hash.len()).ok_or(bad)?;
                pbkdf2(algorithm, rounds, salt, hash).map(Self::Foreign)
            }
            ["pbkdf2_sha256", rounds, salt, hash] => {
                let bad = BadForm::Malformed("pbkdf2");
                let hash = STANDARD.decode(hash).map_err(|_| bad)?;
                let rounds = number(rounds).ok_or(bad)?;
                // Django's salt is the text itself.
                pbkdf2(PBKDF2_HMAC_SHA256, rounds, salt.as_bytes().to_vec(), hash)
                    .map(Self::Foreign)
            }
            _ => Err(BadForm::Unknown),
        }
    }
}

impl Argon2id {
    pub(super) fn read(text: &str) -> Result<Self, BadForm> {
        let bad = BadForm::Malformed("argon2id");
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
            return Err(BadForm::TooCostly("argon2id"));
        }
        Ok(Self { params, salt, hash })
    }
}

impl Foreign {
    /// What a check takes besides almost nothing.
    pub(super) fn memory_kib(&self) -> u32 {
        match self {
            Self::Scrypt { memory_kib, .. } => *memory_kib,
            Self::Bcrypt(_) | Self::Pbkdf2 { .. } => 0,
        }
    }

    pub(super) fn is_hash_of(&self, password: &str) -> bool {
        let plain = password.as_bytes();
        match self {
            // It would cut off what is longer: two passwords equal so far are different ones. The
            // work is done all the same.
            Self::Bcrypt(hash) => {
                bcrypt::verify(plain, hash).unwrap_or(false) && plain.len() <= BCRYPT_BYTES
            }
            Self::Scrypt { params, salt, hash, .. } => {
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

fn bcrypt(text: &str) -> Result<Foreign, BadForm> {
    let parts: bcrypt::HashParts = text.parse().map_err(|_| BadForm::Malformed("bcrypt"))?;
    if text.len() != 60 || parts.get_cost() < *BCRYPT_COSTS.start() {
        return Err(BadForm::Malformed("bcrypt"));
    }
    if !BCRYPT_COSTS.contains(&parts.get_cost()) {
        return Err(BadForm::TooCostly("bcrypt"));
    }
    Ok(Foreign::Bcrypt(text.to_owned()))
}

fn scrypt(params: &str, salt: Vec<u8>, hash: Vec<u8>) -> Result<Foreign, BadForm> {
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
    Ok(Foreign::Scrypt { params, memory_kib, salt, hash })
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
    let most =
        if algorithm == PBKDF2_HMAC_SHA512 { MAX_PBKDF2_ROUNDS / 2 } else { MAX_PBKDF2_ROUNDS };
    if rounds > most {
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
fn number(text: &str) -> Option<u32> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| text.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWORD: &str = "correct horse battery staple";
    /// Of PASSWORD: bcrypt 5.0.0, `hashlib.scrypt`, `hashlib.pbkdf2_hmac` and passlib 1.7.4 (Python).
    const VECTORS: [&str; 9] = [
        "$2b$04$abcdefghijklmnopqrstuu7EJV7kdjBBQxyb0HjTh9KS7.Lah/6CG",
        "$2a$04$abcdefghijklmnopqrstuu7EJV7kdjBBQxyb0HjTh9KS7.Lah/6CG",
        "$2y$04$abcdefghijklmnopqrstuu7EJV7kdjBBQxyb0HjTh9KS7.Lah/6CG",
        "$scrypt$ln=10,r=8,p=1$c2l4dGVlbiBieXRlIHNsdA$1DuK7t0mGkvYvadig0p9VpOI+L6xz1bcO5P8nWLyjWA",
        "$scrypt$ln=10,r=8,p=1$C2FsDcEYwxijlHIuxXjv/Q$cUys0fV8qb7CD+eiNVgvRXDoSvN1in5Ga3Ot6Mzm4XA",
        "$pbkdf2-sha256$i=1000,l=32$c2l4dGVlbiBieXRlIHNsdA$BaruwSbpHYJRQRMzlz9t09usJ2bfLKNK+A6dm04mJuk",
        "$pbkdf2-sha512$i=1000,l=64$c2l4dGVlbiBieXRlIHNsdA$3QMwrxLg4/X2UcnWiHG3oGtaw1Sr4coKsAAOWMiR/640yePfdIno4J23vNuKz9ZkADlvSFRe8oUd+qOpwSH1Ww",
        "$pbkdf2-sha512$1000$w3gvZSxFyNkbQyjlfC.lFA$ebtrJhzF7bmXL7G/LdUDq2UPi0VbpEahHAGgdComkykvVxVXsDLaySI6AVpYy2cdH1mSUYhYAZwdQxfEbwz7cQ",
        "pbkdf2_sha256$1000$OfnnrsEtRPY7$x/dgYZAmhuUAXwuUhTalRCab5yaMdPnAfzpji/qVEcs=",
    ];
    /// passlib's, with its dot.
    const PASSLIB: &str =
        "$pbkdf2-sha256$1000$P2fMeU.JEQJAaI3R2ptzrg$0ulh95DJAdjneUSpb4tkZCplEVLuyB02y02sGbrxrSU";
    /// Of 72 times `x`.
    const BCRYPT_72: &str = "$2b$04$abcdefghijklmnopqrstuubzadhGtS2zEF.gu0yd0opP6cVzb.e0i";
    /// Of a decomposed accent.
    const DECOMPOSED: &str =
        "pbkdf2_sha256$1000$BVXEkmqRbe9j$8wAPLdzlpt9Hpndv/7yIpNQ9HvenVA4TGaSY0aBHKvE=";

    fn is_hash_of(hash: &str, password: &str) -> bool {
        match Stored::read(hash) {
            Ok(Stored::Foreign(foreign)) => foreign.is_hash_of(password),
            Ok(Stored::Argon2id(_)) => panic!("{hash} is ours"),
            Err(error) => panic!("{hash}: {error}"),
        }
    }

    #[test]
    fn hashes_of_other_systems_are_known_again() {
        for hash in VECTORS.into_iter().chain([PASSLIB]) {
            assert_eq!(check_form(hash), Ok(()), "{hash}");
            assert!(is_hash_of(hash, PASSWORD), "{hash}");
            assert!(!is_hash_of(hash, "correct horse battery Staple"), "{hash}");
            assert!(!is_hash_of(hash, ""), "{hash}");
        }
    }

    #[test]
    fn bcrypt_tells_passwords_apart_that_are_equal_in_their_first_72_bytes() {
        let base = "x".repeat(72);
        assert!(is_hash_of(BCRYPT_72, &base));
        for other in [format!("{base}x"), format!("{base}1"), "x".repeat(71)] {
            assert!(!is_hash_of(BCRYPT_72, &other));
        }
    }

    #[test]
    fn a_password_is_taken_as_it_was_received() {
        assert!(is_hash_of(DECOMPOSED, "cafe\u{301} au lait, monsieur"));
        assert!(!is_hash_of(DECOMPOSED, "caf\u{e9} au lait, monsieur"));
    }

    #[test]
    fn our_own_form_may_be_imported_within_bounds() {
        let argon2 = |params: &str| {
            check_form(&format!("$argon2id${params}$c2FsdHNhbHQ$AAAAAAAAAAAAAAAAAAAAAAAAAAA"))
        };
        assert_eq!(argon2("v=19$m=19456,t=2,p=1"), Ok(()));
        assert_eq!(argon2("v=19$m=65536,t=3,p=4"), Ok(()));
        assert_eq!(argon2("v=19$m=65536,t=3,p=4,keyid=MQ"), Ok(()));
        assert_eq!(argon2("v=16$m=19456,t=2,p=1"), Err(BadForm::Malformed("argon2id")));
        assert_eq!(argon2("m=19456,t=2,p=1"), Err(BadForm::Malformed("argon2id")));
        for costly in ["m=131073,t=1,p=1", "m=65536,t=17,p=1", "m=4294967295,t=4294967295,p=1"] {
            assert_eq!(argon2(&format!("v=19${costly}")), Err(BadForm::TooCostly("argon2id")));
        }
        assert_eq!(argon2("v=19$m=4096,t=1,p=17"), Err(BadForm::TooCostly("argon2id")));
    }

    #[test]
    fn what_would_stall_the_service_is_refused() {
        let bcrypt = VECTORS[0].replace("$04$", "$15$");
        assert_eq!(check_form(&bcrypt), Err(BadForm::TooCostly("bcrypt")));
        assert_eq!(check_form(&VECTORS[0].replace("$04$", "$14$")), Ok(()));
        for (params, form) in [
            ("ln=16,r=8,p=1", Ok(())),
            ("ln=15,r=16,p=4", Ok(())),
            ("ln=17,r=8,p=1", Err(BadForm::TooCostly("scrypt"))),
            ("ln=16,r=8,p=5", Err(BadForm::TooCostly("scrypt"))),
            ("ln=4,r=8,p=17", Err(BadForm::TooCostly("scrypt"))),
            ("ln=31,r=4294967295,p=4294967295", Err(BadForm::TooCostly("scrypt"))),
            ("ln=64,r=8,p=1", Err(BadForm::TooCostly("scrypt"))),
            ("ln=0,r=8,p=1", Err(BadForm::Malformed("scrypt"))),
            ("ln=10,r=0,p=1", Err(BadForm::Malformed("scrypt"))),
            ("ln=10,r=8,p=0", Err(BadForm::Malformed("scrypt"))),
            ("r=8,ln=10,p=1", Err(BadForm::Malformed("scrypt"))),
            ("ln=10,r=8", Err(BadForm::Malformed("scrypt"))),
            ("ln=10,r=8,p=1,q=1", Err(BadForm::Malformed("scrypt"))),
            ("ln=+10,r=8,p=1", Err(BadForm::Malformed("scrypt"))),
        ] {
            assert_eq!(check_form(&VECTORS[3].replace("ln=10,r=8,p=1", params)), form, "{params}");
        }
        for (hash, own) in [(VECTORS[5], "i=1000"), (PASSLIB, "$1000"), (VECTORS[8], "$1000")] {
            let with = |rounds: &str| check_form(&hash.replace(own, &own.replace("1000", rounds)));
            assert_eq!(with("5000000"), Ok(()));
            assert_eq!(with("5000001"), Err(BadForm::TooCostly("pbkdf2")));
            assert_eq!(with("0"), Err(BadForm::Malformed("pbkdf2")));
            assert_eq!(with("-1"), Err(BadForm::Malformed("pbkdf2")));
            assert_eq!(with("99999999999"), Err(BadForm::Malformed("pbkdf2")));
        }
    }

    #[test]
    fn a_round_of_sha512_counts_twice() {
        let with = |rounds| check_form(&VECTORS[6].replace("i=1000", rounds));
        assert_eq!(with("i=2500000"), Ok(()));
        assert_eq!(with("i=2500001"), Err(BadForm::TooCostly("pbkdf2")));
    }

    #[test]
    fn what_is_no_hash_is_refused() {
        for text in [
            "",
            "$",
            "password",
            "$1$salt$hash",
            "$6$salt$hash",
            "{SSHA}aaaa",
            "$2x$04$abcdefghijklmnopqrstuu7EJV7kdjBBQxyb0HjTh9KS7.Lah/6CG",
            "$argon2i$v=19$m=64,t=1,p=1$c2FsdHNhbHQ$AAAAAAAAAAAAAAAAAAAAAAAAAAA",
            "pbkdf2_sha1$1000$salt$hash",
        ] {
            assert_eq!(check_form(text), Err(BadForm::Unknown), "{text}");
        }
        for hash in VECTORS.into_iter().chain([PASSLIB]) {
            // One character less or more, another alphabet, a shorter hash.
            let cut = &hash[..hash.rfind('$').unwrap() + 9];
            for bad in [&hash[..hash.len() - 1], &format!("{hash}x"), &format!("{hash} "), cut] {
                if let Ok(Stored::Foreign(foreign)) = Stored::read(bad) {
                    assert!(!foreign.is_hash_of(PASSWORD), "{bad}");
                }
            }
            assert!(check_form(cut).is_err(), "{cut}: a short hash fits too many passwords");
        }
    }
}
