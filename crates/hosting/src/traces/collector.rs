//! The collector, spoken to in OTLP over HTTP.

use std::error::Error;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use opentelemetry_http::{Bytes, HttpClient, HttpError, Request, Response};
use opentelemetry_otlp::{
    Protocol, RetryPolicy, SpanExporter, WithExportConfig as _, WithHttpConfig as _,
};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::SpanExporter as _;
use reqwest::redirect::Policy;
use url::Url;

use crate::settings::{ConfigError, OTLP_ENDPOINT};

/// For a batch of spans to be sent and answered.
const TIMEOUT: Duration = Duration::from_secs(5);
/// It says how many spans it refused, if anything.
const MAX_ANSWER_BYTES: usize = 64 * 1024;

/// Our HTTP client, as the exporter wants one. It keeps in mind why the last question failed, which the
/// exporter does not tell.
#[derive(Debug)]
pub(super) struct Collector {
    http: reqwest::Client,
    failure: Mutex<Option<String>>,
}

/// What sends spans to `endpoint`. Does not connect: the collector may come later.
pub(super) fn open(
    endpoint: &Url,
    resource: &Resource,
) -> Result<(SpanExporter, Arc<Collector>), ConfigError> {
    let mut http = reqwest::Client::builder().redirect(Policy::none()).timeout(TIMEOUT);
    if endpoint.scheme() == "http" {
        // Not by way of whatever `http_proxy` names. No authority is asked.
        http = http.no_proxy().tls_certs_only([]);
    }
    let http = http.build().map_err(|error| unusable(&error))?;
    let collector = Arc::new(Collector { http, failure: Mutex::default() });
    let mut exporter = SpanExporter::builder()
        .with_http()
        .with_shared_http_client(collector.clone())
        .with_endpoint(endpoint.as_str())
        .with_protocol(Protocol::HttpBinary)
        .with_timeout(TIMEOUT)
        // It would sleep on the thread. What comes next is sent soon enough.
        .with_retry_policy(RetryPolicy::disabled())
        .build()
        .map_err(|error| unusable(&error))?;
    exporter.set_resource(resource);
    Ok((exporter, collector))
}

fn unusable(error: &dyn Error) -> ConfigError {
    ConfigError::Value { key: OTLP_ENDPOINT, problem: format!("cannot be used: {}", cause(error)) }
}

/// What is at the bottom of it.
fn cause(error: &dyn Error) -> String {
    let mut cause = error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    cause.to_string()
}

impl Collector {
    /// Why the last question failed, if it was not answered at all.
    pub(super) fn failure(&self) -> Option<String> {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    async fn ask(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let mut answer = self.http.execute(request.try_into()?).await?;
        let mut body = Vec::new();
        while let Some(chunk) = answer.chunk().await? {
            if body.len() + chunk.len() > MAX_ANSWER_BYTES {
                return Err("its answer is too long".into());
            }
            body.extend_from_slice(&chunk);
        }
        let mut response = Response::new(body.into());
        *response.status_mut() = answer.status();
        Ok(response)
    }
}

impl HttpClient for Collector {
    fn send_bytes<'c, 'a>(
        &'c self,
        request: Request<Bytes>,
    ) -> BoxFuture<'a, Result<Response<Bytes>, HttpError>>
    where
        'c: 'a,
        Self: 'a,
    {
        let asked = async move {
            let answer = self.ask(request).await;
            if let Err(error) = &answer {
                let mut failure = self.failure.lock().unwrap_or_else(PoisonError::into_inner);
                *failure = Some(cause(&**error));
            }
            answer
        };
        asked.boxed()
    }
}
