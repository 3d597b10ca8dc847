//! Tells whoever runs a service that it and the issuer were set up differently. A client is told one text for every
//! reason, so that without this a wrong audience looks like a bad token, for ever.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use latchkey_claims::AccessTokenClaims;

use crate::expectations::Expectations;
use crate::rejection::Rejection;

/// A line for each reason, at the most once in this time: one is enough to mend it, and nobody can fill a log.
const EVERY: Duration = Duration::from_mins(1);

/// What was told of, and when.
#[derive(Debug, Default)]
pub(crate) struct Mismatches(Mutex<HashMap<Rejection, Told>>);

#[derive(Debug)]
struct Told {
    at: Duration,
    /// Since then.
    refused: u64,
}

impl Mismatches {
    /// A token that one of the known keys signed, and that is refused for what it says. What it says is
    /// therefore the issuer's own text.
    pub(crate) fn claims(
        &self,
        why: Rejection,
        claims: &AccessTokenClaims,
        expected: &Expectations,
        now: Duration,
    ) {
        let (what, found, wanted) = match why {
            Rejection::Issuer => ("issuer", format!("{:?}", claims.iss), &expected.issuer),
            Rejection::Audience => ("audience", claims.aud.to_string(), &expected.audience),
            _ => return,
        };
        let Some(refused) = self.due(why, now) else { return };
        tracing::warn!(
            reason = why.label(),
            refused,
            "a token is refused: its {what} is {found}, and this service is set up for {wanted:?}"
        );
    }

    /// Any other token; nothing of it is believed.
    pub(crate) fn token(&self, why: Rejection, now: Duration) {
        let told = match why {
            Rejection::UnknownKey => {
                "a token is refused: the key that it names is not in the key set; was it made by another issuer?"
            }
            Rejection::IssuedInFuture => {
                "a token is refused: it was issued in the future; see to the clocks of this machine and of the issuer"
            }
            _ => return,
        };
        let Some(refused) = self.due(why, now) else { return };
        tracing::info!(reason = why.label(), refused, "{told}");
    }

    /// How many were refused for this reason since the last line, this one included, if another line is due.
    fn due(&self, why: Rejection, now: Duration) -> Option<u64> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(told) = all.get_mut(&why) else {
            all.insert(why, Told { at: now, refused: 0 });
            return Some(1);
        };
        told.refused += 1;
        if now < told.at + EVERY {
            return None;
        }
        told.at = now;
        Some(std::mem::take(&mut told.refused))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_reason_is_told_once_a_minute_with_how_many_there_were() {
        let mismatches = Mismatches::default();
        let due = |why, seconds| mismatches.due(why, Duration::from_secs(seconds));
        assert_eq!(due(Rejection::Audience, 100), Some(1));
        assert_eq!(due(Rejection::Audience, 100), None);
        assert_eq!(due(Rejection::Issuer, 101), Some(1));
        assert_eq!(due(Rejection::Audience, 159), None);
        assert_eq!(due(Rejection::Audience, 160), Some(3));
        assert_eq!(due(Rejection::Audience, 161), None);
    }
}
