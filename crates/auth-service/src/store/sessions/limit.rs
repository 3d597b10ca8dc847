//! How many sessions a user may have, and how very many are ended: in steps, so that no statement
//! holds its locks for long and no request fails because there are too many.

use std::time::Duration;

use claims::{SessionId, UserId};
use futures_util::FutureExt as _;
use hosting::traces::SPANS;
use tracing::Instrument as _;
use uuid::Uuid;

use super::super::postgres::Lane;
use super::super::records::{Caller, EndReason};
use super::super::rows::{self, Columns as _};
use super::super::transaction::Tx;
use super::super::turns::Turn;
use super::super::{ENDED_AT_ONCE, Store, StoreError};
use super::{Owner, owner};

/// How long a request waits until very many sessions are ended: 200,000 take some ten seconds. The
/// listener gives a connection without an answer up a little later, and so do usual proxies.
const MANY_TIMEOUT: Duration = Duration::from_secs(40);

impl Store {
    /// Ends every other session of the caller's user; `false` when the caller's own is over.
    ///
    /// More than 2000 are ended in several steps. They go on to their end also when nobody waits for
    /// the answer any more, or when it was [`StoreError::Timeout`], after forty seconds.
    pub async fn end_other_sessions(&self, caller: Caller) -> Result<bool, StoreError> {
        let (store, first) = (self.clone(), self.next_turn_of(caller));
        let mut caller = caller;
        self.in_steps(first, move |turn| {
            let (store, this) = (store.clone(), caller);
            // Its token is judged at the first step; a refresh since then does no harm.
            caller.generation = None;
            async move { store.end_some_others(this, turn).await }
        })
        .await
    }

    async fn end_some_others(&self, caller: Caller, turn: Turn) -> Result<Option<i64>, StoreError> {
        self.transaction("end_some_others", Lane::Main, (turn, self.announcement()), move |tx| {
            async move {
                let Some(owner) = owner(tx, &caller).await? else { return Ok(None) };
                let ended = end_others(tx, &owner, caller.session, EndReason::Logout).await?;
                Ok(Some(ended))
            }
            .boxed()
        })
        .await
    }

    /// Takes a step again, each time in a turn of its own, until it ends fewer sessions than it may at
    /// once. `false` where there is no turn to wait for, or where a step is refused, which is `None`.
    pub(in crate::store) async fn in_steps<F>(
        &self,
        first: impl Future<Output = Result<Option<Turn>, StoreError>>,
        mut step: impl FnMut(Turn) -> F + Send + 'static,
    ) -> Result<bool, StoreError>
    where
        F: Future<Output = Result<Option<i64>, StoreError>> + Send,
    {
        let all = async {
            let Some(mut turn) = first.await? else { return Ok(false) };
            let (store, user) = (self.clone(), turn.user());
            let steps = async move {
                loop {
                    match step(turn).await? {
                        Some(ended) if ended >= ENDED_AT_ONCE => {}
                        ended => return Ok(ended.is_some()),
                    }
                    turn = store.turns.next(user).await;
                }
            };
            let span = tracing::info_span!(target: SPANS, "in steps");
            self.outcome(self.tasks.spawn_on(steps.instrument(span), &self.runtime).await)
        };
        tokio::time::timeout(MANY_TIMEOUT, all).await.unwrap_or(Err(StoreError::Timeout))
    }

    /// Of the next `batch` users after `after`: who has more than `most` sessions, and where to go
    /// on; `None` at the end. Not exact: sessions that were not used for too long are counted too.
    pub async fn crowded_users(
        &self,
        after: Option<UserId>,
        most: u32,
        batch: i64,
    ) -> Result<(Vec<UserId>, Option<UserId>), StoreError> {
        let sql = "select cast(u.id as text) as user_id, cast(case when ( \
                select count(*) from (select 1 from sessions s where s.user_id = u.id \
                    and s.subject_version = u.version and s.revoked_at is null limit $2 + 1) counted \
             ) > $2 then 1 else 0 end as bigint) as crowded \
             from users u where u.id > $1 order by u.id limit $3";
        let after = after.unwrap_or(UserId(Uuid::nil()));
        let values = vec![after.into(), i64::from(most).into(), batch.into()];
        let (mut crowded, mut next) = (Vec::new(), None);
        for row in self.read("crowded_users", Lane::Main, sql, values).await? {
            let user = rows::user_id(&row)?;
            next = Some(user);
            if row.flag("crowded")? {
                crowded.push(user);
            }
        }
        Ok((crowded, next))
    }

