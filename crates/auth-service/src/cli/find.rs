//! Which user a command means.
//!
//! A value may be an id, a name or an address. Whoever means one user must not hit another because
//! somebody chose a name that can be read in two ways: then nothing is done, and the answer tells how to
//! say it.

use crate::identity::names::{self, NameKey, new};
use crate::store::{Credentials, Store};
use claims::UserId;

use super::console::Failure;

/// The user that `text` names: `id:…`, `name:…`, `email:…`, or a bare value that has one meaning only.
///
/// # Errors
/// When there is no such user, or when `text` could mean two, and then with what to say instead.
pub(super) async fn find(store: &Store, text: &str) -> Result<UserId, Failure> {
    // The service gives ids and nobody chooses one, so nobody's name stands in the way of this.
    if let Some(id) = text.strip_prefix("id:") {
        let id = id.parse().map_err(|_| format!("{id:?} is no id of a user; see `user list`"))?;
        return by_id(store, UserId(id)).await?.ok_or_else(|| nobody(text));
    }
    if let Some(name) = text.strip_prefix("name:") {
        let found = by_key(store, names::username(name)).await?;
        return unless_called_so(store, text, found).await;
    }
    if let Some(email) = text.strip_prefix("email:") {
        let found = by_key(store, names::email(email)).await?;
        return unless_called_so(store, text, found).await;
    }
    let by_id = match text.parse() {
        Ok(id) => by_id(store, UserId(id)).await?,
        Err(_) => None,
    };
    let named = by_key(store, names::account(text)).await?;
    match (by_id, named) {
        (Some(one), Some(other)) if one != other => Err(format!(
            "{text:?} is the id of one user and the name of another: say id:{text} or name:{text}"
        )
        .into()),
        (None, Some(_)) if new::is_shaped_like_an_id(text) => Err(format!(
            "no user has the id {text:?}; if you mean the one who is called so, say name:{text}"
        )
        .into()),
        (Some(user), _) | (None, Some(user)) => Ok(user),
        (None, None) => Err(nobody(text)),
    }
}

/// `found`, unless all of `text`, with the kind in front, is what somebody else is called.
async fn unless_called_so(
    store: &Store,
    text: &str,
    found: Option<UserId>,
) -> Result<UserId, Failure> {
    match (found, by_key(store, names::account(text)).await?) {
        (found, Some(called_so)) if found != Some(called_so) => {
            let found = found.map_or_else(String::new, |user| format!("id:{user} or "));
            Err(format!("a user is called {text:?} as a whole: say {found}id:{called_so}").into())
        }
        (Some(found), _) => Ok(found),
        (None, _) => Err(nobody(text)),
    }
}

async fn by_id(store: &Store, id: UserId) -> Result<Option<UserId>, Failure> {
    Ok(user(store.credentials_of(id).await?))
}

async fn by_key(store: &Store, key: Option<NameKey>) -> Result<Option<UserId>, Failure> {
    match key {
        Some(key) => Ok(user(store.credentials(key).await?)),
        None => Ok(None),
    }
}

fn user(found: Option<Credentials>) -> Option<UserId> {
    found.map(|found| found.user)
}

fn nobody(text: &str) -> Failure {
    format!("there is no user {text:?}").into()
}
