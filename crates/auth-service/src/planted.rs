//! Bugs on purpose: mistakes that others made, or that were nearly made here. The fault harness must
//! catch each of them, or its silence proves nothing. The verifier has some of its own.
//!
//! They are compiled in with the feature `planted-bugs` only, and sleep until the variable
//! `LATCHKEY_PLANTED_BUG` names one.

use std::sync::OnceLock;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Bug {
    /// Rotates by reading, judging in code and writing.
    NaiveRotation,
    /// Reads revocations above the highest number seen.
    LastSeenId,
    /// Answers a logout before it is committed.
    Early204,
    /// Logs out in a transaction that goes with the client, and does not clean up after it.
    DroppableBegin,
    /// Gives a spent token within the window a new generation instead of the same successor.
    SiblingInWindow,
    /// Answers who follows as though it knew everything, however old what it knows is.
    StickyFeed,
    /// Reads revocations on and on over a connection that has failed.
    KeptConnection,
}

impl Bug {
    const ALL: [Self; 7] = [
        Self::NaiveRotation,
        Self::LastSeenId,
        Self::Early204,
        Self::DroppableBegin,
        Self::SiblingInWindow,
        Self::StickyFeed,
        Self::KeptConnection,
    ];

    const fn name(self) -> &'static str {
        match self {
            Self::NaiveRotation => "naive-rotation",
            Self::LastSeenId => "last-seen-id",
            Self::Early204 => "early-204",
            Self::DroppableBegin => "droppable-begin",
            Self::SiblingInWindow => "sibling-in-window",
            Self::StickyFeed => "sticky-feed",
            Self::KeptConnection => "kept-connection",
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
