//! What an administrator asks for twice is done once (draft-ietf-httpapi-idempotency-key-header).
//!
//! The key is written in the transaction of what is made, so both are there or neither is, and of two that
//! come at once the second waits for the first. Only the id of what was made is kept: names, addresses and
//! secrets of answers are not.

use claims::{Timestamp, UserId};

use super::postgres::Lane;
use super::rows::Columns as _;
use super::transaction::Tx;
use super::{Store, StoreError};
use crate::identity::pseudonyms::Pseudonym;

/// For how long a key is remembered.
const KEPT_MS: i64 = 24 * 3600 * 1000;

/// Something that is to be done once.
#[derive(Debug, Clone, Copy)]
pub struct Once {
    /// Who asks for it.
    pub administrator: UserId,
    /// The key, and what is asked for.
    pub key: Pseudonym,
    pub request: Pseudonym,
}

/// What became of something that was to be done once.
#[derive(Debug)]
pub enum Done<T> {
    /// It is done now.
    Now(T),
    /// It was done before, and this was made then.
    Before(String),
    /// The key belongs to another request.
    OtherRequest,
}

impl Once {
    /// Takes the key; or says what it was used for, where it was. Where somebody else has just taken it, this
    /// waits for what becomes of that.
    pub(super) async fn begin<T>(&self, tx: &mut Tx) -> Result<Option<Done<T>>, StoreError> {
        let (administrator, key) = (self.administrator.into(), self.key.to_string().into());
        let old = "delete from idempotency_keys \
             where administrator = $1 and key = $2 and created_at <= {now} - $3";
        let values = [administrator, key, KEPT_MS.into()];
        tx.execute(old, &values).await?;
        let [administrator, key, _] = values;
        let take = "insert into idempotency_keys (administrator, key, request, result, created_at) \
             values ($1, $2, $3, '', {now}) on conflict do nothing";
        let values = [administrator, key, self.request.to_string().into()];
        if tx.execute(take, &values).await? > 0 {
            return Ok(None);
        }
        let sql = "select result, cast(case when request = $3 then 1 else 0 end as bigint) as same \
             from idempotency_keys where administrator = $1 and key = $2";
        let found = tx.fetch_all(sql, &values).await?;
        // It was there a moment ago, and is deleted only when it is a day old.
        let Some(row) = found.first() else { return Err(StoreError::Contended) };
        Ok(Some(if row.flag("same")? {
            Done::Before(row.text("result")?)
        } else {
            Done::OtherRequest
        }))
    }

    /// Remembers what was made, or gives the key back where nothing was.
    pub(super) async fn end(&self, tx: &mut Tx, made: Option<String>) -> Result<(), StoreError> {
        let (administrator, key) = (self.administrator.into(), self.key.to_string().into());
        if let Some(result) = made {
            let sql =
                "update idempotency_keys set result = $3 where administrator = $1 and key = $2";
            tx.execute(sql, &[administrator, key, result.into()]).await?;
        } else {
            let sql = "delete from idempotency_keys where administrator = $1 and key = $2";
            tx.execute(sql, &[administrator, key]).await?;
        }
        Ok(())
    }
}

impl Store {
    /// Forgets keys that were used `before` that moment, at most `batch` of them. Says how many.
    pub async fn purge_idempotency_keys(
        &self,
        before: Timestamp,
        batch: i64,
    ) -> Result<u64, StoreError> {
        let sql = "delete from idempotency_keys where (administrator, key) in ( \
            select administrator, key from idempotency_keys where created_at < $1 \
            order by created_at limit $2)";
        let values = vec![before.into(), batch.into()];
        self.write("purge_idempotency_keys", Lane::Main, (), sql, values).await
    }
}
