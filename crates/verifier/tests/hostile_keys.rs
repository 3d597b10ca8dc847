//! Tokens whose algorithm, key or signature is hostile.

mod common;

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _, RSA_PKCS1_SHA384,
    RSA_PKCS1_SHA512, RSA_PSS_SHA256, RsaEncoding,
};
use aws_lc_rs::{digest, hmac, rand::SystemRandom};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use common::{ALGORITHMS, Mint, Service, encode, header, kid, last, with, without};
use latchkey_claims::{Algorithm, Jwk};
use latchkey_verifier::{KeySet, KeySetError, Rejection};
use serde_json::{Value, json};

/// The order of P-256's base point (FIPS 186-5), big-endian.
const P256_ORDER: [u8; 32] = [
    0xff, 0xff, 0xff, 0xff, 0x00, 0x00, 0x00, 0x00, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
    0xbc, 0xe6, 0xfa, 0xad, 0xa7, 0x17, 0x9e, 0x84, 0xf3, 0xb9, 0xca, 0xc2, 0xfc, 0x63, 0x25, 0x51,
];

/// The order of Ed25519's base point (RFC 8032 §5.1), little-endian.
const ED25519_ORDER: [u8; 32] = [
    0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde, 0x14,
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
];

/// N-A01
#[test]
fn a_token_that_says_it_needs_no_signature_is_refused() {
    let service = Service::new();
    service.accepts_header(|algorithm| header(algorithm).to_string());
    let claims = encode(service.claims().to_string());
    let algs = ["none", "None", "nOnE", "NONE", " none", "none ", ""].map(Value::from);
    for alg in algs.into_iter().chain([Value::Null, json!([]), json!(["none"]), json!({})]) {
        let hostile = |algorithm| with(&header(algorithm), "alg", alg.clone()).to_string();
        service.refuses_header(Rejection::Algorithm, hostile);
        for algorithm in ALGORITHMS {
            let unsigned = format!("{}.{claims}.", encode(hostile(algorithm)));
            service.refuses(&unsigned, Rejection::Segments, &unsigned);
        }
    }
    service.refuses_header(Rejection::Algorithm, |algorithm| {
        without(&header(algorithm), "alg").to_string()
    });
}

/// N-A02
#[test]
fn a_public_key_is_not_a_shared_secret() {
    let service = Service::new();
    let mint = Mint::real();
    for algorithm in ALGORITHMS {
        service.accepts(&service.token(algorithm));
        let der = mint.public_der(algorithm);
        let jwk = serde_json::to_string(&mint.jwk(algorithm)).unwrap();
        for secret in [pem(&der), der, mint.public_raw(algorithm), jwk.into_bytes(), Vec::new()] {
            for (alg, mac) in [
                ("HS256", hmac::HMAC_SHA256),
                ("HS384", hmac::HMAC_SHA384),
                ("HS512", hmac::HMAC_SHA512),
            ] {
                let head = encode(with(&header(algorithm), "alg", alg).to_string());
                let signed = format!("{head}.{}", encode(service.claims().to_string()));
                let tag = hmac::sign(&hmac::Key::new(mac, &secret), signed.as_bytes());
                let hostile = format!("{signed}.{}", encode(tag));
                service.refuses(&hostile, Rejection::Algorithm, &hostile);
            }
            // The same MAC under the name the key has.
            let signed = format!(
                "{}.{}",
                encode(header(algorithm).to_string()),
                encode(service.claims().to_string())
            );
            let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &secret), signed.as_bytes());
            let hostile = format!("{signed}.{}", encode(tag));
            service.refuses(&hostile, Rejection::Signature, &hostile);
        }
    }
}

/// N-A03
#[test]
fn a_key_signs_for_its_own_algorithm_only() {
    let service = Service::new();
    let mint = Mint::real();
    for own in ALGORITHMS {
        service.accepts(&service.token(own));
        for other in ALGORITHMS.into_iter().filter(|other| *other != own) {
            let mixed = with(&header(own), "alg", other.as_str()).to_string();
            for signer in [own, other] {
                let hostile = mint.token(signer, &mixed, service.claims().to_string());
                service.refuses(&hostile, Rejection::KeyAlgorithm, &hostile);
            }
            // A name and an algorithm that agree, and another key's signature.
            let good = header(own).to_string();
            let hostile = mint.token(other, &good, service.claims().to_string());
            service.refuses(&hostile, Rejection::Signature, &hostile);
        }
    }
}

