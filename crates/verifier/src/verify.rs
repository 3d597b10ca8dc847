//! The one function in the system that decides whether an access token is good.
//!
//! The order is fixed: cheap checks first, nothing believed before the signature, and the answer
//! "I cannot know" only in place of an acceptance. The `jsonwebtoken` crate does the cryptography
//! and nothing else: by itself it accepts a wrong `typ`, unknown `crit`, repeated members and
//! tokens of a megabyte.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use latchkey_claims::time::{LEEWAY_SECONDS, LIFETIME_CAP_SECONDS};
use latchkey_claims::{AccessTokenClaims, Algorithm, KeyId, Timestamp, access_token, strict_json};
use serde::Deserialize;
use tracing::field::Empty;

use crate::cache::TokenCache;
use crate::clock::Clock;
use crate::expectations::Expectations;
use crate::keys::Keys;
use crate::mismatch::Mismatches;
use crate::presented::PresentedToken;
use crate::rejection::Rejection;
use crate::revocations::RevocationList;
use crate::verified::Verified;

/// The target of spans that belong in a trace of the request; programs of Latchkey send such spans where they are
/// told to.
const SPANS: &str = "latchkey::trace";
const MAX_HEADER_BYTES: usize = 512;

/// Decides whether access tokens are good, without asking anybody.
///
/// It knows what it was told: a key set ([`Verifier::keys`]) and revocations
/// ([`Verifier::revocations`]). Whoever owns it keeps both current; the feature `follow` does so
/// over HTTP.
#[derive(Debug)]
pub struct Verifier {
    expectations: Expectations,
    keys: Keys,
    revocations: RevocationList,
    cache: TokenCache,
    mismatches: Mismatches,
    clock: Clock,
}

impl Verifier {
    /// A verifier that knows no key yet and therefore accepts nothing.
    #[must_use]
    pub fn new(expectations: Expectations, clock: Clock) -> Self {
        Self {
            expectations,
            keys: Keys::default(),
            revocations: RevocationList::default(),
            cache: TokenCache::new(),
            mismatches: Mismatches::default(),
            clock,
        }
    }

    /// Verifies what was presented. Does no I/O and never waits.
    ///
    /// Where this service and the issuer seem to be set up differently, the log (`tracing`) says so, at the most once
    /// a minute for each reason: another issuer or audience, with both, a key that is not in the key set, a clock
    /// that is behind.
    pub fn verify(&self, presented: &PresentedToken<'_>) -> Result<Arc<Verified>, Rejection> {
        let span = tracing::debug_span!(target: SPANS, "verify access token", error.type = Empty);
        let outcome = span.in_scope(|| self.judge(presented.token()));
        if let Err(rejection) = &outcome {
            span.record("error.type", rejection.label());
            metrics::counter!("latchkey_tokens_rejected_total", "reason" => rejection.label())
                .increment(1);
            self.mismatches.token(*rejection, self.clock.elapsed());
        }
        outcome
    }

    /// Whether a token could be accepted now.
    pub fn ready(&self) -> Result<(), Rejection> {
        if !self.keys.loaded() {
            return Err(Rejection::NoKeys);
        }
        self.check_fresh(self.revocation_age())
    }

    /// The keys it trusts.
    #[must_use]
    pub fn keys(&self) -> &Keys {
        &self.keys
    }

    /// The revocations it knows.
    #[must_use]
    pub fn revocations(&self) -> &RevocationList {
        &self.revocations
    }

    /// What it accepts.
    #[must_use]
    pub fn expectations(&self) -> &Expectations {
        &self.expectations
    }

    /// The clock it judges by.
    #[must_use]
    pub fn clock(&self) -> &Clock {
        &self.clock
    }

