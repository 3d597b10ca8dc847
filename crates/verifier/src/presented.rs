//! What a caller presents.

use std::fmt;

/// A credential as it was presented, for [`Verifier::verify`](crate::Verifier::verify).
///
/// Today that is an access token. The type has room for a proof that the caller holds the key to which
/// the token is bound (`DPoP`, RFC 9449; mutual TLS, RFC 8705): such a proof will come as another
/// constructor, and what calls `verify` stays as it is.
#[derive(Clone, Copy)]
pub struct PresentedToken<'a> {
    token: &'a str,
}

impl<'a> PresentedToken<'a> {
    /// An access token and nothing else (RFC 6750). A token that is bound to a key (`cnf`) is refused.
    #[must_use]
    pub const fn bearer(token: &'a str) -> Self {
        Self { token }
    }

    pub(crate) const fn token(self) -> &'a str {
        self.token
    }
}

impl fmt::Debug for PresentedToken<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PresentedToken").finish_non_exhaustive()
    }
}
