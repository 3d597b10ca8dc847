//! What administrators may do to keys.

use claims::KeyId;

use crate::config::{Config, ConfigError};
use crate::error::Error;
use crate::store::{
    Done, KeyPurpose, KeyRevocation, KeyState, Once, Publication, Store, StoreError, StoredKey,
};
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
    #[error("eight keys of this purpose were made within a day")]
    TooMany,
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
            Refused::TooMany => Self::TooManyKeys,
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
    let algorithm = config.keys.algorithm;
    let make = move || new_key(&masters, purpose, algorithm);
    let (id, is_new) = match store.publish_key(purpose, make, once).await? {
        Done::Now(Publication::Made(id)) => (id, true),
        Done::Now(Publication::There(id)) => (id, false),
        Done::Now(Publication::TooMany) => return Err(Refused::TooMany),
        Done::Before(id) => (id.parse().map_err(|_| Refused::Unknown)?, false),
        Done::OtherRequest => return Err(Refused::KeyReused),
    };
    if is_new {
        tell(store, "key-published", &id);
    }
    // It may have taken over when the same was asked for before.
    let next = store.keys().await?.one(purpose, KeyState::Published).map(|key| key.id.clone());
    if now && next.as_ref() == Some(&id) {
        let taken_over = Schedule::new(config).take_over_now(store, purpose).await?;
        if taken_over {
            tell(store, "key-active", &id);
        }
    }
    let keys = store.keys().await?.keys;
    keys.into_iter().find(|key| key.id == id).ok_or(Refused::Overtaken)
}

/// Revokes a key for ever. Where it makes tokens, another one takes over at once.
pub(crate) async fn revoke(config: &Config, store: &Store, id: KeyId) -> Result<(), Refused> {
    let read = store.keys().await?;
    let key = read.keys.iter().find(|key| key.id == id).ok_or(Refused::Unknown)?;
    let (purpose, algorithm) = (key.purpose, config.keys.algorithm);
    let masters = MasterKeys::from_settings(config)?;
    let make = move || new_key(&masters, purpose, algorithm);
    match store.revoke_key(id.clone(), purpose, make).await? {
        KeyRevocation::Now => tell(store, "key-revoked", &id),
        KeyRevocation::Before => {}
        KeyRevocation::Unknown => return Err(Refused::Unknown),
        KeyRevocation::TooMany => return Err(Refused::TooMany),
    }
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
