//! `GET /metrics`, and what the metrics mean.

use actix_web::{HttpResponse, web};
use hosting::telemetry;
use metrics::{Unit, describe_counter, describe_gauge};

use crate::policy::app::App;
use crate::store::PoolUsage;

/// The Prometheus text format.
pub(crate) async fn show(app: web::Data<App>) -> HttpResponse {
    telemetry::revocations(app.verifier.revocations().len(), app.verifier.revocation_age());
    app.store.pools().into_iter().for_each(show_pool);
    telemetry::metrics().await
}

fn show_pool(PoolUsage { pool, busy, idle, max }: PoolUsage) {
    for (state, connections) in [("busy", busy), ("idle", idle)] {
        metrics::gauge!("latchkey_database_connections", "pool" => pool, "state" => state)
            .set(connections);
    }
    metrics::gauge!("latchkey_database_connections_max", "pool" => pool).set(max);
}

/// Describes every metric of this service to the recorder that is installed.
pub fn describe() {
    telemetry::describe_metrics();
    verifier::describe_metrics();
    describe_tokens();
    describe_attempts();
    describe_database();
    describe_upkeep();
}

fn describe_tokens() {
    describe_counter!(
        "latchkey_refreshes_total",
        Unit::Count,
        "How many refreshes there were with a token of ours, by outcome."
    );
    describe_counter!(
        "latchkey_feed_requests_total",
        Unit::Count,
        "How many requests the feed had, by whether they named the kinds that the follower knows."
    );
    describe_counter!(
        "latchkey_feed_plain_secret_total",
        Unit::Count,
        "How many requests of followers showed the secret itself."
    );
}

fn describe_attempts() {
    describe_counter!(
        "latchkey_limited_total",
        Unit::Count,
        "How many refusals there were because of too many attempts, by policy."
    );
    describe_counter!(
        "latchkey_admin_requests_total",
        Unit::Count,
        "How many requests of administrators there were with an access token that is good, by outcome."
    );
    describe_counter!(
        "latchkey_owner_looks_total",
        Unit::Count,
        "How many queries asked the database whether a refused attempt is the owner's, by what they asked of."
    );
    describe_counter!(
        "latchkey_passwords_refused_total",
        Unit::Count,
        "How many passwords were not hashed, by purpose and why."
    );
}

fn describe_database() {
    describe_gauge!(
        "latchkey_database_connections",
        Unit::Count,
        "How many connections to the database are open, by pool and state."
    );
    describe_gauge!(
        "latchkey_database_connections_max",
        Unit::Count,
        "How many connections to the database may be open, by pool."
    );
    describe_counter!(
        "latchkey_store_errors_total",
        Unit::Count,
        "How many requests were not served because the database failed."
    );
    describe_counter!(
        "latchkey_trail_gaps_total",
        Unit::Count,
        "How many entries of the audit log were lost."
    );
    describe_counter!(
        "latchkey_revocations_unreadable_total",
        Unit::Count,
        "How many rows of the table revocations were skipped because they name no token."
    );
    describe_counter!(
        "latchkey_housekeeping_passes_total",
        Unit::Count,
        "How many passes over all tables have deleted what was old."
    );
}

fn describe_upkeep() {
    describe_counter!(
        "latchkey_housekeeping_failures_total",
        Unit::Count,
        "How many failures there were of what keeps the tables small, by task."
    );
    describe_counter!(
        "latchkey_background_failures_total",
        Unit::Count,
        "How many failures of background tasks there were, by task; each task was begun again."
    );
    describe_counter!(
        "latchkey_keyring_failures_total",
        Unit::Count,
        "How many reads of the keys failed."
    );
    describe_gauge!(
        "latchkey_key_replacement_due_seconds",
        Unit::Seconds,
        "How many seconds are left until the key that makes tokens is replaced, by purpose."
    );
    describe_counter!(
        "latchkey_clock_steps_total",
        Unit::Count,
        "How many steps of the clock by a minute or more there were."
    );
    describe_gauge!(
        "latchkey_redis_up",
        Unit::Count,
        "Whether a connection to Redis works (1) or not (0), by task."
    );
    describe_counter!(
        "latchkey_redis_failures_total",
        Unit::Count,
        "How many failures of connections to Redis there were, by task."
    );
    describe_gauge!(
        "latchkey_redis_noeviction",
        Unit::Count,
        "Whether Redis says that it evicts nothing (1) or not (0)."
    );
}
