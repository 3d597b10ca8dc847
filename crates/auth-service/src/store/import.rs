//! Users of another system: many at once, each with what they had there.

use std::collections::HashSet;

use claims::{Timestamp, UserId};
use futures_util::FutureExt as _;
use serde_json::json;
use uuid::{NoContext, Uuid};

use super::postgres::Lane;
use super::records::UserRecord;
use super::rows::{self, Columns as _, Row, user_columns};
use super::{Store, StoreError};
use crate::identity::names::NameKey;

/// Somebody who is to be added as they were elsewhere.
#[derive(Debug, Clone)]
pub struct ImportedUser {
    /// `None`: whichever.
    pub id: Option<UserId>,
    /// The name as written, and what it is compared by.
    pub username: Option<(String, NameKey)>,
    /// The same of the address. There is at least one of the two.
    pub email: Option<(String, NameKey)>,
    pub password_hash: String,
    pub roles: Vec<String>,
    /// Whether they may log in.
    pub enabled: bool,
    /// When they registered; `None`: now.
    pub created_at: Option<Timestamp>,
}

/// An account that has the id, the name or the address of somebody who is to be added.
#[derive(Debug, Clone)]
pub struct Holder {
    pub user: UserRecord,
    /// What the name is compared by, or what stands in its place.
    pub username_key: String,
    pub email_key: Option<String>,
    pub password_hash: String,
    pub enabled: bool,
    /// Whether it is one of somebody who was deleted a moment ago.
    pub deleted: bool,
}

/// One of the statements that look for holders: the same columns, and a list of ids, names or addresses.
macro_rules! holders_by {
    ($list:literal, $condition:literal) => {
        concat!(
            "select u.username_key, u.email_key, u.password_hash, \
                cast(case when u.enabled then 1 else 0 end as bigint) as enabled, \
                cast(case when u.deleted_at is null then 0 else 1 end as bigint) as deleted, ",
            user_columns!(),
            " from {each}(",
            $list,
            ") value join users u on ",
            $condition
        )
    };
}

impl Store {
    /// Adds those of whom nobody has the id, the name or the address, and says of each whether they were added. No
    /// two of them may have one of these in common.
    pub async fn add_users(&self, users: &[ImportedUser]) -> Result<Vec<bool>, StoreError> {
        let ids: Vec<UserId> =
            users.iter().map(|user| user.id.unwrap_or_else(|| new_id(user.created_at))).collect();
        let lines: Vec<String> = users.iter().zip(&ids).map(|(user, id)| line(user, *id)).collect();
        // What is told of them by triggers is told of each. One of SQLite refuses an id that is there, whatever is
        // to be done on a conflict.
        let sql = "insert into users \
                (id, username, username_key, email, email_key, password_hash, roles, enabled, created_at) \
             select (value{json} ->> 'id'){uuid}, value{json} ->> 'username', \
                value{json} ->> 'username_key', value{json} ->> 'email', value{json} ->> 'email_key', \
                value{json} ->> 'password_hash', value{json} ->> 'roles', \
                (value{json} ->> 'enabled') = 'yes', \
                coalesce(cast(value{json} ->> 'created_at' as bigint), {now}) \
             from {each}($1) value \
             where not exists (select 1 from users there where there.id = (value{json} ->> 'id'){uuid}) \
             on conflict do nothing returning cast(id as text) as user_id";
        let added: HashSet<UserId> = self
            .transaction("add_users", Lane::Logins, (), move |tx| {
                async move {
                    let found = tx.fetch_all(sql, &[lines.into()]).await?;
                    Ok(found.iter().map(rows::user_id).collect::<Result<_, _>>()?)
                }
                .boxed()
            })
            .await?;
        Ok(ids.iter().map(|id| added.contains(id)).collect())
    }

    /// The accounts that have the id, the name or the address of one of these.
    pub async fn holders(&self, users: &[&ImportedUser]) -> Result<Vec<Holder>, StoreError> {
        let sql = concat!(
            holders_by!("$1", "u.id = value{uuid}"),
            " union ",
            holders_by!("$2", "u.username_key = value"),
            " union ",
            holders_by!("$3", "u.email_key = value"),
        );
        let ids: Vec<String> =
            users.iter().filter_map(|user| user.id).map(|id| id.to_string()).collect();
        let keys = |of: fn(&ImportedUser) -> Option<&(String, NameKey)>| -> Vec<String> {
            let named = users.iter().filter_map(|user| of(user));
            named.map(|(_, key)| key.as_str().to_owned()).collect()
        };
        let (names, addresses) =
            (keys(|user| user.username.as_ref()), keys(|user| user.email.as_ref()));
        let values = vec![ids.into(), names.into(), addresses.into()];
        let found = self.read("holders", Lane::Main, sql, values).await?;
        Ok(found.iter().map(holder).collect::<Result<_, _>>()?)
    }
}

/// As though they had registered here then: lists are in the order of ids.
fn new_id(created_at: Option<Timestamp>) -> UserId {
    let Some(at) = created_at.and_then(|at| u64::try_from(at.0).ok()) else {
        return UserId(Uuid::now_v7());
    };
    let nanos = u32::try_from(at % 1000).unwrap_or_default() * 1_000_000;
    UserId(Uuid::new_v7(uuid::Timestamp::from_unix(NoContext, at / 1000, nanos)))
}

/// A row as the statement takes it.
fn line(user: &ImportedUser, id: UserId) -> String {
    let (username, username_key) = match &user.username {
        Some((name, key)) => (name.as_str(), key.as_str().to_owned()),
        None => (rows::NO_NAME, rows::key_of_no_name(id)),
    };
    let (email, email_key) = user.email.as_ref().map(|(text, key)| (text, key.as_str())).unzip();
    json!({
        "id": id,
        "username": username,
        "username_key": username_key,
        "email": email,
        "email_key": email_key,
        "password_hash": user.password_hash,
        "roles": user.roles.join(" "),
        // The databases do not write a truth value alike.
        "enabled": if user.enabled { "yes" } else { "no" },
        "created_at": user.created_at.map(|at| at.0),
    })
    .to_string()
}

fn holder(row: &Row) -> Result<Holder, sqlx::Error> {
    Ok(Holder {
        user: rows::user(row)?,
        username_key: row.text("username_key")?,
        email_key: row.text_or_null("email_key")?,
        password_hash: row.text("password_hash")?,
        enabled: row.flag("enabled")?,
        deleted: row.flag("deleted")?,
    })
}
