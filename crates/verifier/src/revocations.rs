//! What was revoked, in memory, and how fresh that knowledge is.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};
use std::sync::{PoisonError, RwLock, RwLockReadGuard};
use std::time::Duration;

use latchkey_claims::{
    AccessTokenClaims, KeyId, RevocationEntry, Revoked, SessionId, Subject, Timestamp, TokenId,
};

use crate::clock::Clock;
use crate::rejection::Rejection;

/// The revocations known, each until no token it could kill is alive any more.
///
/// Entries are idempotent and only ever added; they leave by their own expiry, on the clock that
/// nobody can set. All durations on that clock come from [`Clock::elapsed`].
#[derive(Debug, Default)]
pub struct RevocationList {
    known: RwLock<Known>,
}

#[derive(Debug, Default)]
struct Known {
    sessions: HashMap<SessionId, Duration>,
    subjects: HashMap<Subject, (u32, Duration)>,
    tokens: HashMap<TokenId, Duration>,
    keys: HashSet<KeyId>,
    /// Everything revoked before this moment is in the list; `None` until that is so.
    complete_as_of: Option<Duration>,
    /// Knowledge from before this moment does not count.
    begun: Duration,
    /// The issuer's clock, and when it showed that.
    issuer_time: Option<(Timestamp, Duration)>,
    prune_at: Duration,
}

impl RevocationList {
    /// Adds entries at the moment `now`. Says whether any of them was not known.
    pub fn add<'a>(
        &self,
        entries: impl IntoIterator<Item = &'a RevocationEntry>,
        now: Duration,
    ) -> bool {
        let mut entries = entries.into_iter().peekable();
        if entries.peek().is_none() {
            return false;
        }
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        let before = known.len();
        let mut raised = false;
        for entry in entries {
            let until = match entry.expires_in {
                Some(seconds) => now.saturating_add(Duration::from_secs(seconds)),
                None => Duration::MAX,
            };
            raised |= known.add(&entry.revoked, until);
        }
        let news = raised || known.len() > before;
        known.prune(now);
        news
    }

    /// Says that everything revoked before `as_of` has been added, and what the issuer's clock
    /// showed at `now`.
    pub fn complete(&self, as_of: Duration, issuer_time: Timestamp, now: Duration) {
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        known.complete_as_of = known.complete_as_of.max(Some(as_of));
        known.issuer_time = Some((issuer_time, now));
        known.prune(now);
    }

    /// Says that following begins now: until everything revoked before this moment has been added,
    /// there is no knowledge. A service that starts accepts nothing that was revoked before.
    pub fn begin(&self, now: Duration) {
        self.known.write().unwrap_or_else(PoisonError::into_inner).begun = now;
    }

    /// How old the knowledge is; `None` when it was never complete.
    #[must_use]
    pub fn age(&self, now: Duration) -> Option<Duration> {
        self.known.read().unwrap_or_else(PoisonError::into_inner).age(now)
    }

    /// How many entries are remembered.
    #[must_use]
    pub fn len(&self) -> usize {
        self.known.read().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// Whether nothing is revoked.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What is known now. The moment is read under the lock, so it belongs to what is known: a thread
    /// that is stopped between two questions gets both answers as of then, not one from before and
    /// the other from after.
    pub(crate) fn at_this_moment(&self, clock: &Clock) -> Moment<'_> {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        Moment { known, own_time: clock.now(), now: clock.elapsed() }
    }
}

/// What is known at one moment; nothing is learnt while it is held.
pub(crate) struct Moment<'a> {
    known: RwLockReadGuard<'a, Known>,
    own_time: Timestamp,
    now: Duration,
}

impl Moment<'_> {
    /// The time to judge `exp` by: the later of the verifier's own clock and the issuer's, so that
    /// a verifier whose clock is behind does not keep dead tokens alive.
    pub(crate) fn time(&self) -> Timestamp {
        let issuer = self.known.issuer_time.map(|(time, at)| {
            let since = i64::try_from(self.now.saturating_sub(at).as_millis()).unwrap_or(i64::MAX);
            Timestamp(time.0.saturating_add(since))
        });
        issuer.map_or(self.own_time, |issuer| issuer.max(self.own_time))
    }

    /// How old the knowledge is; `None` when it was never complete.
    pub(crate) fn age(&self) -> Option<Duration> {
        self.known.age(self.now)
    }

    /// Refuses what was revoked.
    pub(crate) fn check(&self, claims: &AccessTokenClaims, key: &KeyId) -> Result<(), Rejection> {
        let known = &self.known;
        if known.keys.contains(key) {
            return Err(Rejection::KeyRevoked);
        }
        if claims.sid.is_some_and(|sid| known.sessions.contains_key(&sid)) {
            return Err(Rejection::SessionRevoked);
        }
        let subject = known.subjects.get(&claims.sub);
        let outdated =
            subject.is_some_and(|(min_version, _)| claims.sub_ver.unwrap_or(0) < *min_version);
        if outdated {
            return Err(Rejection::SubjectRevoked);
        }
        if known.tokens.contains_key(&claims.jti) {
            return Err(Rejection::TokenRevoked);
        }
        Ok(())
    }
}

