//! A mint that signs whatever it is given with real keys, and a service that judges the result.
//!
//! A hostile token with a bad signature proves only that signatures are checked. Everything here is
//! therefore signed well, unless the signature itself is the hostile part.

#![allow(dead_code, reason = "each test file uses its own part of this")]

use std::fmt::Debug;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use aws_lc_rs::encoding::AsDer as _;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _, RSA_PKCS1_SHA256,
    RsaEncoding, RsaKeyPair,
};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use latchkey_claims::{Algorithm, Jwk, RevocationEntry, Revoked};
use latchkey_verifier::{Clock, Expectations, KeySet, PresentedToken, Rejection, Verifier};
use serde_json::{Value, json};

pub(crate) const ISSUER: &str = "https://auth.example.com";
pub(crate) const AUDIENCE: &str = "https://api.example.com";
pub(crate) const SUBJECT: &str = "01939f3e-6b7a-7c11-9d52-0f3a5be0c1a4";
pub(crate) const SESSION: &str = "Yc3kq0tJ4mN8pR2sW6xZ1g";
pub(crate) const TOKEN: &str = "0KX9m1Qf3b7Rk2Yt8sVw5A";
pub(crate) const SUBJECT_VERSION: u32 = 3;

pub(crate) const ALGORITHMS: [Algorithm; 3] =
    [Algorithm::Es256, Algorithm::EdDsa, Algorithm::Rs256];

/// One key for each algorithm, and the hand that signs with them.
pub(crate) struct Mint {
    pub(crate) es256: EcdsaKeyPair,
    pub(crate) ed25519: Ed25519KeyPair,
    pub(crate) rs256: RsaKeyPair,
}

impl Mint {
    pub(crate) fn new() -> Self {
        Self {
            es256: EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap(),
            ed25519: Ed25519KeyPair::generate().unwrap(),
            rs256: RsaKeyPair::generate(KeySize::Rsa2048).unwrap(),
        }
    }

    /// The issuer's own.
    pub(crate) fn real() -> &'static Self {
        static REAL: LazyLock<Mint> = LazyLock::new(Mint::new);
        &REAL
    }

    /// Of somebody who chose the same names for their keys.
    pub(crate) fn foreign() -> &'static Self {
        static FOREIGN: LazyLock<Mint> = LazyLock::new(Mint::new);
        &FOREIGN
    }

    pub(crate) fn sign(&self, algorithm: Algorithm, message: &[u8]) -> Vec<u8> {
        match algorithm {
            Algorithm::Es256 => {
                self.es256.sign(&SystemRandom::new(), message).unwrap().as_ref().to_vec()
            }
            Algorithm::EdDsa => self.ed25519.sign(message).as_ref().to_vec(),
            Algorithm::Rs256 => self.sign_rsa(&RSA_PKCS1_SHA256, message),
        }
    }

    pub(crate) fn sign_rsa(&self, padding: &'static dyn RsaEncoding, message: &[u8]) -> Vec<u8> {
        let mut signature = vec![0; self.rs256.public_modulus_len()];
        self.rs256.sign(padding, &SystemRandom::new(), message, &mut signature).unwrap();
        signature
    }

    /// Signs any header text over any payload bytes.
    pub(crate) fn token(
        &self,
        algorithm: Algorithm,
        header: &str,
        payload: impl AsRef<[u8]>,
    ) -> String {
        self.token_of_segments(algorithm, &encode(header), &encode(payload))
    }

    /// Signs two segments as they stand, whatever they hold.
    pub(crate) fn token_of_segments(
        &self,
        algorithm: Algorithm,
        header: &str,
        payload: &str,
    ) -> String {
        let signed = format!("{header}.{payload}");
        let signature = encode(self.sign(algorithm, signed.as_bytes()));
        format!("{signed}.{signature}")
    }

    pub(crate) fn jwk(&self, algorithm: Algorithm) -> Jwk {
        let (kty, members) = match algorithm {
            Algorithm::Es256 => {
                let point = self.es256.public_key().as_ref();
                let (x, y) = (encode(&point[1..33]), encode(&point[33..]));
                ("EC", json!({"crv": "P-256", "x": x, "y": y}))
            }
            Algorithm::EdDsa => {
                ("OKP", json!({"crv": "Ed25519", "x": encode(self.ed25519.public_key())}))
            }
            Algorithm::Rs256 => ("RSA", json!({"n": encode(self.modulus()), "e": "AQAB"})),
        };
        let jwk = with(&members, "kty", kty);
        let jwk = with(&with(&jwk, "use", "sig"), "alg", algorithm.as_str());
        serde_json::from_value(with(&jwk, "kid", kid(algorithm))).unwrap()
    }

    pub(crate) fn jwks(&self) -> Vec<Jwk> {
        ALGORITHMS.map(|algorithm| self.jwk(algorithm)).to_vec()
    }

    /// What `jwks_uri` would answer.
    pub(crate) fn key_set_json(&self) -> String {
        json!({"keys": self.jwks()}).to_string()
    }

    pub(crate) fn public_der(&self, algorithm: Algorithm) -> Vec<u8> {
        let der = match algorithm {
            Algorithm::Es256 => self.es256.public_key().as_der(),
            Algorithm::EdDsa => self.ed25519.public_key().as_der(),
            Algorithm::Rs256 => self.rs256.public_key().as_der(),
        };
        der.unwrap().as_ref().to_vec()
    }

    pub(crate) fn public_raw(&self, algorithm: Algorithm) -> Vec<u8> {
        match algorithm {
            Algorithm::Es256 => self.es256.public_key().as_ref().to_vec(),
            Algorithm::EdDsa => self.ed25519.public_key().as_ref().to_vec(),
            Algorithm::Rs256 => self.modulus().to_vec(),
        }
    }

    /// The modulus, out of `SEQUENCE { INTEGER n, INTEGER e }` (RFC 8017 §A.1.1).
    pub(crate) fn modulus(&self) -> &[u8] {
        let der = self.rs256.public_key().as_ref();
        assert_eq!(der[..9], [0x30, 0x82, 0x01, 0x0a, 0x02, 0x82, 0x01, 0x01, 0x00]);
        &der[9..9 + 256]
    }
}

