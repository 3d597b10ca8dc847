//! What sessions need most often, on Postgres: rotated, looked at and ended, each in one statement.

use claims::{SessionId, Timestamp};
use sqlx::postgres::PgRow;
use sqlx::query;

use super::super::StoreError;
use super::super::records::{EndReason, Found, Grant, Presented};
use super::super::rows::{self, Columns as _, grant_columns, live, within_limits};
use super::super::statement::millis;
use super::Postgres;

impl Postgres {
    /// In the order of their ids: two that end the same sessions must not wait for each other.
    pub(in crate::store) async fn end_each(
        &self,
        ids: &[SessionId],
        why: EndReason,
    ) -> Result<(), StoreError> {
        let ids: Vec<_> = ids.iter().map(ToString::to_string).collect();
        query(concat!(
            "with ",
            clock!("$1"),
            ", named as materialized ( \
                select id from sessions where id = any($2) and revoked_at is null \
                order by id for update) \
             update sessions s set revoked_at = clock.now, revoke_reason = $3 from clock, named \
             where s.id = named.id and s.revoked_at is null"
        ))
        .bind(self.offset())
        .bind(ids)
        .bind(why.as_str())
        .execute(&mut *self.pool.acquire().await?)
        .await?;
        Ok(())
    }

    /// Rotates from generation `from`, where the session is live; `None` when nothing changed.
    pub(in crate::store) async fn advance(
        &self,
        presented: &Presented,
        from: u32,
    ) -> Result<Option<Grant>, StoreError> {
        let row = query(concat!(
            "with ",
            clock!("$1"),
            " update sessions s set generation = $4 + 1, rotated_at = clock.now, rotated_ip = $5, \
                rotated_user_agent = $6, expires_at = least(s.expires_at, s.created_at + $10), \
                idle_expires_at = least(clock.now + $7, s.expires_at, s.created_at + $10) \
             from users u, clock \
             where s.id = $2 and s.client_id = $3 and s.generation = $9 and u.id = s.user_id and ",
            live!(),
            " and ",
            within_limits!("$7", "$10"),
            " and (s.rotated_at is null or $8 = 0 or abs(clock.now - s.rotated_at) >= $8) \
             and (s.audience is null or $12 <= ( \
                select count(*) from json_array_elements_text(cast(s.audience as json)) held \
                where held.value = any($11))) \
             returning clock.now, ",
            grant_columns!()
        ))
        .bind(self.offset())
        .bind(presented.session.to_string())
        .bind(presented.client_id.as_str())
        .bind(i64::from(presented.generation))
        .bind(presented.requester.ip.as_deref())
        .bind(presented.requester.user_agent.as_deref())
        .bind(millis(presented.limits.idle))
        .bind(millis(presented.repeat_window(from)))
        .bind(i64::from(from))
        .bind(millis(presented.limits.absolute))
        .bind(presented.target.services())
        .bind(presented.least_services())
        .fetch_optional(&mut *self.pool.acquire().await?)
        .await?;
        Ok(row.as_ref().map(granted).transpose()?)
    }

    /// Looks at the session and, when the token was spent, ends it in the same step.
    pub(in crate::store) async fn look(
        &self,
        presented: &Presented,
    ) -> Result<Option<Found>, StoreError> {
        let row = query(concat!(
            "with ",
            clock!("$1"),
            ", reused as ( \
                update sessions s set revoked_at = clock.now, revoke_reason = 'reuse' \
                from users u, clock \
                where s.id = $2 and s.client_id = $3 and u.id = s.user_id and ",
            live!(),
            " and ",
            within_limits!("$8", "$9"),
            " and s.generation > $4 \
                and not (s.generation = $4 + 1 and abs(clock.now - s.rotated_at) < $5) \
                returning s.id, s.user_id, s.rotated_ip, s.rotated_user_agent), \
             told as ( \
                insert into events (at, kind, user_id, session_id, reason, ip, user_agent, \
                    other_ip, other_user_agent) \
                select clock.now, 'session-ended', reused.user_id, reused.id, 'reuse', $6, $7, \
                    reused.rotated_ip, reused.rotated_user_agent from reused, clock) \
             select clock.now, s.revoked_at, s.revoke_reason, s.rotated_ip, s.rotated_user_agent, \
                cast(u.version as bigint) as user_version, u.version_reason, \
                cast(case when u.enabled then 1 else 0 end as bigint) as enabled, \
                cast(case when abs(clock.now - s.rotated_at) < $5 then 1 else 0 end as bigint) \
                    as in_window, \
                (select count(*) from reused) as reused, s.created_at as opened_at, \
                coalesce(s.rotated_at, s.created_at) as used_at, ",
            grant_columns!(),
            " from sessions s join users u on u.id = s.user_id, clock \
             where s.id = $2 and s.client_id = $3"
        ))
        .bind(self.offset())
        .bind(presented.session.to_string())
        .bind(presented.client_id.as_str())
        .bind(i64::from(presented.generation))
        .bind(millis(presented.limits.grace))
        .bind(presented.requester.ip.as_deref())
        .bind(presented.requester.user_agent.as_deref())
        .bind(millis(presented.limits.idle))
        .bind(millis(presented.limits.absolute))
        .fetch_optional(&mut *self.pool.acquire().await?)
        .await?;
        let found = |row: &PgRow| rows::found(row, row.time("now")?);
        Ok(row.as_ref().map(found).transpose()?)
    }
}

pub(super) fn granted(row: &PgRow) -> Result<Grant, sqlx::Error> {
    let now: Timestamp = row.time("now")?;
    rows::grant(row, now)
}
