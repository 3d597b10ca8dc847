//! Users: registered, found, listed, changed.

use std::time::Duration;

use claims::UserId;
use futures_util::FutureExt as _;
use uuid::Uuid;

use super::postgres::Lane;
use super::records::{
    Caller, Credentials, EndReason, Listed, NewPassword, NewUser, OtherSessions, Renaming,
    UserChange, UserChanged, UserRecord,
};
use super::rows::{self, credentials_columns, is_caller, listed_columns, user_columns};
use super::sessions::{self, caller_values};
use super::transaction::Tx;
use super::turns::Turn;
use super::{Done, ENDED_AT_ONCE, Once, Store, StoreError, names};
use crate::identity::names::NameKey;

/// Users after `$1`, at most `$2`.
pub(super) const LIST: &str = concat!(
    "select ",
    listed_columns!(),
    " from users u where u.id > $1 and u.deleted_at is null order by u.id limit $2"
);
/// How many users one transaction locks: for a fraction of a second.
const RAISED_AT_ONCE: i64 = 1000;

impl Store {
    /// Adds a user; `None` when the name or the address is taken.
    pub async fn create_user(&self, user: NewUser) -> Result<Option<UserRecord>, StoreError> {
        self.transaction("create_user", Lane::Logins, (), move |tx| insert(tx, user).boxed()).await
    }

    /// The same once.
    pub async fn create_user_once(
        &self,
        once: Once,
        user: NewUser,
    ) -> Result<Done<Option<UserRecord>>, StoreError> {
        self.transaction("create_user_once", Lane::Logins, (), move |tx| {
            async move {
                if let Some(done) = once.begin(tx).await? {
                    return Ok(done);
                }
                let made = insert(tx, user).await?;
                once.end(tx, made.as_ref().map(|user| user.id.to_string())).await?;
                Ok(Done::Now(made))
            }
            .boxed()
        })
        .await
    }

    /// What is needed to check a password, by name or address.
    pub async fn credentials(&self, key: NameKey) -> Result<Option<Credentials>, StoreError> {
        // A name has no @ and an address has one, so at most one row is found.
        let sql = concat!(
            "select ",
            credentials_columns!(),
            " from users u where u.username_key = $1 or u.email_key = $1"
        );
        let found = self.read("credentials", Lane::Logins, sql, vec![key.as_str().into()]).await?;
        Ok(found.first().map(rows::credentials).transpose()?)
    }

    /// The same for a user who is known.
    pub async fn credentials_of(&self, user: UserId) -> Result<Option<Credentials>, StoreError> {
        let sql = concat!(
            "select ",
            credentials_columns!(),
            " from users u where u.id = $1 and u.deleted_at is null"
        );
        let found = self.read("credentials_of", Lane::Logins, sql, vec![user.into()]).await?;
        Ok(found.first().map(rows::credentials).transpose()?)
    }

    /// The same for the caller's user; `None` when the caller's session is over.
    pub async fn credentials_of_caller(
        &self,
        caller: Caller,
    ) -> Result<Option<Credentials>, StoreError> {
        let sql = concat!(
            "with clock as materialized (select {now} as now) select ",
            credentials_columns!(),
            " from sessions s, users u, clock where ",
            is_caller!()
        );
        let found =
            self.read("credentials_of_caller", Lane::Logins, sql, caller_values(&caller)).await?;
        Ok(found.first().map(rows::credentials).transpose()?)
    }

    /// The caller's user; `None` when the caller's session is over.
    pub async fn user_of(&self, caller: Caller) -> Result<Option<UserRecord>, StoreError> {
        let sql = concat!(
            "with clock as materialized (select {now} as now) select ",
            user_columns!(),
            " from sessions s, users u, clock where ",
            is_caller!()
        );
        let found = self.read("user_of", Lane::Main, sql, caller_values(&caller)).await?;
        Ok(found.first().map(rows::user).transpose()?)
    }

    /// A user, as administrators see them.
    pub async fn user(&self, user: UserId) -> Result<Option<Listed>, StoreError> {
        let sql = concat!(
            "select ",
            listed_columns!(),
            " from users u where u.id = $1 and u.deleted_at is null"
        );
        let found = self.read("user", Lane::Main, sql, vec![user.into()]).await?;
        Ok(found.first().map(rows::listed).transpose()?)
    }

