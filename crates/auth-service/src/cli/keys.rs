//! `auth-service keys …`

use crate::config::Config;
use crate::policy::key_administration;
use crate::store::{KeyPurpose, Store};
use crate::tokens::keyring::place;
use crate::tokens::rotation::Schedule;
use crate::tokens::seal::MasterKeys;
use claims::KeyId;
use clap::{Subcommand, ValueEnum};

use super::console::{Failure, instant, open, say};
use super::lines::{self, KeyLine};

/// What to do with the keys in the database.
#[derive(Subcommand)]
pub(super) enum Keys {
    /// List them: id, purpose, algorithm, state, since when; of a revoked refresh key also until when its
    /// tokens still log their owners out.
    List,
    /// Publish the next key now; it takes over after `keys.publish_seconds`.
    Rotate {
        /// Which of the two.
        #[arg(long, value_enum, default_value_t = Which::Sign)]
        purpose: Which,
        /// Let it take over at once. For emergencies: services that do not know it yet refuse its
        /// tokens until they have fetched it, for up to ten seconds.
        #[arg(long)]
        now: bool,
    },
    /// Revoke a key for ever: services refuse every token it signed, or will sign, within
    /// milliseconds. Tokens of a revoked refresh key are refused as soon, but for logging out: whoever has
    /// one must log in again.
    Revoke {
        /// Which key.
        #[arg(allow_hyphen_values = true)]
        id: KeyId,
    },
    /// Seal every key with `keys.master_key` that is sealed with `keys.other_master_key`.
    Reseal,
}

/// What a key is for.
#[derive(Clone, Copy, ValueEnum)]
pub(super) enum Which {
    /// Access tokens.
    Sign,
    /// Refresh tokens.
    Refresh,
}

pub(super) async fn run(config: &Config, what: Keys) -> Result<(), Failure> {
    let store = open(config).await?;
    let done = act(config, &store, what).await;
    store.close().await;
    done
}

async fn act(config: &Config, store: &Store, what: Keys) -> Result<(), Failure> {
    match what {
        Keys::List => {
            let schedule = Schedule::new(config);
            for key in store.keys().await?.keys {
                say(&lines::key(&KeyLine {
                    id: key.id.as_str(),
                    purpose: key.purpose.as_str(),
                    algorithm: key.algorithm.map(claims::Algorithm::as_str),
                    state: key.state.as_str(),
                    since: instant(key.since),
                    logs_out_until: schedule.logs_out_until(&key).map(instant),
                }));
            }
            Ok(())
        }
        Keys::Rotate { purpose, now } => {
            let purpose = match purpose {
                Which::Sign => KeyPurpose::Sign,
                Which::Refresh => KeyPurpose::Refresh,
            };
            rotate(config, store, purpose, now).await
        }
        Keys::Revoke { id } => revoke(config, store, id).await,
        Keys::Reseal => reseal(config, store).await,
    }
}

async fn rotate(
    config: &Config,
    store: &Store,
    purpose: KeyPurpose,
    now: bool,
) -> Result<(), Failure> {
    let key = key_administration::rotate(config, store, purpose, now, None).await?;
    let since = instant(key.since);
    let takes_over = (!now).then_some((config.keys.publish_seconds, since.as_str()));
    say(&lines::rotated(key.id.as_str(), takes_over));
    Ok(())
}

async fn revoke(config: &Config, store: &Store, id: KeyId) -> Result<(), Failure> {
    key_administration::revoke(config, store, id.clone()).await?;
    say(&format!("{id} is revoked"));
    Ok(())
}

async fn reseal(config: &Config, store: &Store) -> Result<(), Failure> {
    let masters = MasterKeys::from_settings(config)?;
    let mut resealed = 0;
    for key in store.keys().await?.keys {
        if key.sealed.is_empty() {
            continue;
        }
        let new = masters.reseal(&place(&key.id), &key.sealed).map_err(|_| {
            format!("key {} opens with neither keys.master_key nor keys.other_master_key", key.id)
        })?;
        let Some(new) = new else { continue };
        if store.reseal_key(key.id, key.sealed, new).await? {
            resealed += 1;
        }
    }
    say(&format!("{resealed} resealed; all keys open with keys.master_key"));
    Ok(())
}
