//! What was revoked is refused, and what cannot be known is not accepted.

mod common;

use std::time::Duration;

use common::{
    ALGORITHMS, Mint, SESSION, SUBJECT, SUBJECT_VERSION, Service, TOKEN, claims_at, header, kid,
    token_of, with, without,
};
use latchkey_claims::{Algorithm, RevocationEntry, Revoked};
use latchkey_verifier::{Clock, PresentedToken, Rejection};
use serde_json::Value;

const MAX_STALENESS: Duration = Duration::from_secs(30);

/// N-C13
#[test]
fn a_token_of_a_session_that_was_ended_is_refused() {
    let service = Service::new();
    service.learns([Revoked::Session { id: "AAAAAAAAAAAAAAAAAAAAAA".parse().unwrap() }]);
    service.accepts_claims(service.claims().to_string());
    service.learns([Revoked::Session { id: SESSION.parse().unwrap() }]);
    service.refuses_claims(service.claims().to_string(), Rejection::SessionRevoked);
    let other = with(&service.claims(), "sid", "BBBBBBBBBBBBBBBBBBBBBA");
    service.accepts_claims(other.to_string());
}

/// N-C13
#[test]
fn a_token_below_the_subjects_version_is_refused() {
    let service = Service::new();
    let revoked = |min_version| Revoked::Subject { id: SUBJECT.parse().unwrap(), min_version };
    service.learns([revoked(SUBJECT_VERSION - 1)]);
    service.accepts_claims(service.claims().to_string());
    service.learns([revoked(SUBJECT_VERSION)]);
    service.accepts_claims(service.claims().to_string());
    service.learns([revoked(SUBJECT_VERSION + 1)]);
    service.refuses_claims(service.claims().to_string(), Rejection::SubjectRevoked);

    let newer = with(&service.claims(), "sub_ver", SUBJECT_VERSION + 1);
    service.accepts_claims(newer.to_string());
    let other = with(&service.claims(), "sub", "somebody-else");
    service.accepts_claims(other.to_string());
    // What was learned last does not undo what was learned before.
    service.learns([revoked(SUBJECT_VERSION)]);
    service.refuses_claims(service.claims().to_string(), Rejection::SubjectRevoked);
}

/// A client that acts for itself has no session and no version.
#[test]
fn a_client_that_was_disabled_is_refused() {
    let service = Service::new();
    let claims = without(&without(&service.claims(), "sid"), "sub_ver");
    let claims = with(&claims, "sub", "batch").to_string();
    service.accepts_claims(&claims);
    service.learns([Revoked::Subject { id: "batch".parse().unwrap(), min_version: 1 }]);
    service.refuses_claims(&claims, Rejection::SubjectRevoked);
}

#[test]
fn a_single_token_can_be_revoked() {
    let service = Service::new();
    service.accepts_claims(service.claims().to_string());
    service.learns([Revoked::Token { id: TOKEN.parse().unwrap() }]);
    service.refuses_claims(service.claims().to_string(), Rejection::TokenRevoked);
    // The same claims in other words are the same token.
    let reworded = format!("  {}", with(&service.claims(), "x", "y"));
    service.refuses_claims(reworded, Rejection::TokenRevoked);
    let other = with(&service.claims(), "jti", "AAAAAAAAAAAAAAAAAAAAAA");
    service.accepts_claims(other.to_string());
}

#[test]
fn a_revoked_key_kills_its_own_tokens_and_no_others() {
    for stolen in ALGORITHMS {
        let service = Service::new();
        let key = Revoked::Key { id: kid(stolen).parse().unwrap() };
        let entry = RevocationEntry { revoked: key, expires_in: None };
        service.verifier.revocations().add(&[entry], service.verifier.clock().elapsed());
        for algorithm in ALGORITHMS {
            let token = service.token(algorithm);
            if algorithm == stolen {
                service.refuses(&token, Rejection::KeyRevoked, algorithm);
            } else {
                service.accepts(&token);
            }
        }
        // Also when the key set is read again and still has it.
        service.trusts(&Mint::real().jwks());
        service.refuses(&service.token(stolen), Rejection::KeyRevoked, stolen);
    }
}

#[test]
fn a_good_token_is_refused_when_revocations_are_not_known_freshly() {
    let service = Service::ignorant(MAX_STALENESS, Clock::default());
    service.trusts(&Mint::real().jwks());
    let token = service.token(Algorithm::Es256);
    service.refuses(&token, Rejection::Stale, "never told");

    let clock = service.verifier.clock();
    let old = clock.elapsed().checked_sub(MAX_STALENESS + Duration::from_secs(1)).unwrap();
    service.verifier.revocations().complete(old, clock.now(), clock.elapsed());
    service.refuses(&token, Rejection::Stale, "told too long ago");
    assert_eq!(service.verifier.ready(), Err(Rejection::Stale));

    service.is_fresh();
    service.accepts(&token);
    assert_eq!(service.verifier.ready(), Ok(()));
}

#[test]
fn a_bad_token_is_refused_as_bad_when_nothing_is_fresh() {
    let service = Service::ignorant(MAX_STALENESS, Clock::default());
    service.trusts(&Mint::real().jwks());
    service.learns([Revoked::Session { id: SESSION.parse().unwrap() }]);
    let algorithm = Algorithm::EdDsa;
    let good = with(&service.claims(), "sid", "AAAAAAAAAAAAAAAAAAAAAA");
    service.refuses(&token_of(algorithm, &good), Rejection::Stale, "control");

    let judged = |claims: &Value| {
        service.verifier.verify(&PresentedToken::bearer(&token_of(algorithm, claims))).err()
    };
    assert_eq!(judged(&service.claims()), Some(Rejection::SessionRevoked));
    assert_eq!(judged(&claims_at(service.now() - 700)), Some(Rejection::Expired));
    assert_eq!(judged(&with(&good, "aud", "x")), Some(Rejection::Audience));
    let foreign =
        Mint::foreign().token(algorithm, &header(algorithm).to_string(), good.to_string());
    service.refuses(&foreign, Rejection::Signature, "foreign");
    service.refuses("garbage", Rejection::Segments, "garbage");
}

#[test]
fn without_keys_only_the_shape_can_be_judged() {
    let service = Service::ignorant(MAX_STALENESS, Clock::default());
    service.is_fresh();
    assert_eq!(service.verifier.ready(), Err(Rejection::NoKeys));
    let token = service.token(Algorithm::Rs256);
    service.refuses(&token, Rejection::NoKeys, "good");
    service.refuses("garbage", Rejection::Segments, "garbage");
    service.refuses_header(Rejection::Type, |algorithm| {
        with(&header(algorithm), "typ", "JWT").to_string()
    });
    service.trusts(&Mint::real().jwks());
    service.accepts(&token);
}
