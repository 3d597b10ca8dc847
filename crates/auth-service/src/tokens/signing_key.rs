//! Signing keys: made here, ready to sign, published as public keys only.

use aws_lc_rs::encoding::{AsDer as _, Pkcs8V1Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _, RSA_PKCS1_SHA256,
    RsaKeyPair,
};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use claims::{Algorithm, Jwk, KeyId};
use zeroize::Zeroizing;

use crate::identity::random;

/// The stored key cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the signing key {0} is damaged")]
pub struct DamagedKey(pub KeyId);

/// A key that signs access tokens, parsed once: parsing costs as much as signing.
pub struct SigningKey {
    jwk: Jwk,
    pair: Pair,
    random: SystemRandom,
}

enum Pair {
    Es256(EcdsaKeyPair),
    EdDsa(Ed25519KeyPair),
    Rs256(Box<RsaKeyPair>),
}

impl std::fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("SigningKey").field(&self.jwk.kid).field(&self.jwk.alg).finish()
    }
}

impl SigningKey {
    /// A new key, and its PKCS#8 form to be sealed and stored.
    ///
    /// # Panics
    /// When the operating system gives no randomness.
    #[must_use]
    pub fn generate(algorithm: Algorithm) -> (Self, Zeroizing<Vec<u8>>) {
        let random = SystemRandom::new();
        let document = match algorithm {
            Algorithm::Es256 => {
                let alg = &ECDSA_P256_SHA256_FIXED_SIGNING;
                EcdsaKeyPair::generate_pkcs8(alg, &random).map(|der| der.as_ref().to_vec())
            }
            Algorithm::EdDsa => {
                Ed25519KeyPair::generate_pkcs8(&random).map(|der| der.as_ref().to_vec())
            }
            // 3072 bits: 128 bits of strength (ASVS 11.2.3).
            Algorithm::Rs256 => RsaKeyPair::generate(KeySize::Rsa3072).and_then(|pair| {
                let der: Pkcs8V1Der<'_> = pair.as_der()?;
                Ok(der.as_ref().to_vec())
            }),
        };
        let pkcs8 = Zeroizing::new(document.expect("the operating system gives randomness"));
        let id = URL_SAFE_NO_PAD.encode(random::bytes::<12>());
        let id: KeyId = id.parse().expect("base64url is a key id");
        let key = Self::from_pkcs8(id, algorithm, &pkcs8).expect("a new key is whole");
        (key, pkcs8)
    }

    /// The key that was stored in this form.
    pub fn from_pkcs8(id: KeyId, alg: Algorithm, pkcs8: &[u8]) -> Result<Self, DamagedKey> {
        let damaged = || DamagedKey(id.clone());
        let (pair, public) = match alg {
            Algorithm::Es256 => {
                let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8)
                    .map_err(|_| damaged())?;
                let point = pair.public_key().as_ref().to_vec();
                // The uncompressed form: 4, x, y.
                let (x, y) = point.get(1..).unwrap_or_default().split_at(32);
                let public = Public::curve("EC", "P-256", x, Some(y));
                (Pair::Es256(pair), public)
            }
            Algorithm::EdDsa => {
                let pair = Ed25519KeyPair::from_pkcs8(pkcs8).map_err(|_| damaged())?;
                let public = Public::curve("OKP", "Ed25519", pair.public_key().as_ref(), None);
                (Pair::EdDsa(pair), public)
            }
            Algorithm::Rs256 => {
                let pair = RsaKeyPair::from_pkcs8(pkcs8).map_err(|_| damaged())?;
                let key = pair.public_key();
                let n = key.modulus().big_endian_without_leading_zero();
                let e = key.exponent().big_endian_without_leading_zero();
                let public = Public::rsa(n, e);
                (Pair::Rs256(Box::new(pair)), public)
            }
        };
        let jwk = public.into_jwk(id, alg);
        Ok(Self { jwk, pair, random: SystemRandom::new() })
    }

    /// The public key, as published.
    #[must_use]
    pub fn jwk(&self) -> &Jwk {
        &self.jwk
    }

    /// Signs `message` (RFC 7515 §5.1).
    ///
    /// # Panics
    /// When the operating system gives no randomness.
    #[must_use]
    pub fn sign(&self, message: &[u8]) -> Vec<u8> {
        match &self.pair {
            Pair::Es256(pair) => {
                let signature = pair.sign(&self.random, message);
                signature.expect("the operating system gives randomness").as_ref().to_vec()
            }
            Pair::EdDsa(pair) => pair.sign(message).as_ref().to_vec(),
            Pair::Rs256(pair) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(&RSA_PKCS1_SHA256, &self.random, message, &mut signature)
                    .expect("the signature has the key's length");
                signature
            }
        }
    }
}

/// The members of a public key that depend on its type.
struct Public {
    kty: &'static str,
    crv: Option<&'static str>,
    x: Option<String>,
    y: Option<String>,
    n: Option<String>,
    e: Option<String>,
}

impl Public {
    fn curve(kty: &'static str, crv: &'static str, x: &[u8], y: Option<&[u8]>) -> Self {
        let (x, y) = (Some(encode(x)), y.map(encode));
        Self { kty, crv: Some(crv), x, y, n: None, e: None }
    }

    fn rsa(n: &[u8], e: &[u8]) -> Self {
        let (n, e) = (Some(encode(n)), Some(encode(e)));
        Self { kty: "RSA", crv: None, x: None, y: None, n, e }
    }

    fn into_jwk(self, kid: KeyId, alg: Algorithm) -> Jwk {
        Jwk {
            kty: self.kty.to_owned(),
            usage: "sig".to_owned(),
            alg,
            kid,
            crv: self.crv.map(str::to_owned),
            x: self.x,
            y: self.y,
            n: self.n,
            e: self.e,
        }
    }
}

fn encode(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_survives_storage_and_says_the_same_of_itself() {
        for algorithm in [Algorithm::Es256, Algorithm::EdDsa, Algorithm::Rs256] {
            let (key, pkcs8) = SigningKey::generate(algorithm);
            let again = SigningKey::from_pkcs8(key.jwk().kid.clone(), algorithm, &pkcs8).unwrap();
            assert_eq!(again.jwk(), key.jwk());
            assert!(verifier::KeySet::from_jwks(&[again.jwk().clone()]).is_ok(), "{algorithm:?}");
        }
    }
}
