//! Sealing of keys at rest: AES-256-GCM-SIV (RFC 8452), which forgives a repeated nonce.

use aws_lc_rs::aead::{AES_256_GCM_SIV, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use zeroize::Zeroizing;

use crate::config::{Config, ConfigError};
use crate::identity::random;

/// The sealed text was changed, is another row's, or is under another master key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("cannot be opened with this master key")]
pub struct Unopenable;

/// The key that seals the others.
pub struct MasterKey(LessSafeKey);

impl std::fmt::Debug for MasterKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("MasterKey")
    }
}

impl MasterKey {
    /// The key with these bytes.
    ///
    /// # Panics
    /// Never: 32 bytes are what the algorithm takes.
    #[must_use]
    pub fn new(bytes: &[u8; 32]) -> Self {
        let key = UnboundKey::new(&AES_256_GCM_SIV, bytes).expect("the key has the right length");
        Self(LessSafeKey::new(key))
    }

    /// Seals `plain` for the place that `context` names; elsewhere it does not open.
    ///
    /// # Panics
    /// Never at the sizes of keys.
    #[must_use]
    pub fn seal(&self, context: &str, plain: &[u8]) -> Vec<u8> {
        let nonce: [u8; NONCE_LEN] = random::bytes();
        let mut text = plain.to_vec();
        let (at, aad) = (Nonce::assume_unique_for_key(nonce), Aad::from(context.as_bytes()));
        self.0.seal_in_place_append_tag(at, aad, &mut text).expect("a key is short enough");
        [nonce.as_slice(), &text].concat()
    }

    /// Opens what was sealed for `context`.
    pub fn open(&self, context: &str, sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, Unopenable> {
        let (nonce, text) = sealed.split_at_checked(NONCE_LEN).ok_or(Unopenable)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| Unopenable)?;
        let mut text = Zeroizing::new(text.to_vec());
        let aad = Aad::from(context.as_bytes());
        let length = self.0.open_in_place(nonce, aad, &mut text).map_err(|_| Unopenable)?.len();
        text.truncate(length);
        Ok(text)
    }
}

/// The master keys in use: while one replaces the other there are two.
#[derive(Debug)]
pub struct MasterKeys {
    current: MasterKey,
    /// Opens only: the one before, or the one to come.
    other: Option<MasterKey>,
}

impl MasterKeys {
    /// Those that the settings name.
    pub fn from_settings(config: &Config) -> Result<Self, ConfigError> {
        Ok(Self::new(&*config.master_key()?, config.other_master_key()?.as_deref()))
    }

    /// `current` seals; `other` opens what was, or will be, sealed with it.
    #[must_use]
    pub fn new(current: &[u8; 32], other: Option<&[u8; 32]>) -> Self {
        Self { current: MasterKey::new(current), other: other.map(MasterKey::new) }
    }

    /// Seals with the current key.
    #[must_use]
    pub fn seal(&self, context: &str, plain: &[u8]) -> Vec<u8> {
        self.current.seal(context, plain)
    }

    /// Opens with whichever key it was sealed with.
    pub fn open(&self, context: &str, sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, Unopenable> {
        let by = |key: &MasterKey| key.open(context, sealed);
        by(&self.current).or_else(|error| self.other.as_ref().map_or(Err(error), by))
    }

    /// The same secret sealed with the current key; `None` where it is already.
    pub fn reseal(&self, context: &str, sealed: &[u8]) -> Result<Option<Vec<u8>>, Unopenable> {
        if self.current.open(context, sealed).is_ok() {
            return Ok(None);
        }
        self.open(context, sealed).map(|plain| Some(self.seal(context, &plain)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sealed_opens_only_in_its_place() {
        let master = MasterKey::new(&[7; 32]);
        let sealed = master.seal("here", b"secret");
        assert_eq!(master.open("here", &sealed).unwrap().as_slice(), b"secret");
        assert_eq!(master.open("there", &sealed).unwrap_err(), Unopenable);
        assert_eq!(MasterKey::new(&[8; 32]).open("here", &sealed).unwrap_err(), Unopenable);
        let mut changed = sealed;
        *changed.last_mut().unwrap() ^= 1;
        assert_eq!(master.open("here", &changed).unwrap_err(), Unopenable);
        assert_eq!(master.open("here", b"short").unwrap_err(), Unopenable);
    }

    #[test]
    fn a_new_master_key_takes_over_what_the_old_one_sealed() {
        let (old, new) = ([7; 32], [8; 32]);
        let sealed = MasterKeys::new(&old, None).seal("here", b"secret");
        assert!(MasterKeys::new(&new, None).open("here", &sealed).is_err());
        let both = MasterKeys::new(&new, Some(&old));
        let resealed = both.reseal("here", &sealed).unwrap().unwrap();
        let opened = MasterKeys::new(&new, None).open("here", &resealed).unwrap();
        assert_eq!(opened.as_slice(), b"secret");
        assert_eq!(both.reseal("here", &resealed), Ok(None));
        assert_eq!(both.reseal("there", &sealed), Err(Unopenable));
    }
}
