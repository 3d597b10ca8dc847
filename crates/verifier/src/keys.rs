//! The keys that verify.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::DecodingKey;
use latchkey_claims::{Algorithm, Jwk, KeyId, strict_json};
use serde::Deserialize;
use serde_json::value::RawValue;
use tokio::sync::Notify;

/// The Ed25519 keys under which anybody can sign: the eight points whose order divides 8. Points
/// spelled in any other way are no keys to the crypto library.
const SMALL_ORDER: [&str; 8] = [
    "AQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
    "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
    "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAIA",
    "7P_______________________________________38",
    "JuiVj8KyJ7BFw_SJ8u-Y8NXfrAXTxjM5sTgCiG1T_AU",
    "JuiVj8KyJ7BFw_SJ8u-Y8NXfrAXTxjM5sTgCiG1T_IU",
    "xxdqcD1N2E-6PAt2DRBnDyogU_osOczGTsf9d5KsA3o",
    "xxdqcD1N2E-6PAt2DRBnDyogU_osOczGTsf9d5KsA_o",
];

/// Why a key set was refused as a whole.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeySetError {
    /// Not a JSON object with a `keys` array.
    #[error("not a JSON Web Key Set")]
    Malformed,
    /// Two keys claim one name, so neither can be trusted with it.
    #[error("two keys have the id {0}")]
    DuplicateKeyId(KeyId),
    /// Nothing in it can verify an access token.
    #[error("no usable key")]
    Empty,
}

/// A key set, parsed: each key bound to exactly one algorithm.
#[derive(Debug, Clone, Default)]
pub struct KeySet {
    keys: HashMap<KeyId, Arc<VerifyingKey>>,
}

/// One public key.
pub(crate) struct VerifyingKey {
    jwk: Jwk,
    decoding: DecodingKey,
}

impl std::fmt::Debug for VerifyingKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("VerifyingKey").field(&self.jwk.kid).field(&self.jwk.alg).finish()
    }
}

impl VerifyingKey {
    fn new(jwk: &Jwk) -> Option<Self> {
        let decoding = match (jwk.alg, jwk.kty.as_str(), jwk.crv.as_deref()) {
            (Algorithm::Es256, "EC", Some("P-256")) => {
                let (x, y) = (jwk.x.as_deref()?, jwk.y.as_deref()?);
                (length(x)? == 32 && length(y)? == 32).then_some(())?;
                DecodingKey::from_ec_components(x, y)
            }
            (Algorithm::EdDsa, "OKP", Some("Ed25519")) => {
                let x = jwk.x.as_deref()?;
                (length(x)? == 32 && !SMALL_ORDER.contains(&x)).then_some(())?;
                DecodingKey::from_ed_components(x)
            }
            (Algorithm::Rs256, "RSA", None) => {
                let (n, e) = (jwk.n.as_deref()?, jwk.e.as_deref()?);
                // RFC 7518 §3.3: at least 2048 bits; more than 8192 only costs time.
                (256..=1024).contains(&length(n)?).then_some(())?;
                DecodingKey::from_rsa_components(n, e)
            }
            _ => return None,
        };
        (jwk.usage == "sig").then_some(())?;
        Some(Self { jwk: jwk.clone(), decoding: decoding.ok()? })
    }

    pub(crate) fn algorithm(&self) -> Algorithm {
        self.jwk.alg
    }

    /// Whether `signature` (base64url) over `message` is by this key.
    pub(crate) fn signed(&self, message: &str, signature: &str) -> bool {
        let algorithm = match self.jwk.alg {
            Algorithm::Es256 => jsonwebtoken::Algorithm::ES256,
            Algorithm::EdDsa => jsonwebtoken::Algorithm::EdDSA,
            Algorithm::Rs256 => jsonwebtoken::Algorithm::RS256,
        };
        jsonwebtoken::crypto::verify(signature, message.as_bytes(), &self.decoding, algorithm)
            .unwrap_or(false)
    }
}

/// The length in bytes of what `text` encodes.
fn length(text: &str) -> Option<usize> {
    URL_SAFE_NO_PAD.decode(text).ok().map(|bytes| bytes.len())
}

