//! Traces, for whoever collects them (OTLP): which part of a request took how long, also across services.
//!
//! A span of a trace is one of the crate `tracing` whose target is [`SPANS`]. Where the settings name no
//! collector, nobody wants that target, and such a span costs a look at one number. It never has a value that
//! a client chose, and none of a person: its name and its fields come from lists in the code. Lines of the log
//! are in no trace, because they do have such values; and the log has none of these spans.

mod collector;
mod queue;
mod sampling;

use std::time::Duration;

use actix_web::dev::ServiceRequest;
use actix_web::http::StatusCode;
use opentelemetry::trace::{
    SpanContext, SpanId, TraceContextExt as _, TraceFlags, TraceId, TraceState, TracerProvider as _,
};
use opentelemetry::{Context, KeyValue};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::SdkTracerProvider;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tracing::Span;
use tracing::field::Empty;
use tracing_opentelemetry::OpenTelemetrySpanExt as _;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::{Layer, Registry};
use uuid::Uuid;

use crate::settings::{ConfigError, Telemetry};
use crate::traceparent::Traceparent;
use sampling::Requests;

/// The target of spans that belong to traces. The verifier, which does not know this crate, says the same.
pub const SPANS: &str = "latchkey::trace";

/// How long the end of the process waits for the last spans to be sent.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(2);

/// What takes lines of the log, or spans, out of `tracing`.
pub(crate) type Output = Box<dyn Layer<Registry> + Send + Sync>;

/// The sending of traces, where they are sent.
#[derive(Debug)]
pub struct Traces(Option<Sending>);

#[derive(Debug)]
struct Sending {
    stopping: CancellationToken,
    task: JoinHandle<()>,
}

impl Traces {
    /// Sends what still waits, for two seconds at the most.
    pub async fn stop(self) {
        let Some(Sending { stopping, task }) = self.0 else { return };
        stopping.cancel();
        if tokio::time::timeout(FLUSH_TIMEOUT, task).await.is_err() {
            tracing::warn!(task = queue::TASK, "the last spans could not be sent in time");
        }
    }
}

/// What takes spans out of `tracing` and sends them as those of `service`, where the settings say so. On the
/// current runtime.
pub(crate) fn start(
    service: &'static str,
    settings: &Telemetry,
) -> Result<(Option<Output>, Traces), ConfigError> {
    let Some(endpoint) = settings.traces_url()? else { return Ok((None, Traces(None))) };
    let resource = Resource::builder()
        .with_service_name(service)
        .with_attributes([
            KeyValue::new("service.version", env!("CARGO_PKG_VERSION")),
            KeyValue::new("service.instance.id", Uuid::new_v4().to_string()),
        ])
        .build();
    let (exporter, collector) = collector::open(&endpoint, &resource)?;
    let (queue, sender) = queue::open(exporter, collector);
    let stopping = sender.stopping();
    let task = tokio::spawn(sender.run());
    let provider = SdkTracerProvider::builder()
        .with_resource(resource)
        .with_sampler(Requests::new(settings.sample_ratio))
        .with_span_processor(queue)
        .build();
    let layer = tracing_opentelemetry::layer()
        .with_tracer(provider.tracer("latchkey"))
        // What the code looks like is nobody's business there, and would be the greater part of what is sent.
        .with_location(false)
        .with_target(false)
        .with_threads(false)
        .with_tracked_inactivity(false)
        // The parent is the span of `tracing` around it; nothing here has spans of another kind.
        .with_context_activation(false)
        .with_filter(Targets::new().with_target(SPANS, LevelFilter::DEBUG))
        .boxed();
    Ok((Some(layer), Traces(Some(Sending { stopping, task }))))
}

/// The span of a request, which goes on with the caller's trace or begins one.
pub(crate) fn request(
    request: &ServiceRequest,
    method: &'static str,
    caller: Option<&Traceparent<'_>>,
) -> Span {
    if caller.is_none() && is_polled(request.path()) {
        return Span::none();
    }
    let span = tracing::info_span!(
        target: SPANS,
        "server",
        otel.name = named(method),
        otel.kind = "server",
        otel.status_code = Empty,
        http.request.method = if method == "other" { "_OTHER" } else { method },
        http.route = Empty,
        http.response.status_code = Empty,
        url.scheme = scheme(request),
        error.type = Empty,
    );
    if !span.is_disabled()
        && let Some(caller) = caller.and_then(remote)
    {
        // It fails only where the span was begun already.
        let _ = span.set_parent(Context::new().with_remote_span_context(caller));
    }
    span
}

/// The trace of a request's span, where the span is kept.
pub(crate) fn id(span: &Span) -> Option<String> {
    if span.is_disabled() {
        return None;
    }
    let context = span.context();
    let span = context.span();
    let context = span.span_context();
    context.is_sampled().then(|| context.trace_id().to_string())
}

/// Puts into a request's span what is known when it is answered. `route` is a pattern, never a path.
pub(crate) fn answered(span: &Span, method: &'static str, route: Option<&str>, status: StatusCode) {
    if span.is_disabled() {
        return;
    }
    span.record("http.response.status_code", i64::from(status.as_u16()));
    if let Some(route) = route {
        span.record("http.route", route);
        span.context().span().update_name(format!("{} {route}", named(method)));
    }
    if status.is_server_error() {
        span.record("error.type", status.as_str());
        span.record("otel.status_code", "error");
    }
}

/// The span that the caller names, as the parent of one of ours. What else it says of its trace
/// (`tracestate`) is not read.
fn remote(caller: &Traceparent<'_>) -> Option<SpanContext> {
    let trace = TraceId::from_hex(caller.trace).ok()?;
    let parent = SpanId::from_hex(caller.parent).ok()?;
    let flags = TraceFlags::default().with_sampled(caller.sampled);
    Some(SpanContext::new(trace, parent, flags, true, TraceState::default()))
}

/// What machines ask for again and again is no trace of its own: it would be most of what is collected.
fn is_polled(path: &str) -> bool {
    path == "/metrics" || path.starts_with("/health/") || path.starts_with("/internal/")
}

/// The name of a span whose route is not known.
fn named(method: &'static str) -> &'static str {
    if method == "other" { "HTTP" } else { method }
}

/// As the client sees it, which a proxy in front tells. Anybody may tell it.
fn scheme(request: &ServiceRequest) -> &'static str {
    if request.connection_info().scheme() == "https" { "https" } else { "http" }
}
