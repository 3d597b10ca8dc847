//! The keys in use, opened with the master key, replaced as a whole when the database has others.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use claims::{Jwk, KeyId};
use tokio::sync::{Notify, watch};
use verifier::{KeySet, KeySetError};

use crate::config::Config;
use crate::store::{KeyPurpose, KeyState, StoreError, StoredKey};
use crate::tokens::seal::MasterKeys;
use crate::tokens::signing_key::{DamagedKey, SigningKey};
use crate::tokens::{AccessTokens, RefreshKeys};

/// Why there are no keys to work with.
#[derive(Debug, thiserror::Error)]
pub enum KeyringError {
    /// The database does not answer.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The master key is not the one the keys were sealed under.
    #[error(
        "keys.master_key: does not open key {0} in the database; it was sealed with another master \
         key, which may be named in keys.other_master_key"
    )]
    Sealed(KeyId),
    /// A key opened, but is not one.
    #[error(transparent)]
    Damaged(#[from] DamagedKey),
    /// No key makes tokens.
    #[error("the database has no active key for purpose `{0}`")]
    Inactive(&'static str),
    /// The keys cannot be published.
    #[error("the signing keys cannot be used: {0}")]
    KeySet(#[from] KeySetError),
}

/// Everything that is made or checked with a key.
pub struct KeysInUse {
    pub access: AccessTokens,
    /// Makes and checks refresh tokens.
    pub refresh: RefreshKeys,
    /// The public keys: of the next one, the current one and those that retire.
    pub public: Vec<Jwk>,
    /// The same, for verifying.
    pub set: KeySet,
}

/// How long somebody waits for the keys to be read again.
const TIMEOUT: Duration = Duration::from_secs(3);

/// The keys in use at the moment.
pub struct Keyring {
    keys: RwLock<Arc<KeysInUse>>,
    /// When they were last looked at in the database, and whether that worked.
    looked: watch::Sender<Look>,
    wanted: Notify,
}

#[derive(Debug, Clone, Copy)]
struct Look {
    /// By the time since boot.
    begun: Duration,
    worked: bool,
}

impl Keyring {
    /// Begins with `keys`, which were read from `begun` on.
    #[must_use]
    pub fn new(keys: KeysInUse, begun: Duration) -> Self {
        let (keys, looked) = (RwLock::new(Arc::new(keys)), Look { begun, worked: true });
        Self { keys, looked: watch::Sender::new(looked), wanted: Notify::new() }
    }

    /// The keys as they are now. One answer should be made with one of these.
    #[must_use]
    pub fn now(&self) -> Arc<KeysInUse> {
        Arc::clone(&self.keys.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// From now on, these.
    pub fn replace(&self, keys: KeysInUse) {
        *self.keys.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(keys);
    }

    /// They were looked at in the database from `begun` on; if that `worked`, they are the same.
    pub(crate) fn looked(&self, begun: Duration, worked: bool) {
        self.looked.send_replace(Look { begun, worked });
    }

    /// Has the keys looked at in the database once more, and waits until they are those of `moment` or
    /// later. False where they cannot be read.
    pub(crate) async fn as_of(&self, moment: Duration) -> bool {
        let mut looked = self.looked.subscribe();
        self.wanted.notify_one();
        let look = looked.wait_for(|look| look.begun >= moment);
        let look = tokio::time::timeout(TIMEOUT, look).await;
        look.is_ok_and(|look| look.is_ok_and(|look| look.worked))
    }

    /// Waits until somebody wants the keys to be read.
    pub(crate) async fn wanted(&self) {
        self.wanted.notified().await;
    }
}

/// Opens the stored keys.
pub fn open(
    stored: &[StoredKey],
    masters: &MasterKeys,
    config: &Config,
) -> Result<KeysInUse, KeyringError> {
    let (mut signer, mut public) = (None, Vec::new());
    let (mut refresh, mut others, mut revoked) = (None, Vec::new(), Vec::new());
    for key in stored.iter().filter(|key| key.state.checks()) {
        let secret = masters
            .open(&place(&key.id), &key.sealed)
            .map_err(|_| KeyringError::Sealed(key.id.clone()))?;
        let active = key.state == KeyState::Active;
        match key.algorithm {
            Some(algorithm) => {
                let signing = SigningKey::from_pkcs8(key.id.clone(), algorithm, &secret)?;
                public.push(signing.jwk().clone());
                if active {
                    signer = Some(signing);
                }
            }
            None if active => refresh = Some(secret),
            None => others.push(secret),
        }
    }
    let kept =
        |key: &&StoredKey| key.state == KeyState::Revoked && key.purpose == KeyPurpose::Refresh;
    for key in stored.iter().filter(kept).filter(|key| !key.sealed.is_empty()) {
        if let Ok(secret) = masters.open(&place(&key.id), &key.sealed) {
            revoked.push(secret);
        } else {
            // Nobody is kept out or let in for want of it.
            tracing::warn!(key.id = %key.id, "a revoked refresh key cannot be opened");
        }
    }
    let signer = signer.ok_or(KeyringError::Inactive(KeyPurpose::Sign.as_str()))?;
    let refresh = refresh.ok_or(KeyringError::Inactive(KeyPurpose::Refresh.as_str()))?;
    let set = KeySet::from_jwks(&public)?;
    let access = AccessTokens::new(signer, &config.issuer);
    let refresh = RefreshKeys::new(&refresh, &others).with_revoked(&revoked);
    Ok(KeysInUse { access, refresh, public, set })
}

/// Where a sealed key belongs (table, column, row, and the version of this form): moved to another
/// row, it does not open.
#[must_use]
pub fn place(id: &KeyId) -> String {
    format!("latchkey/1/keys.sealed/{id}")
}