impl KeySet {
    /// Reads a key set (RFC 7517 §5). Keys of a kind not known, without a `kid` or an `alg`, or not
    /// for signatures are passed over; one key id on two keys refuses the whole set.
    pub fn parse(json: &[u8]) -> Result<Self, KeySetError> {
        #[derive(Deserialize)]
        struct Document<'a> {
            #[serde(borrow)]
            keys: Vec<&'a RawValue>,
        }
        // A key set may hold many members; what matters here is that no name stands twice in a key.
        let document: Document<'_> =
            serde_json::from_slice(json).map_err(|_| KeySetError::Malformed)?;
        let mut jwks = Vec::new();
        for entry in document.keys {
            // As it was written: a parsed value has forgotten which names stood twice.
            if strict_json::check_object(entry.get().as_bytes()).is_ok()
                && let Ok(jwk) = serde_json::from_str(entry.get())
            {
                jwks.push(jwk);
            }
        }
        Self::from_jwks(&jwks)
    }

    /// The same from keys at hand.
    pub fn from_jwks(jwks: &[Jwk]) -> Result<Self, KeySetError> {
        let mut keys = HashMap::new();
        for jwk in jwks {
            let Some(key) = VerifyingKey::new(jwk) else { continue };
            if keys.insert(jwk.kid.clone(), Arc::new(key)).is_some() {
                return Err(KeySetError::DuplicateKeyId(jwk.kid.clone()));
            }
        }
        if keys.is_empty() { Err(KeySetError::Empty) } else { Ok(Self { keys }) }
    }

    /// How many keys it has.
    #[must_use]
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// Whether it has none, as before the first was loaded.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    fn keeps_all_of(&self, older: &Self) -> bool {
        older.keys.iter().all(|(kid, key)| self.keys.get(kid).is_some_and(|k| k.jwk == key.jwk))
    }
}

/// The key set in force, and the wish for a newer one.
#[derive(Debug, Default)]
pub struct Keys {
    current: RwLock<KeySet>,
    /// Raised when a key goes or changes, so that what was verified with it is verified again.
    epoch: AtomicU64,
    wanted: Notify,
    #[cfg(feature = "follow")]
    doubted: Notify,
}

impl Keys {
    /// Puts `set` in force.
    pub fn replace(&self, set: KeySet) {
        let mut current = self.current.write().unwrap_or_else(PoisonError::into_inner);
        if !set.keeps_all_of(&current) {
            self.epoch.fetch_add(1, Ordering::Release);
        }
        *current = set;
    }

    /// Whether a key set was loaded.
    #[must_use]
    pub fn loaded(&self) -> bool {
        !self.current.read().unwrap_or_else(PoisonError::into_inner).is_empty()
    }

    /// Says that the issuer may have other keys by now.
    #[cfg(feature = "follow")]
    pub(crate) fn doubt(&self) {
        self.doubted.notify_one();
    }

    /// Waits until somebody says so.
    #[cfg(feature = "follow")]
    pub(crate) async fn doubted(&self) {
        self.doubted.notified().await;
    }

    /// Waits until a token named a key that is not in the set.
    pub async fn wanted(&self) {
        self.wanted.notified().await;
    }

    pub(crate) fn epoch(&self) -> u64 {
        self.epoch.load(Ordering::Acquire)
    }

    /// The key of this name. An unknown name wakes whoever fetches key sets; how often they do is
    /// their business, so that invented names cost nothing (RFC 8725 §3.10).
    pub(crate) fn find(&self, kid: &KeyId) -> Option<Arc<VerifyingKey>> {
        let current = self.current.read().unwrap_or_else(PoisonError::into_inner);
        let found = current.keys.get(kid).cloned();
        if found.is_none() && !current.is_empty() {
            self.wanted.notify_one();
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EC: &str = r#"{"kty":"EC","use":"sig","alg":"ES256","kid":"a","crv":"P-256",
        "x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
        "y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}"#;

    #[test]
    fn what_is_not_understood_is_passed_over() {
        let set = format!(
            r#"{{"keys":[{EC},{{"kty":"oct","k":"AAAA","kid":"b"}},{{"kid":"c"}},
               {{"kty":"EC","use":"enc","alg":"ES256","kid":"d","crv":"P-256","x":"AA","y":"AA"}}]}}"#
        );
        assert_eq!(KeySet::parse(set.as_bytes()).unwrap().len(), 1);
    }

    #[test]
    fn one_name_on_two_keys_refuses_the_set() {
        let set = format!(r#"{{"keys":[{EC},{EC}]}}"#);
        let error = KeySet::parse(set.as_bytes()).unwrap_err();
        assert_eq!(error, KeySetError::DuplicateKeyId("a".parse().unwrap()));
    }

    #[test]
    fn a_key_that_goes_changes_the_epoch_and_one_that_comes_does_not() {
        let one = KeySet::parse(format!(r#"{{"keys":[{EC}]}}"#).as_bytes()).unwrap();
        let two = KeySet::parse(
            format!(r#"{{"keys":[{EC},{}]}}"#, EC.replace("\"a\"", "\"b\"")).as_bytes(),
        )
        .unwrap();
        let keys = Keys::default();
        keys.replace(one.clone());
        let before = keys.epoch();
        keys.replace(two);
        assert_eq!(keys.epoch(), before);
        keys.replace(one);
        assert_ne!(keys.epoch(), before);
    }
}
