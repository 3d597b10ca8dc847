//! A request that was let in.

use std::sync::Arc;
use std::time::Duration;

use crate::challenge::Challenge;
use crate::denial::Denial;
use crate::protection::Protection;
use crate::verified::Verified;

/// A verified bearer token, and the protection that let it in.
///
/// With the features `actix` and `axum` it is an extractor: a handler that has it among its arguments
/// runs only for a token that is good now.
#[derive(Debug, Clone)]
pub struct Bearer {
    verified: Arc<Verified>,
    protection: Arc<Protection>,
}

impl Bearer {
    /// Verifies what a request carries: the values of its `Authorization` headers.
    ///
    /// # Errors
    /// The answer to a request that may not go on.
    pub fn read<'a>(
        protection: &Arc<Protection>,
        authorization: impl IntoIterator<Item = &'a [u8]>,
    ) -> Result<Self, Challenge> {
        match protection.authenticate(authorization) {
            Ok(verified) => Ok(Self { verified, protection: Arc::clone(protection) }),
            Err(why) => Err(protection.challenge(why)),
        }
    }

    /// What was verified.
    #[must_use]
    pub fn verified(&self) -> &Verified {
        &self.verified
    }

    /// Goes on only where the token allows what `scope` names.
    ///
    /// # Errors
    /// The answer 403, which names the scope.
    pub fn require_scope(&self, scope: &'static str) -> Result<(), Challenge> {
        if self.verified.has_scope(scope) {
            Ok(())
        } else {
            Err(self.protection.challenge(Denial::InsufficientScope(scope)))
        }
    }

    /// Goes on only where the person logged in at most `max_age` ago (RFC 9470).
    ///
    /// # Errors
    /// The answer 401, which asks for a more recent login.
    pub fn require_recent_login(&self, max_age: Duration) -> Result<(), Challenge> {
        let now = self.protection.verifier().now().unix_seconds();
        let recent = |auth_time: u64| now.saturating_sub(auth_time) <= max_age.as_secs();
        if self.verified.claims().auth_time.is_some_and(recent) {
            Ok(())
        } else {
            Err(self.protection.challenge(Denial::LoginTooOld(max_age)))
        }
    }

    /// Seconds until the token ends.
    #[must_use]
    pub fn expires_in(&self) -> u64 {
        let now = self.protection.verifier().now().unix_seconds();
        self.verified.claims().exp.saturating_sub(now)
    }
}