    /// The time it judges by: the later of its own clock and the issuer's, as far as that is known,
    /// so that a clock that is behind does not keep dead tokens and old logins alive.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.revocations.at_this_moment(&self.clock).time()
    }

    /// How old its knowledge of revocations is.
    #[must_use]
    pub fn revocation_age(&self) -> Option<Duration> {
        self.revocations.age(self.clock.elapsed())
    }

    fn judge(&self, token: &str) -> Result<Arc<Verified>, Rejection> {
        // Read before the key is looked up: should the key go in between, the entry is stale.
        let epoch = self.keys.epoch();
        let known = self.cache.get(token, epoch);
        let verified = match &known {
            Some(verified) => Arc::clone(verified),
            None => Arc::new(self.check_form(token)?),
        };
        // Whatever can change is judged as of one moment; the cache is looked after when it is over.
        let (timely, good) = {
            let moment = self.revocations.at_this_moment(&self.clock);
            let good = moment.check(verified.claims(), verified.key());
            let good = good.and_then(|()| self.check_fresh(moment.age()));
            (check_time(verified.claims(), moment.time()), good)
        };
        if let Err(rejection) = timely {
            self.cache.forget(token);
            return Err(rejection);
        }
        if known.is_none() {
            self.cache.insert(token, Arc::clone(&verified), epoch);
        }
        good.map(|()| verified)
    }

    /// Everything about a token that cannot change while its key is trusted.
    fn check_form(&self, token: &str) -> Result<Verified, Rejection> {
        let (signed, header, claims, signature) = segments(token)?;
        let header = Header::read(header)?;
        let Some(key) = self.keys.find(&header.kid) else {
            let known = self.keys.loaded();
            return Err(if known { Rejection::UnknownKey } else { Rejection::NoKeys });
        };
        if key.algorithm() != header.alg {
            return Err(Rejection::KeyAlgorithm);
        }
        if !key.signed(signed, signature) {
            return Err(Rejection::Signature);
        }
        let claims = URL_SAFE_NO_PAD.decode(claims).map_err(|_| Rejection::Claims)?;
        strict_json::check_object(&claims)?;
        let claims: AccessTokenClaims =
            serde_json::from_slice(&claims).map_err(|_| Rejection::ClaimType)?;
        self.check_claims(&claims).inspect_err(|why| {
            self.mismatches.claims(*why, &claims, &self.expectations, self.clock.elapsed());
        })?;
        Ok(Verified::new(claims, header.kid))
    }

    fn check_claims(&self, claims: &AccessTokenClaims) -> Result<(), Rejection> {
        if claims.iss != self.expectations.issuer {
            return Err(Rejection::Issuer);
        }
        if !claims.aud.contains(&self.expectations.audience) {
            return Err(Rejection::Audience);
        }
        let lifetime = claims.exp.checked_sub(claims.iat);
        if !lifetime.is_some_and(|seconds| (1..=LIFETIME_CAP_SECONDS).contains(&seconds)) {
            return Err(Rejection::Lifetime);
        }
        // A session without a subject version could not be ended by logging out everywhere.
        if claims.sid.is_some() != claims.sub_ver.is_some() {
            return Err(Rejection::ClaimType);
        }
        if claims.cnf.is_some() {
            return Err(Rejection::Bound);
        }
        Ok(())
    }

    fn check_fresh(&self, age: Option<Duration>) -> Result<(), Rejection> {
        match age {
            Some(age) if age <= self.expectations.max_staleness => Ok(()),
            _ => Err(Rejection::Stale),
        }
    }
}

fn check_time(claims: &AccessTokenClaims, now: Timestamp) -> Result<(), Rejection> {
    let now = now.unix_seconds();
    if now >= claims.exp.saturating_add(LEEWAY_SECONDS) {
        return Err(Rejection::Expired);
    }
    if claims.iat > now.saturating_add(LEEWAY_SECONDS) {
        return Err(Rejection::IssuedInFuture);
    }
    if claims.nbf.is_some_and(|nbf| nbf > now.saturating_add(LEEWAY_SECONDS)) {
        return Err(Rejection::NotYetValid);
    }
    Ok(())
}

/// What is signed, and the three segments of a token that has the shape of one.
fn segments(token: &str) -> Result<(&str, &str, &str, &str), Rejection> {
    if token.len() > access_token::MAX_BYTES {
        return Err(Rejection::TooLong);
    }
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.');
    if !token.bytes().all(legal) {
        return Err(Rejection::Characters);
    }
    let (signed, signature) = token.rsplit_once('.').ok_or(Rejection::Segments)?;
    let (header, claims) = signed.split_once('.').ok_or(Rejection::Segments)?;
    if claims.contains('.') || [header, claims, signature].contains(&"") {
        return Err(Rejection::Segments);
    }
    Ok((signed, header, claims, signature))
}

/// The header of an access token: three members and no others.
struct Header {
    alg: Algorithm,
    kid: KeyId,
}

impl Header {
    fn read(segment: &str) -> Result<Self, Rejection> {
        #[derive(Deserialize)]
        struct Members {
            alg: Option<serde_json::Value>,
            typ: Option<serde_json::Value>,
            kid: Option<serde_json::Value>,
            #[serde(flatten)]
            others: serde_json::Map<String, serde_json::Value>,
        }
        if segment.len() > MAX_HEADER_BYTES {
            return Err(Rejection::Header);
        }
        let json = URL_SAFE_NO_PAD.decode(segment).map_err(|_| Rejection::Header)?;
        strict_json::check_object(&json).map_err(|_| Rejection::HeaderJson)?;
        let members: Members = serde_json::from_slice(&json).map_err(|_| Rejection::HeaderJson)?;
        if !members.others.is_empty() {
            return Err(Rejection::HeaderMember);
        }
        let text = |member: &Option<serde_json::Value>| {
            member.as_ref().and_then(|value| value.as_str()).map(str::to_owned)
        };
        if !text(&members.typ).is_some_and(|typ| is_access_token_type(&typ)) {
            return Err(Rejection::Type);
        }
        let alg = text(&members.alg).and_then(|name| Algorithm::from_name(&name));
        let kid = text(&members.kid).and_then(|kid| kid.parse().ok());
        Ok(Self { alg: alg.ok_or(Rejection::Algorithm)?, kid: kid.ok_or(Rejection::KeyId)? })
    }
}

/// RFC 9068 §4 and RFC 7515 §4.1.9: any case, and with or without `application/`.
fn is_access_token_type(typ: &str) -> bool {
    let typ = typ.to_ascii_lowercase();
    typ.strip_prefix("application/").unwrap_or(&typ) == access_token::TYP
}
