//! What handlers work with.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use verifier::Verifier;

pub(crate) struct App {
    pub(crate) verifier: Arc<Verifier>,
    pub(crate) draining: AtomicBool,
}

impl App {
    pub(crate) fn draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }
}
