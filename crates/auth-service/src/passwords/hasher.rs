//! One hash or one check, now, on this thread.

use std::sync::{Mutex, MutexGuard, PoisonError};

use argon2::password_hash::phc::{Output, ParamsString, PasswordHash, Salt};
use argon2::{Algorithm, Argon2, Block, Params, ParamsBuilder, Version};
use secrecy::{ExposeSecret as _, SecretString};
use zeroize::Zeroizing;

use super::foreign::{Argon2Hash, Stored};
use super::pool::Arena;
use super::{Checked, Unusable, normalized};
use crate::config::{self, Pepper, Peppers};
use crate::identity::random;

const HASH_BYTES: usize = 32;
/// So much address space is asked for at least. glibc maps what is larger than 32 MiB apart from
/// its heap, always, and so returns it when it is given back; what is not touched takes no memory.
const LEAST_CAPACITY: usize = 33 * 1024;

/// The live parameters, and how to use them.
#[derive(Debug)]
pub(super) struct Hasher {
    params: Params,
    peppers: Peppers,
    /// Read and checked where there is no user, so that it takes as long as where there is one.
    dummy: String,
    /// Held by whoever takes more memory than the live parameters do, which is one at a time.
    large: Mutex<()>,
}

impl Hasher {
    pub(super) fn new(settings: &config::Passwords) -> Result<Self, Unusable> {
        let peppers = Peppers::read(&settings.peppers)?;
        let mut params = ParamsBuilder::new();
        params.m_cost(settings.memory_kib).t_cost(settings.iterations).p_cost(1);
        params.output_len(HASH_BYTES);
        if let Some(pepper) = peppers.first() {
            let version = pepper.version.as_bytes().try_into().map_err(Unusable::Parameters)?;
            params.keyid(version);
        }
        let params = params.build().map_err(Unusable::Parameters)?;
        // No password is known to have this hash.
        let dummy = phc(&params, &random::bytes(), &random::bytes::<HASH_BYTES>());
        Ok(Self { params, peppers, dummy, large: Mutex::new(()) })
    }

    /// A PHC string.
    pub(super) fn hash(
        &self,
        password: &SecretString,
        arena: &mut Arena,
    ) -> Result<String, argon2::Error> {
        let plain = normalized(password.expose_secret());
        let salt: [u8; 16] = random::bytes();
        let pepper = self.peppers.first();
        let output = self.argon2(&self.params, pepper, plain.as_bytes(), &salt, arena)?;
        Ok(phc(&self.params, &salt, &output))
    }

    /// With the parameters of the stored hash, and then as long as with the live ones.
    pub(super) fn check(
        &self,
        password: &SecretString,
        stored: Option<&str>,
        arena: &mut Arena,
    ) -> Checked {
        let (hash, known) = match Stored::read(stored.unwrap_or(&self.dummy)) {
            Ok(Stored::Argon2id(hash)) if self.has_pepper_of(&hash) => (hash, stored.is_some()),
            Ok(Stored::Argon2id(_)) => (self.dummy(), false),
            Ok(Stored::Foreign(foreign)) => {
                let _alone = self.alone(foreign.memory_kib());
                return foreign.check(password.expose_secret());
            }
            Err(error) => {
                tracing::error!(%error, "a stored password hash cannot be read");
                (self.dummy(), false)
            }
        };
        let pepper = self.peppers.of_version(hash.params.keyid());
        let plain = normalized(password.expose_secret());
        let output = self.argon2(&hash.params, pepper, plain.as_bytes(), hash.salt.as_ref(), arena);
        self.fill_up(&hash.params, arena);
        // `Output` compares in constant time.
        let good = output.is_ok_and(|it| Output::new(&it).is_ok_and(|it| it == hash.hash));
        match known && good {
            true if hash.params == self.params => Checked::Good,
            true => Checked::Outdated,
            false => Checked::Wrong,
        }
    }

    fn dummy(&self) -> Argon2Hash {
        Argon2Hash::read(&self.dummy, "argon2id").expect("it was made here")
    }

    fn has_pepper_of(&self, hash: &Argon2Hash) -> bool {
        let version = hash.params.keyid();
        let found = version.is_empty() || self.peppers.of_version(version).is_some();
        if !found {
            tracing::error!(
                pepper.version = %version.escape_ascii(),
                "passwords.peppers lacks a version that a stored hash was made with"
            );
        }
        found
    }

