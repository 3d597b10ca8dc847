//! What must end after an older state of the database was restored.
//!
//! The database has forgotten what happened since, and those who follow the feed have not. So four
//! things must be done:
//!
//! * Whoever holds a refresh token of before has a session that came back, or none. Raising the version of
//!   each user ends all of them, whatever generation the token has.
//! * A verifier remembers the lowest good version of each user that was announced lately. It may be above
//!   the one that came back, and above that one raised by one: then the tokens of new logins would be refused.
//!   So each version becomes at least the seconds since 2026 began. No version gets there by itself, for
//!   it would have to be raised once a second for years; and a second restore, of whatever backup, gets
//!   above the first.
//! * Access tokens of before are ended by revoking every signing key: the one entry for a key says that
//!   whatever it signed is over. That also covers users who registered since, of whom there is nothing left to
//!   announce, and costs services no memory for each user. And a key that was revoked since would make
//!   tokens again, which services that know of that refuse for ever, and others do not. For that reason refresh
//!   keys are replaced too.
//!
//! * Invitations that are open again may have been used or taken back since, so all of them are taken back.
//!
//! On SQLite a service refuses to start until this was done; Postgres has no place for such a mark that a dump
//! does not carry along or lose.
//!
//! Beside a service that runs, somebody may log in meanwhile. Refresh keys come first: whoever logs in after their
//! version was raised keeps the session. Signing keys come last: if an old one still signed the access token, it is
//! refused, and they refresh. Whoever logs in before their version is raised loses both.

use claims::{Timestamp, UserId};

use crate::config::{Config, ConfigError};
use crate::store::{
    AuditEntry, AuditEvent, EndReason, KeyPurpose, KeyState, Store, StoreError, StoredKey,
};
use crate::tokens::keyring::{self, KeyringError};
use crate::tokens::rotation::new_key;
use crate::tokens::seal::MasterKeys;

/// 2026-01-01T00:00:00Z in Unix seconds. Versions have 31 bits, so the scheme lasts until 2094.
const VERSIONS_BEGIN: i64 = 1_767_225_600;
const MOST_VERSIONS: i64 = i32::MAX as i64;

/// Why nothing, or not everything, was ended.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NotEnded {
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error(transparent)]
    Keyring(#[from] KeyringError),
    #[error("the clock that judges is before 2026 or after 2093; set it, and run this again")]
    Clock,
    #[error("{0}; what was ended so far stays so, run this again")]
    Store(#[from] StoreError),
}

/// How much was ended.
pub(crate) struct Ended {
    pub(crate) users: usize,
    pub(crate) keys: usize,
    pub(crate) invitations: u64,
}

/// Ends every session, replaces every key and takes back every invitation. Each step is one transaction, so that it may be
/// interrupted and done again, also while services run.
pub(crate) async fn end_all(config: &Config, store: &Store) -> Result<Ended, NotEnded> {
    let masters = MasterKeys::from_settings(config)?;
    let read = store.keys().await?;
    let least = least_version(read.now).ok_or(NotEnded::Clock)?;
    // A service that has not started yet has no keys.
    if !read.keys.is_empty() {
        keyring::open(&read.keys, &masters, config)?;
    }
    let invitations = store.revoke_open_invitations().await?;
    let refresh_keys = replace_keys(config, store, &masters, KeyPurpose::Refresh).await?;
    let users = raise_versions(store, least).await?;
    let keys = refresh_keys + replace_keys(config, store, &masters, KeyPurpose::Sign).await?;
    let told =
        format!("{users} users, {keys} keys, {invitations} invitations; versions from {least} on");
    let entry =
        AuditEntry { reason: Some(told.into()), ..AuditEntry::new(AuditEvent::EndedAfterRestore) };
    store.record(entry).await?;
    store.settle_restored().await?;
    Ok(Ended { users, keys, invitations })
}

fn least_version(now: Timestamp) -> Option<u32> {
    let seconds = now.0.div_euclid(1000) - VERSIONS_BEGIN;
    // Room above, for what raises versions by one.
    let sensible = (1..MOST_VERSIONS - i64::from(u16::MAX)).contains(&seconds);
    sensible.then(|| u32::try_from(seconds).ok()).flatten()
}

/// Of the keys that are there by now: a service that runs may have made one meanwhile.
async fn replace_keys(
    config: &Config,
    store: &Store,
    masters: &MasterKeys,
    purpose: KeyPurpose,
) -> Result<usize, NotEnded> {
    let read = store.keys().await?;
    let checking = read.keys.iter().filter(|key| key.purpose == purpose && key.state.checks());
    let mut keys: Vec<&StoredKey> = checking.collect();
    // The active ones last: a published one would take the place of an active one, and is as old.
    keys.sort_by_key(|key| key.state == KeyState::Active);
    for key in &keys {
        let replacement = new_key(masters, key.purpose, config.keys.algorithm);
        store.revoke_key(key.id.clone(), key.purpose, move || replacement).await?;
    }
    Ok(keys.len())
}

async fn raise_versions(store: &Store, least: u32) -> Result<usize, NotEnded> {
    let (mut users, mut after): (usize, Option<UserId>) = (0, None);
    while let Some((some, last)) = store.end_all_of_some(after, least, EndReason::Admin).await? {
        users += some;
        after = Some(last);
    }
    Ok(users)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_from_the_clock_fits_its_column_or_is_none() {
        let least = |seconds: i64| least_version(Timestamp(seconds * 1000));
        assert_eq!(least(VERSIONS_BEGIN + 7), Some(7));
        // 2093-12-31.
        assert!(least(3_913_056_000).is_some());
        for never in [0, VERSIONS_BEGIN, VERSIONS_BEGIN + MOST_VERSIONS, i64::MIN / 1000] {
            assert_eq!(least(never), None, "{never}");
        }
    }
}
