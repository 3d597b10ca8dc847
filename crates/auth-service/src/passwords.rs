//! Passwords: what is accepted, and how they are kept (Argon2id, OWASP's floor by default).

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use argon2::password_hash::phc::{Output, ParamsString, PasswordHash, Salt};
use argon2::{Algorithm, Argon2, Block, Params, Version};
use icu_normalizer::ComposingNormalizer;
use secrecy::{ExposeSecret as _, SecretString};
use tokio::sync::Semaphore;
use zeroize::Zeroizing;

use crate::config;
use crate::{names, random};

/// The longest text taken for a password, in bytes; what is longer is no honest request.
pub const MAX_BYTES: usize = 1024;
const HASH_BYTES: usize = 32;
/// How many may wait for a permit, and how long; more only makes everybody's wait useless.
const MAX_WAITING: usize = 64;
const MAX_WAIT: Duration = Duration::from_secs(3);

/// Why no answer can be given now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("too many passwords are being checked")]
pub struct Overloaded;

/// What a new password lacks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Violation {
    /// Fewer characters than the minimum.
    TooShort,
    /// More than the maximum.
    TooLong,
    /// One that everybody tries first.
    Common,
    /// It is, or contains, the user's own name or address.
    ContainsName,
    /// The same as before.
    Unchanged,
}

impl Violation {
    /// The name in answers.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::TooShort => "too_short",
            Self::TooLong => "too_long",
            Self::Common => "common",
            Self::ContainsName => "contains_name",
            Self::Unchanged => "unchanged",
        }
    }
}

/// Hashes and checks passwords, a few at a time: each takes tens of milliseconds of a core and
/// megabytes of memory, and a flood of them must not starve the rest of the process.
pub struct Passwords {
    policy: config::Passwords,
    params: Params,
    permits: Semaphore,
    waiting: AtomicUsize,
    /// One for each permit, reused: fresh memory costs half as much again as the hash.
    arenas: Mutex<Vec<Vec<Block>>>,
    /// Checked where there is no user, so that it takes as long as where there is one.
    dummy: String,
}

impl std::fmt::Debug for Passwords {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Passwords").field("policy", &self.policy).finish_non_exhaustive()
    }
}

impl Passwords {
    /// With as many permits as there are cores, less one for everything else.
    pub fn new(policy: config::Passwords) -> Result<Self, argon2::Error> {
        let params = Params::new(policy.memory_kib, policy.iterations, 1, Some(HASH_BYTES))?;
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let permits = Semaphore::new((cores - 1).max(1));
        let (waiting, arenas) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
        let mut passwords = Self { policy, params, permits, waiting, arenas, dummy: String::new() };
        let nobodys = Zeroizing::new(random::bytes::<32>().to_vec());
        passwords.dummy = passwords.hash_now(&nobodys)?;
        Ok(passwords)
    }

    /// What `password` lacks as a new password of the user with these names.
    #[must_use]
    pub fn violations(&self, password: &SecretString, names: &[&str]) -> Vec<Violation> {
        let password = Zeroizing::new(normalized(password.expose_secret()));
        let length = password.chars().count();
        let mut violations = Vec::new();
        if length < self.policy.min_length {
            violations.push(Violation::TooShort);
        }
        if length > self.policy.max_length {
            violations.push(Violation::TooLong);
        }
        let folded = Zeroizing::new(names::fold(&password));
        if is_common(&folded) {
            violations.push(Violation::Common);
        }
        // Very short names occur in innocent passwords.
        let mut folded_names = names.iter().map(|name| names::fold(name));
        if folded_names.any(|name| name.chars().count() >= 4 && folded.contains(&name)) {
            violations.push(Violation::ContainsName);
        }
        violations
    }

    /// Hashes a password for storage (a PHC string).
    ///
    /// # Panics
    /// When hashing itself panics.
    pub async fn hash(self: &Arc<Self>, password: SecretString) -> Result<String, Overloaded> {
        let plain = Zeroizing::new(normalized(password.expose_secret()).into_bytes());
        self.on_a_permit(move |passwords| {
            passwords.hash_now(&plain).expect("the parameters were checked at the start")
        })
        .await
    }

