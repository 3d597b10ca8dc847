//! Ends what users have beyond the sessions that they may have, in the background.
//!
//! A session that has expired counts for nothing, so the clock decides which are too many: nothing ends here
//! while the clock is not trusted.
//!
//! A login keeps its user within the limit. Beyond it are users only from before there was one, from before
//! it was lowered, or from services of an older version beside this one.

use std::sync::Arc;
use std::time::Duration;

use claims::UserId;
use hosting::causes;

use crate::background::clock_watch::ClockWatch;
use crate::background::housekeeping::failed;
use crate::store::{EndReason, Store, StoreError};
use hosting::outage::Outage;

const BATCH: i64 = 1000;
const BETWEEN_BATCHES: Duration = Duration::from_secs(1);
const BETWEEN_PASSES: Duration = Duration::from_mins(10);

/// Walks the users for ever, a small batch a second, so that it is never felt. Replicas may all do so.
/// `most` is at least 1.
pub(crate) async fn run(store: Store, most: u32, watch: Arc<ClockWatch>) {
    failed("session_limit", 0);
    let mut outage = Outage::new(
        "session_limit",
        "the limit of sessions cannot be kept for whoever is beyond it and does not log in",
        "the limit of sessions is kept again",
    );
    loop {
        match pass(&store, most, &watch).await {
            Ok(()) => outage.works(),
            Err(error) => {
                failed("session_limit", 1);
                outage.failed(&error);
            }
        }
        tokio::time::sleep(BETWEEN_PASSES).await;
    }
}

async fn pass(store: &Store, most: u32, watch: &ClockWatch) -> Result<(), StoreError> {
    let mut after = None;
    loop {
        watch.trusted().await;
        let (crowded, next) = store.crowded_users(after, most, BATCH).await?;
        for user in crowded {
            // One who is busy, or has too many to count in time, holds nobody else up.
            if let Err(error) = trim(store, user, most).await {
                let error = causes(&error);
                tracing::warn!(user.id = %user, error, "a user has too many sessions for now");
            }
        }
        if next.is_none() {
            return Ok(());
        }
        after = next;
        tokio::time::sleep(BETWEEN_BATCHES).await;
    }
}

async fn trim(store: &Store, user: UserId, most: u32) -> Result<(), StoreError> {
    loop {
        let ended = store.trim_sessions(user, most, BATCH).await?;
        if ended > 0 {
            tracing::info!(
                event.name = "session-ended", event.outcome = "success",
                reason = EndReason::Limit.as_str(), user.id = %user, ended,
                "ended sessions beyond the limit"
            );
        }
        tokio::time::sleep(BETWEEN_BATCHES).await;
        if ended < BATCH {
            return Ok(());
        }
    }
}