    /// Users in the order in which they registered, after the one that is named.
    pub async fn list_users(
        &self,
        after: Option<UserId>,
        most: i64,
    ) -> Result<Vec<Listed>, StoreError> {
        let after = after.unwrap_or(UserId(Uuid::nil()));
        let found =
            self.read("list_users", Lane::Main, LIST, vec![after.into(), most.into()]).await?;
        Ok(found.iter().map(rows::listed).collect::<Result<_, _>>()?)
    }

    /// Puts a new hash of the same password in the place of the old one; `false` when that is not
    /// there any more. It is no password change: logins in flight go on.
    pub async fn rehash_password(
        &self,
        user: UserId,
        old: String,
        new: String,
    ) -> Result<bool, StoreError> {
        let turn = self.turns.wait(user).await?;
        let sql = "update users set password_hash = $3 where id = $1 and password_hash = $2";
        let values = vec![user.into(), old.into(), new.into()];
        Ok(self.write("rehash_password", Lane::Logins, turn, sql, values).await? > 0)
    }

    /// Changes the password and ends sessions as asked; `false` when the caller's session is over or
    /// the password was changed meanwhile.
    ///
    /// More than 2000 sessions are ended in several steps, as by [`Self::end_other_sessions`]. The last
    /// step changes the password and leaves no other session: with the old password nothing is opened
    /// that survives it.
    pub async fn change_password(&self, change: NewPassword) -> Result<bool, StoreError> {
        let (store, user) = (self.clone(), change.user);
        let first = async move { Ok(Some(self.turns.next(user).await)) };
        self.in_steps(first, move |turn| {
            let (store, change) = (store.clone(), change.clone());
            async move { store.change_password_or_end_some(change, turn).await }
        })
        .await
    }

    /// Ends fewer than 2000 other sessions and changes the password, or ends so many and changes
    /// nothing yet; how many were ended, or `None` where it is refused.
    async fn change_password_or_end_some(
        &self,
        change: NewPassword,
        turn: Turn,
    ) -> Result<Option<i64>, StoreError> {
        let held = (turn, self.announcement());
        self.transaction("change_password_or_end_some", Lane::Main, held, move |tx| {
            async move {
                let session = change.session;
                let caller =
                    Caller { session, user: None, generation: None, grace: Duration::ZERO };
                let Some(owner) = sessions::owner(tx, &caller).await? else { return Ok(None) };
                if owner.user != change.user || owner.password_version != change.password_version {
                    return Ok(None);
                }
                let mut ended = 0;
                if change.sessions == OtherSessions::Others {
                    ended = sessions::end_others(tx, &owner, session, EndReason::Password).await?;
                }
                if ended < ENDED_AT_ONCE {
                    let sql = "update users set password_hash = $2, \
                        password_version = password_version + 1 where id = $1";
                    tx.execute(sql, &[change.user.into(), change.password_hash.into()]).await?;
                    if change.sessions == OtherSessions::All {
                        sessions::raise_version(tx, change.user, EndReason::Password).await?;
                    }
                }
                Ok(Some(ended))
            }
            .boxed()
        })
        .await
    }

    /// Enables or disables a user; `false` when there is none. Disabling ends every session, and
    /// enabling brings none back.
    pub async fn set_enabled(&self, user: UserId, enabled: bool) -> Result<bool, StoreError> {
        let change = UserChange { enabled: Some(enabled), ..UserChange::default() };
        let changed = self.change_user(user, change).await?;
        Ok(matches!(changed.names, Renaming::Done { .. }))
    }

    /// Changes a user in one step: all of it or nothing.
    pub async fn change_user(
        &self,
        user: UserId,
        change: UserChange,
    ) -> Result<UserChanged, StoreError> {
        let turn = self.turns.wait(user).await?;
        let held = (turn, self.announcement());
        let changing = self.transaction("change_user", Lane::Main, held, move |tx| {
            async move {
                let mut changed = UserChanged::from(names::change(tx, user, change.names).await?);
                if !matches!(changed.names, Renaming::Done { .. }) {
                    return Ok(changed);
                }
                if let Some(enabled) = change.enabled {
                    let sql = "update users set enabled = ($2 = 1), version = version + 1, \
                            version_reason = 'disabled', changed_at = {now} \
                         where id = $1 and enabled <> ($2 = 1)";
                    let values = [user.into(), i64::from(enabled).into()];
                    changed.enabled = tx.execute(sql, &values).await? > 0;
                }
                if let Some(roles) = change.roles {
                    let sql = "update users set roles = $2 where id = $1 and roles <> $2";
                    let values = [user.into(), roles.join(" ").into()];
                    changed.roles = tx.execute(sql, &values).await? > 0;
                }
                Ok(changed)
            }
            .boxed()
        });
        names::taken_meanwhile(changing.await)
    }

