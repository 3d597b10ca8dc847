//! How a service protects its routes: its verifier, and what it says to who may not come in.

use std::sync::Arc;

use crate::challenge::{Challenge, Names};
use crate::denial::Denial;
use crate::presented::PresentedToken;
use crate::rejection::Rejection;
use crate::verified::Verified;
use crate::verify::Verifier;

/// A verifier, and how this service answers what it denies.
#[derive(Debug)]
pub struct Protection {
    verifier: Arc<Verifier>,
    names: Arc<Names>,
}

impl Protection {
    /// Protects with `verifier`. `realm` names the service in challenges (RFC 9110 §11.5);
    /// `resource_metadata` is the address of the RFC 9728 document, where there is one. Both must be free
    /// of quotes and backslashes, which are left out.
    #[must_use]
    pub fn new(verifier: Arc<Verifier>, realm: &str, resource_metadata: Option<&str>) -> Self {
        let quotable = |text: &str| text.replace(['"', '\\'], "");
        let names = Names {
            realm: quotable(realm),
            resource_metadata: resource_metadata.map(quotable),
            issuer: verifier.expectations().issuer.clone(),
        };
        Self { verifier, names: Arc::new(names) }
    }

    /// The verifier.
    #[must_use]
    pub fn verifier(&self) -> &Arc<Verifier> {
        &self.verifier
    }

    /// Verifies what a request carries: the values of its `Authorization` headers. A token anywhere
    /// else, the query above all, must not be looked at (RFC 6750 §2, OAuth 2.1 §5.1).
    ///
    /// # Errors
    /// Why the request may not go on; [`challenge`](Self::challenge) makes the answer of it.
    pub fn authenticate<'a>(
        &self,
        authorization: impl IntoIterator<Item = &'a [u8]>,
    ) -> Result<Arc<Verified>, Denial> {
        let token =
            str::from_utf8(bearer_token(authorization)?).map_err(|_| Rejection::Characters)?;
        Ok(self.verifier.verify(&PresentedToken::bearer(token))?)
    }

    /// The answer of this service to a request that is denied for this reason: a [`Denial`], or a
    /// [`Rejection`] of the verifier.
    #[must_use]
    pub fn challenge(&self, why: impl Into<Denial>) -> Challenge {
        Challenge::new(why.into(), &self.names)
    }
}

/// The bearer token of a request, not yet verified, from the values of its `Authorization` headers.
/// Everything that reads such a header reads it here.
///
/// The grammar is that of RFC 6750 §2.1 and RFC 9110 §11.1: the scheme in any case, then one or more
/// spaces, then the token. A token that is missing after the scheme is an empty one.
///
/// # Errors
/// [`Denial::NoCredential`] without a header or with another scheme, [`Denial::TwoCredentials`]
/// when the header was sent twice.
pub fn bearer_token<'a>(
    authorization: impl IntoIterator<Item = &'a [u8]>,
) -> Result<&'a [u8], Denial> {
    let mut headers = authorization.into_iter();
    let header = headers.next().ok_or(Denial::NoCredential)?;
    if headers.next().is_some() {
        return Err(Denial::TwoCredentials);
    }
    let end = header.iter().position(|byte| *byte == b' ').unwrap_or(header.len());
    let (scheme, rest) = header.split_at(end);
    if !scheme.eq_ignore_ascii_case(b"bearer") {
        return Err(Denial::NoCredential);
    }
    let spaces = rest.iter().take_while(|byte| **byte == b' ').count();
    Ok(&rest[spaces..])
}
