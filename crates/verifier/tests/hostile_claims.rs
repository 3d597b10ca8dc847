//! Tokens whose claims are hostile, signed by the real keys.

mod common;

use common::{
    AUDIENCE, ISSUER, Mint, SESSION, SUBJECT, Service, claims_at, first, header, last, with,
    without,
};
use latchkey_claims::Algorithm;
use latchkey_verifier::{Clock, PresentedToken, Rejection};
use serde_json::{Value, json};

const REQUIRED: [&str; 7] = ["iss", "exp", "aud", "sub", "client_id", "iat", "jti"];
/// As `latchkey_claims::time` documents them.
const LEEWAY: u64 = 30;
const LIFETIME_CAP: u64 = 900;

/// N-C01
#[test]
fn a_token_without_a_required_claim_is_refused() {
    let service = Service::new();
    service.accepts_claims(service.claims().to_string());
    for name in REQUIRED {
        let hostile = without(&service.claims(), name);
        service.refuses_claims(hostile.to_string(), Rejection::ClaimType);
    }
    service.refuses_claims("{}", Rejection::ClaimType);
}

/// Of a client that acts for itself (RFC 9068 §5).
#[test]
fn a_token_without_the_optional_claims_is_accepted() {
    let service = Service::new();
    let mut claims = service.claims();
    for name in ["sid", "sub_ver", "scope", "auth_time", "amr"] {
        claims = without(&claims, name);
    }
    service.accepts_claims(with(&claims, "sub", "web").to_string());
}

/// N-C02
#[test]
fn a_required_claim_of_another_type_is_refused() {
    let service = Service::new();
    let good = service.claims();
    service.accepts_claims(good.to_string());
    for name in REQUIRED {
        let right = good[name].clone();
        let other_scalar =
            if right.is_string() { json!(7) } else { Value::String(right.to_string()) };
        let mut hostile =
            vec![other_scalar, Value::Null, json!(true), json!({"value": right}), json!(-1)];
        if name != "aud" {
            hostile.push(json!([right]));
        }
        for value in hostile {
            service.refuses_claims(with(&good, name, value).to_string(), Rejection::ClaimType);
        }
    }
}

/// N-C02, for the claims that need not be there: present means typed.
#[test]
fn an_optional_claim_of_another_type_is_refused() {
    let service = Service::new();
    let good = service.claims();
    service.accepts_claims(last(
        &good,
        r#""nbf":1,"roles":["a"],"preferred_username":"p","email":"e","email_verified":true"#,
    ));
    for (name, values) in [
        ("nbf", [json!("1"), json!(-1), json!(1.5), json!([1]), Value::Null]),
        ("auth_time", [json!("1"), json!(-1), json!(1.5), json!([1]), Value::Null]),
        ("sub_ver", [json!("3"), json!(-1), json!(3.5), json!(1_u64 << 32), Value::Null]),
        ("sid", [json!(1), json!(""), json!([SESSION]), json!({}), Value::Null]),
        ("scope", [json!(1), json!(""), json!(["profile"]), json!({}), Value::Null]),
        ("amr", [json!("pwd"), json!(1), json!([1]), json!({}), Value::Null]),
        ("roles", [json!("admin"), json!(1), json!([["admin"]]), json!({}), Value::Null]),
        ("email", [json!(1), json!([]), json!({}), json!(true), Value::Null]),
        ("email_verified", [json!("true"), json!(1), json!([]), json!({}), Value::Null]),
        ("preferred_username", [json!(1), json!([]), json!({}), json!(true), Value::Null]),
    ] {
        for value in values {
            service.refuses_claims(with(&good, name, value).to_string(), Rejection::ClaimType);
        }
    }
}

/// A session that no logout everywhere could end, and the reverse.
#[test]
fn a_session_without_a_subject_version_is_refused() {
    let service = Service::new();
    service.accepts_claims(service.claims().to_string());
    for name in ["sid", "sub_ver"] {
        let hostile = without(&service.claims(), name);
        service.refuses_claims(hostile.to_string(), Rejection::ClaimType);
    }
}

