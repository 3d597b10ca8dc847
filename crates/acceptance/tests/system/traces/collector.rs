//! A collector of our own, which decodes what it is sent.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1::{Span as SentSpan, span::SpanKind};
use prost::Message as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// What it does with what it gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Manner {
    Takes,
    /// Answers 500.
    Refuses,
    /// Reads, and never answers.
    Hangs,
}

/// A collector, ended with the value.
pub(crate) struct Collector {
    /// As the settings name it.
    pub(crate) url: String,
    sent: Arc<Mutex<Vec<Sent>>>,
    accepting: JoinHandle<()>,
}

struct Sent {
    head: String,
    body: Vec<u8>,
}

/// A span, as far as tests look at it. Ids are in hexadecimal digits.
#[derive(Debug, Clone)]
pub(crate) struct Span {
    pub(crate) service: String,
    pub(crate) trace: String,
    pub(crate) id: String,
    pub(crate) parent: String,
    pub(crate) name: String,
    pub(crate) kind: SpanKind,
    /// Whether it is said to have failed.
    pub(crate) failed: bool,
    pub(crate) attributes: BTreeMap<String, String>,
    /// How many nanoseconds it took.
    pub(crate) took: u64,
}

impl Span {
    /// An attribute that it must have.
    #[track_caller]
    pub(crate) fn attribute(&self, name: &str) -> &str {
        self.attributes.get(name).unwrap_or_else(|| panic!("no {name} in {self:?}"))
    }

    /// Whether it is that of a request.
    pub(crate) fn is_of_a_request(&self) -> bool {
        self.kind == SpanKind::Server
    }
}

impl Collector {
    pub(crate) async fn start(manner: Manner) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let url = format!("http://{}", listener.local_addr().expect("it has an address"));
        let sent: Arc<Mutex<Vec<Sent>>> = Arc::default();
        let all = Arc::clone(&sent);
        let accepting = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, manner, Arc::clone(&all)));
            }
        });
        Self { url, sent, accepting }
    }

    /// Every byte that came.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let sent = self.sent.lock().unwrap_or_else(PoisonError::into_inner);
        sent.iter().flat_map(|sent| sent.body.iter().copied()).collect()
    }

    /// Every span that came.
    pub(crate) fn spans(&self) -> Vec<Span> {
        let sent = self.sent.lock().unwrap_or_else(PoisonError::into_inner);
        let mut spans = Vec::new();
        for Sent { head, body } in sent.iter() {
            assert!(head.starts_with("POST /v1/traces HTTP/1.1\r\n"), "{head}");
            assert!(head.contains("content-type: application/x-protobuf\r\n"), "{head}");
            let request = ExportTraceServiceRequest::decode(body.as_slice()).expect("OTLP");
            for of_resource in request.resource_spans {
                let resource = of_resource.resource.expect("who sends it");
                let resource = attributes(&resource.attributes);
                for name in ["service.version", "service.instance.id"] {
                    assert!(!resource[name].is_empty(), "{name}");
                }
                for span in of_resource.scope_spans.into_iter().flat_map(|scope| scope.spans) {
                    spans.push(seen(span, &resource["service.name"]));
                }
            }
        }
        spans
    }

    /// The spans of one trace.
    pub(crate) fn trace(&self, trace: &str) -> Vec<Span> {
        self.spans().into_iter().filter(|span| span.trace == trace).collect()
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

fn seen(span: SentSpan, service: &str) -> Span {
    assert!(span.events.is_empty() && span.links.is_empty(), "{span:?}");
    assert_eq!(span.trace_state, "", "what the caller says there is not passed on");
    let kind = span.kind();
    let status = span.status.unwrap_or_default();
    assert_eq!(status.message, "", "what an error says may quote something");
    Span {
        service: service.to_owned(),
        trace: hex(&span.trace_id),
        id: hex(&span.span_id),
        parent: hex(&span.parent_span_id),
        name: span.name,
        kind,
        failed: status.code == 2,
        attributes: attributes(&span.attributes),
        took: span.end_time_unix_nano.saturating_sub(span.start_time_unix_nano),
    }
}

fn attributes(sent: &[KeyValue]) -> BTreeMap<String, String> {
    let text = |sent: &KeyValue| match sent.value.clone().and_then(|value| value.value) {
        Some(Value::StringValue(text)) => text,
        Some(Value::IntValue(number)) => number.to_string(),
        other => panic!("{}: {other:?}", sent.key),
    };
    sent.iter().map(|sent| (sent.key.clone(), text(sent))).collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |hex, byte| format!("{hex}{byte:02x}"))
}

async fn serve(mut stream: TcpStream, manner: Manner, all: Arc<Mutex<Vec<Sent>>>) {
    let mut bytes = Vec::new();
    while let Some(sent) = request(&mut stream, &mut bytes).await {
        all.lock().unwrap_or_else(PoisonError::into_inner).push(sent);
        let status = match manner {
            Manner::Takes => "200 OK",
            Manner::Refuses => "500 Internal Server Error",
            Manner::Hangs => std::future::pending().await,
        };
        let answer = format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\n\r\n");
        if stream.write_all(answer.as_bytes()).await.is_err() {
            return;
        }
    }
}

/// The next request; `bytes` is what was read beyond the one before.
async fn request(stream: &mut TcpStream, bytes: &mut Vec<u8>) -> Option<Sent> {
    loop {
        if let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&bytes[..end + 4]).to_lowercase();
            let length = head.split("content-length: ").nth(1).expect("a length");
            let length: usize = length.lines().next()?.parse().expect("a number");
            if bytes.len() >= end + 4 + length {
                let head = String::from_utf8_lossy(&bytes[..end + 4]).into_owned();
                let body = bytes[end + 4..end + 4 + length].to_vec();
                bytes.drain(..end + 4 + length);
                return Some(Sent { head, body });
            }
        }
        if stream.read_buf(bytes).await.ok()? == 0 {
            return None;
        }
    }
}
