//! Sessions: opened, rotated, looked at and ended, each in one transaction.

use claims::{SessionId, Timestamp};
use sqlx::sqlite::SqliteRow;
use sqlx::{query, query_scalar};

use super::super::records::{
    Caller, EndReason, Grant, NewPassword, NewSession, OtherSessions, Presented, Removal,
    UserRecord,
};
use super::super::rotation::{Found, Rotate};
use super::super::rows::{self, grant_columns, is_caller, live, session_columns, within_limits};
use super::super::{ENDED_AT_ONCE, StoreError};
use super::limit::{count, end_each, end_surplus, others};
use super::{Sqlite, Write, raise_version};
use crate::identity::names::NameKey;
use crate::store::SessionView;

impl Sqlite {
    pub(in crate::store) async fn open_session(
        &self,
        new: NewSession,
    ) -> Result<Option<Grant>, StoreError> {
        let (mut write, now) = self.begin().await?;
        let opened = query(
            "insert into sessions (id, user_id, client_id, scope, subject_version, \
                idle_expires_at, expires_at, auth_time, amr, device, user_agent, ip, created_at) \
             select $1, u.id, $5, $6, u.version, $13 + min($7, $8), $13 + $8, $13, $9, $10, $11, \
                $12, $13 \
             from users u \
             where u.id = $2 and u.enabled and u.version = $3 and u.password_version = $4",
        )
        .bind(new.id.to_string())
        .bind(new.credentials.user.to_string())
        .bind(new.credentials.version)
        .bind(new.credentials.password_version)
        .bind(new.client_id.as_str())
        .bind(new.scope.as_str())
        .bind(new.idle_ms)
        .bind(new.absolute_ms)
        .bind(new.amr)
        .bind(new.device)
        .bind(new.client.user_agent)
        .bind(new.client.ip)
        .bind(now.0)
        .execute(&mut *write)
        .await?;
        if opened.rows_affected() == 0 {
            return Ok(None);
        }
        if let Some(replaced) = new.replaces {
            end(&mut write, &replaced.to_string(), EndReason::Logout, now).await?;
        }
        if new.max_sessions > 0 {
            let (user, most) = (new.credentials.user, i64::from(new.max_sessions));
            end_surplus(&mut write, user, Some(new.id), most, ENDED_AT_ONCE, now).await?;
        }
        let grant = grant_of(&mut write, new.id, now).await?;
        write.commit().await?;
        Ok(Some(grant))
    }

    pub(in crate::store) async fn end_each(
        &self,
        ids: &[SessionId],
        why: EndReason,
    ) -> Result<(), StoreError> {
        let (mut write, now) = self.begin().await?;
        for id in ids {
            end(&mut write, &id.to_string(), why, now).await?;
        }
        Ok(write.commit().await?)
    }

    /// Ends at most `batch` of them; how many, or `None` where the caller's own is over.
    pub(in crate::store) async fn end_other_sessions(
        &self,
        caller: &Caller,
        batch: i64,
    ) -> Result<Option<i64>, StoreError> {
        let (mut write, now) = self.begin().await?;
        let Some(user) = caller_of(&mut write, caller, now).await? else { return Ok(None) };
        let others = others(&mut write, caller.session, &user, batch).await?;
        end_each(&mut write, &others, EndReason::Logout, now).await?;
        write.commit().await?;
        Ok(Some(count(&others)))
    }

    pub(in crate::store) async fn end_all_sessions(
        &self,
        caller: &Caller,
    ) -> Result<bool, StoreError> {
        let (mut write, now) = self.begin().await?;
        let Some(user) = caller_of(&mut write, caller, now).await? else { return Ok(false) };
        let raised = raise_version(&mut write, &user, EndReason::Logout, now).await?;
        write.commit().await?;
        Ok(raised)
    }

    pub(in crate::store) async fn remove_session(
        &self,
        caller: &Caller,
        target: SessionId,
    ) -> Result<Removal, StoreError> {
        let (mut write, now) = self.begin().await?;
        let Some(user) = caller_of(&mut write, caller, now).await? else {
            return Ok(Removal::CallerEnded);
        };
        let owned: i64 =
            query_scalar("select count(*) from sessions where id = $1 and user_id = $2")
                .bind(target.to_string())
                .bind(&user)
                .fetch_one(&mut *write)
                .await?;
        if owned > 0 {
            end(&mut write, &target.to_string(), EndReason::Logout, now).await?;
            write.commit().await?;
        }
        Ok(Removal::from_counts(1, owned))
    }