/// N-C03
#[test]
fn a_token_of_another_issuer_is_refused() {
    let service = Service::new();
    service.accepts_claims(with(&service.claims(), "iss", ISSUER).to_string());
    for iss in [
        "https://auth.example.com/",
        "https://AUTH.example.com",
        "HTTPS://auth.example.com",
        "http://auth.example.com",
        "https://auth.example.com:443",
        "https://auth.example.com/tenant",
        "https://auth.example.com.evil.example",
        "https://auth.example.co",
        "https://auth.example.com ",
        "https://auth.example.com\u{0}",
        "https://аuth.example.com",
        "",
    ] {
        let hostile = with(&service.claims(), "iss", iss);
        service.refuses_claims(hostile.to_string(), Rejection::Issuer);
    }
    let several = with(&service.claims(), "iss", json!([ISSUER, "https://evil.example"]));
    service.refuses_claims(several.to_string(), Rejection::ClaimType);
}

/// N-C04
#[test]
fn a_token_for_somebody_else_is_refused() {
    let service = Service::new();
    service.accepts_claims(with(&service.claims(), "aud", AUDIENCE).to_string());
    for (aud, rejection) in [
        (json!("https://other.example.com"), Rejection::Audience),
        (json!([]), Rejection::Audience),
        (json!(["x"]), Rejection::Audience),
        (json!(["x", "y"]), Rejection::Audience),
        (json!(""), Rejection::Audience),
        (json!([""]), Rejection::Audience),
        (json!("*"), Rejection::Audience),
        (json!(&AUDIENCE[..AUDIENCE.len() - 1]), Rejection::Audience),
        (json!(format!("{AUDIENCE}/")), Rejection::Audience),
        (json!(format!("{AUDIENCE}.evil.example")), Rejection::Audience),
        (json!(format!("x {AUDIENCE}")), Rejection::Audience),
        (json!(AUDIENCE.to_uppercase()), Rejection::Audience),
        (json!(ISSUER), Rejection::Audience),
        (json!([1, AUDIENCE]), Rejection::ClaimType),
        (json!([AUDIENCE, null]), Rejection::ClaimType),
        (json!([[AUDIENCE]]), Rejection::ClaimType),
        (json!({ AUDIENCE: true }), Rejection::ClaimType),
        (json!({"aud": AUDIENCE}), Rejection::ClaimType),
    ] {
        service.refuses_claims(with(&service.claims(), "aud", aud).to_string(), rejection);
    }
}

/// N-C05
#[test]
fn a_token_for_several_including_us_is_accepted() {
    let service = Service::new();
    for aud in [json!([AUDIENCE]), json!([AUDIENCE, "x"]), json!(["x", AUDIENCE])] {
        service.accepts_claims(with(&service.claims(), "aud", aud).to_string());
    }
}

/// N-C06
#[test]
fn a_token_ends_at_exp_plus_the_leeway() {
    let service = Service::new();
    let judged =
        |ago: u64| service.judged_at_once(|now| with(&claims_at(now - 600), "exp", now - ago));
    for ago in [0, 1, LEEWAY - 1] {
        assert_eq!(judged(ago), None, "{ago} s after exp");
    }
    for ago in [LEEWAY, LEEWAY + 1, 300] {
        assert_eq!(judged(ago), Some(Rejection::Expired), "{ago} s after exp");
    }
}

/// N-C06
#[test]
fn an_exp_beyond_reason_is_refused() {
    let service = Service::new();
    let good = service.claims();
    service.accepts_claims(good.to_string());
    for (exp, rejection) in [
        (json!(0), Rejection::Lifetime),
        (json!(1_u64 << 53), Rejection::Lifetime),
        (json!(i64::MAX), Rejection::Lifetime),
        (json!(u64::MAX), Rejection::Lifetime),
        (json!(9_999_999_999_u64), Rejection::Lifetime),
        (json!(-1), Rejection::ClaimType),
        (json!("9999999999"), Rejection::ClaimType),
        (json!(1e10), Rejection::ClaimType),
        (json!(1.8e19), Rejection::ClaimType),
    ] {
        service.refuses_claims(with(&good, "exp", exp).to_string(), rejection);
    }
    // 2⁶⁴, which an unchecked reader wraps to 0 or saturates.
    let exp = good["exp"].to_string();
    let hostile = good.to_string().replace(&exp, "18446744073709551616");
    service.refuses_claims(hostile, Rejection::ClaimType);
    // All the time there is, from its start to its end.
    let all = with(&with(&good, "iat", 0), "exp", u64::MAX);
    service.refuses_claims(all.to_string(), Rejection::Lifetime);
    let end = with(&with(&good, "iat", u64::MAX - 600), "exp", u64::MAX);
    service.refuses_claims(end.to_string(), Rejection::IssuedInFuture);
}

