//! Which traces are kept.

use opentelemetry::trace::{Link, SpanKind, TraceContextExt as _, TraceId, TraceState};
use opentelemetry::{Context, KeyValue};
use opentelemetry_sdk::trace::{Sampler, SamplingDecision, SamplingResult, ShouldSample};

/// Whoever is in a trace already decides. Of the traces that begin here, those of requests are kept in a part;
/// what runs by itself, such as the poll of revocations four times a second, begins none.
#[derive(Debug, Clone)]
pub(super) struct Requests(Sampler);

impl Requests {
    /// `ratio` of those that begin here, from 0 to 1.
    pub(super) fn new(ratio: f64) -> Self {
        Self(Sampler::ParentBased(Box::new(Sampler::TraceIdRatioBased(ratio))))
    }
}

impl ShouldSample for Requests {
    fn should_sample(
        &self,
        parent: Option<&Context>,
        trace: TraceId,
        name: &str,
        kind: &SpanKind,
        attributes: &[KeyValue],
        links: &[Link],
    ) -> SamplingResult {
        let begins = parent.is_none_or(|parent| !parent.span().span_context().is_valid());
        if begins && *kind != SpanKind::Server {
            return SamplingResult {
                decision: SamplingDecision::Drop,
                attributes: Vec::new(),
                trace_state: TraceState::default(),
            };
        }
        self.0.should_sample(parent, trace, name, kind, attributes, links)
    }
}

#[cfg(test)]
mod tests {
    use opentelemetry::trace::{SpanContext, SpanId, TraceFlags};

    use super::*;

    const TRACE: TraceId = TraceId::from_bytes([7; 16]);

    fn is_kept(ratio: f64, parent: Option<&Context>, kind: &SpanKind) -> bool {
        let result = Requests::new(ratio).should_sample(parent, TRACE, "a span", kind, &[], &[]);
        matches!(result.decision, SamplingDecision::RecordAndSample)
    }

    #[test]
    fn a_trace_begins_with_a_request_or_with_the_caller() {
        let within = |sampled| {
            let flags = TraceFlags::default().with_sampled(sampled);
            let parent = SpanId::from_bytes([8; 8]);
            let parent = SpanContext::new(TRACE, parent, flags, true, TraceState::default());
            Context::new().with_remote_span_context(parent)
        };
        let (kept, not_kept, nowhere) = (within(true), within(false), Context::new());
        for kind in [SpanKind::Server, SpanKind::Client, SpanKind::Internal] {
            assert!(is_kept(0.0, Some(&kept), &kind), "{kind:?}");
            assert!(!is_kept(1.0, Some(&not_kept), &kind), "{kind:?}");
            for parent in [None, Some(&nowhere)] {
                assert_eq!(is_kept(1.0, parent, &kind), kind == SpanKind::Server, "{kind:?}");
                assert!(!is_kept(0.0, parent, &kind), "{kind:?}");
            }
        }
    }
}