impl Known {
    fn age(&self, now: Duration) -> Option<Duration> {
        let as_of = self.complete_as_of.filter(|as_of| *as_of >= self.begun);
        as_of.map(|as_of| now.saturating_sub(as_of))
    }

    fn len(&self) -> usize {
        self.sessions.len() + self.subjects.len() + self.tokens.len() + self.keys.len()
    }

    /// Whether it raised the version of a subject that was known.
    fn add(&mut self, revoked: &Revoked, until: Duration) -> bool {
        match revoked {
            Revoked::Session { id } => later(self.sessions.entry(*id), until),
            Revoked::Token { id } => later(self.tokens.entry(*id), until),
            Revoked::Subject { id, min_version } => {
                let subject = self.subjects.entry(id.clone()).or_insert((*min_version, until));
                let raised = subject.0 < *min_version;
                *subject = (subject.0.max(*min_version), subject.1.max(until));
                return raised;
            }
            Revoked::Key { id } => {
                self.keys.insert(id.clone());
            }
        }
        false
    }

    /// Forgets what no longer matters, at most once a minute: the walk holds the lock.
    fn prune(&mut self, now: Duration) {
        if now < self.prune_at {
            return;
        }
        self.prune_at = now + Duration::from_mins(1);
        self.sessions.retain(|_, until| *until > now);
        self.tokens.retain(|_, until| *until > now);
        self.subjects.retain(|_, (_, until)| *until > now);
    }
}

fn later<K>(entry: Entry<'_, K, Duration>, until: Duration) {
    let known = entry.or_insert(until);
    *known = (*known).max(until);
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn session(byte: u8, expires_in: u64) -> RevocationEntry {
        let id = SessionId::from_bytes([byte; 16]);
        RevocationEntry { revoked: Revoked::Session { id }, expires_in: Some(expires_in) }
    }

    #[test]
    fn an_entry_leaves_by_its_own_expiry_only() {
        let list = RevocationList::default();
        list.add(&[session(1, 100), session(2, 1000)], SECOND);
        list.add(&[session(1, 10)], SECOND * 2);
        list.complete(SECOND * 70, Timestamp(0), SECOND * 70);
        assert_eq!(list.len(), 2, "a shorter repeat does not shorten an entry");
        list.complete(SECOND * 140, Timestamp(0), SECOND * 140);
        assert_eq!(list.len(), 1);
    }

    #[test]
    fn completeness_never_runs_backwards() {
        let list = RevocationList::default();
        assert_eq!(list.age(SECOND), None);
        list.complete(SECOND * 5, Timestamp(0), SECOND * 6);
        list.complete(SECOND * 3, Timestamp(0), SECOND * 7);
        assert_eq!(list.age(SECOND * 8), Some(SECOND * 3));
    }

    #[test]
    fn what_was_known_before_following_began_does_not_count() {
        let list = RevocationList::default();
        list.begin(SECOND * 5);
        list.complete(SECOND * 4, Timestamp(0), SECOND * 6);
        assert_eq!(list.age(SECOND * 6), None);
        list.complete(SECOND * 5, Timestamp(0), SECOND * 7);
        assert_eq!(list.age(SECOND * 8), Some(SECOND * 3));
    }

    /// A thread that looked at the list before a revocation arrived, and at its age afterwards, once
    /// accepted what had been revoked long before, on knowledge that was fresh by then.
    #[test]
    fn nothing_is_learnt_within_a_moment() {
        let (list, clock) = (RevocationList::default(), Clock::default());
        let moment = list.at_this_moment(&clock);
        std::thread::scope(|scope| {
            let learning = scope.spawn(|| {
                list.add(&[session(1, 100)], clock.elapsed());
                list.complete(clock.elapsed(), Timestamp(0), clock.elapsed());
            });
            std::thread::sleep(Duration::from_millis(20));
            assert_eq!((moment.known.sessions.len(), moment.age()), (0, None));
            assert!(!learning.is_finished());
            drop(moment);
        });
        let moment = list.at_this_moment(&clock);
        assert_eq!(moment.known.sessions.len(), 1);
        assert!(moment.age().is_some_and(|age| age < SECOND));
    }

    #[test]
    fn a_clock_that_is_behind_is_corrected_by_the_issuers() {
        let list = RevocationList::default();
        list.complete(SECOND, Timestamp(100_000), SECOND);
        let time = |own_time, now| {
            let known = list.known.read().unwrap();
            Moment { known, own_time, now }.time()
        };
        assert_eq!(time(Timestamp(50_000), SECOND * 4), Timestamp(103_000));
        assert_eq!(time(Timestamp(200_000), SECOND * 4), Timestamp(200_000));
    }
}
