//! Sessions: opened, listed and ended. How a refresh rotates one is in `rotation`.
//!
//! What depends on several rows of a user locks the user first and looks afterwards: each statement
//! of a transaction sees what was committed before it began. A login and a password change wait for
//! each other, and whichever is second sees the first; of two sessions that end each other, the
//! second finds that it is over; and of two logins the second counts the first one's session.

mod housekeeping;
mod limit;
mod list;

use claims::{SessionId, UserId};
use futures_util::FutureExt as _;

use super::postgres::Lane;
use super::records::{Caller, EndReason, Grant, NewSession, Removal};
use super::rows::{self, Columns as _, grant_columns, is_caller, live, session_columns};
use super::statement::Value;
use super::transaction::Tx;
use super::turns::Turn;
use super::{Backend, SessionView, Store, StoreError, TURN_TIMEOUT};
use crate::identity::names::NameKey;

pub(super) use limit::end_others;
pub use list::{NoPlace, SessionPage, SessionPlace};

/// What there was to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SessionEnding {
    /// It was ended now.
    Now,
    /// It had been ended before; nothing was changed.
    Before,
    /// There is none, or it was forgotten since it ended.
    Unknown,
}

impl Store {
    /// Opens a session, ends the one it replaces, and ends what the user then has beyond the most
    /// sessions that they may have; unless the account changed since its credentials were read: then
    /// `None`.
    pub async fn open_session(&self, new: NewSession) -> Result<Option<Grant>, StoreError> {
        let turn = self.turns.wait(new.user).await?;
        let ends = new.replaces.is_some() || new.max_sessions > 0;
        let announcement = ends.then(|| self.announcement());
        self.transaction("open_session", Lane::Logins, (turn, announcement), move |tx| {
            async move {
                if !insert(tx, &new).await? {
                    return Ok(None);
                }
                if let Some(replaced) = new.replaces {
                    end(tx, replaced, EndReason::Logout).await?;
                }
                let (id, most) = (new.id, i64::from(new.max_sessions));
                let (grant, surplus) = opened(tx, id, most).await?;
                if surplus > 0 {
                    let version = new.versions.subject;
                    limit::end_surplus(tx, grant.user.id, version, Some(id), surplus).await?;
                }
                Ok(Some(grant))
            }
            .boxed()
        })
        .await
    }

    /// Ends a session, and finds out what there was to end.
    pub async fn end_session(
        &self,
        id: SessionId,
        why: EndReason,
    ) -> Result<SessionEnding, StoreError> {
        self.transaction("end_session", Lane::Main, self.announcement(), move |tx| {
            async move {
                if end(tx, id, why).await? {
                    return Ok(SessionEnding::Now);
                }
                let there =
                    tx.fetch_all("select id from sessions where id = $1", &[id.into()]).await?;
                Ok(if there.is_empty() { SessionEnding::Unknown } else { SessionEnding::Before })
            }
            .boxed()
        })
        .await
    }

    /// Ends several sessions, whosever they are, in one step: all of them, or none where there is an
    /// error. This is how people log out; it acts for no administrator.
    pub async fn end_each(&self, ids: Vec<SessionId>, why: EndReason) -> Result<(), StoreError> {
        let (announcement, backend) = (self.announcement(), self.backend.clone());
        let work = async move {
            let _announcement = announcement;
            match &backend {
                Backend::Postgres(db) => db.end_each(&ids, why).await,
                Backend::Sqlite(_) => super::sqlite::end_each(&backend, &ids, why).await,
            }
        };
        self.run("end_each", work.boxed()).await
    }

    /// Ends every session of the caller's user, the caller's included; `false` when that was over.
    pub async fn end_all_sessions(&self, caller: Caller) -> Result<bool, StoreError> {
        let Some(turn) = self.turn_of(&caller).await? else { return Ok(false) };
        self.transaction("end_all_sessions", Lane::Main, (turn, self.announcement()), move |tx| {
            async move {
                match owner(tx, &caller).await? {
                    Some(owner) => raise_version(tx, owner.user, EndReason::Logout).await,
                    None => Ok(false),
                }
            }
            .boxed()
        })
        .await
    }

