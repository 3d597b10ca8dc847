//! Keys on SQLite.

use claims::KeyId;
use sqlx::{query, query_scalar};

use super::super::StoreError;
use super::super::keys::{KeyRead, KeyState, NewKey, Purpose, key};
use super::Sqlite;

impl Sqlite {
    pub(in crate::store) async fn keys(&self) -> Result<KeyRead, StoreError> {
        let found = query(
            "select id, purpose, algorithm, state, state_since, sealed from keys \
             order by created_at, id",
        )
        .fetch_all(&mut self.readers.acquire().await?)
        .await?;
        let keys = found.iter().map(key).collect::<Result<_, _>>()?;
        Ok(KeyRead { keys, now: self.clock.now() })
    }

    pub(in crate::store) async fn add_key(
        &self,
        key: &NewKey,
        state: KeyState,
    ) -> Result<(), StoreError> {
        query(
            "insert into keys (id, purpose, algorithm, state, sealed, created_at, state_since) \
             values ($1, $2, $3, $4, $5, $6, $6) on conflict do nothing",
        )
        .bind(key.id.as_str())
        .bind(key.purpose().as_str())
        .bind(key.algorithm_name())
        .bind(state.as_str())
        .bind(&key.sealed)
        .bind(self.clock.now().0)
        .execute(&mut self.writer.acquire().await?)
        .await?;
        Ok(())
    }

    pub(in crate::store) async fn advance_keys(
        &self,
        purpose: Purpose,
        lead_ms: i64,
        keep_ms: i64,
    ) -> Result<bool, StoreError> {
        let (mut write, now) = self.begin().await?;
        let removed = query(
            "update keys set state = 'removed', state_since = $2, sealed = x'' \
             where purpose = $1 and state = 'retiring' and state_since + $3 <= $2",
        )
        .bind(purpose.as_str())
        .bind(now.0)
        .bind(keep_ms)
        .execute(&mut *write)
        .await?;
        let wiped = query(
            "update keys set sealed = x'' \
             where purpose = $1 and state = 'revoked' and sealed <> x'' and state_since + $3 <= $2",
        )
        .bind(purpose.as_str())
        .bind(now.0)
        .bind(keep_ms)
        .execute(&mut *write)
        .await?;
        let due: i64 = query_scalar(
            "select count(*) from keys \
             where purpose = $1 and state = 'published' and state_since + $3 <= $2",
        )
        .bind(purpose.as_str())
        .bind(now.0)
        .bind(lead_ms)
        .fetch_one(&mut *write)
        .await?;
        if due > 0 {
            for (from, to) in
                [(KeyState::Active, KeyState::Retiring), (KeyState::Published, KeyState::Active)]
            {
                query("update keys set state = $3, state_since = $4 where purpose = $1 and state = $2")
                    .bind(purpose.as_str())
                    .bind(from.as_str())
                    .bind(to.as_str())
                    .bind(now.0)
                    .execute(&mut *write)
                    .await?;
            }
        }
        write.commit().await?;
        Ok(due > 0 || removed.rows_affected() + wiped.rows_affected() > 0)
    }

    pub(in crate::store) async fn revoke_key(
        &self,
        id: &KeyId,
        replacement: &NewKey,
    ) -> Result<bool, StoreError> {
        let (mut write, now) = self.begin().await?;
        let states: Vec<String> = query_scalar("select state from keys where id = $1")
            .bind(id.as_str())
            .fetch_all(&mut *write)
            .await?;
        let Some(state) = states.first() else { return Ok(false) };
        if state == KeyState::Revoked.as_str() {
            return Ok(true);
        }
        query(
            "update keys set state = 'revoked', state_since = $2, \
                sealed = case when purpose = 'refresh' then sealed else x'' end \
             where id = $1",
        )
        .bind(id.as_str())
        .bind(now.0)
        .execute(&mut *write)
        .await?;
        let purpose = replacement.purpose();
        if state == KeyState::Active.as_str() {
            let promoted = query(
                "update keys set state = 'active', state_since = $2 \
                 where purpose = $1 and state = 'published'",
            )
            .bind(purpose.as_str())
            .bind(now.0)
            .execute(&mut *write)
            .await?;
            if promoted.rows_affected() == 0 {
                query(
                    "insert into keys \
                        (id, purpose, algorithm, state, sealed, created_at, state_since) \
                     values ($1, $2, $3, 'active', $4, $5, $5)",
                )
                .bind(replacement.id.as_str())
                .bind(purpose.as_str())
                .bind(replacement.algorithm_name())
                .bind(&replacement.sealed)
                .bind(now.0)
                .execute(&mut *write)
                .await?;
            }
        }
        write.commit().await?;
        Ok(true)
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
            .execute(&mut self.writer.acquire().await?)
            .await?;
        Ok(resealed.rows_affected() > 0)
    }
}
