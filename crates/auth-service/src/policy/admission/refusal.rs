//! What a refused attempt is answered with, and who hears of it.

use crate::error::Error;
use crate::limits::{Key, Refusal};
use crate::policy::app::App;
use crate::store::{AuditEntry, AuditEvent};

/// Counted, and told of once for each key and wait. Whoever waited in vain for what became of others has
/// overstepped nothing: the machine did not get through its work in time, and that is what they are told.
pub(super) fn refuse(app: &App, refusal: Refusal) -> Error {
    if refusal.is_in_flight() {
        return Error::Overloaded;
    }
    let Key { policy, whose } = refusal.key();
    metrics::counter!("latchkey_limited_total", "policy" => policy).increment(1);
    if app.limits.is_news(refusal) {
        let retry_after_seconds = refusal.retry_after();
        tracing::info!(
            event.name = AuditEvent::Limited.as_str(), event.outcome = "failure",
            limit.policy = policy, limit.key = %whose, retry_after_seconds,
            "too many attempts; they are refused for a while"
        );
        let (reason, subject) = (Some(policy.into()), Some(whose.to_string()));
        app.store.record_later(AuditEntry {
            reason,
            subject,
            ..AuditEntry::new(AuditEvent::Limited)
        });
    }
    Error::RateLimited(refusal)
}
