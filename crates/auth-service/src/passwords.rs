//! Passwords, as they are kept: Argon2id, OWASP's floor by default, a few at a time.
//!
//! Hashing takes a [`Place`], which is had before anything is read from the database, so that a
//! flood waits nowhere: what does not fit is refused at once.

mod common_passwords;
mod foreign;
mod hasher;
pub(crate) mod imported;
pub mod password_policy;
mod pool;

use std::sync::Arc;
use std::time::Duration;

use argon2::{Block, Params};
use icu_normalizer::ComposingNormalizer;
use secrecy::SecretString;
use zeroize::Zeroizing;

use crate::config::{self, ConfigError};
use hasher::Hasher;
use pool::{Permit, Pool};

pub use pool::permits;

/// The longest text taken for a password, in bytes when it is composed; what is longer is no honest request.
pub const MAX_BYTES: usize = 1024;

/// Why no answer can be given now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("too many passwords are being checked")]
pub struct Overloaded;

/// Why passwords cannot be hashed at all.
#[derive(Debug, thiserror::Error)]
pub enum Unusable {
    #[error("passwords: Argon2 does not take these parameters: {0}")]
    Parameters(argon2::Error),
    #[error(transparent)]
    Peppers(#[from] ConfigError),
    #[error("the threads that hash passwords cannot be started: {0}")]
    Threads(std::io::Error),
}

/// What a hash is wanted for. It decides who is refused first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HashingPurpose {
    /// Somebody who has an account waits: served first, refused last.
    Login,
    /// Somebody new: refused when the queue is a quarter full.
    Registration,
    /// Nobody waits, a stored hash is to be renewed: only where a thread has nothing to do.
    Renewal,
}

/// What came of a check.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Checked {
    /// It is another password, or there is none.
    Wrong,
    /// It is the one.
    Good,
    /// It is the one, and its hash is not what would be made of it now.
    Outdated,
}

impl Checked {
    /// Whether it is the password.
    #[must_use]
    pub const fn is_good(self) -> bool {
        matches!(self, Self::Good | Self::Outdated)
    }
}

/// Hashes and checks passwords, a few at a time: each takes tens of milliseconds of a core and
/// megabytes of memory, and a flood of them must not starve the rest of the process.
#[derive(Debug)]
pub struct Passwords {
    hasher: Arc<Hasher>,
    pool: Pool,
}

impl Passwords {
    /// With as many threads as there are cores, less one for everything else, and as memory allows.
    pub fn new(settings: &config::Passwords) -> Result<Self, Unusable> {
        let hasher = Arc::new(Hasher::new(settings)?);
        let max_wait = Duration::from_secs(settings.max_wait_seconds);
        let pool =
            Pool::start(permits(settings.memory_kib), max_wait).map_err(Unusable::Threads)?;
        Ok(Self { hasher, pool })
    }

    /// A place in the queue, without which nothing is hashed.
    pub fn enter(&self, purpose: HashingPurpose) -> Result<Place, Overloaded> {
        self.enter_after(purpose, Duration::ZERO)
    }

    /// The same for somebody who has waited elsewhere: they wait as much less here.
    pub fn enter_after(
        &self,
        purpose: HashingPurpose,
        waited: Duration,
    ) -> Result<Place, Overloaded> {
        let permit = self.pool.enter(purpose, waited)?;
        Ok(Place { hasher: Arc::clone(&self.hasher), permit })
    }
}

/// A place in the queue for one request, given up when it is dropped; what was begun with it is
/// counted until it is over.
#[derive(Debug)]
pub struct Place {
    hasher: Arc<Hasher>,
    permit: Arc<Permit>,
}

impl Place {
    /// Whether `password` is the one that was hashed; with no hash, takes as long and says no.
    pub async fn check(
        &mut self,
        password: &SecretString,
        hash: Option<String>,
    ) -> Result<Checked, Overloaded> {
        let (hasher, password) = (Arc::clone(&self.hasher), password.clone());
        self.permit.run(move |arena| hasher.check(&password, hash.as_deref(), arena)).await
    }

    /// Hashes a password for storage (a PHC string), and gives the place up.
    ///
    /// # Panics
    /// When hashing itself panics.
    pub async fn hash(self, password: &SecretString) -> Result<String, Overloaded> {
        let (hasher, password) = (self.hasher, password.clone());
        let work = move |arena: &mut pool::Arena| {
            hasher.hash(&password, arena).expect("the parameters were checked at the start")
        };
        self.permit.run(work).await
    }
}

