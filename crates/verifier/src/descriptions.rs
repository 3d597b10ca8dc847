//! What the metrics of this crate mean, for whoever reads them beside the numbers.

use metrics::{Unit, describe_counter};

/// Describes the metrics of this crate to the recorder of the crate `metrics`, which shows that beside the
/// numbers: as `# HELP` in the Prometheus text format. Call it once, after the recorder was installed.
pub fn describe_metrics() {
    describe_counter!(
        "latchkey_tokens_rejected_total",
        Unit::Count,
        "How many access tokens were refused, by reason."
    );
    describe_counter!(
        "latchkey_key_set_fetches_total",
        Unit::Count,
        "How many fetches of the key set were tried, by outcome and cause."
    );
    describe_counter!(
        "latchkey_feed_entries_skipped_total",
        Unit::Count,
        "How many entries of the feed were of a kind that this program does not know."
    );
    describe_counter!(
        "latchkey_feed_resets_total",
        Unit::Count,
        "How many answers of the feed held everything rather than what is new, by side."
    );
}
