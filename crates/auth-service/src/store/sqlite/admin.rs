//! What only an administrator does, on SQLite.

use claims::UserId;
use sqlx::{query, query_scalar};

use super::super::StoreError;
use super::super::admin::{Inspection, Listed};
use super::super::records::EndReason;
use super::super::rows::{self, live, session_columns, user_columns};
use super::{Sqlite, raise_version};

use crate::store::SessionView;

impl Sqlite {
    pub(in crate::store) async fn list_users(
        &self,
        after: Option<UserId>,
        most: i64,
    ) -> Result<Vec<Listed>, StoreError> {
        let found = query(concat!(
            "select u.enabled, ",
            user_columns!(),
            " from users u where u.id > $1 order by u.id limit $2"
        ))
        .bind(after.map(|user| user.to_string()).unwrap_or_default())
        .bind(most)
        .fetch_all(&mut self.readers.acquire().await?)
        .await?;
        Ok(found.iter().map(rows::listed).collect::<Result<_, _>>()?)
    }

    pub(in crate::store) async fn set_enabled(
        &self,
        user: UserId,
        enabled: bool,
    ) -> Result<bool, StoreError> {
        let (mut write, now) = self.begin().await?;
        query(
            "update users set enabled = $2, version = version + 1, version_reason = 'disabled', \
                changed_at = $3 \
             where id = $1 and enabled <> $2",
        )
        .bind(user.to_string())
        .bind(enabled)
        .bind(now.0)
        .execute(&mut *write)
        .await?;
        let users: i64 = query_scalar("select count(*) from users where id = $1")
            .bind(user.to_string())
            .fetch_one(&mut *write)
            .await?;
        write.commit().await?;
        Ok(users > 0)
    }

    pub(in crate::store) async fn set_password(
        &self,
        user: UserId,
        hash: &str,
    ) -> Result<bool, StoreError> {
        let (mut write, now) = self.begin().await?;
        let changed = query(
            "update users set password_hash = $2, password_version = password_version + 1 \
             where id = $1",
        )
        .bind(user.to_string())
        .bind(hash)
        .execute(&mut *write)
        .await?;
        raise_version(&mut write, &user.to_string(), EndReason::Password, now).await?;
        write.commit().await?;
        Ok(changed.rows_affected() > 0)
    }

    pub(in crate::store) async fn set_roles(
        &self,
        user: UserId,
        roles: &str,
    ) -> Result<bool, StoreError> {
        let changed = query("update users set roles = $2 where id = $1")
            .bind(user.to_string())
            .bind(roles)
            .execute(&mut self.writer.acquire().await?)
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
            " select 0 as current, ",
            session_columns!(),
            " from sessions s, users u, clock where s.user_id = $1 and u.id = s.user_id and ",
            live!(),
            " order by s.created_at desc, s.id limit 100"
        ))
        .bind(user.to_string())
        .bind(self.clock.now().0)
        .fetch_all(&mut self.readers.acquire().await?)
        .await?;
        Ok(found.iter().map(rows::session_view).collect::<Result<_, _>>()?)
    }

    pub(in crate::store) async fn end_all_of(
        &self,
        user: UserId,
        why: EndReason,
    ) -> Result<bool, StoreError> {
        let (mut write, now) = self.begin().await?;
        let raised = raise_version(&mut write, &user.to_string(), why, now).await?;
        write.commit().await?;
        Ok(raised)
    }

    pub(in crate::store) async fn inspect(&self) -> Result<Inspection, StoreError> {
        let version: String = query_scalar("select sqlite_version()")
            .fetch_one(&mut self.readers.acquire().await?)
            .await?;
        let journal: String = query_scalar("pragma journal_mode")
            .fetch_one(&mut self.writer.acquire().await?)
            .await?;
        let synchronous: i64 =
            query_scalar("pragma synchronous").fetch_one(&mut self.writer.acquire().await?).await?;
        let check: String = query_scalar("pragma quick_check(1)")
            .fetch_one(&mut self.readers.acquire().await?)
            .await?;
        let (wal, sound) = (journal == "wal", check == "ok");
        Ok(Inspection {
            server: format!("SQLite {version}"),
            now: self.clock.now(),
            settings: vec![
                ("journal_mode", journal, wal),
                ("synchronous", synchronous.to_string(), synchronous >= 2),
                ("quick_check", check, sound),
            ],
            oldest_snapshot_ms: None,
        })
    }
}