/// One hash of nothing, for whoever measures what that takes.
///
/// # Panics
/// When Argon2 does not take these parameters.
pub(crate) fn run_once(memory_kib: u32, iterations: u32, arena: &mut Vec<Block>) {
    let params = Params::new(memory_kib, iterations, 1, None).expect("parameters of Argon2");
    hasher::run(&params, b"", b"", &[0; 16], arena).expect("parameters of Argon2");
}

/// NFC, so that one password typed on two keyboards is one password (NIST SP 800-63B-4 §3.1.1.2).
pub(crate) fn normalized(password: &str) -> Zeroizing<String> {
    Zeroizing::new(ComposingNormalizer::new_nfc().normalize(password).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::MAX_MEMORY_KIB;

    fn settings(memory_kib: u32) -> config::Passwords {
        let peppers = SecretString::default();
        config::Passwords {
            min_length: 15,
            max_length: 256,
            memory_kib,
            iterations: 1,
            max_wait_seconds: 60,
            peppers,
        }
    }

    fn passwords() -> Passwords {
        Passwords::new(&settings(64)).unwrap()
    }

    fn place(passwords: &Passwords) -> Place {
        passwords.enter(HashingPurpose::Login).unwrap()
    }

    async fn hash(passwords: &Passwords, text: &str) -> String {
        place(passwords).hash(&SecretString::from(text)).await.unwrap()
    }

    async fn check(passwords: &Passwords, text: &str, hash: Option<&str>) -> Checked {
        let hash = hash.map(str::to_owned);
        place(passwords).check(&SecretString::from(text), hash).await.unwrap()
    }

    #[tokio::test]
    async fn a_password_is_known_again_and_no_other_is() {
        let passwords = passwords();
        let hash = hash(&passwords, "an entirely good one").await;
        assert!(hash.starts_with("$argon2id$v=19$m=64,t=1,p=1$"), "{hash}");
        assert_eq!(check(&passwords, "an entirely good one", Some(&hash)).await, Checked::Good);
        assert_eq!(check(&passwords, "an entirely good One", Some(&hash)).await, Checked::Wrong);
        assert_eq!(check(&passwords, "an entirely good one", None).await, Checked::Wrong);
    }

    #[tokio::test]
    async fn one_password_typed_on_two_keyboards_is_one() {
        let passwords = passwords();
        let hash = hash(&passwords, "caf\u{e9} au lait, s'il").await;
        assert!(check(&passwords, "cafe\u{301} au lait, s'il", Some(&hash)).await.is_good());
    }

    #[tokio::test]
    async fn nothing_is_cut_off() {
        let passwords = passwords();
        let base = "b".repeat(72);
        let hash = hash(&passwords, &format!("{base}1")).await;
        assert!(!check(&passwords, &format!("{base}2"), Some(&hash)).await.is_good());
    }

    /// A client may reset its connection as soon as its password is being checked.
    #[tokio::test(flavor = "multi_thread")]
    async fn whoever_goes_away_leaves_the_others_their_turn() {
        let passwords = Passwords::new(&settings(16 * 1024)).unwrap();
        let password = SecretString::from("an entirely good one");
        for _ in 0..50 {
            let mut place = place(&passwords);
            let _ =
                tokio::time::timeout(std::time::Duration::ZERO, place.check(&password, None)).await;
        }
        assert_eq!(check(&passwords, "the last of them", None).await, Checked::Wrong);
    }

    #[tokio::test]
    async fn one_place_is_good_for_several_checks_and_one_hash() {
        let passwords = passwords();
        let password = SecretString::from("an entirely good one");
        let mut place = place(&passwords);
        assert!(!place.check(&password, None).await.unwrap().is_good());
        assert!(!place.check(&password, None).await.unwrap().is_good());
        assert!(place.hash(&password).await.is_ok());
        assert!(passwords.enter(HashingPurpose::Renewal).is_ok(), "the place was given up");
    }

    #[tokio::test]
    async fn a_place_is_worth_nothing_when_the_threads_are_gone() {
        let left = place(&passwords());
        assert_eq!(left.hash(&SecretString::from("x")).await, Err(Overloaded));
    }

    #[test]
    fn permits_fit_into_the_memory_for_all() {
        for memory_kib in [8, 19_456, 65_536, MAX_MEMORY_KIB] {
            let all = u64::try_from(permits(memory_kib)).unwrap() * u64::from(memory_kib);
            assert!(all <= u64::from(MAX_MEMORY_KIB), "{memory_kib}");
        }
        assert!(permits(u32::MAX) == 1 && permits(0) >= 1);
    }
}
