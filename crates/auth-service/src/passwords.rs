//! Passwords, as they are kept: Argon2id, OWASP's floor by default, a few at a time.

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
use crate::random;

/// The longest text taken for a password, in bytes; what is longer is no honest request.
pub const MAX_BYTES: usize = 1024;
const HASH_BYTES: usize = 32;
/// What all arenas together may take, in KiB, whatever the number of cores.
const MAX_ARENAS_KIB: u32 = 128 * 1024;
/// How many may wait for a permit, and how long; more only makes everybody's wait useless.
const MAX_WAITING: usize = 64;
const MAX_WAIT: Duration = Duration::from_secs(3);

/// Why no answer can be given now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("too many passwords are being checked")]
pub struct Overloaded;

/// Hashes and checks passwords, a few at a time: each takes tens of milliseconds of a core and
/// megabytes of memory, and a flood of them must not starve the rest of the process.
pub struct Passwords {
    params: Params,
    permits: Arc<Semaphore>,
    waiting: AtomicUsize,
    /// One for each permit, reused: fresh memory costs half as much again as the hash.
    arenas: Mutex<Vec<Vec<Block>>>,
    /// Checked where there is no user, so that it takes as long as where there is one.
    dummy: String,
}

impl std::fmt::Debug for Passwords {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Passwords").field("params", &self.params).finish_non_exhaustive()
    }
}

impl Passwords {
    /// With as many permits as there are cores, less one for everything else, and as memory allows.
    pub fn new(cost: &config::Passwords) -> Result<Self, argon2::Error> {
        let params = Params::new(cost.memory_kib, cost.iterations, 1, Some(HASH_BYTES))?;
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let affordable = (MAX_ARENAS_KIB / cost.memory_kib.max(1)).max(1) as usize;
        let permits = Arc::new(Semaphore::new((cores - 1).clamp(1, affordable)));
        let (waiting, arenas) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
        let mut passwords = Self { params, permits, waiting, arenas, dummy: String::new() };
        let nobodys = Zeroizing::new(random::bytes::<32>().to_vec());
        passwords.dummy = passwords.hash_now(&nobodys)?;
        // A service that nobody logs in to holds no arena.
        passwords.arenas = Mutex::default();
        Ok(passwords)
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
        let permit =
            tokio::time::timeout(MAX_WAIT, Arc::clone(&self.permits).acquire_owned()).await;
        let Ok(Ok(permit)) = permit else { return Err(Overloaded) };
        drop(waiting);
        let passwords = Arc::clone(self);
        // The permit goes along: a client that goes away drops this future, but not the work.
        let result = tokio::task::spawn_blocking(move || {
            let _permit = permit;
            work(&passwords)
        })
        .await;
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
pub(crate) fn normalized(password: &str) -> String {
    ComposingNormalizer::new_nfc().normalize(password).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn passwords() -> Arc<Passwords> {
        costing(64)
    }

    fn costing(memory_kib: u32) -> Arc<Passwords> {
        let cost = config::Passwords { min_length: 15, max_length: 256, memory_kib, iterations: 1 };
        Arc::new(Passwords::new(&cost).unwrap())
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

    /// A client may reset its connection as soon as its password is being checked.
    #[tokio::test(flavor = "multi_thread")]
    async fn whoever_goes_away_does_not_make_room_for_more_work() {
        let passwords = costing(16 * 1024);
        for _ in 0..50 {
            let check = passwords.check(secret("an entirely good one"), None);
            let _ = tokio::time::timeout(Duration::ZERO, check).await;
        }
        assert!(!passwords.check(secret("the last of them"), None).await.unwrap());
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let arenas = passwords.arenas.lock().unwrap().len();
        assert!(arenas <= (cores - 1).max(1), "{arenas} at once");
    }
}