    /// Works for as long as the check of a live hash would have taken longer. The work of Argon2 is
    /// its memory times its passes; no more memory is taken than the live parameters take.
    fn fill_up(&self, done: &Params, arena: &mut Arena) {
        let missing = work(&self.params).saturating_sub(work(done));
        let passes = missing.div_ceil(u64::from(self.params.m_cost())).max(1);
        let (Ok(memory), Ok(passes)) = (u32::try_from(missing / passes), u32::try_from(passes))
        else {
            return;
        };
        if let Ok(params) = Params::new(memory, passes, 1, Some(HASH_BYTES)) {
            let _ = self.argon2(&params, None, b"", &[0; 16], arena);
        }
    }

    fn argon2(
        &self,
        params: &Params,
        pepper: Option<&Pepper>,
        plain: &[u8],
        salt: &[u8],
        arena: &mut Arena,
    ) -> Result<Zeroizing<Vec<u8>>, argon2::Error> {
        let large = self.alone(params.m_cost());
        let mut arena_apart = Arena::new();
        let arena = if large.is_some() {
            *arena = Arena::new();
            &mut arena_apart
        } else {
            arena
        };
        run(params, pepper.map_or(&[], |pepper| &pepper.secret), plain, salt, arena)
    }

    /// Waits for the other who takes more memory than the live parameters do, where this one does.
    fn alone(&self, memory_kib: u32) -> Option<MutexGuard<'_, ()>> {
        let large = memory_kib > self.params.m_cost();
        large.then(|| self.large.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Argon2id in `arena`, which grows as it must.
pub(super) fn run(
    params: &Params,
    pepper: &[u8],
    plain: &[u8],
    salt: &[u8],
    arena: &mut Arena,
) -> Result<Zeroizing<Vec<u8>>, argon2::Error> {
    let blocks = params.block_count();
    if arena.len() < blocks {
        *arena = Arena::with_capacity(blocks.max(LEAST_CAPACITY));
        arena.resize(blocks, Block::new());
    }
    let mut output = Zeroizing::new(vec![0; params.output_len().unwrap_or(HASH_BYTES)]);
    let argon2 =
        Argon2::new_with_secret(pepper, Algorithm::Argon2id, Version::V0x13, params.clone())?;
    argon2.hash_password_into_with_memory(plain, salt, &mut output, arena)?;
    Ok(output)
}

/// As it is stored.
fn phc(params: &Params, salt: &[u8; 16], hash: &[u8]) -> String {
    let hash = PasswordHash {
        algorithm: Algorithm::Argon2id.ident(),
        version: Some(Version::V0x13.into()),
        params: ParamsString::try_from(params).unwrap_or_default(),
        salt: Salt::new(salt).ok(),
        hash: Output::new(hash).ok(),
    };
    hash.to_string()
}

fn work(params: &Params) -> u64 {
    u64::from(params.m_cost()) * u64::from(params.t_cost())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const A: &str = "1:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
    const B: &str = "b:AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=";

    fn hasher(memory_kib: u32, iterations: u32, peppers: &str) -> Hasher {
        let peppers = SecretString::from(peppers);
        let settings = config::Passwords {
            min_length: 15,
            max_length: 256,
            memory_kib,
            iterations,
            max_wait_seconds: 3,
            peppers,
        };
        Hasher::new(&settings).unwrap()
    }

    fn password() -> SecretString {
        SecretString::from("an entirely good one")
    }

    fn hash(hasher: &Hasher) -> String {
        hasher.hash(&password(), &mut Arena::new()).unwrap()
    }

    fn check(hasher: &Hasher, hash: &str) -> Checked {
        hasher.check(&password(), Some(hash), &mut Arena::new())
    }

    #[test]
    fn a_hash_that_would_be_made_otherwise_now_is_outdated() {
        let old = hash(&hasher(64, 1, ""));
        assert_eq!(check(&hasher(64, 1, ""), &old), Checked::Good);
        assert_eq!(check(&hasher(64, 2, ""), &old), Checked::Outdated);
        assert_eq!(check(&hasher(32, 1, ""), &old), Checked::Outdated);
        assert_eq!(check(&hasher(64, 1, A), &old), Checked::Outdated);
        let other = SecretString::from("an entirely other one");
        let arena = &mut Arena::new();
        assert_eq!(hasher(64, 2, "").check(&other, Some(&old), arena), Checked::Wrong);
    }

    #[test]
    fn a_pepper_is_remembered_by_its_version_and_takes_turns() {
        let peppered = hash(&hasher(64, 1, A));
        assert!(peppered.contains(",keyid=MQ$"), "{peppered}");
        assert_eq!(check(&hasher(64, 1, A), &peppered), Checked::Good);
        assert_eq!(check(&hasher(64, 1, &format!("{B},{A}")), &peppered), Checked::Outdated);
        assert_eq!(check(&hasher(64, 1, &format!("{A},{B}")), &peppered), Checked::Good);
        // Not configured any more, or with another secret under the same name.
        assert_eq!(check(&hasher(64, 1, B), &peppered), Checked::Wrong);
        assert_eq!(check(&hasher(64, 1, ""), &peppered), Checked::Wrong);
        assert_eq!(check(&hasher(64, 1, &B.replace('b', "1")), &peppered), Checked::Wrong);
        // The pepper is in the hash itself, not only in what is written beside it.
        assert_eq!(check(&hasher(64, 1, ""), &peppered.replace(",keyid=MQ", "")), Checked::Wrong);
    }

    #[test]
    fn what_is_no_hash_is_no_password() {
        for text in ["", "hash", "$argon2id$", "$argon2id$v=19$m=64,t=1,p=1$c2FsdHNhbHQ", "$1$x$y"]
        {
            assert_eq!(check(&hasher(64, 1, ""), text), Checked::Wrong, "{text}");
        }
    }

    #[test]
    fn an_imported_hash_is_good_and_outdated() {
        let hash = "$argon2id$v=19$m=64,t=1,p=4$c2FsdHNhbHRzYWx0$";
        let params = Params::new(64, 1, 4, Some(16)).unwrap();
        let output = run(&params, b"", b"an entirely good one", b"saltsaltsalt", &mut Vec::new());
        let output = Output::new(&output.unwrap()).unwrap();
        assert_eq!(check(&hasher(64, 1, ""), &format!("{hash}{output}")), Checked::Outdated);
    }

    #[test]
    fn a_larger_hash_leaves_no_larger_arena_behind() {
        let large = hash(&hasher(1024, 1, ""));
        let mut arena = Arena::new();
        let small = hasher(64, 4, "");
        assert_eq!(small.check(&password(), Some(&large), &mut arena), Checked::Outdated);
        assert!(arena.len() <= 64, "{}", arena.len());
        assert_eq!(small.check(&password(), None, &mut arena), Checked::Wrong);
        assert_eq!(arena.len(), 64);
        // Filling up a smaller one does not take more memory than the live parameters either.
        let tiny = hash(&hasher(8, 1, ""));
        assert_eq!(small.check(&password(), Some(&tiny), &mut arena), Checked::Outdated);
        assert_eq!(arena.len(), 64);
    }

    /// How long this thread has had a processor.
    fn worked() -> Duration {
        let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
        Duration::try_from(time).unwrap()
    }

    #[test]
    fn checks_take_equally_long_whether_there_is_a_user_and_however_old_their_hash() {
        let live = hasher(8 * 1024, 3, "");
        let hashes =
            [None, Some(hash(&live)), Some(hash(&hasher(1024, 1, ""))), Some(String::new())];
        let mut arena = Arena::new();
        let mut fastest = [Duration::MAX; 4];
        // The processor's time and the fastest of many: on a busy machine anything may take longer.
        for _ in 0..30 {
            for (hash, fastest) in hashes.iter().zip(&mut fastest) {
                let begun = worked();
                live.check(&password(), hash.as_deref(), &mut arena);
                *fastest = worked().saturating_sub(begun).min(*fastest);
            }
        }
        let most = fastest.iter().max().unwrap().as_secs_f64();
        let least = fastest.iter().min().unwrap().as_secs_f64();
        assert!(most < least * 1.2, "{fastest:?}");
    }
}
