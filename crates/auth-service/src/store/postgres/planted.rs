//! Wrong ways to use Postgres; see [`crate::planted`].

use std::time::Duration;

use claims::SessionId;
use sqlx::{Connection as _, query, query_scalar};

use super::super::StoreError;
use super::super::records::{EndReason, Grant, Presented};
use super::super::rows::{grant_columns, live};
use super::Postgres;
use super::sessions::granted;

/// A database further away than this one: between reading and writing there is a network.
const BETWEEN: Duration = Duration::from_millis(5);

impl Postgres {
    /// `NaiveRotation`: two that read before either writes both believe that they rotate.
    pub(super) async fn planted_advance(
        &self,
        presented: &Presented,
        from: u32,
    ) -> Result<Option<Grant>, StoreError> {
        let good: Option<bool> = query_scalar(concat!(
            "with ",
            clock!("$1"),
            " select s.generation = $4 and ",
            live!(),
            " and (s.rotated_at is null or $5 = 0 or abs(clock.now - s.rotated_at) >= $5) \
             from sessions s join users u on u.id = s.user_id, clock \
             where s.id = $2 and s.client_id = $3"
        ))
        .bind(self.offset())
        .bind(presented.session.to_string())
        .bind(presented.client_id.as_str())
        .bind(i64::from(from))
        .bind(presented.repeat_window_ms(from))
        .fetch_optional(&mut *self.pool.acquire().await?)
        .await?;
        if good != Some(true) {
            return Ok(None);
        }
        tokio::time::sleep(BETWEEN).await;
        let row = query(concat!(
            "with ",
            clock!("$1"),
            " update sessions s set generation = s.generation + 1, rotated_at = clock.now, \
                rotated_ip = $3, rotated_user_agent = $4, \
                idle_expires_at = least(clock.now + $5, s.expires_at) \
             from users u, clock where s.id = $2 and u.id = s.user_id returning clock.now, ",
            grant_columns!()
        ))
        .bind(self.offset())
        .bind(presented.session.to_string())
        .bind(presented.client.ip.as_deref())
        .bind(presented.client.user_agent.as_deref())
        .bind(presented.idle_ms)
        .fetch_optional(&mut *self.pool.acquire().await?)
        .await?;
        Ok(row.as_ref().map(granted).transpose()?)
    }

    /// `DroppableBegin`: dropped while it begins, it leaves a connection in a transaction that
    /// nobody knows of. Whoever gets it next is told that their write is done. That the pool pings
    /// what comes back to it does not help: it answers.
    pub(in crate::store) async fn planted_end_session(
        &self,
        id: SessionId,
        why: EndReason,
    ) -> Result<(), StoreError> {
        let mut connection = self.pool.planted_acquire().await?;
        let mut transaction = connection.begin().await?;
        query(
            "update sessions set revoked_at = latchkey_now($1), revoke_reason = $3 \
             where id = $2 and revoked_at is null",
        )
        .bind(self.offset())
        .bind(id.to_string())
        .bind(why.as_str())
        .execute(&mut *transaction)
        .await?;
        transaction.commit().await?;
        Ok(())
    }
}
