//! Keeps the tables small: expired revocations go, sessions that are over for a week, invitations that expired a week
//! ago, keys of what administrators asked for a day ago, and old events.
//! At the start it brings sessions down to the present limits, where those were lowered.
//!
//! What is old is judged by a time that is trusted ([`ClockWatch`]); while there is none, nothing is
//! deleted for its age.

use std::sync::Arc;
use std::time::Duration;

use claims::Timestamp;

use crate::background::clock_watch::ClockWatch;
use crate::config::{self, SessionLimits};
use crate::store::{Store, StoreError};
use hosting::outage::Outage;

const HOUR_MS: i64 = 3600 * 1000;
const DAY_MS: i64 = 24 * HOUR_MS;
/// How long ended sessions are kept, so that a client can be told why.
const KEEP_ENDED_MS: i64 = 7 * DAY_MS;
/// How long revocations are kept after they have expired. By then every replica that is up has seen them
/// for as long as they matter, also one whose database has a clock that is somewhat wrong.
const KEEP_EXPIRED_MS: i64 = 2 * HOUR_MS;
/// Nothing happened before this moment.
const NOTHING_IS_OLD: Timestamp = Timestamp(i64::MIN);
/// How long invitations are kept after they have expired, so that administrators see what became of them.
const KEEP_INVITATIONS_MS: i64 = 7 * DAY_MS;
const BATCH: i64 = 1000;
const BETWEEN_BATCHES: Duration = Duration::from_secs(1);
/// Ten million sessions take ten minutes.
const BETWEEN_LOWERED: Duration = Duration::from_millis(50);
const BETWEEN_PASSES: Duration = Duration::from_mins(10);

/// Walks the tables for ever, a small batch a second, so that it is never felt. Replicas may all do
/// so: a row is deleted once.
pub(crate) async fn run(
    store: Store,
    limits: SessionLimits,
    events: config::Events,
    watch: Arc<ClockWatch>,
) {
    // Beside the rest, because it goes on until it is through.
    tokio::join!(lower_ends(&store, limits), keep_small(&store, events, &watch));
}

async fn keep_small(store: &Store, events: config::Events, watch: &ClockWatch) {
    // It is there from the start, so that an alert can see that it does not grow.
    let passes = metrics::counter!("latchkey_housekeeping_passes_total");
    passes.increment(0);
    failed("housekeeping", 0);
    let mut outage = Outage::new(
        "housekeeping",
        "not everything that is old can be deleted; may the role that serves do so (migrations/README.md)?",
        "everything that is old is deleted again",
    );
    loop {
        match pass(store, events, watch).await {
            Ok(()) => {
                passes.increment(1);
                outage.works();
            }
            Err(error) => {
                failed("housekeeping", 1);
                outage.failed(&error);
            }
        }
        tokio::time::sleep(BETWEEN_PASSES).await;
    }
}

/// Counts what could not be done for a while of what keeps the tables small.
pub(crate) fn failed(task: &'static str, times: u64) {
    metrics::counter!("latchkey_housekeeping_failures_total", "task" => task).increment(times);
}

/// Goes through every table. One from which the role that serves may not delete keeps the others no larger than they
/// have to be.
async fn pass(store: &Store, events: config::Events, watch: &ClockWatch) -> Result<(), StoreError> {
    let done = [
        trim_events(store, events, watch).await,
        purge_expired(store, watch).await,
        purge_invitations(store, watch).await,
        purge_idempotency_keys(store, watch).await,
    ];
    done.into_iter().collect()
}

/// A refresh judges by the present limits itself. This is for whatever else looks at the end of a
/// session: the list that its owner sees, and routes that take an access token. No clock is asked.
async fn lower_ends(store: &Store, limits: SessionLimits) {
    let mut outage = Outage::new(
        "housekeeping",
        "the ends of sessions cannot be brought down to the present limits",
        "the ends of sessions are brought down to the present limits again",
    );
    let mut after = None;
    loop {
        match store.lower_ends(limits, after.clone(), BATCH).await {
            Ok(None) => return outage.works(),
            Ok(next) => {
                after = next;
                outage.works();
                tokio::time::sleep(BETWEEN_LOWERED).await;
            }
            Err(error) => {
                failed("housekeeping", 1);
                outage.failed(&error);
                tokio::time::sleep(BETWEEN_BATCHES).await;
            }
        }
    }
}

/// Deletes events that are too old, and of the kinds that have the most those that are too many, whatever the time is.
async fn trim_events(
    store: &Store,
    events: config::Events,
    watch: &ClockWatch,
) -> Result<(), StoreError> {
    let keep_ms = i64::from(events.keep_days) * DAY_MS;
    loop {
        let old = watch.trusted_time().map(|now| Timestamp(now.0 - keep_ms));
        if store.purge_events(old.unwrap_or(NOTHING_IS_OLD), BATCH).await? == 0 {
            break;
        }
        tokio::time::sleep(BETWEEN_BATCHES).await;
    }
    for surplus in store.surplus_events(events.most.into()).await? {
        while store.trim_events(&surplus, BATCH).await? > 0 {
            tokio::time::sleep(BETWEEN_BATCHES).await;
        }
    }
    Ok(())
}

async fn purge_invitations(store: &Store, watch: &ClockWatch) -> Result<(), StoreError> {
    loop {
        let before = Timestamp(watch.trusted().await.0 - KEEP_INVITATIONS_MS);
        if store.purge_invitations(before, BATCH).await? == 0 {
            return Ok(());
        }
        tokio::time::sleep(BETWEEN_BATCHES).await;
    }
}

async fn purge_idempotency_keys(store: &Store, watch: &ClockWatch) -> Result<(), StoreError> {
    loop {
        let before = Timestamp(watch.trusted().await.0 - DAY_MS);
        if store.purge_idempotency_keys(before, BATCH).await? == 0 {
            return Ok(());
        }
        tokio::time::sleep(BETWEEN_BATCHES).await;
    }
}

async fn purge_expired(store: &Store, watch: &ClockWatch) -> Result<(), StoreError> {
    let (mut after, mut revocations) = (None, Ok(()));
    loop {
        let now = watch.trusted().await;
        // With each batch: to walk along all sessions may take hours.
        let purged = store.purge_revocations(Timestamp(now.0 - KEEP_EXPIRED_MS)).await;
        revocations = revocations.and(purged);
        after = store.purge_sessions(Timestamp(now.0 - KEEP_ENDED_MS), after, BATCH).await?;
        if after.is_none() {
            return revocations;
        }
        tokio::time::sleep(BETWEEN_BATCHES).await;
    }
}
