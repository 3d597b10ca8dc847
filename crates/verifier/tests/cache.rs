//! A token verified before is judged anew in everything that can change.

mod common;

use std::sync::Arc;
use std::time::Duration;

use common::{ALGORITHMS, Mint, SESSION, SUBJECT, SUBJECT_VERSION, Service, TOKEN, kid};
use latchkey_claims::{Algorithm, Revoked};
use latchkey_verifier::{Clock, PresentedToken, Rejection};

#[test]
fn a_token_is_taken_apart_once() {
    let service = Service::new();
    for algorithm in ALGORITHMS {
        let token = service.token(algorithm);
        let first = service.verifier.verify(&PresentedToken::bearer(&token)).unwrap();
        let second = service.verifier.verify(&PresentedToken::bearer(&token)).unwrap();
        assert!(Arc::ptr_eq(&first, &second));
    }
}

#[test]
fn a_hit_sees_that_the_token_has_expired() {
    let service = Service::new();
    let token = is_known(&service);
    service.verifier.clock().advance(620);
    service.accepts(&token);
    service.verifier.clock().advance(11);
    service.refuses(&token, Rejection::Expired, "past the leeway");
    service.refuses(&token, Rejection::Expired, "and again");
}

#[test]
fn a_hit_sees_each_kind_of_revocation() {
    let key = kid(Algorithm::Es256).parse().unwrap();
    let subject = SUBJECT.parse().unwrap();
    for (revoked, rejection) in [
        (Revoked::Session { id: SESSION.parse().unwrap() }, Rejection::SessionRevoked),
        (
            Revoked::Subject { id: subject, min_version: SUBJECT_VERSION + 1 },
            Rejection::SubjectRevoked,
        ),
        (Revoked::Token { id: TOKEN.parse().unwrap() }, Rejection::TokenRevoked),
        (Revoked::Key { id: key }, Rejection::KeyRevoked),
    ] {
        let service = Service::new();
        let token = is_known(&service);
        service.learns([revoked]);
        service.refuses(&token, rejection, "revoked");
    }
}

#[test]
fn a_hit_sees_that_the_revocations_known_have_become_old() {
    let max_staleness = Duration::from_secs(5);
    let service = Service::with(max_staleness, Clock::default());
    let token = is_known(&service);
    while service.verifier.revocation_age().unwrap() <= max_staleness {
        std::thread::sleep(Duration::from_millis(5));
    }
    service.refuses(&token, Rejection::Stale, "old");
    service.is_fresh();
    service.accepts(&token);
}

#[test]
fn a_hit_sees_that_the_key_has_left() {
    let service = Service::new();
    let token = is_known(&service);
    service.trusts(&[Mint::real().jwk(Algorithm::EdDsa)]);
    service.refuses(&token, Rejection::UnknownKey, "gone");
    service.trusts(&Mint::real().jwks());
    service.accepts(&token);
}

#[test]
fn a_hit_sees_that_the_name_went_to_another_key() {
    let service = Service::new();
    let token = is_known(&service);
    service.trusts(&Mint::foreign().jwks());
    service.refuses(&token, Rejection::Signature, "another key");
}

#[test]
fn a_key_that_arrives_leaves_what_is_known() {
    let service = Service::new();
    service.trusts(&[Mint::real().jwk(Algorithm::Es256)]);
    let token = service.token(Algorithm::Es256);
    let before = service.verifier.verify(&PresentedToken::bearer(&token)).unwrap();
    service.trusts(&Mint::real().jwks());
    assert!(Arc::ptr_eq(
        &before,
        &service.verifier.verify(&PresentedToken::bearer(&token)).unwrap()
    ));
}

#[test]
fn a_known_token_vouches_for_no_other() {
    let service = Service::new();
    let token = is_known(&service);
    let (signed, signature) = token.rsplit_once('.').unwrap();
    let unsigned = format!("{signed}.{}", "A".repeat(signature.len()));
    service.refuses(&unsigned, Rejection::Signature, "no signature");
    let shorter = &token[..token.len() - 1];
    service.refuses(shorter, Rejection::Signature, "a shorter one");
    service.refuses(&format!("{token}A"), Rejection::Signature, "a longer one");
    service.accepts(&token);
}

/// A token that is in the cache.
fn is_known(service: &Service) -> String {
    let token = service.token(Algorithm::Es256);
    let first = service.verifier.verify(&PresentedToken::bearer(&token)).unwrap();
    assert!(Arc::ptr_eq(
        &first,
        &service.verifier.verify(&PresentedToken::bearer(&token)).unwrap()
    ));
    token
}
