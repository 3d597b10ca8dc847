//! Keys on Postgres. What must lock first and look afterwards is a function of the migrations.

use claims::{KeyId, Timestamp};
use sqlx::{query, query_scalar};

use super::super::StoreError;
use super::super::keys::{KeyRead, KeyState, NewKey, Purpose, key};
use super::Postgres;

impl Postgres {
    pub(in crate::store) async fn keys(&self) -> Result<KeyRead, StoreError> {
        let found = query(
            "select id, purpose, algorithm, state, state_since, sealed from keys \
             order by created_at, id",
        )
        .fetch_all(&mut *self.pool.acquire().await?)
        .await?;
        let keys = found.iter().map(key).collect::<Result<_, _>>()?;
        let now: i64 = query_scalar("select latchkey_now($1)")
            .bind(self.offset())
            .fetch_one(&mut *self.pool.acquire().await?)
            .await?;
        Ok(KeyRead { keys, now: Timestamp(now) })
    }

    pub(in crate::store) async fn add_key(
        &self,
        key: &NewKey,
        state: KeyState,
    ) -> Result<(), StoreError> {
        query(
            "insert into keys (id, purpose, algorithm, state, sealed, created_at, state_since) \
             select $1, $2, $3, $4, $5, now, now from latchkey_now($6) as now \
             on conflict do nothing",
        )
        .bind(key.id.as_str())
        .bind(key.purpose().as_str())
        .bind(key.algorithm_name())
        .bind(state.as_str())
        .bind(&key.sealed)
        .bind(self.offset())
        .execute(&mut *self.pool.acquire().await?)
        .await?;
        Ok(())
    }

    pub(in crate::store) async fn advance_keys(
        &self,
        purpose: Purpose,
        lead_ms: i64,
        keep_ms: i64,
    ) -> Result<bool, StoreError> {
        let changed = query_scalar("select latchkey_advance_keys($1, $2, $3, $4)")
            .bind(purpose.as_str())
            .bind(lead_ms)
            .bind(keep_ms)
            .bind(self.offset())
            .fetch_one(&mut *self.pool.acquire().await?)
            .await?;
        Ok(changed)
    }

    pub(in crate::store) async fn revoke_key(
        &self,
        id: &KeyId,
        replacement: &NewKey,
    ) -> Result<bool, StoreError> {
        let revoked = query_scalar("select latchkey_revoke_key($1, $2, $3, $4, $5)")
            .bind(id.as_str())
            .bind(replacement.id.as_str())
            .bind(replacement.algorithm_name())
            .bind(&replacement.sealed)
            .bind(self.offset())
            .fetch_one(&mut *self.pool.acquire().await?)
            .await?;
        Ok(revoked)
    }

    pub(in crate::store) async fn reseal_key(
        &self,
        id: &KeyId,
        old: &[u8],
        new: &[u8],
    ) -> Result<bool, StoreError> {
        let resealed = query("update keys set sealed = $3 where id = $1 and sealed = $2")
            .bind(id.as_str())
            .bind(old)
            .bind(new)
            .execute(&mut *self.pool.acquire().await?)
            .await?;
        Ok(resealed.rows_affected() > 0)
    }
}