    /// Whether `password` is the one that was hashed; with no hash, takes as long and says no.
    ///
    /// # Panics
    /// When hashing itself panics.
    pub async fn check(
        self: &Arc<Self>,
        password: SecretString,
        hash: Option<String>,
    ) -> Result<bool, Overloaded> {
        let plain = Zeroizing::new(normalized(password.expose_secret()).into_bytes());
        self.on_a_permit(move |passwords| {
            let known = hash.is_some();
            let hash = hash.as_deref().unwrap_or(&passwords.dummy);
            passwords.check_now(&plain, hash) && known
        })
        .await
    }

    async fn on_a_permit<T, F>(self: &Arc<Self>, work: F) -> Result<T, Overloaded>
    where
        T: Send + 'static,
        F: FnOnce(&Self) -> T + Send + 'static,
    {
        let waiting = Waiting::enter(&self.waiting)?;
        let permit = tokio::time::timeout(MAX_WAIT, self.permits.acquire()).await;
        let Ok(Ok(permit)) = permit else { return Err(Overloaded) };
        drop(waiting);
        let passwords = Arc::clone(self);
        let result = tokio::task::spawn_blocking(move || work(&passwords)).await;
        drop(permit);
        Ok(result.expect("hashing does not panic"))
    }

    fn hash_now(&self, plain: &[u8]) -> Result<String, argon2::Error> {
        let salt: [u8; 16] = random::bytes();
        let output = self.argon2(&self.params, plain, &salt)?;
        let hash = PasswordHash {
            algorithm: Algorithm::Argon2id.ident(),
            version: Some(Version::V0x13.into()),
            params: ParamsString::try_from(&self.params).unwrap_or_default(),
            salt: Salt::new(&salt).ok(),
            hash: Output::new(output.as_slice()).ok(),
        };
        Ok(hash.to_string())
    }

    /// With the parameters of the stored hash, which may be older than the configured ones.
    fn check_now(&self, plain: &[u8], stored: &str) -> bool {
        let Ok(stored) = PasswordHash::new(stored) else { return false };
        let (Ok(params), Some(salt), Some(expected)) =
            (Params::try_from(&stored), stored.salt, stored.hash)
        else {
            return false;
        };
        // `Output` compares in constant time.
        self.argon2(&params, plain, salt.as_ref())
            .is_ok_and(|output| Output::new(output.as_slice()).is_ok_and(|hash| hash == expected))
    }

    fn argon2(
        &self,
        params: &Params,
        plain: &[u8],
        salt: &[u8],
    ) -> Result<Zeroizing<[u8; HASH_BYTES]>, argon2::Error> {
        let mut arena = {
            let mut arenas = self.arenas.lock().unwrap_or_else(PoisonError::into_inner);
            arenas.pop().unwrap_or_default()
        };
        if arena.len() < params.block_count() {
            arena.resize(params.block_count(), Block::new());
        }
        let mut output = Zeroizing::new([0; HASH_BYTES]);
        let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params.clone());
        let hashed =
            argon2.hash_password_into_with_memory(plain, salt, output.as_mut(), &mut arena);
        self.arenas.lock().unwrap_or_else(PoisonError::into_inner).push(arena);
        hashed.map(|()| output)
    }
}

/// Counts who waits.
struct Waiting<'a>(&'a AtomicUsize);

