//! The trail on SQLite.

use claims::Timestamp;
use sqlx::query;
use sqlx::sqlite::SqliteRow;

use super::super::StoreError;
use super::super::records::Caller;
use super::super::rows::{Columns as _, is_caller};
use super::super::trail::{TrailEntry, event_columns, events};
use super::Sqlite;

use crate::store::EventView;

impl Sqlite {
    pub(in crate::store) async fn tell(&self, entry: &TrailEntry) -> Result<(), StoreError> {
        query(
            "insert into events (at, kind, user_id, session_id, reason, ip, user_agent, other_ip, \
                other_user_agent, subject, origin) \
             values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)",
        )
        .bind(self.clock.now().0)
        .bind(entry.kind.as_str())
        .bind(entry.user.map(|user| user.to_string()))
        .bind(entry.session.map(|id| id.to_string()))
        .bind(entry.reason.as_deref())
        .bind(entry.client.ip.as_deref())
        .bind(entry.client.user_agent.as_deref())
        .bind(entry.other.ip.as_deref())
        .bind(entry.other.user_agent.as_deref())
        .bind(entry.subject.as_deref())
        .bind(entry.origin.as_deref())
        .execute(&mut self.writer.acquire().await?)
        .await?;
        Ok(())
    }

    pub(in crate::store) async fn events_of(
        &self,
        caller: &Caller,
    ) -> Result<Option<Vec<EventView>>, StoreError> {
        let found = query(concat!(
            "with ",
            clock!("$4"),
            ", caller as (select u.id from sessions s, users u, clock where ",
            is_caller!(),
            ") select ",
            event_columns!(),
            " from caller left join ( \
                select * from (select e.* from events e, caller \
                    where e.user_id = caller.id and e.kind <> 'login-failed' \
                    order by e.id desc limit 80) \
                union all \
                select * from (select e.* from events e, caller \
                    where e.user_id = caller.id and e.kind = 'login-failed' \
                    order by e.id desc limit 20) \
             ) e order by e.id desc"
        ))
        .bind(caller.session.to_string())
        .bind(caller.generation.map(i64::from))
        .bind(caller.grace_ms)
        .bind(self.clock.now().0)
        .fetch_all(&mut self.readers.acquire().await?)
        .await?;
        Ok(events(&found)?)
    }

    pub(in crate::store) async fn purge_events(
        &self,
        before: Timestamp,
        most: i64,
        batch: i64,
    ) -> Result<u64, StoreError> {
        let purged = query(
            "delete from events where id in (select id from events order by id limit $3) \
             and (at < $1 or id <= (select max(id) from events) - $2)",
        )
        .bind(before.0)
        .bind(most)
        .bind(batch)
        .execute(&mut self.writer.acquire().await?)
        .await?;
        Ok(purged.rows_affected())
    }

    pub(in crate::store) async fn last_clock_step(
        &self,
    ) -> Result<Option<(Timestamp, String)>, StoreError> {
        let found = query(
            "select at, coalesce(reason, '') as reason from events where kind = 'clock-stepped' \
             order by id desc limit 1",
        )
        .fetch_all(&mut self.readers.acquire().await?)
        .await?;
        let told = |row: &SqliteRow| Ok::<_, sqlx::Error>((row.time("at")?, row.text("reason")?));
        Ok(found.first().map(told).transpose()?)
    }
}