/// N-C07
#[test]
fn a_token_counts_from_nbf_less_the_leeway() {
    let service = Service::new();
    let judged = |nbf: &dyn Fn(u64) -> Value| {
        service.judged_at_once(|now| with(&claims_at(now), "nbf", nbf(now)))
    };
    assert_eq!(judged(&|now| json!(now)), None);
    assert_eq!(judged(&|now| json!(now + LEEWAY)), None);
    assert_eq!(judged(&|now| json!(now + LEEWAY + 1)), Some(Rejection::NotYetValid));
    assert_eq!(judged(&|_| json!(u64::MAX)), Some(Rejection::NotYetValid));
    assert_eq!(judged(&|now| json!(now.to_string())), Some(Rejection::ClaimType));
}

/// N-C08
#[test]
fn a_token_issued_in_the_future_is_refused() {
    let service = Service::new();
    let judged = |ahead: u64| service.judged_at_once(|now| claims_at(now + ahead));
    assert_eq!(judged(0), None);
    assert_eq!(judged(LEEWAY), None);
    assert_eq!(judged(LEEWAY + 1), Some(Rejection::IssuedInFuture));
    assert_eq!(judged(86_400), Some(Rejection::IssuedInFuture));
}

/// N-C08
#[test]
fn a_lifetime_is_positive_and_at_most_the_cap() {
    let service = Service::new();
    let judged =
        |lifetime: u64| service.judged_at_once(|now| with(&claims_at(now), "exp", now + lifetime));
    assert_eq!(judged(1), None);
    assert_eq!(judged(LIFETIME_CAP), None);
    for lifetime in [0, LIFETIME_CAP + 1, 3600] {
        assert_eq!(judged(lifetime), Some(Rejection::Lifetime), "{lifetime}");
    }
    let reversed = service.judged_at_once(|now| with(&claims_at(now), "exp", now - 1));
    assert_eq!(reversed, Some(Rejection::Lifetime));
    // Old enough to be over the cap, however near its end.
    let old = service.judged_at_once(|now| with(&claims_at(now - 900), "exp", now + 1));
    assert_eq!(old, Some(Rejection::Lifetime));
}

#[test]
fn a_service_whose_clock_is_behind_judges_exp_by_the_issuers() {
    let behind = Service::with_clock(Clock::with_offset(-3600));
    let clock = behind.verifier.clock();
    let issuer = Service::new();
    let expired = claims_at(issuer.now() - 700);
    behind.accepts_claims(behind.claims().to_string());
    behind.refuses_claims(expired.to_string(), Rejection::IssuedInFuture);

    let elapsed = clock.elapsed();
    let real = Clock::default().now();
    behind.verifier.revocations().complete(elapsed, real, elapsed);
    behind.refuses_claims(expired.to_string(), Rejection::Expired);
    behind.accepts_claims(issuer.claims().to_string());
}

