//! Which user an administrator means.
//!
//! A value may be an id, a name or an address. Whoever means one user must not hit another because
//! somebody chose a name that can be read in two ways: then nothing is done, and the answer tells how to
//! say it.

use claims::UserId;

use crate::identity::names::{self, NameKey, new};
use crate::store::{Credentials, Store, StoreError};

/// Why nobody was found.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NotFound {
    #[error("there is no user {0:?}")]
    Nobody(String),
    /// What was said could mean two, or is nothing; and what to say instead.
    #[error("{0}")]
    Unclear(String),
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The user that `text` names: `id:…`, `name:…`, `email:…`, or a bare value that has one meaning only.
///
/// # Errors
/// When there is no such user, or when `text` could mean two, and then with what to say instead.
pub(crate) async fn find(store: &Store, text: &str) -> Result<UserId, NotFound> {
    // The service gives ids and nobody chooses one, so nobody's name stands in the way of this.
    if let Some(id) = text.strip_prefix("id:") {
        let unclear = || NotFound::Unclear(format!("{id:?} is no id of a user; see `user list`"));
        let id = id.parse().map_err(|_| unclear())?;
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
        (Some(one), Some(other)) if one != other => Err(NotFound::Unclear(format!(
            "{text:?} is the id of one user and the name of another: say id:{text} or name:{text}"
        ))),
        (None, Some(_)) if new::is_shaped_like_an_id(text) => Err(NotFound::Unclear(format!(
            "no user has the id {text:?}; if you mean the one who is called so, say name:{text}"
        ))),
        (Some(user), _) | (None, Some(user)) => Ok(user),
        (None, None) => Err(nobody(text)),
    }
}

/// `found`, unless all of `text`, with the kind in front, is what somebody else is called.
async fn unless_called_so(
    store: &Store,
    text: &str,
    found: Option<UserId>,
) -> Result<UserId, NotFound> {
    match (found, by_key(store, names::account(text)).await?) {
        (found, Some(called_so)) if found != Some(called_so) => {
            let found = found.map_or_else(String::new, |user| format!("id:{user} or "));
            let say = format!("a user is called {text:?} as a whole: say {found}id:{called_so}");
            Err(NotFound::Unclear(say))
        }
        (Some(found), _) => Ok(found),
        (None, _) => Err(nobody(text)),
    }
}

async fn by_id(store: &Store, id: UserId) -> Result<Option<UserId>, NotFound> {
    Ok(user(store.credentials_of(id).await?))
}

async fn by_key(store: &Store, key: Option<NameKey>) -> Result<Option<UserId>, NotFound> {
    match key {
        Some(key) => Ok(user(store.credentials(key).await?)),
        None => Ok(None),
    }
}

fn user(found: Option<Credentials>) -> Option<UserId> {
    found.map(|found| found.user)
}

fn nobody(text: &str) -> NotFound {
    NotFound::Nobody(text.to_owned())
}
