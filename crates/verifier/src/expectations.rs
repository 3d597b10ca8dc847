//! What a service takes.

use std::time::Duration;

/// What a verifier accepts.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Expectations {
    /// The issuer (`iss`), compared byte for byte.
    pub issuer: String,
    /// This service's own identifier, which must be among the token's `aud`.
    pub audience: String,
    /// How old the knowledge of revocations may be for a token to be accepted by it.
    pub max_staleness: Duration,
}

impl Expectations {
    /// The tokens of `issuer` that are meant for `audience`, judged by what is known of revocations and
    /// is no older than `max_staleness`.
    #[must_use]
    pub fn new(
        issuer: impl Into<String>,
        audience: impl Into<String>,
        max_staleness: Duration,
    ) -> Self {
        Self { issuer: issuer.into(), audience: audience.into(), max_staleness }
    }
}
