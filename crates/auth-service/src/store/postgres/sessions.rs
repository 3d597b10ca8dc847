//! Sessions: opened, rotated, looked at and ended, each in one statement.

use claims::{SessionId, Timestamp};
use sqlx::postgres::PgRow;
use sqlx::{query, query_scalar};

use super::super::records::{
    Caller, EndReason, Grant, NewPassword, NewSession, Presented, Removal, UserRecord,
};
use super::super::rotation::{Found, Rotate};
use super::super::rows::{
    self, Columns as _, grant_columns, is_caller, live, session_columns, within_limits,
};
use super::super::{ENDED_AT_ONCE, StoreError};
use super::Postgres;
use crate::identity::names::NameKey;
use crate::store::SessionView;

impl Postgres {
    /// A function, because it must lock the user first and look afterwards: a login and a password
    /// change wait for each other, and whichever is second sees the first; and of two logins the
    /// second counts the first one's session.
    pub(in crate::store) async fn open_session(
        &self,
        new: NewSession,
    ) -> Result<Option<Grant>, StoreError> {
        let row = query(concat!(
            "select o.opened_at as now, ",
            grant_columns!(),
            " from latchkey_open_session($1, $2::integer, $3::integer, $4, $5, $6, $7, $8, $9, \
                $10, $11, $12, $13, $14, $15, $16) o, \
                lateral (select (o.opened).*) s, lateral (select (o.account).*) u"
        ))
        .bind(new.credentials.user.0)
        .bind(new.credentials.version)
        .bind(new.credentials.password_version)
        .bind(new.id.to_string())
        .bind(new.client_id.as_str())
        .bind(new.scope.as_str())
        .bind(new.idle_ms)
        .bind(new.absolute_ms)
        .bind(new.amr)
        .bind(new.device)
        .bind(new.client.user_agent)
        .bind(new.client.ip)
        .bind(new.replaces.map(|id| id.to_string()))
        .bind(i64::from(new.max_sessions))
        .bind(ENDED_AT_ONCE)
        .bind(self.offset())
        .fetch_optional(&mut *self.logins.acquire().await?)
        .await?;
        Ok(row.as_ref().map(granted).transpose()?)
    }

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

    /// Ends at most `batch` of them; how many, or `None` where the caller's own is over.
    pub(in crate::store) async fn end_other_sessions(
        &self,
        caller: &Caller,
        batch: i64,
    ) -> Result<Option<i64>, StoreError> {
        let ended = query_scalar("select latchkey_end_other_sessions($1, $2, $3, $4, $5)")
            .bind(caller.session.to_string())
            .bind(caller.generation.map(i64::from))
            .bind(caller.grace_ms)
            .bind(batch)
            .bind(self.offset())
            .fetch_one(&mut *self.pool.acquire().await?)
            .await?;
        Ok(ended)
    }

    pub(in crate::store) async fn end_all_sessions(
        &self,
        caller: &Caller,
    ) -> Result<bool, StoreError> {
        let ended = query_scalar("select latchkey_end_all_sessions($1, $2, $3, $4, 0)")
            .bind(caller.session.to_string())
            .bind(caller.generation.map(i64::from))
            .bind(caller.grace_ms)
            .bind(self.offset())
            .fetch_one(&mut *self.pool.acquire().await?)
            .await?;
        Ok(ended)
    }

    pub(in crate::store) async fn remove_session(
        &self,
        caller: &Caller,
        target: SessionId,
    ) -> Result<Removal, StoreError> {
        let sql = "select callers, targets from latchkey_end_one_session($1, $2, $3, $4, $5)";
        let row = query(sql)
            .bind(caller.session.to_string())
            .bind(caller.generation.map(i64::from))
            .bind(caller.grace_ms)
            .bind(target.to_string())
            .bind(self.offset())
            .fetch_one(&mut *self.pool.acquire().await?)
            .await?;
        Ok(Removal::from_counts(row.int("callers")?, row.int("targets")?))
    }

