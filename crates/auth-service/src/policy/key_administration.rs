//! What administrators may do to keys.

use claims::KeyId;

use crate::config::{Config, ConfigError};
use crate::error::Error;
use crate::store::{Done, KeyPurpose, KeyState, NewKey, Once, Store, StoreError, StoredKey};
use crate::tokens::rotation::{Schedule, new_key};
use crate::tokens::seal::MasterKeys;

/// Why it was not done.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Refused {
    #[error("there is no such key")]
    Unknown,
    #[error("there are no keys yet; the first start of the service makes them")]
    NoKeys,
    #[error("another key took over meanwhile; see `keys list`")]
    Overtaken,
    #[error("the Idempotency-Key was used for another request")]
    KeyReused,
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<Refused> for Error {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Unknown => Self::Missing("There is no such key."),
            Refused::KeyReused => Self::KeyReused,
            Refused::Store(error) => error.into(),
            // Not where a service runs, whose settings are good and which made keys at its start; or only for a
            // moment.
            Refused::NoKeys | Refused::Overtaken | Refused::Config(_) => Self::NotReady,
        }
    }
}

/// Publishes the next key, once if there is a key for that, and lets it take over at once if `now`. It is
/// the one that is published already, where there is one.
pub(crate) async fn rotate(
    config: &Config,
    store: &Store,
    purpose: KeyPurpose,
    now: bool,
    once: Option<Once>,
) -> Result<StoredKey, Refused> {
    let masters = MasterKeys::from_settings(config)?;
    if store.keys().await?.one(purpose, KeyState::Active).is_none() {
        return Err(Refused::NoKeys);
    }
    let key = new_key(&masters, purpose, config.keys.algorithm);
    let id = if let Some(once) = once {
        Some(published_once(store, once, key).await?)
    } else {
        store.add_key(key, KeyState::Published).await?;
        None
    };
    let is_it = |key: &StoredKey| id.as_ref().is_none_or(|id| key.id == *id);
    // It may have taken over when the same was asked for before.
    let waits = store.keys().await?.one(purpose, KeyState::Published).is_some_and(is_it);
    if now && waits {
        Schedule::new(config).take_over_now(store, purpose).await?;
    }
    let state = if now { KeyState::Active } else { KeyState::Published };
    let read = store.keys().await?;
    let key = match &id {
        Some(id) => read.keys.into_iter().find(|key| key.id == *id),
        None => read.one(purpose, state).cloned(),
    };
    let key = key.ok_or(Refused::Overtaken)?;
    tell(store, if now { "key-active" } else { "key-published" }, &key.id);
    Ok(key)
}

async fn published_once(store: &Store, once: Once, key: NewKey) -> Result<KeyId, Refused> {
    match store.publish_key_once(once, key).await? {
        Done::Now(id) => Ok(id),
        Done::Before(id) => id.parse().map_err(|_| Refused::Unknown),
        Done::OtherRequest => Err(Refused::KeyReused),
    }
}

/// Revokes a key for ever. Where it makes tokens, another one takes over at once.
pub(crate) async fn revoke(config: &Config, store: &Store, id: KeyId) -> Result<(), Refused> {
    let read = store.keys().await?;
    let key = read.keys.iter().find(|key| key.id == id).ok_or(Refused::Unknown)?;
    let masters = MasterKeys::from_settings(config)?;
    let replacement = new_key(&masters, key.purpose, config.keys.algorithm);
    if !store.revoke_key(id.clone(), replacement).await? {
        return Err(Refused::Unknown);
    }
    tell(store, "key-revoked", &id);
    Ok(())
}

/// Under the name that the audit log has for it. Every service tells that a key entered another state; this tells who
/// had it do so, and the command line knows no name of whoever runs it.
fn tell(store: &Store, event: &'static str, key: &KeyId) {
    let Some(administrator) = store.administrator() else { return };
    tracing::info!(
        event.name = event, event.outcome = "success", actor.id = %administrator, key.id = %key,
        "an administrator changed a key"
    );
}
