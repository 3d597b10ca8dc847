//! What only an administrator does, on Postgres.

use claims::UserId;
use sqlx::{query, query_scalar};
use uuid::Uuid;

use super::super::StoreError;
use super::super::admin::{Inspection, Listed};
use super::super::records::EndReason;
use super::super::rows::{self, Columns as _, live, session_columns, user_columns};
use super::Postgres;

use crate::store::SessionView;

impl Postgres {
    pub(in crate::store) async fn list_users(
        &self,
        after: Option<UserId>,
        most: i64,
    ) -> Result<Vec<Listed>, StoreError> {
        let found = query(concat!(
            "select cast(case when u.enabled then 1 else 0 end as bigint) as enabled, ",
            user_columns!(),
            " from users u where u.id > $1 order by u.id limit $2"
        ))
        .bind(after.map_or(Uuid::nil(), |user| user.0))
        .bind(most)
        .fetch_all(&mut *self.pool.acquire().await?)
        .await?;
        Ok(found.iter().map(rows::listed).collect::<Result<_, _>>()?)
    }

    pub(in crate::store) async fn set_enabled(
        &self,
        user: UserId,
        enabled: bool,
    ) -> Result<bool, StoreError> {
        let users: i64 = query_scalar(
            "with changed as ( \
                update users u set enabled = $3, version = u.version + 1, \
                    version_reason = 'disabled', changed_at = latchkey_now($1) \
                where u.id = $2 and u.enabled <> $3) \
             select count(*) from users where id = $2",
        )
        .bind(self.offset())
        .bind(user.0)
        .bind(enabled)
        .fetch_one(&mut *self.pool.acquire().await?)
        .await?;
        Ok(users > 0)
    }

    pub(in crate::store) async fn set_password(
        &self,
        user: UserId,
        hash: &str,
    ) -> Result<bool, StoreError> {
        let changed = query(
            "update users u set password_hash = $3, password_version = u.password_version + 1, \
                version = u.version + 1, version_reason = 'password', \
                changed_at = latchkey_now($1) \
             where u.id = $2",
        )
        .bind(self.offset())
        .bind(user.0)
        .bind(hash)
        .execute(&mut *self.pool.acquire().await?)
        .await?;
        Ok(changed.rows_affected() > 0)
    }

    pub(in crate::store) async fn set_roles(
        &self,
        user: UserId,
        roles: &str,
    ) -> Result<bool, StoreError> {
        let changed = query("update users set roles = $2 where id = $1")
            .bind(user.0)
            .bind(roles)
            .execute(&mut *self.pool.acquire().await?)
            .await?;
        Ok(changed.rows_affected() > 0)
    }

    pub(in crate::store) async fn sessions_of(
        &self,
        user: UserId,
    ) -> Result<Vec<SessionView>, StoreError> {
        let found = query(concat!(
            "with ",
            clock!("$2"),
            " select cast(0 as bigint) as current, ",
            session_columns!(),
            " from sessions s, users u, clock where s.user_id = $1 and u.id = s.user_id and ",
            live!(),
            " order by s.created_at desc, s.id limit 100"
        ))
        .bind(user.0)
        .bind(self.offset())
        .fetch_all(&mut *self.pool.acquire().await?)
        .await?;
        Ok(found.iter().map(rows::session_view).collect::<Result<_, _>>()?)
    }

    pub(in crate::store) async fn end_all_of(
        &self,
        user: UserId,
        why: EndReason,
    ) -> Result<bool, StoreError> {
        let users: i64 = query_scalar(
            "select count(*) from users u, latchkey_end_all(u.id, $2, $3, 0) where u.id = $1",
        )
        .bind(user.0)
        .bind(why.as_str())
        .bind(self.offset())
        .fetch_one(&mut *self.pool.acquire().await?)
        .await?;
        Ok(users > 0)
    }

    pub(in crate::store) async fn inspect(&self) -> Result<Inspection, StoreError> {
        let row = query(
            "select latchkey_now($1) as now, 'Postgres ' || current_setting('server_version') as server, \
                current_setting('synchronous_commit') as synchronous_commit, \
                current_setting('fsync') as fsync, \
                current_setting('full_page_writes') as full_page_writes, \
                case when pg_is_in_recovery() then 'standby' else 'primary' end as role, \
                (select cast(max(extract(epoch from clock_timestamp() - xact_start)) * 1000 as bigint) \
                    from pg_stat_activity \
                    where backend_xmin is not null and pid <> pg_backend_pid()) as oldest",
        )
        .bind(self.offset())
        .fetch_one(&mut *self.pool.acquire().await?)
        .await?;
        let setting = |name, good: fn(&str) -> bool| -> Result<_, sqlx::Error> {
            let value = row.text(name)?;
            let good = good(&value);
            Ok((name, value, good))
        };
        Ok(Inspection {
            server: row.text("server")?,
            now: row.time("now")?,
            settings: vec![
                setting("synchronous_commit", |value| value != "off")?,
                setting("fsync", |value| value == "on")?,
                setting("full_page_writes", |value| value == "on")?,
                setting("role", |value| value == "primary")?,
            ],
            oldest_snapshot_ms: Some(row.int_or_null("oldest")?.unwrap_or(0)),
        })
    }
}
