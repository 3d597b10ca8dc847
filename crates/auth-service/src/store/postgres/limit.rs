//! How many sessions users have, on Postgres.

use claims::{SessionId, UserId};
use sqlx::{query, query_scalar};
use uuid::Uuid;

use super::super::StoreError;
use super::super::rows;
use super::Postgres;

impl Postgres {
    pub(in crate::store) async fn owner_of(
        &self,
        session: SessionId,
    ) -> Result<Option<UserId>, StoreError> {
        let user: Option<Uuid> = query_scalar("select user_id from sessions where id = $1")
            .bind(session.to_string())
            .fetch_optional(&mut *self.pool.acquire().await?)
            .await?;
        Ok(user.map(UserId))
    }

    /// Not exact: sessions that were not used for too long are counted too.
    pub(in crate::store) async fn crowded_users(
        &self,
        after: Option<UserId>,
        most: i64,
        batch: i64,
    ) -> Result<Vec<(UserId, bool)>, StoreError> {
        let found = query(concat!(
            "select cast(u.id as text) as user_id, \
                cast(case when (",
            rows::count_up_to!(),
            ") > $2 then 1 else 0 end as bigint) as crowded \
             from users u where u.id > $1 order by u.id limit $3"
        ))
        .bind(after.map_or(Uuid::nil(), |user| user.0))
        .bind(most)
        .bind(batch)
        .fetch_all(&mut *self.pool.acquire().await?)
        .await?;
        Ok(found.iter().map(rows::crowded).collect::<Result<_, _>>()?)
    }

    pub(in crate::store) async fn trim_sessions(
        &self,
        user: UserId,
        most: i64,
        batch: i64,
    ) -> Result<i64, StoreError> {
        let ended = query_scalar("select latchkey_trim_sessions($1, $2, $3, $4)")
            .bind(user.0)
            .bind(most)
            .bind(batch)
            .bind(self.offset())
            .fetch_one(&mut *self.pool.acquire().await?)
            .await?;
        Ok(ended)
    }
}
