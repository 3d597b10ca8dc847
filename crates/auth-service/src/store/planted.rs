//! Wrong ways to use the store; see [`crate::planted`].

use std::sync::atomic::{AtomicI64, Ordering};

use claims::SessionId;
use sqlx::{PgConnection, query};

use super::records::{EndReason, Presented};
use super::revocations::{Horizon, RevocationRead, number, revocation};
use super::rotation::Found;
use super::rows::Columns as _;
use super::{Backend, Store, StoreError};
use crate::planted::{Bug, is};

impl Store {
    /// `None` while both bugs sleep.
    pub(super) async fn planted_end_session(
        &self,
        id: SessionId,
        why: EndReason,
    ) -> Option<Result<(), StoreError>> {
        let Backend::Postgres(db) = self.backend.clone() else { return None };
        let announcement = self.announcement();
        if is(Bug::Early204) {
            let work = async move {
                let _announcement = announcement;
                db.end_each(&[id], why).await
            };
            self.tasks.spawn_on(work, &self.runtime);
            return Some(Ok(()));
        }
        if is(Bug::DroppableBegin) {
            // In the handler's own future, which is dropped when the client resets its connection.
            return Some(db.planted_end_session(id, why).await);
        }
        announcement.withdraw();
        None
    }
}

/// `SiblingInWindow`: the token to rotate as though it were the current one.
pub(super) fn sibling(found: &Found, presented: &Presented) -> Option<Presented> {
    let current = found.grant.generation;
    let spent = presented.generation.checked_add(1) == Some(current) && found.in_window;
    (is(Bug::SiblingInWindow) && spent)
        // Without a window, or the current token would only be given again.
        .then(|| Presented { generation: current, grace_ms: 0, ..presented.clone() })
}

/// `LastSeenId`: what was numbered before and is committed after is never read. Not by a full read
/// either, which then saves a database from reading everything again.
pub(super) async fn read_above_the_last(
    connection: &mut PgConnection,
    offset: i64,
) -> Result<RevocationRead, StoreError> {
    static LAST: AtomicI64 = AtomicI64::new(0);
    let found = query(
        "with clock as materialized (select latchkey_now($1) as now) \
         select clock.now, pg_snapshot_xmin(pg_current_snapshot())::text as horizon, \
            md5(pg_postmaster_start_time()::text) as epoch, coalesce(r.seq, 0) as seq, \
            (select md5(coalesce(string_agg(concat(k.id, ' ', k.state, ' ', k.state_since), ',' \
                order by k.id), '')) from keys k) as keys, \
            r.xid::text as xid, r.kind, r.id, cast(r.min_version as bigint) as min_version, \
            r.expires_at \
         from clock left join revocations r \
            on r.seq > $2",
    )
    .bind(offset)
    .bind(LAST.load(Ordering::Relaxed))
    .fetch_all(connection)
    .await?;
    let first = found.first().ok_or(sqlx::Error::RowNotFound)?;
    let horizon = Horizon { epoch: first.text("epoch")?, xid: number(first, "horizon")? };
    let (now, keys) = (first.time("now")?, first.text("keys")?);
    let mut rows = Vec::new();
    for row in &found {
        if let Some(revoked) = super::rows::revoked(row)? {
            rows.push(revocation(row, number(row, "xid")?, revoked)?);
        }
        LAST.fetch_max(row.int("seq")?, Ordering::Relaxed);
    }
    Ok(RevocationRead { rows, now, horizon: Some(horizon), keys })
}
