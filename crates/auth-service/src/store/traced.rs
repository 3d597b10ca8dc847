//! What traces tell of the database: which verb took how long, and nothing of what it was about.

use hosting::traces::SPANS;
use tracing::Span;
use tracing::field::Empty;

use super::{Backend, Store, StoreError};

impl Store {
    /// The span of a verb, from the moment that it asks for a connection. It may wait for its user's turn before.
    pub(super) fn span(&self, verb: &'static str) -> Span {
        let system = match self.backend {
            Backend::Postgres(_) => "postgresql",
            Backend::Sqlite(_) => "sqlite",
        };
        tracing::info_span!(
            target: SPANS,
            "database",
            otel.name = verb,
            otel.kind = "client",
            otel.status_code = Empty,
            db.system.name = system,
            db.operation.name = verb,
            error.type = Empty,
        )
    }
}

/// Puts into the span of a verb that it failed. What a database says of that may quote what is in it.
pub(super) fn failed(span: &Span, error: &StoreError) {
    let kind = match error {
        StoreError::Database(_) => "database",
        StoreError::Timeout => "timeout",
        StoreError::Contended => "contended",
        // The database works, and had nothing to do.
        StoreError::NotActing | StoreError::OutOfReach => return,
    };
    span.record("error.type", kind);
    span.record("otel.status_code", "error");
}
