//! What users are called: changed by themselves, or by an administrator.

use claims::UserId;
use futures_util::FutureExt as _;
use sqlx::Error;

use super::postgres::Lane;
use super::records::{Caller, NameChange, NewNames, Renaming};
use super::rows::{self, Columns as _, user_columns};
use super::sessions;
use super::transaction::Tx;
use super::{Store, StoreError};

impl Store {
    /// Gives a user other names. Their sessions go on, and access tokens have the new names from the next refresh on.
    pub async fn change_names(&self, user: UserId, new: NewNames) -> Result<Renaming, StoreError> {
        let turn = self.turns.wait(user).await?;
        let changing = self.transaction("change_names", Lane::Main, turn, move |tx| {
            async move { change(tx, user, new).await }.boxed()
        });
        taken_meanwhile(changing.await)
    }

    /// The same for the caller's user, where the caller's session is good.
    pub async fn change_own_names(
        &self,
        caller: Caller,
        new: NewNames,
    ) -> Result<Renaming, StoreError> {
        let Some(turn) = self.turn_of(&caller).await? else { return Ok(Renaming::Unknown) };
        let changing = self.transaction("change_own_names", Lane::Main, turn, move |tx| {
            async move {
                match sessions::owner(tx, &caller).await? {
                    Some(owner) => change(tx, owner.user, new).await,
                    None => Ok(Renaming::Unknown),
                }
            }
            .boxed()
        });
        taken_meanwhile(changing.await)
    }
}

/// Where it is not [`Renaming::Done`], nothing is changed.
pub(super) async fn change(
    tx: &mut Tx,
    user: UserId,
    new: NewNames,
) -> Result<Renaming, StoreError> {
    let sql = concat!(
        "select u.username_key, u.email_key, ",
        user_columns!(),
        " from users u where u.id = $1 and u.deleted_at is null {lock}"
    );
    let found = tx.fetch_all(sql, &[user.into()]).await?;
    let Some(row) = found.first() else { return Ok(Renaming::Unknown) };
    let before = rows::user(row)?;
    let (username_key, email_key) = (row.text("username_key")?, row.text_or_null("email_key")?);
    let named = before.username.clone().map(|name| (name, username_key));
    let (named, addressed) =
        (after(new.username, named), after(new.email, before.email.clone().zip(email_key)));
    if named.is_none() && addressed.is_none() {
        return Ok(Renaming::Nameless);
    }
    let ((username, username_key), (email, email_key)) = (named.unzip(), addressed.unzip());
    let renamed = username != before.username;
    let email_changed = email != before.email;
    let mut user = before;
    if renamed || email_changed {
        let sql = "select 1 from users where id <> $1 and (username_key = $2 or email_key = $3)";
        let values = [user.id.into(), username_key.clone().into(), email_key.clone().into()];
        if !tx.fetch_all(sql, &values).await?.is_empty() {
            return Ok(Renaming::Taken);
        }
        (user.username, user.email) = (username, email);
        let sql = "update users set username = $2, username_key = $3, email = $4, email_key = $5 \
            where id = $1";
        let values = [
            user.id.into(),
            user.username.clone().unwrap_or_else(|| rows::NO_NAME.to_owned()).into(),
            username_key.unwrap_or_else(|| rows::key_of_no_name(user.id)).into(),
            user.email.clone().into(),
            email_key.into(),
        ];
        tx.execute(sql, &values).await?;
    }
    Ok(Renaming::Done { user, renamed, email_changed })
}

/// A text and what it is compared by, after the change.
fn after(change: NameChange, before: Option<(String, String)>) -> Option<(String, String)> {
    match change {
        NameChange::Keep => before,
        NameChange::Remove => None,
        NameChange::Set(text, key) => Some((text, key.as_str().to_owned())),
    }
}

/// Somebody else may have taken the name between the look and the change. Then the database refuses the change.
pub(super) fn taken_meanwhile<T: From<Renaming>>(
    changed: Result<T, StoreError>,
) -> Result<T, StoreError> {
    match changed {
        Err(StoreError::Database(Error::Database(error))) if error.is_unique_violation() => {
            Ok(Renaming::Taken.into())
        }
        changed => changed,
    }
}