pub(crate) fn encode(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

pub(crate) fn decode(segment: &str) -> Vec<u8> {
    URL_SAFE_NO_PAD.decode(segment).unwrap()
}

/// The name of the key for an algorithm.
pub(crate) fn kid(algorithm: Algorithm) -> String {
    format!("k-{}", algorithm.as_str())
}

/// A good header for an algorithm.
pub(crate) fn header(algorithm: Algorithm) -> Value {
    json!({"alg": algorithm.as_str(), "typ": "at+jwt", "kid": kid(algorithm)})
}

/// Good claims of a token issued at `now` for ten minutes.
pub(crate) fn claims_at(now: u64) -> Value {
    json!({
        "iss": ISSUER, "sub": SUBJECT, "aud": AUDIENCE, "client_id": "web",
        "iat": now, "exp": now + 600, "jti": TOKEN, "sid": SESSION, "sub_ver": SUBJECT_VERSION,
        "scope": "profile orders:read", "auth_time": now - 10, "amr": ["pwd"],
    })
}

/// These claims under a good header, signed.
pub(crate) fn token_of(algorithm: Algorithm, claims: &Value) -> String {
    Mint::real().token(algorithm, &header(algorithm).to_string(), claims.to_string())
}

pub(crate) fn with(object: &Value, name: &str, value: impl Into<Value>) -> Value {
    let mut object = object.clone();
    object[name] = value.into();
    object
}

pub(crate) fn without(object: &Value, name: &str) -> Value {
    let mut object = object.clone();
    object.as_object_mut().unwrap().remove(name).unwrap();
    object
}

/// The object's text with more members, which may repeat names, written before or after its own.
pub(crate) fn first(members: &str, object: &Value) -> String {
    format!("{{{members},{}", &object.to_string()[1..])
}

pub(crate) fn last(object: &Value, members: &str) -> String {
    let text = object.to_string();
    format!("{},{members}}}", &text[..text.len() - 1])
}

/// A service that trusts the real keys and knows all revocations, of which there are none.
pub(crate) struct Service {
    pub(crate) verifier: Arc<Verifier>,
}

impl Service {
    pub(crate) fn new() -> Self {
        Self::with_clock(Clock::default())
    }

    pub(crate) fn with_clock(clock: Clock) -> Self {
        Self::with(Duration::from_secs(30), clock)
    }

    pub(crate) fn with(max_staleness: Duration, clock: Clock) -> Self {
        let service = Self::ignorant(max_staleness, clock);
        service.trusts(&Mint::real().jwks());
        service.is_fresh();
        service
    }

    /// A service that was told nothing yet.
    pub(crate) fn ignorant(max_staleness: Duration, clock: Clock) -> Self {
        let expectations = Expectations::new(ISSUER, AUDIENCE, max_staleness);
        Self { verifier: Arc::new(Verifier::new(expectations, clock)) }
    }

    pub(crate) fn trusts(&self, jwks: &[Jwk]) {
        self.verifier.keys().replace(KeySet::from_jwks(jwks).unwrap());
    }

    /// Learns that nothing it does not know was revoked until now.
    pub(crate) fn is_fresh(&self) {
        let clock = self.verifier.clock();
        let elapsed = clock.elapsed();
        self.verifier.revocations().complete(elapsed, clock.now(), elapsed);
    }

    pub(crate) fn now(&self) -> u64 {
        self.verifier.clock().now().unix_seconds()
    }

    pub(crate) fn claims(&self) -> Value {
        claims_at(self.now())
    }

    /// Learns that these no longer count.
    pub(crate) fn learns(&self, revoked: impl IntoIterator<Item = Revoked>) {
        let entry = |revoked| RevocationEntry { revoked, expires_in: Some(990) };
        let entries: Vec<RevocationEntry> = revoked.into_iter().map(entry).collect();
        self.verifier.revocations().add(&entries, self.verifier.clock().elapsed());
    }

    /// A good token.
    pub(crate) fn token(&self, algorithm: Algorithm) -> String {
        token_of(algorithm, &self.claims())
    }

    #[track_caller]
    pub(crate) fn accepts(&self, token: &str) {
        assert_eq!(
            self.verifier.verify(&PresentedToken::bearer(token)).err(),
            None,
            "{token:.400}"
        );
    }

    #[track_caller]
    pub(crate) fn refuses(&self, token: &str, rejection: Rejection, what: impl Debug) {
        assert_eq!(
            self.verifier.verify(&PresentedToken::bearer(token)).err(),
            Some(rejection),
            "{what:.400?}"
        );
    }

    /// Presents good claims under this header, signed with each key; the header may depend on it.
    #[track_caller]
    pub(crate) fn accepts_header(&self, make: impl Fn(Algorithm) -> String) {
        for algorithm in ALGORITHMS {
            let header = make(algorithm);
            let token = Mint::real().token(algorithm, &header, self.claims().to_string());
            assert_eq!(
                self.verifier.verify(&PresentedToken::bearer(&token)).err(),
                None,
                "{header}"
            );
        }
    }

    #[track_caller]
    pub(crate) fn refuses_header(&self, rejection: Rejection, make: impl Fn(Algorithm) -> String) {
        for algorithm in ALGORITHMS {
            let header = make(algorithm);
            let token = Mint::real().token(algorithm, &header, self.claims().to_string());
            self.refuses(&token, rejection, header);
        }
    }

    /// Presents this payload under a good header, signed with each key.
    #[track_caller]
    pub(crate) fn accepts_claims(&self, payload: impl AsRef<[u8]>) {
        for algorithm in ALGORITHMS {
            let token = Mint::real().token(algorithm, &header(algorithm).to_string(), &payload);
            let text = String::from_utf8_lossy(payload.as_ref());
            assert_eq!(
                self.verifier.verify(&PresentedToken::bearer(&token)).err(),
                None,
                "{text:.400}"
            );
        }
    }

    #[track_caller]
    pub(crate) fn refuses_claims(&self, payload: impl AsRef<[u8]>, rejection: Rejection) {
        for algorithm in ALGORITHMS {
            let token = Mint::real().token(algorithm, &header(algorithm).to_string(), &payload);
            self.refuses(&token, rejection, String::from_utf8_lossy(payload.as_ref()));
        }
    }

    /// The answer to claims whose times depend on a second that does not change meanwhile.
    pub(crate) fn judged_at_once(&self, claims: impl Fn(u64) -> Value) -> Option<Rejection> {
        let algorithm = Algorithm::EdDsa;
        loop {
            let now = self.now();
            let header = header(algorithm).to_string();
            let token = Mint::real().token(algorithm, &header, claims(now).to_string());
            let outcome = self.verifier.verify(&PresentedToken::bearer(&token)).err();
            if self.now() == now {
                return outcome;
            }
        }
    }
}