impl<'a> Waiting<'a> {
    fn enter(count: &'a AtomicUsize) -> Result<Self, Overloaded> {
        let waiting = Self(count);
        if count.fetch_add(1, Ordering::Relaxed) < MAX_WAITING {
            Ok(waiting)
        } else {
            Err(Overloaded)
        }
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// NFC, so that one password typed on two keyboards is one password (NIST SP 800-63B-4 §3.1.1.2).
fn normalized(password: &str) -> String {
    ComposingNormalizer::new_nfc().normalize(password).into_owned()
}

/// Whether a (folded) password is one of those everybody tries first: one short piece repeated, a
/// run of neighbours, or a usual word padded with those.
fn is_common(password: &str) -> bool {
    let characters: Vec<char> = password.chars().collect();
    let repeats = (1..=4.min(characters.len() / 2))
        .any(|n| characters.iter().zip(&characters[n..]).all(|(a, b)| a == b));
    let runs = characters.windows(2).filter(|pair| {
        let (a, b) = (u32::from(pair[0]), u32::from(pair[1]));
        a.abs_diff(b) == 1 || are_neighbours(pair[0], pair[1])
    });
    let mostly_runs = characters.len() >= 2 && runs.count() * 10 >= (characters.len() - 1) * 8;
    let mut rest = password.to_owned();
    for word in COMMON_WORDS {
        rest = rest.replace(word, "");
    }
    let padding = |c: char| c.is_ascii_digit() || c.is_ascii_punctuation() || c == ' ';
    repeats || mostly_runs || rest.chars().all(padding)
}

fn are_neighbours(a: char, b: char) -> bool {
    ["1234567890", "qwertyuiop", "asdfghjkl", "zxcvbnm", "qwertzuiop", "azertyuiop"].iter().any(
        |row| match (row.find(a), row.find(b)) {
            (Some(a), Some(b)) => a.abs_diff(b) == 1,
            _ => false,
        },
    )
}

const COMMON_WORDS: [&str; 24] = [
    "password",
    "passwort",
    "passw0rd",
    "letmein",
    "welcome",
    "admin",
    "administrator",
    "login",
    "iloveyou",
    "dragon",
    "monkey",
    "football",
    "baseball",
    "sunshine",
    "princess",
    "master",
    "superman",
    "qwerty",
    "abc",
    "changeme",
    "default",
    "secret",
    "test",
    "user",
];

#[cfg(test)]
mod tests {
    use super::*;

    fn passwords() -> Arc<Passwords> {
        let policy =
            config::Passwords { min_length: 15, max_length: 256, memory_kib: 64, iterations: 1 };
        Arc::new(Passwords::new(policy).unwrap())
    }

    fn secret(text: &str) -> SecretString {
        SecretString::from(text)
    }

    #[tokio::test]
    async fn a_password_is_known_again_and_no_other_is() {
        let passwords = passwords();
        let hash = passwords.hash(secret("an entirely good one")).await.unwrap();
        assert!(hash.starts_with("$argon2id$v=19$m=64,t=1,p=1$"), "{hash}");
        let check = |text| passwords.check(secret(text), Some(hash.clone()));
        assert!(check("an entirely good one").await.unwrap());
        assert!(!check("an entirely good One").await.unwrap());
        assert!(!passwords.check(secret("an entirely good one"), None).await.unwrap());
    }

    #[tokio::test]
    async fn one_password_typed_on_two_keyboards_is_one() {
        let passwords = passwords();
        let hash = passwords.hash(secret("caf\u{e9} au lait, s'il")).await.unwrap();
        assert!(passwords.check(secret("cafe\u{301} au lait, s'il"), Some(hash)).await.unwrap());
    }

    #[tokio::test]
    async fn nothing_is_cut_off() {
        let passwords = passwords();
        let base = "b".repeat(72);
        let hash = passwords.hash(secret(&format!("{base}1"))).await.unwrap();
        assert!(!passwords.check(secret(&format!("{base}2")), Some(hash)).await.unwrap());
    }

    #[test]
    fn what_a_password_lacks_is_told() {
        let passwords = passwords();
        let lacks = |text: &str| passwords.violations(&secret(text), &["marjorie"]);
        assert_eq!(lacks("correct horse battery"), []);
        assert_eq!(lacks("fourteen chars"), [Violation::TooShort]);
        assert_eq!(lacks("ぱすわーどはながいほうがいいです"), []);
        assert_eq!(lacks(&"long and varied ".repeat(17)), [Violation::TooLong]);
        assert_eq!(lacks("here is Marjorie again"), [Violation::ContainsName]);
        for common in [
            "password password 123",
            "aaaaaaaaaaaaaaaa",
            "abababababababab",
            "123456789012345",
            "qwertyuiopasdfgh",
            "Passw0rd!!!!!!!",
            "abcdefghijklmnop",
        ] {
            assert_eq!(lacks(common), [Violation::Common], "{common}");
        }
    }
}
