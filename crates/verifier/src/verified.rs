//! The proof that a token was verified.

use latchkey_claims::{AccessTokenClaims, KeyId};

/// The claims of a token that was verified. Only [`Verifier::verify`](crate::Verifier::verify)
/// makes one, so whoever holds it need not ask again what was checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified {
    claims: AccessTokenClaims,
    key: KeyId,
}

impl Verified {
    pub(crate) fn new(claims: AccessTokenClaims, key: KeyId) -> Self {
        Self { claims, key }
    }

    /// What the token says.
    #[must_use]
    pub fn claims(&self) -> &AccessTokenClaims {
        &self.claims
    }

    /// The key that signed it.
    #[must_use]
    pub fn key(&self) -> &KeyId {
        &self.key
    }

    /// Whether it allows what `scope` names.
    #[must_use]
    pub fn has_scope(&self, scope: &str) -> bool {
        self.claims.scope.as_ref().is_some_and(|granted| granted.contains(scope))
    }
}