    /// Ends one session of the caller's user.
    pub async fn remove_session(
        &self,
        caller: Caller,
        target: SessionId,
    ) -> Result<Removal, StoreError> {
        let Some(turn) = self.turn_of(&caller).await? else { return Ok(Removal::CallerEnded) };
        self.transaction("remove_session", Lane::Main, (turn, self.announcement()), move |tx| {
            async move {
                let Some(owner) = owner(tx, &caller).await? else {
                    return Ok(Removal::CallerEnded);
                };
                let sql = "select 1 from sessions where id = $1 and user_id = $2";
                if tx.fetch_all(sql, &[target.into(), owner.user.into()]).await?.is_empty() {
                    return Ok(Removal::NotFound);
                }
                end(tx, target, EndReason::Logout).await?;
                Ok(Removal::Ended)
            }
            .boxed()
        })
        .await
    }

    /// The live sessions of the user with this name or address, newest first, at most 100.
    pub async fn live_sessions(&self, key: NameKey) -> Result<Vec<SessionView>, StoreError> {
        let sql = concat!(
            "with clock as materialized (select {now} as now) \
             select cast(0 as bigint) as current, ",
            session_columns!(),
            " from sessions s, users u, clock \
             where (u.username_key = $1 or u.email_key = $1) and s.user_id = u.id and ",
            live!(),
            " order by s.created_at desc, s.id limit 100"
        );
        let found = self.read("live_sessions", Lane::Main, sql, vec![key.as_str().into()]).await?;
        Ok(found.iter().map(rows::session_view).collect::<Result<_, _>>()?)
    }

    /// The live sessions of a user, newest first, at most 100.
    pub async fn sessions_of(&self, user: UserId) -> Result<Vec<SessionView>, StoreError> {
        let sql = concat!(
            "with clock as materialized (select {now} as now) \
             select cast(0 as bigint) as current, ",
            session_columns!(),
            " from sessions s, users u, clock \
             where s.user_id = $1 and u.id = s.user_id and ",
            live!(),
            " order by s.created_at desc, s.id limit 100"
        );
        let found = self.read("sessions_of", Lane::Main, sql, vec![user.into()]).await?;
        Ok(found.iter().map(rows::session_view).collect::<Result<_, _>>()?)
    }

    /// The turn of the caller's user, waited for at most eight seconds; `None` when the caller's session is
    /// not there.
    pub(super) async fn turn_of(&self, caller: &Caller) -> Result<Option<Turn>, StoreError> {
        // Both together: whoever is asked for the owner may be slow too.
        let turn = self.next_turn_of(*caller);
        tokio::time::timeout(TURN_TIMEOUT, turn).await.unwrap_or(Err(StoreError::Timeout))
    }

    /// The same, however long it takes.
    async fn next_turn_of(&self, caller: Caller) -> Result<Option<Turn>, StoreError> {
        let user = match caller.user {
            Some(user) => Some(user),
            None => self.owner_of(caller.session).await?,
        };
        match user {
            Some(user) => Ok(Some(self.turns.next(user).await)),
            None => Ok(None),
        }
    }

    async fn owner_of(&self, session: SessionId) -> Result<Option<UserId>, StoreError> {
        let sql = "select cast(user_id as text) as user_id from sessions where id = $1";
        let found = self.read("owner_of", Lane::Main, sql, vec![session.into()]).await?;
        Ok(found.first().map(rows::user_id).transpose()?)
    }
}

/// Whose session the caller's is, and the versions that they have.
pub(super) struct Owner {
    pub(super) user: UserId,
    pub(super) version: i64,
    pub(super) password_version: i64,
}