    pub(in crate::store) async fn list_sessions(
        &self,
        caller: &Caller,
    ) -> Result<Option<Vec<SessionView>>, StoreError> {
        let found = query(concat!(
            "with ",
            clock!("$4"),
            ", caller as (select u.id from sessions s, users u, clock where ",
            is_caller!(),
            ") select case when s.id = $1 then 1 else 0 end as current, ",
            session_columns!(),
            " from sessions s, users u, caller, clock \
             where u.id = caller.id and s.user_id = u.id and ",
            live!(),
            " order by s.id = $1 desc, s.created_at desc, s.id limit 100"
        ))
        .bind(caller.session.to_string())
        .bind(caller.generation.map(i64::from))
        .bind(caller.grace_ms)
        .bind(self.clock.now().0)
        .fetch_all(&mut self.readers.acquire().await?)
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
                s.user_agent, s.device, 0 as current \
             from sessions s, users u, clock \
             where (u.username_key = $1 or u.email_key = $1) and s.user_id = u.id and ",
            live!(),
            " order by s.created_at desc, s.id limit 100"
        ))
        .bind(key.as_str())
        .bind(self.clock.now().0)
        .fetch_all(&mut self.readers.acquire().await?)
        .await?;
        Ok(found.iter().map(rows::session_view).collect::<Result<_, _>>()?)
    }

    pub(in crate::store) async fn user_of(
        &self,
        caller: &Caller,
    ) -> Result<Option<UserRecord>, StoreError> {
        let found = query(concat!(
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
        .bind(self.clock.now().0)
        .fetch_all(&mut self.readers.acquire().await?)
        .await?;
        Ok(found.first().map(rows::user).transpose()?)
    }

    /// Ends fewer than `batch` other sessions and changes the password, or ends `batch` and changes
    /// nothing yet; how many were ended, or `None` where it is refused.
    pub(in crate::store) async fn change_password(
        &self,
        change: &NewPassword,
        batch: i64,
    ) -> Result<Option<i64>, StoreError> {
        let (mut write, now) = self.begin().await?;
        let (session, user) = (change.session, change.user.to_string());
        let caller = Caller { session, user: None, generation: None, grace_ms: 0 };
        if caller_of(&mut write, &caller, now).await?.as_ref() != Some(&user)
            || !has_password_version(&mut write, &user, change.password_version).await?
        {
            return Ok(None);
        }
        let others = match change.sessions {
            OtherSessions::Others => others(&mut write, session, &user, batch).await?,
            OtherSessions::All | OtherSessions::None => Vec::new(),
        };
        end_each(&mut write, &others, EndReason::Password, now).await?;
        if count(&others) < batch {
            query(
                "update users set password_hash = $2, password_version = password_version + 1 \
                 where id = $1",
            )
            .bind(&user)
            .bind(&change.password_hash)
            .execute(&mut *write)
            .await?;
            if change.sessions == OtherSessions::All {
                raise_version(&mut write, &user, EndReason::Password, now).await?;
            }
        }
        write.commit().await?;
        Ok(Some(count(&others)))
    }
}

impl Rotate for Sqlite {
    async fn advance(&self, presented: &Presented, from: u32) -> Result<Option<Grant>, StoreError> {
        let (mut write, now) = self.begin().await?;
        let advanced = query(concat!(
            "with ",
            clock!("$1"),
            " update sessions as s set generation = $4 + 1, rotated_at = clock.now, \
                rotated_ip = $5, rotated_user_agent = $6, \
                expires_at = min(s.expires_at, s.created_at + $10), \
                idle_expires_at = min(clock.now + $7, s.expires_at, s.created_at + $10) \
             from users u, clock \
             where s.id = $2 and s.client_id = $3 and s.generation = $9 and u.id = s.user_id and ",
            live!(),
            " and ",
            within_limits!("$7", "$10"),
            " and (s.rotated_at is null or $8 = 0 or abs(clock.now - s.rotated_at) >= $8)"
        ))
        .bind(now.0)
        .bind(presented.session.to_string())
        .bind(presented.client_id.as_str())
        .bind(i64::from(presented.generation))
        .bind(presented.client.ip.as_deref())
        .bind(presented.client.user_agent.as_deref())
        .bind(presented.idle_ms)
        .bind(presented.repeat_window_ms(from))
        .bind(i64::from(from))
        .bind(presented.absolute_ms)
        .execute(&mut *write)
        .await?;
        if advanced.rows_affected() == 0 {
            return Ok(None);
        }
        let grant = grant_of(&mut write, presented.session, now).await?;
        write.commit().await?;
        Ok(Some(grant))
    }

    async fn look(&self, presented: &Presented) -> Result<Option<Found>, StoreError> {
        let (mut write, now) = self.begin().await?;
        let found = query(concat!(
            "with ",
            clock!("$1"),
            " select s.revoked_at, s.revoke_reason, s.rotated_ip, s.rotated_user_agent, \
                u.version as user_version, u.version_reason, u.enabled, \
                case when abs(clock.now - s.rotated_at) < $5 then 1 else 0 end as in_window, \
                case when ",
            live!(),
            " and ",
            within_limits!("$6", "$7"),
            " and s.generation > $4 \
                and not (s.generation = $4 + 1 and abs(clock.now - s.rotated_at) < $5) \
                then 1 else 0 end as reused, s.created_at as opened_at, \
                coalesce(s.rotated_at, s.created_at) as used_at, ",
            grant_columns!(),
            " from sessions s join users u on u.id = s.user_id, clock \
             where s.id = $2 and s.client_id = $3"
        ))
        .bind(now.0)
        .bind(presented.session.to_string())
        .bind(presented.client_id.as_str())
        .bind(i64::from(presented.generation))
        .bind(presented.grace_ms)
        .bind(presented.idle_ms)
        .bind(presented.absolute_ms)
        .fetch_all(&mut *write)
        .await?;
        let Some(row) = found.first() else { return Ok(None) };
        let found = rows::found(row, now)?;
        if found.reuse_ended_it {
            end(&mut write, &presented.session.to_string(), EndReason::Reuse, now).await?;
            tell_reuse(&mut write, presented, now).await?;
            write.commit().await?;
        }
        Ok(Some(found))
    }
}

async fn grant_of(write: &mut Write, id: SessionId, now: Timestamp) -> Result<Grant, sqlx::Error> {
    let row: SqliteRow = query(concat!(
        "select ",
        grant_columns!(),
        " from sessions s join users u on u.id = s.user_id where s.id = $1"
    ))
    .bind(id.to_string())
    .fetch_one(&mut **write)
    .await?;
    rows::grant(&row, now)
}

/// The user of a caller whose session is live.
async fn caller_of(
    write: &mut Write,
    caller: &Caller,
    now: Timestamp,
) -> Result<Option<String>, sqlx::Error> {
    query_scalar(concat!(
        "with ",
        clock!("$4"),
        " select s.user_id from sessions s, users u, clock where ",
        is_caller!()
    ))
    .bind(caller.session.to_string())
    .bind(caller.generation.map(i64::from))
    .bind(caller.grace_ms)
    .bind(now.0)
    .fetch_optional(&mut **write)
    .await
}

pub(super) async fn end(
    write: &mut Write,
    id: &str,
    why: EndReason,
    now: Timestamp,
) -> Result<(), sqlx::Error> {
    query(
        "update sessions set revoked_at = $2, revoke_reason = $3 \
         where id = $1 and revoked_at is null",
    )
    .bind(id)
    .bind(now.0)
    .bind(why.as_str())
    .execute(&mut **write)
    .await?;
    Ok(())
}

/// With both contexts: who presented the spent token, and who had had it rotated.
async fn tell_reuse(
    write: &mut Write,
    presented: &Presented,
    now: Timestamp,
) -> Result<(), sqlx::Error> {
    query(
        "insert into events (at, kind, user_id, session_id, reason, ip, user_agent, other_ip, \
            other_user_agent) \
         select $2, 'session-ended', user_id, id, 'reuse', $3, $4, rotated_ip, rotated_user_agent \
         from sessions where id = $1",
    )
    .bind(presented.session.to_string())
    .bind(now.0)
    .bind(presented.client.ip.as_deref())
    .bind(presented.client.user_agent.as_deref())
    .execute(&mut **write)
    .await?;
    Ok(())
}

async fn has_password_version(
    write: &mut Write,
    user: &str,
    version: i64,
) -> Result<bool, sqlx::Error> {
    let sql = "select count(*) from users where id = $1 and password_version = $2";
    let found: i64 = query_scalar(sql).bind(user).bind(version).fetch_one(&mut **write).await?;
    Ok(found > 0)
}
