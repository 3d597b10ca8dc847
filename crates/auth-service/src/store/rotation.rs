//! The rotation rule: what a presented refresh token gets.
//!
//! First the database is asked to rotate, in one conditional update. Only when that changes nothing
//! is the session looked at, and what must follow from that (ending it after a replay) is done in
//! the same step as the look.

use std::sync::Arc;

use claims::Timestamp;
use futures_util::FutureExt as _;

use super::records::{EndReason, Found, Grant, Presented, Requester};
use super::statement::millis;
use super::{Backend, Store, StoreError, sqlite};

/// What became of a presented refresh token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RotationOutcome {
    /// It was the current one and is spent now; the grant names its successor.
    Rotated(Grant),
    /// The current token was made less than a window ago and is given again, to whoever presents it
    /// or its parent. Nothing changed.
    Repeated {
        /// The session.
        grant: Grant,
        /// Who had the current token made.
        rotated_by: Requester,
    },
    /// The database had forgotten the rotation that made it (an asynchronous failover), and was
    /// brought forward.
    FastForwarded(Grant),
    /// It had been spent, so the session was ended.
    Reused(Reuse),
    /// There is no such session, or no longer.
    Unknown,
    /// The session is past its idle or its absolute end.
    Expired,
    /// The session was ended before.
    Ended(EndReason),
    /// It is further ahead than any failover explains; refused, and nothing changed.
    TooFarAhead,
    /// The session is not for the services that a token is wanted for; nothing changed.
    NotForTarget,
}

/// A replay that ended a session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reuse {
    /// The session as it was.
    pub grant: Grant,
    /// Who had the then current token made.
    pub rotated_by: Requester,
}

enum Verdict {
    Answer(Box<RotationOutcome>),
    /// The session changed since the update, or a lock re-check missed; try once more.
    Again,
    FastForward,
}

fn answer(rotation: RotationOutcome) -> Verdict {
    Verdict::Answer(Box::new(rotation))
}

impl Found {
    /// The lower of the limits that the session was opened with and the present ones.
    fn within_limits(mut self, presented: &Presented) -> Self {
        let grant = &mut self.grant;
        let end = Timestamp(self.opened_at.0 + millis(presented.limits.absolute));
        grant.expires_at = grant.expires_at.min(end);
        let idle_end = Timestamp(self.used_at.0 + millis(presented.limits.idle));
        grant.idle_expires_at = grant.idle_expires_at.min(idle_end).min(grant.expires_at);
        self
    }
}

/// The rule, in the order in which it judges: ended, superseded, expired, for other services, generation. A
/// spent token has ended the session before, whatever services it was sent for.
fn judge(found: Found, presented: &Presented) -> Verdict {
    let Found { grant, rotated_by, in_window, .. } = found;
    if found.reuse_ended_it {
        return answer(RotationOutcome::Reused(Reuse { grant, rotated_by }));
    }
    if let Some(reason) = found.ended.or(found.superseded) {
        return answer(RotationOutcome::Ended(reason));
    }
    if grant.now >= grant.idle_expires_at {
        return answer(RotationOutcome::Expired);
    }
    if presented.target.within(grant.audience.as_deref()).is_none() {
        return answer(RotationOutcome::NotForTarget);
    }
    let behind = i64::from(grant.generation) - i64::from(presented.generation);
    match behind {
        // A session rotates at most once in a window. A lost reply, a tab or a call without a lock
        // brings back the token that was spent a moment ago, or the one that came of it: if that
        // rotated again, those that are still under way would be two behind, as thieves are. The
        // current token is a function of the session, so it can be given again.
        0 | 1 if in_window => answer(RotationOutcome::Repeated { grant, rotated_by }),
        -1 => Verdict::FastForward,
        ..-1 => answer(RotationOutcome::TooFarAhead),
        0.. => Verdict::Again,
    }
}

impl Store {
    /// Decides what a presented refresh token gets, and does it. The database decides races: of any
    /// number of refreshes of one token exactly one rotates, and the others learn its result.
    pub async fn rotate(&self, presented: Presented) -> Result<RotationOutcome, StoreError> {
        let (announcement, writes) = (self.announcement(), Arc::clone(&self.writes));
        let backend = self.backend.clone();
        let work = async move {
            let rotated = rotate(&backend, &presented).await;
            let rotated = writes.made(rotated, |it| matches!(it, RotationOutcome::Rotated(_)));
            if !matches!(rotated, Ok(RotationOutcome::Reused(_)) | Err(_)) {
                announcement.withdraw();
            }
            rotated
        };
        self.run("rotate", work.boxed()).await
    }
}

async fn rotate(backend: &Backend, presented: &Presented) -> Result<RotationOutcome, StoreError> {
    // Each round fails only because another rotation succeeded or a lock re-check missed.
    for _ in 0..8 {
        if let Some(grant) = advance(backend, presented, presented.generation).await? {
            return Ok(RotationOutcome::Rotated(grant));
        }
        let Some(found) = look(backend, presented).await? else {
            return Ok(RotationOutcome::Unknown);
        };
        match judge(found.within_limits(presented), presented) {
            Verdict::Answer(rotation) => return Ok(*rotation),
            Verdict::Again => {}
            Verdict::FastForward => {
                if let Some(grant) = advance(backend, presented, presented.generation - 1).await? {
                    return Ok(RotationOutcome::FastForwarded(grant));
                }
            }
        }
    }
    Err(StoreError::Contended)
}

/// Rotates from generation `from`, where the session is live; `None` when nothing changed.
async fn advance(
    backend: &Backend,
    presented: &Presented,
    from: u32,
) -> Result<Option<Grant>, StoreError> {
    match backend {
        Backend::Postgres(db) => db.advance(presented, from).await,
        Backend::Sqlite(_) => sqlite::advance(backend, presented, from).await,
    }
}

/// Looks at the session and, when the token was spent, ends it in the same step.
async fn look(backend: &Backend, presented: &Presented) -> Result<Option<Found>, StoreError> {
    match backend {
        Backend::Postgres(db) => db.look(presented).await,
        Backend::Sqlite(_) => sqlite::look(backend, presented).await,
    }
}
