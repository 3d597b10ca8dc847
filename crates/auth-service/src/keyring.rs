//! The keys in use: read from the database, opened with the master key, made where there are none.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use claims::{Algorithm, Audience, Jwk, KeyId};

use crate::config::Config;
use crate::keys::{DamagedKey, SigningKey};
use crate::random;
use crate::seal::MasterKey;
use crate::store::{Store, StoreError, StoredKey};
use crate::tokens::{AccessTokens, RefreshKeys};

/// Why there are no keys to work with.
#[derive(Debug, thiserror::Error)]
pub enum KeyringError {
    /// The database does not answer.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The master key is not the one the keys were sealed under.
    #[error("keys.master_key: does not open key {0} in the database; it is another master key's")]
    Sealed(KeyId),
    /// A key opened, but is not one.
    #[error(transparent)]
    Damaged(#[from] DamagedKey),
}

/// Everything that is made or checked with a key.
pub struct Keyring {
    /// Makes access tokens.
    pub access: AccessTokens,
    /// Makes and checks refresh tokens.
    pub refresh: RefreshKeys,
    /// The public keys.
    pub public: Vec<Jwk>,
}

/// Loads the keys; a database that has none gets them. Replicas that start together end up with the
/// same ones: the database admits one of each.
pub async fn load(
    store: &Store,
    master: &MasterKey,
    config: &Config,
) -> Result<Keyring, KeyringError> {
    let algorithm = config.keys.algorithm;
    let mut stored = store.keys().await?;
    let in_use = |stored: &[StoredKey], algorithm: Option<Algorithm>| {
        stored.iter().any(|key| key.active && key.algorithm == algorithm)
    };
    if !in_use(&stored, Some(algorithm)) || !in_use(&stored, None) {
        store.add_key(new_signing_key(master, algorithm)).await?;
        store.add_key(new_refresh_key(master)).await?;
        stored = store.keys().await?;
    }
    assemble(&stored, master, config)
}

fn assemble(
    stored: &[StoredKey],
    master: &MasterKey,
    config: &Config,
) -> Result<Keyring, KeyringError> {
    let (mut signer, mut public) = (None, Vec::new());
    let (mut refresh, mut older) = (None, Vec::new());
    for key in stored {
        let secret = master
            .open(&place(&key.id), &key.sealed)
            .map_err(|_| KeyringError::Sealed(key.id.clone()))?;
        match key.algorithm {
            Some(algorithm) => {
                let signing = SigningKey::from_pkcs8(key.id.clone(), algorithm, &secret)?;
                public.push(signing.jwk().clone());
                if key.active && algorithm == config.keys.algorithm {
                    signer = Some(signing);
                }
            }
            None if key.active => refresh = Some(secret),
            None => older.push(secret),
        }
    }
    let (Some(signer), Some(refresh)) = (signer, refresh) else {
        return Err(StoreError::Contended.into());
    };
    let lifetime = config.tokens.access_seconds;
    let access = AccessTokens::new(signer, &config.issuer, audience(config), lifetime);
    Ok(Keyring { access, refresh: RefreshKeys::new(&refresh, &older), public })
}

/// The resources that were configured, and this service, whose own routes take the token too.
fn audience(config: &Config) -> Audience {
    let mut audience = config.tokens.audience.clone();
    audience.push(config.issuer.clone());
    audience.dedup();
    match <[String; 1]>::try_from(audience) {
        Ok([one]) => Audience::One(one),
        Err(many) => Audience::Many(many),
    }
}

fn new_signing_key(master: &MasterKey, algorithm: Algorithm) -> StoredKey {
    let (key, secret) = SigningKey::generate(algorithm);
    let id = key.jwk().kid.clone();
    let sealed = master.seal(&place(&id), &secret);
    StoredKey { id, algorithm: Some(algorithm), active: true, sealed }
}

fn new_refresh_key(master: &MasterKey) -> StoredKey {
    let id = format!("refresh-{}", URL_SAFE_NO_PAD.encode(random::bytes::<9>()));
    let id: KeyId = id.parse().expect("base64url is a key id");
    let sealed = master.seal(&place(&id), &random::bytes::<32>());
    StoredKey { id, algorithm: None, active: true, sealed }
}

/// Where a sealed key belongs: moved to another row, it does not open.
fn place(id: &KeyId) -> String {
    format!("latchkey/1/keys.sealed/{id}")
}
