//! The next key, published when somebody asks for it; and how many of them there may be.

use std::time::Duration;

use claims::KeyId;
use futures_util::FutureExt as _;

use super::super::postgres::Lane;
use super::super::rows::Columns as _;
use super::super::transaction::Tx;
use super::super::{Done, Once, Store, StoreError};
use super::{KeyPurpose, KeyState, NewKey, insert, lock};

/// How many keys of one purpose there may be of the last day for an administrator to have one more made. Each is kept:
/// services hold a signing key until its last token is dead, a refresh key is tried on tokens for a week, and the
/// revocation of one is announced for ever. Somebody who steals a token with that scope must not make the key set so
/// large that nobody can read it.
const MOST_A_DAY: i64 = 8;
pub(super) const DAY: Duration = Duration::from_hours(24);

/// What became of the wish for a next key.
#[derive(Debug)]
pub enum Publication {
    /// It is this one, which was made for it.
    Made(KeyId),
    /// It is this one, which had been published before.
    There(KeyId),
    /// Nothing was done: so many were made within a day that administrators have no more made over HTTP.
    TooMany,
}

impl Store {
    /// Publishes the key that `make` makes, once if there is something to know that by. Where one of the purpose is
    /// published already, it is that one.
    pub async fn publish_key(
        &self,
        purpose: KeyPurpose,
        make: impl FnOnce() -> NewKey + Send + 'static,
        once: Option<Once>,
    ) -> Result<Done<Publication>, StoreError> {
        let bounded = self.acting.is_some();
        self.transaction("publish_key", Lane::Main, self.announcement(), move |tx| {
            async move {
                if let Some(once) = once
                    && let Some(done) = once.begin(tx).await?
                {
                    return Ok(done);
                }
                let publication = publish(tx, purpose, make, bounded).await?;
                if let Some(once) = once {
                    let id = match &publication {
                        Publication::Made(id) | Publication::There(id) => Some(id),
                        Publication::TooMany => None,
                    };
                    once.end(tx, id.map(|id| id.as_str().to_owned())).await?;
                }
                Ok(Done::Now(publication))
            }
            .boxed()
        })
        .await
    }
}

async fn publish(
    tx: &mut Tx,
    purpose: KeyPurpose,
    make: impl FnOnce() -> NewKey + Send,
    bounded: bool,
) -> Result<Publication, StoreError> {
    // Of two who ask at once, the second is to see what the first made.
    lock(tx, purpose).await?;
    if let Some(id) = published(tx, purpose).await? {
        return Ok(Publication::There(id));
    }
    if bounded && are_too_many(tx, purpose).await? {
        return Ok(Publication::TooMany);
    }
    let key = make();
    let id = key.id.clone();
    insert(tx, key, KeyState::Published).await?;
    // A service that finds that it is time publishes one too, without that lock.
    Ok(match published(tx, purpose).await? {
        Some(other) if other != id => Publication::There(other),
        _ => Publication::Made(id),
    })
}

/// The key of this purpose that is published.
pub(super) async fn published(
    tx: &mut Tx,
    purpose: KeyPurpose,
) -> Result<Option<KeyId>, StoreError> {
    let sql = "select id from keys where purpose = $1 and state = 'published'";
    let found = tx.fetch_all(sql, &[purpose.as_str().into()]).await?;
    Ok(found.first().map(|row| row.parsed("id")).transpose()?)
}

/// Whether no more are made of this purpose for administrators.
pub(super) async fn are_too_many(tx: &mut Tx, purpose: KeyPurpose) -> Result<bool, StoreError> {
    let sql = "select cast(count(*) as bigint) as made from keys \
         where purpose = $1 and created_at > {now} - $2";
    let found = tx.fetch_all(sql, &[purpose.as_str().into(), DAY.into()]).await?;
    let made = found.first().map(|row| row.int("made")).transpose()?;
    Ok(made.is_some_and(|made| made >= MOST_A_DAY))
}
