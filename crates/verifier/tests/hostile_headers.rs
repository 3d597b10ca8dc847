//! Tokens whose header parameters are hostile, signed by the real keys.

mod common;

use common::{Service, first, header, last, with, without};
use latchkey_verifier::Rejection;
use serde_json::{Value, json};

/// N-H01
#[test]
fn a_token_of_another_type_is_refused() {
    let service = Service::new();
    service.accepts_header(|algorithm| header(algorithm).to_string());
    service.refuses_header(Rejection::Type, |algorithm| {
        without(&header(algorithm), "typ").to_string()
    });
    for typ in [
        json!("JWT"),
        json!("jwt"),
        json!("rt+jwt"),
        json!("logout+jwt"),
        json!("secevent+jwt"),
        json!("statuslist+jwt"),
        json!("dpop+jwt"),
        json!("client-authentication+jwt"),
        json!("token-introspection+jwt"),
        json!("application/JWT"),
        json!("application/application/at+jwt"),
        json!("text/at+jwt"),
        json!("/at+jwt"),
        json!("at+jwt "),
        json!("at+jwt;v=1"),
        json!("at+jwt\u{0}"),
        json!("xat+jwt"),
        json!(""),
        json!(7),
        json!(true),
        json!(["at+jwt"]),
        json!({"typ": "at+jwt"}),
        Value::Null,
    ] {
        service.refuses_header(Rejection::Type, |algorithm| {
            with(&header(algorithm), "typ", typ.clone()).to_string()
        });
    }
}

/// N-H02
#[test]
fn the_type_may_be_a_media_type_in_any_case() {
    let service = Service::new();
    for typ in ["application/at+jwt", "AT+JWT", "At+Jwt", "APPLICATION/AT+JWT"] {
        service.accepts_header(|algorithm| with(&header(algorithm), "typ", typ).to_string());
    }
}

/// N-H03
#[test]
fn a_token_with_an_unknown_crit_is_refused() {
    let service = Service::new();
    service.accepts_header(|algorithm| header(algorithm).to_string());
    for members in [
        r#""crit":["x"]"#,
        r#""crit":["x"],"x":1"#,
        r#""crit":[]"#,
        r#""crit":"x""#,
        r#""crit":["exp"]"#,
        r#""crit":["alg"]"#,
        r#""crit":null"#,
        r#""crit":["b64"],"b64":false"#,
        r#""crit":["b64"],"b64":true"#,
        r#""b64":false"#,
        r#""b64":true"#,
    ] {
        is_not_understood(&service, members);
    }
}

/// N-H04
#[test]
fn a_token_that_claims_to_be_compressed_encrypted_or_nested_is_refused() {
    let service = Service::new();
    service.accepts_header(|algorithm| header(algorithm).to_string());
    for members in [
        r#""zip":"DEF""#,
        r#""enc":"A256GCM""#,
        r#""cty":"JWT""#,
        r#""cty":"jwt""#,
        r#""epk":{"kty":"OKP"}"#,
        r#""apu":"AA""#,
        r#""p2c":2147483647"#,
    ] {
        is_not_understood(&service, members);
    }
}

/// RFC 7515 §4.1.2–4.1.8 and what nobody has defined.
#[test]
fn any_fourth_header_parameter_is_refused() {
    let service = Service::new();
    service.accepts_header(|algorithm| header(algorithm).to_string());
    for members in [
        r#""x5t":"AA""#,
        r#""x5t#S256":"AA""#,
        r#""iss":"https://auth.example.com""#,
        r#""exp":9999999999"#,
        r#""nonce":"n""#,
        r#""Alg":"none""#,
        r#""ALG":"none""#,
        r#""__proto__":{"alg":"none"}"#,
        r#""":"""#,
        r#""x":null"#,
    ] {
        is_not_understood(&service, members);
    }
}

/// N-H05
#[test]
fn a_header_parameter_given_twice_is_refused() {
    let service = Service::new();
    service.accepts_header(|algorithm| header(algorithm).to_string());
    for member in [
        r#""alg":"none""#,
        r#""alg":"EdDSA""#,
        r#""alg":"ES256""#,
        r#""alg":"RS256""#,
        r#""typ":"at+jwt""#,
        r#""typ":"JWT""#,
        r#""kid":"k-ES256""#,
        r#""kid":"other""#,
    ] {
        service
            .refuses_header(Rejection::HeaderJson, |algorithm| first(member, &header(algorithm)));
        service.refuses_header(Rejection::HeaderJson, |algorithm| last(&header(algorithm), member));
    }
    service.refuses_header(Rejection::HeaderJson, |algorithm| {
        last(&header(algorithm), r#""x":1,"x":1"#)
    });
}

#[track_caller]
fn is_not_understood(service: &Service, members: &str) {
    service.refuses_header(Rejection::HeaderMember, |algorithm| last(&header(algorithm), members));
    service.refuses_header(Rejection::HeaderMember, |algorithm| first(members, &header(algorithm)));
}
