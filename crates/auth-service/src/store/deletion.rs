//! Users who are deleted.
//!
//! The first step is one short transaction, which does what matters at once: nobody can log in any more, every session
//! is over (the raised version is announced), the name and the address are free, and the audit log has the fact. What
//! is left is a row that says when, without anything in it that names anybody.
//!
//! The rest may be very much and is not urgent: addresses and programs in the audit log, the rows of sessions, and at
//! last the row itself. It is done a batch at a time, each in a transaction that locks the user first, so that several
//! replicas may do so at once and one that is cut off is taken up by another, or after a restart.

use std::sync::Arc;
use std::time::Duration;

use claims::UserId;
use futures_util::FutureExt as _;

use super::postgres::Lane;
use super::records::{Caller, EndReason};
use super::rows::{self, Columns as _};
use super::sessions;
use super::transaction::Tx;
use super::{Store, StoreError};
use crate::identity::pseudonyms::Pseudonyms;

/// How many rows one step looks at and changes.
const BATCH: i64 = 2000;
/// How long after the first step the others begin: what was in flight then is over, and adds nothing to the audit log.
const SETTLES_IN: Duration = Duration::from_mins(1);

impl Store {
    /// Deletes a user, as far as others can see; `false` when there is none (any more).
    pub async fn delete_user(&self, user: UserId) -> Result<bool, StoreError> {
        let turn = self.turns.wait(user).await?;
        self.transaction("delete_user", Lane::Main, (turn, self.announcement()), move |tx| {
            async move { begin(tx, user).await }.boxed()
        })
        .await
    }

    /// Deletes the caller's user; `None` when the caller's session is over, and else who it was.
    pub async fn delete_own_account(&self, caller: Caller) -> Result<Option<UserId>, StoreError> {
        let Some(turn) = self.turn_of(&caller).await? else { return Ok(None) };
        self.transaction("delete_own_account", Lane::Main, (turn, self.announcement()), move |tx| {
            async move {
                let Some(owner) = sessions::owner(tx, &caller).await? else { return Ok(None) };
                Ok(begin(tx, owner.user).await?.then_some(owner.user))
            }
            .boxed()
        })
        .await
    }

    /// Users who were deleted a minute ago or before, of whom there is something left: at most `most` of those after
    /// the one that is named.
    pub async fn deleted_users(
        &self,
        after: Option<UserId>,
        most: i64,
    ) -> Result<Vec<UserId>, StoreError> {
        // By how their keys begin, for which there is an index; `"` comes after `!`.
        let sql = "select cast(u.id as text) as user_id from users u \
             where u.username_key {bytewise} > $1 and u.username_key {bytewise} < '@\"' \
               and u.deleted_at <= {now} - $2 \
             order by u.username_key {bytewise} limit $3";
        let after = after.map_or_else(|| rows::DELETED.to_owned(), rows::key_of_deleted);
        let values = vec![after.into(), SETTLES_IN.into(), most.into()];
        let found = self.read("deleted_users", Lane::Main, sql, values).await?;
        Ok(found.iter().map(rows::user_id).collect::<Result<_, _>>()?)
    }

    /// Puts pseudonyms in the place of network addresses and user agents in the next entries of the audit log that are
    /// about a deleted user, after the one that is named. Says where to go on; `None` at the end.
    pub async fn forget_in_events(
        &self,
        user: UserId,
        after: i64,
        pseudonyms: Arc<Pseudonyms>,
    ) -> Result<Option<i64>, StoreError> {
        let turn = self.turns.wait(user).await?;
        self.transaction("forget_in_events", Lane::Main, turn, move |tx| {
            async move {
                if !lock(tx, user).await? {
                    return Ok(None);
                }
                // Failed logins have pseudonyms and nothing else.
                let sql = "select id, ip, user_agent, other_ip, other_user_agent from events \
                     where user_id = $1 and kind <> 'login-failed' and id > $2 \
                     order by id limit $3 {lock}";
                let values = [user.into(), after.into(), BATCH.into()];
                let found = tx.fetch_all(sql, &values).await?;
                let mut last = None;
                let mut changes = Vec::new();
                for row in &found {
                    let id = row.int("id")?;
                    last = Some(id);
                    let place = [
                        row.text_or_null("ip")?,
                        row.text_or_null("user_agent")?,
                        row.text_or_null("other_ip")?,
                        row.text_or_null("other_user_agent")?,
                    ];
                    let hidden = hidden(&pseudonyms, place.clone());
                    if hidden != place {
                        changes.push(change(id, hidden));
                    }
                }
                if !changes.is_empty() {
                    tx.execute(HIDE, &[changes.into(), NOTHING.into()]).await?;
                }
                Ok(last)
            }
            .boxed()
        })
        .await
    }

