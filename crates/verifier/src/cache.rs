//! Tokens verified before, so that a signature is checked once and not on every call.
//!
//! Only what cannot change is remembered: the signature, the shape, the issuer and the audience.
//! Time, revocation and freshness are judged anew on every hit.

use std::sync::Arc;

use quick_cache::Weighter;
use quick_cache::sync::Cache;

use crate::verified::Verified;

/// About five thousand tokens.
const CAPACITY_BYTES: u64 = 8 * 1024 * 1024;
const TYPICAL_ENTRY_BYTES: usize = 1600;

/// Keyed by the whole token: a hash of it would be slower, and part of it unsafe.
pub(crate) struct TokenCache {
    entries: Cache<Box<str>, Entry, Bytes>,
}

#[derive(Clone)]
struct Entry {
    verified: Arc<Verified>,
    /// The epoch of the key set it was verified under.
    epoch: u64,
}

#[derive(Clone)]
struct Bytes;

impl Weighter<Box<str>, Entry> for Bytes {
    fn weight(&self, token: &Box<str>, _: &Entry) -> u64 {
        // The claims repeat most of the token, and each allocation has a header.
        token.len() as u64 * 2 + 400
    }
}

impl TokenCache {
    pub(crate) fn new() -> Self {
        let items = usize::try_from(CAPACITY_BYTES).unwrap_or(usize::MAX) / TYPICAL_ENTRY_BYTES;
        Self { entries: Cache::with_weighter(items, CAPACITY_BYTES, Bytes) }
    }

    /// What was verified for this token while the same keys were in force.
    pub(crate) fn get(&self, token: &str, epoch: u64) -> Option<Arc<Verified>> {
        let entry = self.entries.get(token)?;
        (entry.epoch == epoch).then_some(entry.verified)
    }

    pub(crate) fn insert(&self, token: &str, verified: Arc<Verified>, epoch: u64) {
        self.entries.insert(token.into(), Entry { verified, epoch });
    }

    pub(crate) fn forget(&self, token: &str) {
        self.entries.remove(token);
    }
}

impl std::fmt::Debug for TokenCache {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TokenCache").field("entries", &self.entries.len()).finish()
    }
}
