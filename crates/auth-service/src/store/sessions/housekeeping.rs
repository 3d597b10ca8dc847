//! Walks along all sessions, a batch at a time: those that are long over are deleted, and limits that
//! were lowered reach those that were opened with higher ones.

use claims::Timestamp;

use super::super::postgres::Lane;
use super::super::rows::Columns as _;
use super::super::{Store, StoreError};
use super::Value;
use crate::config::SessionLimits;

/// The next sessions after `$1`, at most `$2`, each with whether `$condition` holds.
macro_rules! batch {
    ($condition:literal) => {
        concat!(
            "select id, cast(case when ",
            $condition,
            " then 1 else 0 end as bigint) as due from sessions where id > $1 order by id limit $2"
        )
    };
}

impl Store {
    /// Deletes those of the next `batch` sessions after `after` that were over `before` that moment, and
    /// says where to go on; `None` at the end.
    pub async fn purge_sessions(
        &self,
        before: Timestamp,
        after: Option<String>,
        batch: i64,
    ) -> Result<Option<String>, StoreError> {
        let sql = batch!("idle_expires_at < $3 or revoked_at < $3");
        let (due, next) = self.batch(sql, after, batch, &[before.into()]).await?;
        if !due.is_empty() {
            let sql = "delete from sessions where id in ( \
                    select s.id from sessions s \
                    where s.id in (select value from {each}($1) value) \
                      and (s.idle_expires_at < $2 or s.revoked_at < $2) \
                    order by s.id {lock_free_ones})";
            let values = vec![due.into(), before.into()];
            self.write("purge_sessions", Lane::Main, (), sql, values).await?;
        }
        Ok(next)
    }

    /// Brings the ends of the next `batch` sessions after `after` down to these limits where they were opened with higher ones, and says where to go on; `None` at the end.
    pub async fn lower_ends(
        &self,
        limits: SessionLimits,
        after: Option<String>,
        batch: i64,
    ) -> Result<Option<String>, StoreError> {
        let sql = batch!(
            "revoked_at is null and (expires_at > created_at + $4 \
                or idle_expires_at > coalesce(rotated_at, created_at) + $3)"
        );
        let SessionLimits { idle, absolute, grace: _ } = limits;
        let values = [idle.into(), absolute.into()];
        let (due, next) = self.batch(sql, after, batch, &values).await?;
        if !due.is_empty() {
            let sql = "update sessions set expires_at = {least}(expires_at, created_at + $3), \
                    idle_expires_at = {least}(idle_expires_at, created_at + $3, \
                        coalesce(rotated_at, created_at) + $2) \
                 where revoked_at is null and id in ( \
                    select s.id from sessions s \
                    where s.id in (select value from {each}($1) value) order by s.id {lock})";
            let values = vec![due.into(), idle.into(), absolute.into()];
            self.write("lower_ends", Lane::Main, (), sql, values).await?;
        }
        Ok(next)
    }

    /// The ids of those that are due, and the last one that was looked at.
    async fn batch(
        &self,
        sql: &'static str,
        after: Option<String>,
        batch: i64,
        values: &[Value],
    ) -> Result<(Vec<String>, Option<String>), StoreError> {
        let mut all = vec![after.unwrap_or_default().into(), batch.into()];
        all.extend_from_slice(values);
        let (mut due, mut next) = (Vec::new(), None);
        for row in self.read("batch", Lane::Main, sql, all).await? {
            let id = row.text("id")?;
            if row.flag("due")? {
                due.push(id.clone());
            }
            next = Some(id);
        }
        Ok((due, next))
    }
}
