//! Keeps the tables small: expired revocations go, sessions that are over for a week, and old events.

use std::time::Duration;

use crate::config;
use crate::store::{Store, StoreError};

const DAY_MS: i64 = 24 * 3600 * 1000;
const BATCH: i64 = 1000;
const BETWEEN_BATCHES: Duration = Duration::from_secs(1);
const BETWEEN_PASSES: Duration = Duration::from_mins(10);

/// Walks the tables for ever, a small batch a second, so that it is never felt. Replicas may all do
/// so: a row is deleted once.
pub(crate) async fn run(store: Store, events: config::Events) {
    loop {
        if let Err(error) = pass(&store, events).await {
            tracing::debug!(%error, "housekeeping is put off");
        }
        tokio::time::sleep(BETWEEN_PASSES).await;
    }
}

async fn pass(store: &Store, events: config::Events) -> Result<(), StoreError> {
    let keep_ms = i64::from(events.keep_days) * DAY_MS;
    while store.purge_events(keep_ms, events.most.into(), BATCH).await? > 0 {
        tokio::time::sleep(BETWEEN_BATCHES).await;
    }
    let mut after = None;
    loop {
        store.purge_revocations().await?;
        after = store.purge_sessions(after, BATCH).await?;
        if after.is_none() {
            return Ok(());
        }
        tokio::time::sleep(BETWEEN_BATCHES).await;
    }
}
