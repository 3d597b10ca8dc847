//! Logs to standard error, metrics for whoever scrapes them, and traces for whoever collects them.

use std::future::{Ready, ready};
use std::io::IsTerminal as _;
use std::sync::OnceLock;
use std::time::Duration;

use actix_web::HttpResponse;
use actix_web::http::header::CONTENT_TYPE;
use metrics::{Unit, describe_counter, describe_gauge, describe_histogram};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use tracing_subscriber::Layer as _;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

use crate::memory;
use crate::settings::{self, ConfigError};
use crate::traces::{self, Output, SPANS, Traces};

const SUMMING_UP_EVERY: Duration = Duration::from_secs(5);

static METRICS: OnceLock<Option<PrometheusHandle>> = OnceLock::new();

/// Starts writing logs: lines for people on a terminal, JSON otherwise. `RUST_LOG` filters them:
/// a level, or levels by target, such as `info,sqlx=warn`.
///
/// JSON escapes control characters, so what a client sends cannot forge a line.
pub fn init_logs() {
    install(vec![logs()]);
}

/// The same, and sends traces as those of `service` where the settings name a collector. On the runtime that is
/// to send them.
///
/// # Errors
/// When the collector is one that cannot be spoken to.
pub fn init(service: &'static str, settings: &settings::Telemetry) -> Result<Traces, ConfigError> {
    let (layer, traces) = traces::start(service, settings)?;
    let are_sent = layer.is_some();
    install(layer.into_iter().chain([logs()]).collect());
    if are_sent {
        tracing::info!(url = settings.otlp_endpoint, "traces are sent to a collector");
    }
    Ok(traces)
}

/// Each with a filter of its own: what none of them wants costs nothing.
fn install(outputs: Vec<Output>) {
    // A second start in one process (tests) keeps the first.
    let _ = tracing_subscriber::registry().with(outputs).try_init();
}

fn logs() -> Output {
    let wanted = std::env::var("RUST_LOG").ok().filter(|text| !text.is_empty());
    let wanted = wanted.and_then(|text| text.parse().ok());
    let filter: Targets = wanted.unwrap_or_else(|| {
        Targets::new()
            .with_default(LevelFilter::INFO)
            .with_target("sqlx", LevelFilter::WARN)
            .with_target("actix_server", LevelFilter::WARN)
    });
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    let lines = if std::io::stderr().is_terminal() {
        lines.with_target(false).boxed()
    } else {
        lines.json().flatten_event(true).with_current_span(true).with_span_list(false).boxed()
    };
    // A line names its request, and not the part of it that a trace tells of.
    lines.with_filter(filter.with_target(SPANS, LevelFilter::OFF)).boxed()
}

/// Starts counting, on the current runtime. Both services may call it in one process; they share the
/// counters.
pub fn init_metrics() {
    METRICS.get_or_init(|| {
        let handle = PrometheusBuilder::new()
            .set_buckets_for_metric(
                Matcher::Suffix("_seconds".to_owned()),
                &[0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0],
            )
            .ok()?
            .install_recorder()
            .ok()?;
        // Samples are kept until they are summed up, which otherwise only a scrape does.
        let upkeep = handle.clone();
        tokio::spawn(async move {
            loop {
                tokio::time::sleep(SUMMING_UP_EVERY).await;
                upkeep.run_upkeep();
            }
        });
        Some(handle)
    });
}

/// Describes the metrics that every service has. To be called after [`init_metrics`].
pub fn describe_metrics() {
    describe_counter!(
        "latchkey_http_requests_total",
        Unit::Count,
        "How many requests were answered, by route, method and status."
    );
    describe_histogram!(
        "latchkey_http_request_seconds",
        Unit::Seconds,
        "How many seconds passed from the whole request to the answer, by route."
    );
    describe_counter!(
        "latchkey_connections_cut_total",
        Unit::Count,
        "How many connections were closed before their time, by reason."
    );
    describe_counter!(
        "latchkey_panics_total",
        Unit::Count,
        "How many panics there were in handlers of requests, each of them a defect."
    );
    describe_gauge!(
        "latchkey_revocations",
        Unit::Count,
        "How many entries the revocation list in memory has."
    );
    describe_gauge!(
        "latchkey_revocation_age_seconds",
        Unit::Seconds,
        "How many seconds old the knowledge of revocations is."
    );
    describe_gauge!(
        "process_resident_memory_bytes",
        Unit::Bytes,
        "How many bytes of memory the system holds for this process."
    );
}

/// Shows how many revocations are known, and how old that knowledge is.
#[expect(clippy::cast_precision_loss, reason = "a gauge; no count reaches 2^52")]
pub fn revocations(known: usize, age: Option<Duration>) {
    metrics::gauge!("latchkey_revocations").set(known as f64);
    if let Some(age) = age {
        metrics::gauge!("latchkey_revocation_age_seconds").set(age.as_secs_f64());
    }
}

/// `GET /metrics`: the Prometheus text format.
#[expect(clippy::cast_precision_loss, reason = "a gauge; no memory has 2^52 bytes")]
pub fn metrics() -> Ready<HttpResponse> {
    if let Some(bytes) = memory::resident_bytes() {
        metrics::gauge!("process_resident_memory_bytes").set(bytes as f64);
    }
    ready(match METRICS.get() {
        Some(Some(handle)) => HttpResponse::Ok()
            .insert_header((CONTENT_TYPE, "text/plain; version=0.0.4"))
            .body(handle.render()),
        _ => HttpResponse::NoContent().finish(),
    })
}
