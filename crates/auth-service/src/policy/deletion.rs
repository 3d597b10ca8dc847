//! The end of an account: at once for everybody who looks, and then, a small batch at a time, of what is kept about it.

use std::sync::Arc;
use std::time::Duration;

use claims::UserId;
use hosting::outage::Outage;

use crate::background::housekeeping::failed;
use crate::error::Error;
use crate::identity::pseudonyms::Pseudonyms;
use crate::policy::app::App;
use crate::store::{Caller, Store, StoreError};

const BETWEEN_PASSES: Duration = Duration::from_secs(5);
/// A million sessions and a million events take some minutes.
const BETWEEN_STEPS: Duration = Duration::from_millis(100);
/// How many deleted users one question gets.
const USERS: i64 = 100;

/// Deletes the caller's user.
pub(crate) async fn delete_own(app: &App, caller: Caller) -> Result<(), Error> {
    let user = app.store.delete_own_account(caller).await?.ok_or(Error::InvalidToken)?;
    tracing::info!(
        event.name = "user-deleted", event.outcome = "success", user.id = %user,
        session.id = %caller.session, "deleted their account"
    );
    Ok(())
}

/// Forgets for ever what is left of users who were deleted. Replicas may all do so, and whoever comes later goes on
/// where another one stopped.
pub(crate) async fn run(store: Store, pseudonyms: Arc<Pseudonyms>) {
    let mut outage = Outage::new(
        "deletions",
        "what is left of deleted users cannot be removed; may the role that serves do so (migrations/README.md)?",
        "what is left of deleted users is removed again",
    );
    failed("deletions", 0);
    loop {
        match pass(&store, &pseudonyms).await {
            Ok(()) => outage.works(),
            Err(error) => {
                failed("deletions", 1);
                outage.failed(&error);
            }
        }
        tokio::time::sleep(BETWEEN_PASSES).await;
    }
}

/// Goes on with every user. One of whom something cannot be forgotten keeps no other one waiting.
async fn pass(store: &Store, pseudonyms: &Arc<Pseudonyms>) -> Result<(), StoreError> {
    let (mut after, mut failed) = (None, None);
    loop {
        let users = store.deleted_users(after, USERS).await?;
        let Some(last) = users.last() else { break };
        after = Some(*last);
        for user in users {
            if let Err(error) = forget(store, pseudonyms, user).await {
                failed = Some(error);
            }
        }
    }
    failed.map_or(Ok(()), Err)
}

/// Each kind of it is tried, whatever became of the other one. The row goes last, and only when there is nothing else
/// left: by it the user is found again.
async fn forget(
    store: &Store,
    pseudonyms: &Arc<Pseudonyms>,
    user: UserId,
) -> Result<(), StoreError> {
    let events = forget_in_events(store, pseudonyms, user).await;
    let sessions = forget_sessions(store, user).await;
    events.and(sessions)?;
    if store.forget_user(user).await? {
        tracing::info!(user.id = %user, "nothing that names a deleted user is left");
    }
    Ok(())
}

async fn forget_in_events(
    store: &Store,
    pseudonyms: &Arc<Pseudonyms>,
    user: UserId,
) -> Result<(), StoreError> {
    let mut after = 0;
    while let Some(next) = store.forget_in_events(user, after, Arc::clone(pseudonyms)).await? {
        after = next;
        tokio::time::sleep(BETWEEN_STEPS).await;
    }
    Ok(())
}

async fn forget_sessions(store: &Store, user: UserId) -> Result<(), StoreError> {
    let mut after = None;
    while let Some(next) = store.forget_sessions(user, after).await? {
        after = Some(next);
        tokio::time::sleep(BETWEEN_STEPS).await;
    }
    Ok(())
}
