//! `auth-service user show`, `rename`, `set-email`, `delete`, `export` and `list`: the life of an account.

use std::io::Write as _;
use std::pin::pin;

use claims::UserId;
use futures_util::TryStreamExt as _;

use crate::config::Page;
use crate::policy::find::find;
use crate::policy::names::Wish;
use crate::policy::{administration, export};
use crate::store::Store;

use super::console::{Failure, instant, say};
use super::lines::{self, ShownUser, UserLine};

/// How many users one question gets.
const PAGE: usize = 500;
/// Which users to list.
pub(super) struct Listing {
    pub(super) search: Option<String>,
    pub(super) after: Option<String>,
    pub(super) limit: Option<usize>,
}

/// A line for each of them.
pub(super) async fn list(store: &Store, listing: Listing) -> Result<(), Failure> {
    let after = listing.after.map(|id| id.strip_prefix("id:").unwrap_or(&id).parse().map(UserId));
    let mut after = after.transpose().map_err(|_| "--after: that is no id of a user")?;
    let mut left = listing.limit.unwrap_or(usize::MAX);
    while left > 0 {
        let most = left.min(PAGE);
        let page = match &listing.search {
            Some(text) => administration::search(store, text, after, most).await?,
            None => store.list_users(after, i64::try_from(most)?).await?,
        };
        for one in &page {
            let user = &one.user;
            say(&lines::user(&UserLine {
                id: user.id.to_string(),
                username: user.username.as_deref(),
                email: user.email.as_deref(),
                roles: &user.roles,
                enabled: one.enabled,
                created_at: instant(user.created_at),
            }));
        }
        match page.last().filter(|_| page.len() == most) {
            Some(last) => after = Some(last.user.id),
            None => break,
        }
        left -= most;
    }
    Ok(())
}

/// What is known of one, a line for each thing.
pub(super) async fn show(store: &Store, text: &str) -> Result<(), Failure> {
    let id = find(store, text).await?;
    let user =
        store.exported_user(id).await?.ok_or_else(|| format!("there is no user {text:?}"))?;
    let sessions = store.sessions_of(id).await?;
    lines::show(&ShownUser {
        user: UserLine {
            id: user.id.to_string(),
            username: user.username.as_deref(),
            email: user.email.as_deref(),
            roles: &user.roles,
            enabled: user.enabled,
            created_at: instant(user.created_at),
        },
        live_sessions: sessions.len(),
        last_used_at: sessions.iter().map(|session| session.last_used_at).max().map(instant),
    });
    Ok(())
}

/// Gives a user another name, or none.
pub(super) async fn rename(
    store: &Store,
    page: &Page,
    user: &str,
    name: Option<String>,
) -> Result<(), Failure> {
    let id = find(store, user).await?;
    let told = lines::has("name", name.as_deref());
    let wish = name.map_or(Wish::Remove, Wish::Be);
    administration::change_names(store, page, id, (wish, Wish::Keep)).await?;
    say(&format!("{id} has {told}"));
    Ok(())
}

/// Gives a user another address, or none.
pub(super) async fn set_email(
    store: &Store,
    page: &Page,
    user: &str,
    address: Option<String>,
) -> Result<(), Failure> {
    let id = find(store, user).await?;
    let told = lines::has("address", address.as_deref());
    let wish = address.map_or(Wish::Remove, Wish::Be);
    administration::change_names(store, page, id, (Wish::Keep, wish)).await?;
    say(&format!("{id} has {told}"));
    Ok(())
}

/// Deletes a user for ever.
pub(super) async fn delete(store: &Store, user: &str) -> Result<(), Failure> {
    let id = find(store, user).await?;
    administration::delete_user(store, id).await?;
    say(&lines::deleted(&id.to_string()));
    Ok(())
}

/// Writes everything that is kept about a user, as JSON.
pub(super) async fn export(store: &Store, user: &str) -> Result<(), Failure> {
    let id = find(store, user).await?;
    let parts = export::of(store, id).await?.ok_or_else(|| format!("there is no user {user:?}"))?;
    let mut parts = pin!(parts);
    let mut out = std::io::stdout();
    while let Some(part) = parts.try_next().await? {
        out.write_all(&part)?;
    }
    Ok(out.flush()?)
}