/// The user of a caller whose session is good, locked.
pub(super) async fn owner(tx: &mut Tx, caller: &Caller) -> Result<Option<Owner>, StoreError> {
    let lock = "select u.id from users u \
         where u.id = (select s.user_id from sessions s where s.id = $1) {lock}";
    tx.fetch_all(lock, &[caller.session.into()]).await?;
    let sql = concat!(
        "with clock as materialized (select {now} as now) \
         select cast(u.id as text) as user_id, cast(u.version as bigint) as version, \
            cast(u.password_version as bigint) as password_version \
         from sessions s, users u, clock where ",
        is_caller!()
    );
    let found = tx.fetch_all(sql, &caller_values(caller)).await?;
    let Some(row) = found.first() else { return Ok(None) };
    Ok(Some(Owner {
        user: rows::user_id(row)?,
        version: row.int("version")?,
        password_version: row.int("password_version")?,
    }))
}

/// The parameters of [`is_caller!`].
pub(super) fn caller_values(caller: &Caller) -> Vec<Value> {
    vec![caller.session.into(), caller.generation.map(i64::from).into(), caller.grace.into()]
}

/// Inserts the session unless the account changed; `false` then. Where a change of the account is
/// under way, it waits for that.
async fn insert(tx: &mut Tx, new: &NewSession) -> Result<bool, StoreError> {
    let sql = "with clock as materialized (select {now} as now) \
     insert into sessions (id, user_id, client_id, scope, subject_version, idle_expires_at, \
        expires_at, auth_time, amr, device, user_agent, ip, audience, created_at) \
     select $1, u.id, $5, $6, u.version, clock.now + $7, clock.now + $8, coalesce($9, clock.now), \
        $10, $11, $12, $13, $14, clock.now \
     from users u, clock \
     where u.id = $2 and u.enabled and u.version = $3 and u.password_version = $4 {lock}";
    let values = [
        new.id.into(),
        new.user.into(),
        new.versions.subject.into(),
        new.versions.password.into(),
        new.client_id.as_str().into(),
        new.scope.as_str().into(),
        new.limits.idle.min(new.limits.absolute).into(),
        new.limits.absolute.into(),
        new.auth_time.into(),
        new.amr.to_string().into(),
        new.device.clone().into(),
        new.requester.user_agent.clone().into(),
        new.requester.ip.clone().into(),
        new.audience.as_ref().map(|services| serde_json::json!(services).to_string()).into(),
    ];
    Ok(tx.execute(sql, &values).await? > 0)
}

/// The session that was opened, and how many live sessions beyond `most` its user has; 0 where `most`
/// is 0.
async fn opened(tx: &mut Tx, id: SessionId, most: i64) -> Result<(Grant, i64), StoreError> {
    let sql = concat!(
        "select s.created_at as now, ",
        grant_columns!(),
        ", cast(case when $2 = 0 then 0 else ( \
            select count(*) - $2 from sessions o \
            where o.user_id = s.user_id and o.subject_version = s.subject_version \
              and o.revoked_at is null and s.created_at < o.idle_expires_at) \
            end as bigint) as surplus \
         from sessions s join users u on u.id = s.user_id where s.id = $1"
    );
    let found = tx.fetch_all(sql, &[id.into(), most.into()]).await?;
    let row = found.first().ok_or(sqlx::Error::RowNotFound)?;
    Ok((rows::grant(row, row.time("now")?)?, row.int("surplus")?))
}

/// Ends a session that was not ended yet; `false` where it was, or there is none. A trigger announces it.
async fn end(tx: &mut Tx, id: SessionId, why: EndReason) -> Result<bool, StoreError> {
    let sql = "update sessions set revoked_at = {now}, revoke_reason = $2 \
         where id = $1 and revoked_at is null";
    Ok(tx.execute(sql, &[id.into(), why.as_str().into()]).await? > 0)
}

/// Makes every session of the user one of a former version; `false` when there is no such user.
pub(super) async fn raise_version(
    tx: &mut Tx,
    user: UserId,
    why: EndReason,
) -> Result<bool, StoreError> {
    let sql = "update users set version = version + 1, version_reason = $2, changed_at = {now} \
         where id = $1 and deleted_at is null";
    Ok(tx.execute(sql, &[user.into(), why.as_str().into()]).await? > 0)
}