    /// Gives a user another password (a PHC string) and ends every session; `false` when there is no
    /// such user.
    pub async fn set_password(&self, user: UserId, hash: String) -> Result<bool, StoreError> {
        let sql = "update users set password_hash = $2, password_version = password_version + 1, \
                version = version + 1, version_reason = 'password', changed_at = {now} \
             where id = $1 and deleted_at is null";
        let values = vec![user.into(), hash.into()];
        Ok(self.write("set_password", Lane::Main, self.announcement(), sql, values).await? > 0)
    }

    /// Gives a user these roles and no others; `false` when there is no such user. Access tokens have
    /// them from the next refresh on.
    pub async fn set_roles(&self, user: UserId, roles: Vec<String>) -> Result<bool, StoreError> {
        let sql = "update users set roles = $2 where id = $1 and deleted_at is null";
        let values = vec![user.into(), roles.join(" ").into()];
        Ok(self.write("set_roles", Lane::Main, (), sql, values).await? > 0)
    }

    /// Ends every session of up to 1000 users, of those after the one that is named, and has their
    /// versions be `floor` or more. Answers how many users there were, and the last of them; `None`
    /// where there is nobody left.
    ///
    /// It takes back what the triggers announce, before anybody sees it: a million entries would fill the
    /// memory of every service. Access tokens of before live on until whoever asks has revoked the
    /// keys that signed them.
    pub async fn end_all_of_some(
        &self,
        after: Option<UserId>,
        floor: u32,
        why: EndReason,
    ) -> Result<Option<(usize, UserId)>, StoreError> {
        let after = after.unwrap_or(UserId(Uuid::nil()));
        self.transaction("end_all_of_some", Lane::Main, (), move |tx| {
            async move {
                let sql = "select cast(id as text) as user_id from users where id > $1 \
                     order by id limit $2 {lock}";
                let found = tx.fetch_all(sql, &[after.into(), RAISED_AT_ONCE.into()]).await?;
                let Some(last) = found.last() else { return Ok(None) };
                let last = rows::user_id(last)?;
                let floor = i64::from(floor);
                let raise = "update users set version_reason = $4, changed_at = {now}, \
                        version = case when version < $3 then $3 else version + 1 end \
                     where id > $1 and id <= $2";
                let values = [after.into(), last.into(), floor.into(), why.as_str().into()];
                tx.execute(raise, &values).await?;
                let take_back = "delete from revocations where kind = 'subject' and min_version >= $3 \
                     and id in (select cast(id as text) from users where id > $1 and id <= $2)";
                tx.execute(take_back, &values[..3]).await?;
                Ok(Some((found.len(), last)))
            }
            .boxed()
        })
        .await
    }

    /// Ends every session of a user; `false` when there is no such user.
    pub async fn end_all_of(&self, user: UserId, why: EndReason) -> Result<bool, StoreError> {
        self.transaction("end_all_of", Lane::Main, self.announcement(), move |tx| {
            async move { sessions::raise_version(tx, user, why).await }.boxed()
        })
        .await
    }
}

/// Adds a user; `None` when the name or the address is taken, and then nothing is changed.
pub(super) async fn insert(tx: &mut Tx, user: NewUser) -> Result<Option<UserRecord>, StoreError> {
    let id = UserId(Uuid::now_v7());
    let (username, username_key) = match user.username {
        Some((name, key)) => (name, key.as_str().to_owned()),
        None => (rows::NO_NAME.to_owned(), rows::key_of_no_name(id)),
    };
    let (email, email_key) = user.email.unzip();
    let found = tx
        .fetch_all(
            "insert into users (id, username, username_key, email, email_key, password_hash, \
                roles, created_at) \
             values ($1, $2, $3, $4, $5, $6, $7, {now}) on conflict do nothing \
             returning cast(id as text) as user_id, username, email, roles, \
                created_at as user_created_at",
            &[
                id.into(),
                username.into(),
                username_key.into(),
                email.into(),
                email_key.map(|key| key.as_str().to_owned()).into(),
                user.password_hash.into(),
                user.roles.join(" ").into(),
            ],
        )
        .await?;
    Ok(found.first().map(rows::user).transpose()?)
}
