//! Bugs on purpose: mistakes that others made, or that were nearly made here. The fault harness must
//! catch each of them, or its silence proves nothing.
//!
//! They are compiled in with the feature `planted-bugs` only, and sleep until the variable
//! `LATCHKEY_PLANTED_BUG` names one.

use std::collections::HashMap;
use std::sync::OnceLock;

use latchkey_claims::{AccessTokenClaims, Subject};

use crate::clock::Clock;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Bug {
    /// Counts the age of what the feed said from the receipt of the reply.
    AgeFromReceipt,
    /// Compares when a token was made with when a logout everywhere was heard of.
    TimestampVersion,
    /// Accepts a token that it knows without looking at what was revoked since.
    CacheSkipsRevocation,
    /// Takes every answer of a feed for a good one, however old what it tells is.
    StickyFeed,
}

impl Bug {
    const ALL: [Self; 4] = [
        Self::AgeFromReceipt,
        Self::TimestampVersion,
        Self::CacheSkipsRevocation,
        Self::StickyFeed,
    ];

    const fn name(self) -> &'static str {
        match self {
            Self::AgeFromReceipt => "age-from-receipt",
            Self::TimestampVersion => "timestamp-version",
            Self::CacheSkipsRevocation => "cache-skips-revocation",
            Self::StickyFeed => "sticky-feed",
        }
    }
}

/// Whether this bug is awake.
pub(crate) fn is(bug: Bug) -> bool {
    static AWAKE: OnceLock<Option<Bug>> = OnceLock::new();
    let awake = AWAKE.get_or_init(|| {
        let name = std::env::var("LATCHKEY_PLANTED_BUG").ok()?;
        Bug::ALL.into_iter().find(|bug| bug.name() == name)
    });
    *awake == Some(bug)
}

/// `TimestampVersion`: when each logout everywhere was heard of, in place of what it says.
#[derive(Debug, Default)]
pub(crate) struct Heard(HashMap<Subject, (u32, u64)>);

impl Heard {
    pub(crate) fn note(&mut self, subject: &Subject, min_version: u32) {
        let news = self.0.get(subject).is_none_or(|(known, _)| *known < min_version);
        if news {
            let second = Clock::default().now().unix_seconds();
            self.0.insert(subject.clone(), (min_version, second));
        }
    }

    /// Whether the token is older. In whole seconds, as `iat` is: a login must work in the second of
    /// the logout.
    pub(crate) fn refuses(&self, claims: &AccessTokenClaims) -> bool {
        self.0.get(&claims.sub).is_some_and(|(_, second)| claims.iat < *second)
    }
}