/// N-C09
#[test]
fn a_claim_given_twice_is_refused() {
    let service = Service::new();
    let good = service.claims();
    service.accepts_claims(last(&good, r#""roles":["a"]"#));
    for name in ["sub", "exp", "aud", "scope", "iss", "iat", "jti", "sid", "sub_ver", "client_id"] {
        let same = format!("\"{name}\":{}", good[name]);
        service.refuses_claims(first(&same, &good), Rejection::ClaimsJson);
        service.refuses_claims(last(&good, &same), Rejection::ClaimsJson);
        let other = format!("\"{name}\":null");
        service.refuses_claims(first(&other, &good), Rejection::ClaimsJson);
        service.refuses_claims(last(&good, &other), Rejection::ClaimsJson);
    }
    for unknown in [
        r#""roles":[],"roles":["admin"]"#,
        r#""x":1,"x":1"#,
        r#""x":{"a":1,"a":2}"#,
        r#""x":[{"a":1,"a":2}]"#,
        r#""":1,"":2"#,
    ] {
        service.refuses_claims(last(&good, unknown), Rejection::ClaimsJson);
    }
}

/// N-C10, N-A17: what the same keys sign for other ends.
#[test]
fn other_tokens_of_the_same_issuer_are_refused() {
    let service = Service::new();
    let own = service.claims().to_string();
    service.accepts_claims(&own);
    let now = service.now();
    let common = json!({"iss": ISSUER, "aud": AUDIENCE, "iat": now, "exp": now + 600});
    let id_token = last(&common, &format!(r#""sub":"{SUBJECT}","nonce":"n","azp":"web""#));
    let status = last(&common, r#""sub":"s","status_list":{"bits":1,"lst":"eNpjAAAAAQAB"}"#);
    let logout = last(
        &common,
        &format!(
            r#""jti":"{}","sid":"{SESSION}","events":{{"http://schemas.openid.net/event/backchannel-logout":{{}}}}"#,
            common::TOKEN
        ),
    );
    let introspection = last(&common, r#""token_introspection":{"active":true}"#);
    let assertion = last(&common, &format!(r#""sub":"web","jti":"{}""#, common::TOKEN));
    let proof = json!({"jti": common::TOKEN, "htm": "GET", "htu": AUDIENCE, "iat": now});
    for (typ, claims) in [
        ("JWT", id_token),
        ("statuslist+jwt", status),
        ("logout+jwt", logout),
        ("token-introspection+jwt", introspection),
        ("client-authentication+jwt", assertion),
        ("dpop+jwt", proof.to_string()),
        // All the right claims under a name that is not an access token's.
        ("JWT", own.clone()),
        ("logout+jwt", own.clone()),
    ] {
        for algorithm in common::ALGORITHMS {
            let typed = with(&header(algorithm), "typ", typ).to_string();
            let token = Mint::real().token(algorithm, &typed, &claims);
            service.refuses(&token, Rejection::Type, typ);
        }
        // And the other tokens' claims under an access token's name.
        if claims != own {
            service.refuses_claims(claims, Rejection::ClaimType);
        }
    }
}

/// N-C11
#[test]
fn what_is_no_jwt_at_all_is_refused() {
    let service = Service::new();
    service.accepts(&service.token(Algorithm::Es256));
    let handle = "A".repeat(22);
    let tag = "A".repeat(43);
    for hostile in [&format!("rt1.{handle}.7.{tag}"), SUBJECT, SESSION, "null", "Bearer"] {
        service.refuses(hostile, Rejection::Segments, hostile);
    }
    let without_prefix = format!("{handle}.7.{tag}");
    service.refuses(&without_prefix, Rejection::HeaderJson, &without_prefix);
}

/// N-C12
#[test]
fn scope_values_are_compared_whole() {
    let service = Service::new();
    let grants = |scope: &str| {
        let claims = with(&service.claims(), "scope", scope).to_string();
        let header = header(Algorithm::EdDsa).to_string();
        let token = Mint::real().token(Algorithm::EdDsa, &header, claims);
        service
            .verifier
            .verify(&PresentedToken::bearer(&token))
            .map(|verified| verified.has_scope("orders:read"))
    };
    assert_eq!(grants("orders:read"), Ok(true));
    assert_eq!(grants("profile orders:read"), Ok(true));
    for near in ["orders:readwrite", "xorders:read", "orders", "orders: read", "Orders:Read"] {
        assert_eq!(grants(near), Ok(false), "{near:?}");
    }
    for malformed in [
        "",
        " ",
        " orders:read",
        "orders:read ",
        "profile  orders:read",
        "profile\torders:read",
        "profile\norders:read",
        "profile,\u{a0}orders:read",
        "orders:read orders:read",
        "orders:read\u{0}",
        "\"orders:read\"",
    ] {
        assert_eq!(grants(malformed), Err(Rejection::ClaimType), "{malformed:?}");
    }
    let none = without(&service.claims(), "scope").to_string();
    let token = Mint::real().token(Algorithm::EdDsa, &header(Algorithm::EdDsa).to_string(), none);
    assert!(
        !service.verifier.verify(&PresentedToken::bearer(&token)).unwrap().has_scope("orders:read")
    );
}

/// N-C14
#[test]
fn a_token_bound_to_a_key_is_refused() {
    let service = Service::new();
    let good = service.claims();
    service.accepts_claims(good.to_string());
    for cnf in [
        json!({"jkt": "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I"}),
        json!({"x5t#S256": "bwcK0esc3ACC3DB2Y5_lESsXE8o9ltc05O89jdN-dg2"}),
        json!({}),
        json!([]),
        json!(""),
        json!(false),
        Value::Null,
    ] {
        service.refuses_claims(with(&good, "cnf", cnf).to_string(), Rejection::Bound);
    }
}