    /// Deletes the next sessions of a deleted user, after the one that is named. Says where to go on; `None` at the end.
    pub async fn forget_sessions(
        &self,
        user: UserId,
        after: Option<String>,
    ) -> Result<Option<String>, StoreError> {
        let turn = self.turns.wait(user).await?;
        self.transaction("forget_sessions", Lane::Main, turn, move |tx| {
            async move {
                if !lock(tx, user).await? {
                    return Ok(None);
                }
                let sql = "select s.id from sessions s where s.user_id = $1 and s.id > $2 \
                     order by s.id limit $3 {lock_free_ones}";
                let after = after.unwrap_or_default();
                let found = tx.fetch_all(sql, &[user.into(), after.into(), BATCH.into()]).await?;
                let ids: Vec<_> =
                    found.iter().map(|row| row.text("id")).collect::<Result<_, _>>()?;
                let Some(last) = ids.last().cloned() else { return Ok(None) };
                let sql = "delete from sessions where id in (select value from {each}($1) value)";
                tx.execute(sql, &[ids.into()]).await?;
                Ok(Some(last))
            }
            .boxed()
        })
        .await
    }

    /// Removes the row of a deleted user who has no session any more; `false` where there was none to be removed.
    pub async fn forget_user(&self, user: UserId) -> Result<bool, StoreError> {
        let turn = self.turns.wait(user).await?;
        let sql = "delete from users where id = $1 and deleted_at is not null \
             and not exists (select 1 from sessions s where s.user_id = users.id)";
        let held = (turn, self.announcement());
        Ok(self.write("forget_user", Lane::Main, held, sql, vec![user.into()]).await? > 0)
    }
}

/// Changes of the audit log in one statement: `$1` has a text for each entry (see [`change`]), and `$2` is what stands
/// there for nothing.
const HIDE: &str = "update events set ip = nullif(substr(place.value, 21, 23), $2), \
        user_agent = nullif(substr(place.value, 44, 23), $2), \
        other_ip = nullif(substr(place.value, 67, 23), $2), \
        other_user_agent = nullif(substr(place.value, 90, 23), $2) \
     from (select value from {each}($1) value) place \
     where events.id = cast(substr(place.value, 1, 20) as bigint)";

/// As long as what is written for a pseudonym.
const NOTHING: &str = "                       ";

/// The number of an entry and what is to stand in its four places, each in a width of its own.
fn change(id: i64, places: [Option<String>; 4]) -> String {
    let mut change = format!("{id:020}");
    for place in places {
        change.push_str(place.as_deref().unwrap_or(NOTHING));
    }
    change
}

/// The first step; `false` where the user is not there, or deleted already.
async fn begin(tx: &mut Tx, user: UserId) -> Result<bool, StoreError> {
    let sql = "select email_key from users where id = $1 and deleted_at is null {lock}";
    let found = tx.fetch_all(sql, &[user.into()]).await?;
    let Some(row) = found.first() else { return Ok(false) };
    // Now, because afterwards nobody knows the address that they are bound to. They are few. Nobody has shown that
    // the address is theirs, so one that is still open stays: it may be somebody else's.
    let sql = "delete from invitations where user_id = $1 or (email_key = $2 and user_id is null \
            and (revoked_at is not null or expires_at <= {now}))";
    tx.execute(sql, &[user.into(), row.text_or_null("email_key")?.into()]).await?;
    let sql = "update users set deleted_at = {now}, changed_at = {now}, enabled = (1 = 0), \
            version = version + 1, version_reason = $2, username = $3, username_key = $4, \
            email = null, email_key = null, password_hash = '', roles = '' \
         where id = $1";
    let values = [
        user.into(),
        // What programs of before know.
        EndReason::Disabled.as_str().into(),
        rows::NO_NAME.into(),
        rows::key_of_deleted(user).into(),
    ];
    tx.execute(sql, &values).await?;
    Ok(true)
}

/// Locks a deleted user; `false` where there is none.
async fn lock(tx: &mut Tx, user: UserId) -> Result<bool, StoreError> {
    let sql = "select id from users where id = $1 and deleted_at is not null {lock}";
    Ok(!tx.fetch_all(sql, &[user.into()]).await?.is_empty())
}

/// Pseudonyms in the place of addresses and user agents. What has the form of one is one: a step may come again.
fn hidden(pseudonyms: &Pseudonyms, place: [Option<String>; 4]) -> [Option<String>; 4] {
    let [ip, user_agent, other_ip, other_user_agent] = place;
    [
        ip.map(|text| pseudonyms.written_for_address(&text)),
        user_agent.map(|text| pseudonyms.written_for("user-agent", &text)),
        other_ip.map(|text| pseudonyms.written_for_address(&text)),
        other_user_agent.map(|text| pseudonyms.written_for("user-agent", &text)),
    ]
}