/// N-A04, and PKCS#1 with the hashes of RS384 and RS512.
#[test]
fn one_rsa_key_has_one_padding_and_one_hash() {
    let service = Service::new();
    let mint = Mint::real();
    let rsa = header(Algorithm::Rs256);
    service.accepts(&service.token(Algorithm::Rs256));
    let signed_with = |padding: &'static dyn RsaEncoding, header: &Value| {
        let signed =
            format!("{}.{}", encode(header.to_string()), encode(service.claims().to_string()));
        format!("{signed}.{}", encode(mint.sign_rsa(padding, signed.as_bytes())))
    };
    let paddings: [(&str, &'static dyn RsaEncoding); 3] =
        [("PS256", &RSA_PSS_SHA256), ("RS384", &RSA_PKCS1_SHA384), ("RS512", &RSA_PKCS1_SHA512)];
    for (name, padding) in paddings {
        let renamed = with(&rsa, "alg", name);
        let as_named = signed_with(padding, &renamed);
        service.refuses(&as_named, Rejection::Algorithm, name);
        let only_named =
            mint.token(Algorithm::Rs256, &renamed.to_string(), service.claims().to_string());
        service.refuses(&only_named, Rejection::Algorithm, name);
        let only_signed = signed_with(padding, &rsa);
        service.refuses(&only_signed, Rejection::Signature, name);
    }
}

/// N-A05, N-A06: `EdDSA` is the one name of Ed25519 here; `Ed25519` (RFC 9864) is not read.
#[test]
fn an_algorithm_has_one_name() {
    let service = Service::new();
    service.accepts_header(|algorithm| header(algorithm).to_string());
    for name in [
        "eddsa",
        "EDDSA",
        "EdDsa",
        "Ed25519",
        "ed25519",
        "Ed448",
        "es256",
        "Es256",
        "ES256K",
        "ES384",
        "ESP256",
        "rs256",
        "Rs256",
        "RS1",
        "RSA1_5",
        "dir",
        "EdDSA ",
        "ES256\u{0}",
    ] {
        service.refuses_header(Rejection::Algorithm, |algorithm| {
            with(&header(algorithm), "alg", name).to_string()
        });
    }
}

/// N-A07, N-A09
#[test]
fn a_key_that_travels_in_the_token_is_refused() {
    let service = Service::new();
    for algorithm in ALGORITHMS {
        service.accepts(&service.token(algorithm));
        let foreign = Mint::foreign();
        let jwk = serde_json::to_value(foreign.jwk(algorithm)).unwrap();
        let jwk = without(&without(&jwk, "use"), "alg");
        let chain = json!([STANDARD.encode(&foreign.public_der(algorithm)[..40])]);
        for (name, value) in [("jwk", jwk), ("x5c", chain), ("jwk", json!({})), ("x5c", json!([]))]
        {
            let hostile = with(&header(algorithm), name, value).to_string();
            for mint in [foreign, Mint::real()] {
                // An RSA key makes the header too long to be looked into.
                let refused = if encode(&hostile).len() > 512 {
                    Rejection::Header
                } else {
                    Rejection::HeaderMember
                };
                let token = mint.token(algorithm, &hostile, service.claims().to_string());
                service.refuses(&token, refused, &hostile);
            }
        }
    }
}

/// N-A08; that nothing is fetched is in `follow.rs`.
#[test]
fn an_address_of_a_key_is_refused() {
    let service = Service::new();
    service.accepts_header(|algorithm| header(algorithm).to_string());
    for name in ["jku", "x5u"] {
        for url in [
            "https://evil.example/jwks.json",
            "http://127.0.0.1/",
            "http://169.254.169.254/latest/meta-data/",
            "file:///etc/passwd",
            "https://auth.example.com/.well-known/jwks.json",
            "",
        ] {
            service.refuses_header(Rejection::HeaderMember, |algorithm| {
                with(&header(algorithm), name, url).to_string()
            });
        }
    }
}

/// N-A10
#[test]
fn a_key_id_that_is_no_key_id_is_refused() {
    let service = Service::new();
    service.accepts_header(|algorithm| header(algorithm).to_string());
    for hostile in [
        json!("../../dev/null"),
        json!("' OR 1=1--"),
        json!("; id"),
        json!("k-ES256\u{0}"),
        json!("k-ES256 "),
        json!("k ES256"),
        json!("k".repeat(65)),
        json!(""),
        json!(7),
        json!(["k-ES256"]),
        json!({"kid": "k-ES256"}),
        Value::Null,
    ] {
        service.refuses_header(Rejection::KeyId, |algorithm| {
            with(&header(algorithm), "kid", hostile.clone()).to_string()
        });
    }
    service.refuses_header(Rejection::KeyId, |algorithm| {
        without(&header(algorithm), "kid").to_string()
    });
    service.refuses_header(Rejection::HeaderJson, |algorithm| {
        last(&header(algorithm), &format!(r#""kid":"{}""#, kid(algorithm)))
    });
    for (length, rejection) in [(600, Rejection::Header), (1024 * 1024, Rejection::TooLong)] {
        service.refuses_header(rejection, |algorithm| {
            with(&header(algorithm), "kid", "k".repeat(length)).to_string()
        });
    }
}

/// N-A11, without the fetching; N-A12 for the key that is not known yet.
#[test]
fn a_well_formed_key_id_that_is_not_known_is_refused() {
    let service = Service::new();
    service.accepts_header(|algorithm| header(algorithm).to_string());
    for unknown in ["other", "k-es256", "k", "-", "_", "constructor", &"k".repeat(64)] {
        service.refuses_header(Rejection::UnknownKey, |algorithm| {
            with(&header(algorithm), "kid", unknown).to_string()
        });
    }
}

/// N-A12
#[test]
fn a_key_that_is_retired_or_not_for_signatures_is_refused() {
    let service = Service::new();
    let jwks = Mint::real().jwks();
    for algorithm in ALGORITHMS {
        service.trusts(&jwks);
        let token = service.token(algorithm);
        service.accepts(&token);
        let others = jwks.iter().filter(|jwk| jwk.alg != algorithm).cloned();
        service.trusts(&others.collect::<Vec<_>>());
        service.refuses(&token, Rejection::UnknownKey, algorithm);

        let for_encryption = jwks.iter().cloned().map(|jwk| {
            let usage = if jwk.alg == algorithm { "enc" } else { "sig" };
            Jwk { usage: usage.to_owned(), ..jwk }
        });
        service.trusts(&for_encryption.collect::<Vec<_>>());
        service.refuses(&token, Rejection::UnknownKey, algorithm);
    }
}

/// N-A13
#[test]
fn an_ecdsa_signature_has_64_bytes_and_no_zeros_for_numbers() {
    let service = Service::new();
    let token = service.token(Algorithm::Es256);
    service.accepts(&token);
    let (signed, signature) = token.rsplit_once('.').unwrap();
    let signature = common::decode(signature);
    let (r, s) = signature.split_at(32);
    let zero = [0; 32];
    let asn1 = {
        let pkcs8 = EcdsaKeyPair::to_pkcs8v1(&Mint::real().es256).unwrap();
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, pkcs8.as_ref());
        pair.unwrap().sign(&SystemRandom::new(), signed.as_bytes()).unwrap()
    };
    assert_eq!(asn1.as_ref()[0], 0x30, "the good signature in DER");
    for hostile in [
        [zero, zero].concat(),
        [&zero, s].concat(),
        [r, &zero].concat(),
        [&P256_ORDER, s].concat(),
        [r, &P256_ORDER].concat(),
        [P256_ORDER, P256_ORDER].concat(),
        [[0xff; 32], [0xff; 32]].concat(),
        [s, r].concat(),
        asn1.as_ref().to_vec(),
        signature[..63].to_vec(),
        signature[1..].to_vec(),
        [&signature[..], &[0]].concat(),
        [&[0], &signature[..]].concat(),
        [&[0], r, &[0], s].concat(),
        vec![0],
        r.to_vec(),
    ] {
        is_no_signature(&service, signed, &hostile);
    }
}

/// N-A14
#[test]
fn an_ed25519_signature_cannot_be_rewritten() {
    let service = Service::new();
    let token = service.token(Algorithm::EdDsa);
    service.accepts(&token);
    let (signed, signature) = token.rsplit_once('.').unwrap();
    let signature = common::decode(signature);
    let (r, s) = signature.split_at(32);
    let zero = [0; 32];
    let identity = small_order_points()[0];
    for hostile in [
        // The same point of the curve, one turn further.
        [r, &sum(s, &ED25519_ORDER)].concat(),
        [r, &sum(&sum(s, &ED25519_ORDER), &ED25519_ORDER)].concat(),
        [zero, zero].concat(),
        [r, &zero].concat(),
        [&zero, s].concat(),
        [&identity[..], &zero].concat(),
        [&identity[..], s].concat(),
        [r, &ED25519_ORDER].concat(),
        [s, r].concat(),
        signature[..63].to_vec(),
        signature[1..].to_vec(),
        [&signature[..], &[0]].concat(),
        [&[0], &signature[..]].concat(),
        r.to_vec(),
        vec![0],
    ] {
        is_no_signature(&service, signed, &hostile);
    }
}

/// N-A14: with such a point for a key, R = 1 and S = 0 are a signature of one message in eight or
/// of more, and nobody needs a private key.
#[test]
fn an_ed25519_key_of_small_order_verifies_nothing() {
    let good = Mint::real().jwk(Algorithm::EdDsa);
    assert_eq!(KeySet::from_jwks(std::slice::from_ref(&good)).unwrap().len(), 1);
    let spelled = |point| Jwk { x: Some(encode(point)), ..good.clone() };
    for point in small_order_points() {
        let refused = KeySet::from_jwks(&[spelled(point)]).err();
        assert_eq!(refused, Some(KeySetError::Empty), "{point:02x?}");
    }
    let service = Service::new();
    let head = encode(header(Algorithm::EdDsa).to_string());
    let forgery = [&small_order_points()[0][..], &[0; 32]].concat();
    for point in small_order_points_misspelled() {
        service.trusts(&[spelled(point)]);
        for n in 0..64 {
            let claims = encode(with(&service.claims(), "x", n).to_string());
            is_no_signature(&service, &format!("{head}.{claims}"), &forgery);
        }
    }
}

/// N-A15
#[test]
fn an_rsa_signature_cannot_be_rewritten() {
    let service = Service::new();
    let token = service.token(Algorithm::Rs256);
    service.accepts(&token);
    let (signed, signature) = token.rsplit_once('.').unwrap();
    let signature = common::decode(signature);
    let modulus = Mint::real().modulus();
    let mut one = [0; 256];
    one[255] = 1;
    let mut almost = modulus.to_vec();
    almost[255] -= 1;
    for hostile in [
        vec![0; 256],
        one.to_vec(),
        almost,
        modulus.to_vec(),
        vec![0xff; 256],
        signature[..255].to_vec(),
        signature[1..].to_vec(),
        [&[0], &signature[..]].concat(),
        [&signature[..], &[0]].concat(),
        // The same residue, once more around.
        big_endian_sum(&signature, modulus),
        vec![0],
    ] {
        is_no_signature(&service, signed, &hostile);
    }
}

/// N-A15: Bleichenbacher's cube root. Who checks only how the padding *starts* accepts a forgery
/// for any key whose exponent is 3.
#[test]
fn an_rsa_signature_with_garbage_after_its_hash_is_refused() {
    let service = Service::new();
    let jwk = Jwk { e: Some("Aw".to_owned()), ..Mint::real().jwk(Algorithm::Rs256) };
    service.trusts(&[jwk]);
    let head = encode(header(Algorithm::Rs256).to_string());
    let signed = format!("{head}.{}", encode(service.claims().to_string()));

    // 00 01 FF … FF 00, then the DigestInfo of SHA-256 (RFC 8017 §9.2), then what may.
    let info = [
        0x30, 0x31, 0x30, 0x0d, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x01,
        0x05, 0x00, 0x04, 0x20,
    ];
    let hash = digest::digest(&digest::SHA256, signed.as_bytes());
    let start = [&[0, 1], &[0xff; 8][..], &[0], &info, hash.as_ref()].concat();
    let mut target = start.clone();
    target.resize(256, 0xff);
    let root = cube_root(&target);
    assert_eq!(to_bytes(&cube(&root), 256)[..start.len()], start, "a lax verifier sees this");
    is_no_signature(&service, &signed, &to_bytes(&root, 256));
}

/// N-A16
#[test]
fn a_key_of_another_environment_with_the_same_name_is_refused() {
    let service = Service::new();
    for algorithm in ALGORITHMS {
        let (head, claims) = (header(algorithm).to_string(), service.claims().to_string());
        service.accepts(&Mint::real().token(algorithm, &head, &claims));
        let hostile = Mint::foreign().token(algorithm, &head, &claims);
        service.refuses(&hostile, Rejection::Signature, &hostile);
    }
}

/// N-A17: a key the issuer keeps for something else is not published as one for access tokens.
#[test]
fn a_key_kept_for_other_tokens_is_refused() {
    let service = Service::new();
    let separate = Ed25519KeyPair::generate().unwrap();
    assert_ne!(separate.public_key().as_ref(), Mint::real().ed25519.public_key().as_ref());
    service.accepts(&service.token(Algorithm::EdDsa));
    let named = with(&header(Algorithm::EdDsa), "kid", "status-list").to_string();
    let signed = format!("{}.{}", encode(named), encode(service.claims().to_string()));
    let hostile = format!("{signed}.{}", encode(separate.sign(signed.as_bytes())));
    service.refuses(&hostile, Rejection::UnknownKey, &hostile);
}

/// Each part of a good token, exchanged for that of another good token.
#[test]
fn what_is_signed_cannot_be_changed() {
    let service = Service::new();
    for algorithm in ALGORITHMS {
        let token = service.token(algorithm);
        let other = Mint::real().token(
            algorithm,
            &header(algorithm).to_string(),
            with(&service.claims(), "scope", "admin").to_string(),
        );
        service.accepts(&token);
        service.accepts(&other);
        let (signed, signature) = token.rsplit_once('.').unwrap();
        let (other_signed, other_signature) = other.rsplit_once('.').unwrap();
        is_no_signature(&service, signed, &common::decode(other_signature));
        is_no_signature(&service, other_signed, &common::decode(signature));
    }
}

/// J-23
#[test]
fn a_key_with_a_member_given_twice_is_passed_over() {
    let jwk = serde_json::to_value(Mint::real().jwk(Algorithm::EdDsa)).unwrap();
    let set = |key: &str| KeySet::parse(format!(r#"{{"keys":[{key}]}}"#).as_bytes());
    assert_eq!(set(&last(&jwk, r#""x5t":"AA""#)).unwrap().len(), 1);
    for member in [r#""kid":"other""#, r#""use":"sig""#, r#""x5t":"AA","x5t":"AA""#] {
        assert_eq!(set(&last(&jwk, member)).err(), Some(KeySetError::Empty), "{member}");
    }
}

#[track_caller]
fn is_no_signature(service: &Service, signed: &str, signature: &[u8]) {
    let token = format!("{signed}.{}", encode(signature));
    service.refuses(&token, Rejection::Signature, signature);
}

fn pem(der: &[u8]) -> Vec<u8> {
    let text = STANDARD.encode(der);
    let lines: Vec<&str> =
        text.as_bytes().chunks(64).map(|line| str::from_utf8(line).unwrap()).collect();
    format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n", lines.join("\n"))
        .into_bytes()
}

/// The y of a point of order 8, little-endian.
const ORDER_8: [u8; 32] = [
    0x26, 0xe8, 0x95, 0x8f, 0xc2, 0xb2, 0x27, 0xb0, 0x45, 0xc3, 0xf4, 0x89, 0xf2, 0xef, 0x98, 0xf0,
    0xd5, 0xdf, 0xac, 0x05, 0xd3, 0xc6, 0x33, 0x39, 0xb1, 0x38, 0x02, 0x88, 0x6d, 0x53, 0xfc, 0x05,
];

/// The points of order 1, 2, 4, 4, and of order 8, in the encoding of RFC 8032 §5.1.2.
fn small_order_points() -> [[u8; 32]; 8] {
    let (one, zero, minus_one) = (near_zero(1), [0; 32], near_prime(0xec));
    // No digit of ORDER_8 is greater than that of p, so nothing is borrowed.
    let minus_order_8 = std::array::from_fn(|at| near_prime(0xed)[at] - ORDER_8[at]);
    [
        one,
        minus_one,
        zero,
        negative(zero),
        ORDER_8,
        negative(ORDER_8),
        minus_order_8,
        negative(minus_order_8),
    ]
}

/// The same where x is 0 and yet has a sign, and where y is p or p + 1 for 0 or 1.
fn small_order_points_misspelled() -> [[u8; 32]; 6] {
    let (p, p_plus_one) = (near_prime(0xed), near_prime(0xee));
    let [one, minus_one] = [near_zero(1), near_prime(0xec)].map(negative);
    [one, minus_one, p, negative(p), p_plus_one, negative(p_plus_one)]
}

fn near_zero(low: u8) -> [u8; 32] {
    let mut y = [0; 32];
    y[0] = low;
    y
}

/// A number near p = 2²⁵⁵ − 19, whose lowest byte is 0xed.
fn near_prime(low: u8) -> [u8; 32] {
    let mut y = [0xff; 32];
    (y[0], y[31]) = (low, 0x7f);
    y
}

/// The point with the same y and the other x.
fn negative(mut point: [u8; 32]) -> [u8; 32] {
    point[31] |= 0x80;
    point
}

/// Of two numbers of the same length, little-endian.
fn sum(a: &[u8], b: &[u8]) -> Vec<u8> {
    let mut carry = 0;
    a.iter()
        .zip(b)
        .map(|(a, b)| {
            let [low, high] = (u16::from(*a) + u16::from(*b) + carry).to_le_bytes();
            carry = u16::from(high);
            low
        })
        .collect()
}

/// The same, big-endian, and with the carry as a byte in front.
fn big_endian_sum(a: &[u8], b: &[u8]) -> Vec<u8> {
    let little = |bytes: &[u8]| bytes.iter().rev().copied().chain([0]).collect::<Vec<u8>>();
    sum(&little(a), &little(b)).into_iter().rev().collect()
}

/// The greatest number whose cube is at most `target`, which is big-endian. Numbers are
/// little-endian in digits of 32 bits.
fn cube_root(target: &[u8]) -> Vec<u32> {
    let digits = |chunk: &[u8]| u32::from_be_bytes(chunk.try_into().unwrap());
    let mut target: Vec<u32> = target.rchunks(4).map(digits).collect();
    let mut root = vec![0; target.len() / 3 + 1];
    for bit in (0..root.len() * 32).rev() {
        root[bit / 32] |= 1 << (bit % 32);
        let cube = cube(&root);
        target.resize(cube.len(), 0);
        if cube.iter().rev().gt(target.iter().rev()) {
            root[bit / 32] &= !(1 << (bit % 32));
        }
    }
    root
}

fn cube(number: &[u32]) -> Vec<u32> {
    product(&product(number, number), number)
}

fn product(a: &[u32], b: &[u32]) -> Vec<u32> {
    let mut product = vec![0; a.len() + b.len()];
    for (i, a) in a.iter().enumerate() {
        let mut carry = 0;
        for (j, b) in b.iter().enumerate() {
            let sum = u64::from(product[i + j]) + u64::from(*a) * u64::from(*b) + carry;
            product[i + j] = u32::try_from(sum & 0xffff_ffff).unwrap();
            carry = sum >> 32;
        }
        product[i + b.len()] = u32::try_from(carry).unwrap();
    }
    product
}

/// Big-endian, of this length.
fn to_bytes(number: &[u32], length: usize) -> Vec<u8> {
    let mut bytes: Vec<u8> = number.iter().flat_map(|digit| digit.to_le_bytes()).collect();
    bytes.resize(length, 0);
    bytes.reverse();
    bytes
}