    /// Ends what the user has beyond `most` live sessions, at most `batch` of it, as a login does.
    /// Says how many were ended.
    pub async fn trim_sessions(
        &self,
        user: UserId,
        most: u32,
        batch: i64,
    ) -> Result<i64, StoreError> {
        let turn = self.turns.wait(user).await?;
        self.transaction("trim_sessions", Lane::Main, (turn, self.announcement()), move |tx| {
            async move {
                let lock = "select cast(u.version as bigint) as version from users u \
                     where u.id = $1 {lock}";
                let found = tx.fetch_all(lock, &[user.into()]).await?;
                let Some(row) = found.first() else { return Ok(0) };
                let version = row.int("version")?;
                let count = "select count(*) as live from sessions s \
                     where s.user_id = $1 and s.subject_version = $2 and s.revoked_at is null \
                       and {now} < s.idle_expires_at";
                let found = tx.fetch_all(count, &[user.into(), version.into()]).await?;
                let live = found.first().map_or(Ok(0), |row| row.int("live"))?;
                let surplus = (live - i64::from(most)).min(batch);
                if surplus > 0 {
                    end_surplus(tx, user, version, None, surplus).await
                } else {
                    Ok(0)
                }
            }
            .boxed()
        })
        .await
    }
}

/// Ends so many live sessions of the user, who must be locked, but no more than 2000: first those that
/// were never refreshed, then those that were not used for longest; never `keep`. Says how many.
pub(super) async fn end_surplus(
    tx: &mut Tx,
    user: UserId,
    version: i64,
    keep: Option<SessionId>,
    surplus: i64,
) -> Result<i64, StoreError> {
    let sql = "select s.id from sessions s \
         where s.user_id = $1 and s.subject_version = $2 and s.revoked_at is null \
           and {now} < s.idle_expires_at and ($3 is null or s.id <> $3) \
         order by s.rotated_at is not null, coalesce(s.rotated_at, s.created_at), s.id limit $4";
    let most = surplus.min(ENDED_AT_ONCE);
    let values = [user.into(), version.into(), keep.into(), most.into()];
    let ids = ids(tx, sql, &values).await?;
    end_listed(tx, ids, EndReason::Limit).await
}

/// Ends at most 2000 of the sessions that the owner could use, all but `keep`. Says how many; fewer: there
/// is no other one any more.
pub(in crate::store) async fn end_others(
    tx: &mut Tx,
    owner: &Owner,
    keep: SessionId,
    why: EndReason,
) -> Result<i64, StoreError> {
    let sql = "select s.id from sessions s \
         where s.user_id = $1 and s.subject_version = $2 and s.revoked_at is null and s.id <> $3 \
         limit $4";
    let values = [owner.user.into(), owner.version.into(), keep.into(), ENDED_AT_ONCE.into()];
    let ids = ids(tx, sql, &values).await?;
    end_listed(tx, ids, why).await
}

async fn ids(
    tx: &mut Tx,
    sql: &'static str,
    values: &[super::Value],
) -> Result<Vec<String>, StoreError> {
    let found = tx.fetch_all(sql, values).await?;
    Ok(found.iter().map(|row| row.text("id")).collect::<Result<_, _>>()?)
}

/// Ends these sessions, where they were not ended yet, and says how many were named. They are locked
/// in the order of their ids, as by everything that ends several: two of them would else block each
/// other.
async fn end_listed(tx: &mut Tx, ids: Vec<String>, why: EndReason) -> Result<i64, StoreError> {
    let named = i64::try_from(ids.len()).unwrap_or(i64::MAX);
    if named > 0 {
        let sql = "update sessions set revoked_at = {now}, revoke_reason = $2 \
             where revoked_at is null and id in ( \
                select s.id from sessions s \
                where s.id in (select value from {each}($1) value) and s.revoked_at is null \
                order by s.id {lock})";
        tx.execute(sql, &[ids.into(), why.as_str().into()]).await?;
    }
    Ok(named)
}
