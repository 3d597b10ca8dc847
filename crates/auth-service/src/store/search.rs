//! Users looked for by how their name or their address begins.
//!
//! An index serves each page, however many users there are and however many are found: names come in their own order
//! and then addresses in theirs, and a page goes on where the one before it ended.

use claims::UserId;

use super::postgres::Lane;
use super::records::Listed;
use super::rows::{self, Columns as _, listed_columns};
use super::{Backend, Store, StoreError, statement, users};
use crate::identity::names::Beginning;

/// Users whose name is at least `$1` and below `$2`, at most `$3`.
const BY_NAME: &str = concat!(
    "select ",
    listed_columns!(),
    " from users u where u.username_key {bytewise} >= $1 and u.username_key {bytewise} < $2 \
     order by u.username_key {bytewise} limit $3"
);

/// The same by the address, each with whether the name begins with `$4` too and is below `$2`: then they came before.
const BY_ADDRESS: &str = concat!(
    "select u.email_key, cast(case when u.username_key {bytewise} >= $4 \
        and u.username_key {bytewise} < $2 then 1 else 0 end as bigint) as by_name, ",
    listed_columns!(),
    " from users u where u.email_key {bytewise} >= $1 and u.email_key {bytewise} < $2 \
     order by u.email_key {bytewise} limit $3"
);

/// How many addresses are looked at in one step, where some of them were found by their names before.
const STEP: i64 = 1000;

/// Behind a key, this is above it and below everything else that is above it: no key has a control character.
const NEXT: char = '\u{1}';

impl Store {
    /// Users whose name or address begins so, at most `most`, after the one that is named: first those whose name
    /// does, by their names, then those whose address does, by their addresses. `None` where neither of the one
    /// that is named begins so.
    pub async fn search_users(
        &self,
        beginning: Beginning,
        after: Option<UserId>,
        most: usize,
    ) -> Result<Option<Vec<Listed>>, StoreError> {
        let (first, end) = (beginning.as_str().to_owned(), beginning.end());
        let within = |key: &str| *key >= *first && *key < *end;
        let (mut name, mut address) = (Some(first.clone()), first.clone());
        if let Some(user) = after {
            let Some((by_name, by_address)) = self.keys_of(user).await? else { return Ok(None) };
            let by_address = by_address.filter(|key| within(key));
            (name, address) = match (within(&by_name), by_address) {
                (true, _) => (Some(format!("{by_name}{NEXT}")), address),
                (false, Some(key)) => (None, format!("{key}{NEXT}")),
                (false, None) => return Ok(None),
            };
        }
        let mut found = Vec::new();
        if let Some(name) = name {
            let limit = i64::try_from(most).unwrap_or(i64::MAX);
            let values = vec![name.into(), end.clone().into(), limit.into()];
            for row in self.read("search_users", Lane::Main, BY_NAME, values).await? {
                found.push(rows::listed(&row)?);
            }
        }
        while found.len() < most {
            let left = i64::try_from(most - found.len()).unwrap_or(i64::MAX);
            let limit = left.max(STEP);
            let values =
                vec![address.into(), end.clone().into(), limit.into(), first.clone().into()];
            let rows = self.read("search_users", Lane::Main, BY_ADDRESS, values).await?;
            for row in &rows {
                if !row.flag("by_name")? && found.len() < most {
                    found.push(rows::listed(row)?);
                }
            }
            let full = i64::try_from(rows.len()).is_ok_and(|count| count == limit);
            let Some(last) = rows.last().filter(|_| full) else { break };
            address = format!("{}{NEXT}", last.text("email_key")?);
        }
        Ok(Some(found))
    }

    /// What a user's name and address are compared by.
    async fn keys_of(&self, user: UserId) -> Result<Option<(String, Option<String>)>, StoreError> {
        let sql = "select username_key, email_key from users where id = $1 and deleted_at is null";
        let found = self.read("keys_of", Lane::Main, sql, vec![user.into()]).await?;
        let Some(row) = found.first() else { return Ok(None) };
        Ok(Some((row.text("username_key")?, row.text_or_null("email_key")?)))
    }

    /// The statements by which users are listed and found, as the database gets them: for a test, which has it
    /// explain how it would run them.
    #[doc(hidden)]
    #[must_use]
    pub fn listing_statements(&self) -> [String; 3] {
        let postgres = matches!(self.backend, Backend::Postgres(_));
        let text = |sql| statement::translated(sql, postgres, 1).0.as_str().to_owned();
        [users::LIST, BY_NAME, BY_ADDRESS].map(text)
    }
}
