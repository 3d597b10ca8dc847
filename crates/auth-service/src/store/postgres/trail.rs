//! The trail on Postgres.

use claims::Timestamp;
use sqlx::postgres::PgRow;
use sqlx::query;

use super::super::StoreError;
use super::super::records::Caller;
use super::super::rows::{Columns as _, is_caller};
use super::super::trail::{TrailEntry, event_columns, events};
use super::Postgres;

use crate::store::EventView;

impl Postgres {
    pub(in crate::store) async fn tell(&self, entry: &TrailEntry) -> Result<(), StoreError> {
        query(
            "insert into events (at, kind, user_id, session_id, reason, ip, user_agent, other_ip, \
                other_user_agent, subject, origin) \
             values (latchkey_now($1), $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)",
        )
        .bind(self.offset())
        .bind(entry.kind.as_str())
        .bind(entry.user.map(|user| user.0))
        .bind(entry.session.map(|id| id.to_string()))
        .bind(entry.reason.as_deref())
        .bind(entry.client.ip.as_deref())
        .bind(entry.client.user_agent.as_deref())
        .bind(entry.other.ip.as_deref())
        .bind(entry.other.user_agent.as_deref())
        .bind(entry.subject.as_deref())
        .bind(entry.origin.as_deref())
        .execute(&mut *self.pool.acquire().await?)
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
            ", caller as materialized (select u.id from sessions s, users u, clock where ",
            is_caller!(),
            ") select ",
            event_columns!(),
            " from caller left join lateral ( \
                (select * from events e where e.user_id = caller.id and e.kind <> 'login-failed' \
                    order by e.id desc limit 80) \
                union all \
                (select * from events e where e.user_id = caller.id and e.kind = 'login-failed' \
                    order by e.id desc limit 20) \
             ) e on true order by e.id desc"
        ))
        .bind(caller.session.to_string())
        .bind(caller.generation.map(i64::from))
        .bind(caller.grace_ms)
        .bind(self.offset())
        .fetch_all(&mut *self.pool.acquire().await?)
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
            "with oldest as materialized (select id, at from events order by id limit $3) \
             delete from events e using oldest \
             where e.id = oldest.id and (oldest.at < $1 \
                or oldest.id <= (select max(id) from events) - $2)",
        )
        .bind(before.0)
        .bind(most)
        .bind(batch)
        .execute(&mut *self.pool.acquire().await?)
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
        .fetch_all(&mut *self.pool.acquire().await?)
        .await?;
        let told = |row: &PgRow| Ok::<_, sqlx::Error>((row.time("at")?, row.text("reason")?));
        Ok(found.first().map(told).transpose()?)
    }
}