    pub(in crate::store) async fn list_sessions(
        &self,
        caller: &Caller,
    ) -> Result<Option<Vec<SessionView>>, StoreError> {
        let found = query(concat!(
            "with ",
            clock!("$4"),
            ", caller as materialized (select u.id from sessions s, users u, clock where ",
            is_caller!(),
            ") select cast(case when s.id = $1 then 1 else 0 end as bigint) as current, ",
            session_columns!(),
            " from sessions s, users u, caller, clock \
             where u.id = caller.id and s.user_id = u.id and ",
            live!(),
            " order by s.id = $1 desc, s.created_at desc, s.id limit 100"
        ))
        .bind(caller.session.to_string())
        .bind(caller.generation.map(i64::from))
        .bind(caller.grace_ms)
        .bind(self.offset())
        .fetch_all(&mut *self.pool.acquire().await?)
        .await?;
        let views: Vec<_> = found.iter().map(rows::session_view).collect::<Result<_, _>>()?;
        Ok(if views.is_empty() { None } else { Some(views) })
    }

    pub(in crate::store) async fn live_sessions(
        &self,
        key: &NameKey,
    ) -> Result<Vec<SessionView>, StoreError> {
        let found = query(concat!(
            "with ",
            clock!("$2"),
            " select s.id as session_id, s.created_at, \
                coalesce(s.rotated_at, s.created_at) as last_used_at, s.expires_at, s.ip, \
                s.user_agent, s.device, cast(0 as bigint) as current \
             from sessions s, users u, clock \
             where (u.username_key = $1 or u.email_key = $1) and s.user_id = u.id and ",
            live!(),
            " order by s.created_at desc, s.id limit 100"
        ))
        .bind(key.as_str())
        .bind(self.offset())
        .fetch_all(&mut *self.pool.acquire().await?)
        .await?;
        Ok(found.iter().map(rows::session_view).collect::<Result<_, _>>()?)
    }

    pub(in crate::store) async fn user_of(
        &self,
        caller: &Caller,
    ) -> Result<Option<UserRecord>, StoreError> {
        let row = query(concat!(
            "with ",
            clock!("$4"),
            " select ",
            rows::user_columns!(),
            " from sessions s, users u, clock where ",
            is_caller!()
        ))
        .bind(caller.session.to_string())
        .bind(caller.generation.map(i64::from))
        .bind(caller.grace_ms)
        .bind(self.offset())
        .fetch_optional(&mut *self.pool.acquire().await?)
        .await?;
        Ok(row.as_ref().map(rows::user).transpose()?)
    }

    /// Ends fewer than `batch` other sessions and changes the password, or ends `batch` and changes
    /// nothing yet; how many were ended, or `None` where it is refused.
    pub(in crate::store) async fn change_password(
        &self,
        change: &NewPassword,
        batch: i64,
    ) -> Result<Option<i64>, StoreError> {
        let sql = "select latchkey_change_own_password($1, $2, $3::integer, $4, $5, $6, $7)";
        let ended = query_scalar(sql)
            .bind(change.session.to_string())
            .bind(change.user.0)
            .bind(change.password_version)
            .bind(&change.password_hash)
            .bind(change.sessions.as_str())
            .bind(batch)
            .bind(self.offset())
            .fetch_one(&mut *self.pool.acquire().await?)
            .await?;
        Ok(ended)
    }
}

impl Rotate for Postgres {
    async fn advance(&self, presented: &Presented, from: u32) -> Result<Option<Grant>, StoreError> {
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
             returning clock.now, ",
            grant_columns!()
        ))
        .bind(self.offset())
        .bind(presented.session.to_string())
        .bind(presented.client_id.as_str())
        .bind(i64::from(presented.generation))
        .bind(presented.client.ip.as_deref())
        .bind(presented.client.user_agent.as_deref())
        .bind(presented.idle_ms)
        .bind(presented.repeat_window_ms(from))
        .bind(i64::from(from))
        .bind(presented.absolute_ms)
        .fetch_optional(&mut *self.pool.acquire().await?)
        .await?;
        Ok(row.as_ref().map(granted).transpose()?)
    }

    async fn look(&self, presented: &Presented) -> Result<Option<Found>, StoreError> {
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
        .bind(presented.grace_ms)
        .bind(presented.client.ip.as_deref())
        .bind(presented.client.user_agent.as_deref())
        .bind(presented.idle_ms)
        .bind(presented.absolute_ms)
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
