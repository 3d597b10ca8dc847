//! Tokens whose shape or encoding is hostile, signed by the real keys.

mod common;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD};
use common::{ALGORITHMS, Mint, Service, decode, encode, first, header, last, with};
use latchkey_claims::Algorithm;
use latchkey_verifier::{PresentedToken, Rejection};
use serde_json::{Value, json};

/// The control for every family below.
#[test]
fn a_good_token_of_each_algorithm_is_accepted() {
    let service = Service::new();
    for algorithm in ALGORITHMS {
        let token = service.token(algorithm);
        let verified = service.verifier.verify(&PresentedToken::bearer(&token)).unwrap();
        assert_eq!(verified.claims().sub.as_str(), common::SUBJECT);
        assert_eq!(verified.key().as_str(), common::kid(algorithm));
        service.accepts(&token);
    }
}

/// N-J01
#[test]
fn anything_but_three_segments_is_refused() {
    let service = Service::new();
    for algorithm in ALGORITHMS {
        let token = service.token(algorithm);
        service.accepts(&token);
        let [header, claims, signature] = segments(&token);
        for hostile in [
            String::new(),
            ".".to_owned(),
            "..".to_owned(),
            "...".to_owned(),
            header.to_owned(),
            format!("{header}.{claims}"),
            format!("{header}.{claims}."),
            format!(".{claims}.{signature}"),
            format!("{token}."),
            format!(".{token}"),
            format!("{token}.{signature}"),
            format!("{header}.{claims}.{claims}.{claims}.{signature}"),
        ] {
            service.refuses(&hostile, Rejection::Segments, &hostile);
        }
        // Signed over more than two segments, as a JWE would be cut.
        for middle in [format!("{claims}.{claims}"), format!("{claims}..{claims}")] {
            let hostile = Mint::real().token_of_segments(algorithm, header, &middle);
            service.refuses(&hostile, Rejection::Segments, hostile.as_str());
        }
    }
}

/// N-J02
#[test]
fn whitespace_and_padding_are_refused_wherever_they_stand() {
    let service = Service::new();
    for algorithm in ALGORITHMS {
        let token = service.token(algorithm);
        service.accepts(&token);
        let [head, claims, signature] = segments(&token);
        for hostile in [
            format!("{token}\n"),
            format!("{token}\r\n"),
            format!(" {token}"),
            format!("{token} "),
            format!("\t{token}"),
            format!("{head} .{claims}.{signature}"),
            format!("{head}.{claims}\n.{signature}"),
            format!("{head}.{claims}.{signature}="),
            format!("{head}.{claims}.{}", URL_SAFE.encode(decode(signature))),
            format!("{token}\0"),
            format!("{token}\u{feff}"),
        ] {
            service.refuses(&hostile, Rejection::Characters, &hostile);
        }
        // The same where the signature covers them.
        let mint = Mint::real();
        for (head, claims) in [
            (format!("{head}="), claims.to_owned()),
            (head.to_owned(), format!("{claims}=")),
            (head.to_owned(), format!("{claims}==")),
            (format!("{head}\n"), claims.to_owned()),
            (head.to_owned(), format!(" {claims}")),
            (head.to_owned(), format!("{}\n{}", &claims[..8], &claims[8..])),
        ] {
            let hostile = mint.token_of_segments(algorithm, &head, &claims);
            service.refuses(&hostile, Rejection::Characters, &hostile);
        }
    }
}

/// N-J03
#[test]
fn the_alphabet_of_plain_base64_is_refused() {
    let service = Service::new();
    let mint = Mint::real();
    // Third bytes of `~` and `?` are what ASCII needs to reach the two characters that differ.
    let reach = |object: &Value| last(object, r#""x":"~~~~~~???????""#);
    for algorithm in ALGORITHMS {
        let good_header = encode(header(algorithm).to_string());
        let claims = reach(&service.claims());
        service.accepts(&mint.token_of_segments(algorithm, &good_header, &encode(&claims)));

        let plain = plain_base64(&claims);
        let hostile = mint.token_of_segments(algorithm, &good_header, &plain);
        service.refuses(&hostile, Rejection::Characters, &hostile);

        let plain = plain_base64(&reach(&header(algorithm)));
        let hostile = mint.token_of_segments(algorithm, &plain, &encode(&claims));
        service.refuses(&hostile, Rejection::Characters, &hostile);

        let with_both = (0..100)
            .map(|n| with(&service.claims(), "x", n).to_string())
            .map(|claims| mint.token_of_segments(algorithm, &good_header, &encode(claims)))
            .find(|token| segments(token)[2].contains(['-', '_']))
            .unwrap();
        service.accepts(&with_both);
        let [head, claims, signature] = segments(&with_both);
        let plain = signature.replace('-', "+").replace('_', "/");
        let hostile = format!("{head}.{claims}.{plain}");
        service.refuses(&hostile, Rejection::Characters, &hostile);
    }
}

/// N-J04
#[test]
fn a_segment_has_one_spelling_only() {
    let service = Service::new();
    let mint = Mint::real();
    for algorithm in ALGORITHMS {
        // Two lengths each, for two and for four unused bits.
        for spaces in [1, 2] {
            let head = encode(spaced(&header(algorithm), spaces));
            let claims = encode(spaced(&service.claims(), spaces));
            let token = mint.token_of_segments(algorithm, &head, &claims);
            service.accepts(&token);

            let hostile = mint.token_of_segments(algorithm, &respelled(&head), &claims);
            service.refuses(&hostile, Rejection::Header, &hostile);
            let hostile = mint.token_of_segments(algorithm, &head, &respelled(&claims));
            service.refuses(&hostile, Rejection::Claims, &hostile);
            let signature = segments(&token)[2];
            let hostile = format!("{head}.{claims}.{}", respelled(signature));
            service.refuses(&hostile, Rejection::Signature, &hostile);
            // A length no encoding has.
            let hostile = mint.token_of_segments(algorithm, &one_over(&head), &claims);
            service.refuses(&hostile, Rejection::Header, &hostile);
            let hostile = mint.token_of_segments(algorithm, &head, &one_over(&claims));
            service.refuses(&hostile, Rejection::Claims, &hostile);
        }
    }
}

/// N-J05
#[test]
fn other_serializations_are_refused() {
    let service = Service::new();
    for algorithm in ALGORITHMS {
        let token = service.token(algorithm);
        service.accepts(&token);
        let [protected, payload, signature] = segments(&token);
        let signed = json!({"protected": protected, "signature": signature});
        let flattened = with(&signed, "payload", payload).to_string();
        let general = json!({"payload": payload, "signatures": [signed]}).to_string();
        service.refuses(&flattened, Rejection::Characters, &flattened);
        service.refuses(&general, Rejection::Characters, &general);
        // RFC 7515 appendix F: a payload that travels apart.
        let detached = format!("{protected}..{signature}");
        service.refuses(&detached, Rejection::Segments, &detached);
        let of_nothing = Mint::real().token_of_segments(algorithm, protected, "");
        service.refuses(&of_nothing, Rejection::Segments, &of_nothing);
    }
}

/// N-J06
#[test]
fn a_header_that_is_not_one_json_object_is_refused() {
    let service = Service::new();
    service.accepts_header(|algorithm| spaced(&header(algorithm), 1));
    let hostile: [fn(Value) -> String; 11] = [
        |_| "at+jwt".to_owned(),
        |_| "null".to_owned(),
        |_| "7".to_owned(),
        |_| "\"at+jwt\"".to_owned(),
        |_| "[]".to_owned(),
        |good| json!([good]).to_string(),
        |good| json!([good["alg"], good["typ"], good["kid"]]).to_string(),
        |good| format!("{good}{good}"),
        |good| format!("{good},"),
        |good| format!("\u{feff}{good}"),
        |good| good.to_string().replace('}', ""),
    ];
    for make in hostile {
        service.refuses_header(Rejection::HeaderJson, |algorithm| make(header(algorithm)));
    }
    service.refuses_header(Rejection::Type, |_| "{}".to_owned());
}

/// N-J07
#[test]
fn claims_that_are_not_one_json_object_are_refused() {
    let service = Service::new();
    let good = service.claims().to_string();
    service.accepts_claims(format!(" {good}\n"));
    let values = json!(service.claims().as_object().unwrap().values().collect::<Vec<_>>());
    for hostile in [
        "[]".to_owned(),
        format!("[{good}]"),
        values.to_string(),
        "\"claims\"".to_owned(),
        "null".to_owned(),
        "0".to_owned(),
        "claims".to_owned(),
        format!("{good}x"),
        format!("{good},"),
        format!("{good}\0"),
        format!("{good}{good}"),
        format!("{good}\n{good}"),
        format!("\u{feff}{good}"),
        format!("/* */{good}"),
        good.replace('"', "'"),
        good.replace('}', ",}"),
        good[..good.len() - 1].to_owned(),
    ] {
        service.refuses_claims(hostile, Rejection::ClaimsJson);
    }
}

/// N-J08
#[test]
fn claims_that_are_not_utf8_are_refused() {
    let service = Service::new();
    let good = service.claims().to_string();
    let with_unknown =
        |bytes: &[u8]| [&good.as_bytes()[..good.len() - 1], b",\"x\":\"", bytes, b"\"}"].concat();
    service.accepts_claims(with_unknown("żółw \u{10ffff}".as_bytes()));
    service.accepts_claims(with_unknown(br"\ud83d\udc22"));

    let little: Vec<u8> = good.encode_utf16().flat_map(u16::to_le_bytes).collect();
    let big: Vec<u8> = good.encode_utf16().flat_map(u16::to_be_bytes).collect();
    for hostile in [
        little.clone(),
        big.clone(),
        [&[0xff, 0xfe][..], &little].concat(),
        [&[0xfe, 0xff][..], &big].concat(),
        with_unknown(b"\xff"),
        with_unknown(b"\xc3"),
        // Overlong: `/` in two bytes and NUL in two.
        with_unknown(b"\xc0\xaf"),
        with_unknown(b"\xc0\x80"),
        // A surrogate in bytes, beyond Unicode, and surrogates without their other half.
        with_unknown(b"\xed\xa0\x80"),
        with_unknown(b"\xf4\x90\x80\x80"),
        with_unknown(br"\ud800"),
        with_unknown(br"\udc22\ud83d"),
        // Control characters must be escaped (RFC 8259 §7).
        with_unknown(b"\n"),
        with_unknown(b"\0"),
    ] {
        service.refuses_claims(hostile, Rejection::ClaimsJson);
    }
    let sub = good.replace(common::SUBJECT, r"\ud800");
    service.refuses_claims(sub, Rejection::ClaimsJson);
}

/// N-J09
#[test]
fn an_identifier_outside_its_grammar_is_refused() {
    let service = Service::new();
    let good = service.claims();
    service.accepts_claims(with(&good, "sub", "a".repeat(64)).to_string());
    let line = "a\nlevel=ERROR admin logged in";
    for sub in ["\0", "a\0b", "a\u{202e}b", line, "\u{1b}[2J", "", "a b", "a/b", "é", "'--"] {
        service.refuses_claims(with(&good, "sub", sub).to_string(), Rejection::ClaimType);
        service.refuses_claims(with(&good, "client_id", sub).to_string(), Rejection::ClaimType);
        service.refuses_claims(with(&good, "jti", sub).to_string(), Rejection::ClaimType);
        service.refuses_claims(with(&good, "sid", sub).to_string(), Rejection::ClaimType);
        service.refuses_header(Rejection::KeyId, |algorithm| {
            with(&header(algorithm), "kid", sub).to_string()
        });
    }
    for name in ["sub", "client_id"] {
        service.refuses_claims(with(&good, name, "a".repeat(65)).to_string(), Rejection::ClaimType);
    }
    let longer = with(&good, "sub", "a".repeat(64 * 1024));
    service.refuses_claims(longer.to_string(), Rejection::TooLong);
    // 128 bits in their one spelling: neither longer, nor shorter, nor with stray bits.
    for id in ["0KX9m1Qf3b7Rk2Yt8sVw5", "0KX9m1Qf3b7Rk2Yt8sVw5AA", "0KX9m1Qf3b7Rk2Yt8sVw5B"] {
        service.refuses_claims(with(&good, "jti", id).to_string(), Rejection::ClaimType);
        service.refuses_claims(with(&good, "sid", id).to_string(), Rejection::ClaimType);
    }
}

/// N-J10
#[test]
fn a_token_of_8192_bytes_is_accepted_and_one_byte_more_is_not() {
    let service = Service::new();
    for algorithm in ALGORITHMS {
        service.accepts(&token_of_length(&service, algorithm, 8192));
        for length in [8193, 64 * 1024, 1024 * 1024] {
            let hostile = token_of_length(&service, algorithm, length);
            service.refuses(&hostile, Rejection::TooLong, length);
        }
    }
}

/// N-J10, for the header alone.
#[test]
fn a_header_of_512_bytes_is_accepted_and_a_longer_one_is_not() {
    let service = Service::new();
    let padded = |algorithm, bytes| {
        let text = header(algorithm).to_string();
        format!("{text}{}", " ".repeat(bytes - text.len()))
    };
    // 384 bytes are 512 characters.
    service.accepts_header(|algorithm| padded(algorithm, 384));
    service.refuses_header(Rejection::Header, |algorithm| padded(algorithm, 385));
}

/// N-J11
#[test]
fn deep_nesting_is_refused() {
    let service = Service::new();
    let nested = |open: &str, depth: usize, close: &str| {
        let value = format!("{}1{}", open.repeat(depth), close.repeat(depth));
        last(&service.claims(), &format!(r#""x":{value}"#))
    };
    // The claims themselves are the first level of eight.
    service.accepts_claims(nested("[", 7, "]"));
    service.accepts_claims(nested(r#"{"a":"#, 7, "}"));
    for depth in [8, 9, 128, 2000] {
        service.refuses_claims(nested("[", depth, "]"), Rejection::ClaimsJson);
    }
    for depth in [8, 9, 60, 128, 900] {
        service.refuses_claims(nested(r#"{"a":"#, depth, "}"), Rejection::ClaimsJson);
    }
    let unclosed = last(&service.claims(), &format!(r#""x":{}"#, "[".repeat(4000)));
    service.refuses_claims(unclosed, Rejection::ClaimsJson);
    service.refuses_claims(nested("[", 100_000, "]"), Rejection::TooLong);
    service.refuses_header(Rejection::HeaderJson, |algorithm| {
        last(&header(algorithm), &format!(r#""x":{}{}"#, "[".repeat(100), "]".repeat(100)))
    });
}

/// N-J12
#[test]
fn too_many_members_are_refused() {
    let service = Service::new();
    let of_members = |count: usize| {
        let mut claims = service.claims();
        for n in claims.as_object().unwrap().len()..count {
            claims[format!("m{n}")] = json!(n);
        }
        claims.to_string()
    };
    service.accepts_claims(of_members(64));
    service.refuses_claims(of_members(65), Rejection::ClaimsJson);
    service.refuses_claims(of_members(400), Rejection::ClaimsJson);
    service.refuses_claims(of_members(10_000), Rejection::TooLong);
    let inner: Value = (0..64).map(|n| (format!("m{n}"), json!(n))).collect();
    let spread = with(&service.claims(), "x", inner).to_string();
    service.refuses_claims(spread, Rejection::ClaimsJson);
}

/// N-J12
#[test]
fn a_number_that_is_not_a_plain_whole_one_is_refused() {
    let service = Service::new();
    let good = service.claims();
    let exp = good["exp"].as_u64().unwrap();
    let number = |text: &str| good.to_string().replace(&exp.to_string(), text);
    service.accepts_claims(number(&(exp + 1).to_string()));
    for (text, rejection) in [
        // No IEEE number is as large.
        ("1e400".to_owned(), Rejection::ClaimsJson),
        ("9".repeat(4000), Rejection::ClaimsJson),
        ("9".repeat(1024 * 1024), Rejection::TooLong),
        // No JSON at all.
        (format!("+{exp}"), Rejection::ClaimsJson),
        (format!("0{exp}"), Rejection::ClaimsJson),
        (format!("{exp}."), Rejection::ClaimsJson),
        ("0x7fffffff".to_owned(), Rejection::ClaimsJson),
        ("NaN".to_owned(), Rejection::ClaimsJson),
        ("Infinity".to_owned(), Rejection::ClaimsJson),
        // Numbers, but not spelled as whole ones.
        ("-0".to_owned(), Rejection::ClaimType),
        ("1E+2".to_owned(), Rejection::ClaimType),
        (format!("{exp}.0"), Rejection::ClaimType),
        (format!("{exp}.5"), Rejection::ClaimType),
        (format!("{exp}e0"), Rejection::ClaimType),
        (format!("0.{exp}e10"), Rejection::ClaimType),
    ] {
        service.refuses_claims(number(&text), rejection);
    }
}

/// N-J13
#[test]
fn a_name_that_repeats_another_once_unescaped_is_refused() {
    let service = Service::new();
    let good = service.claims();
    let escaped_only = good.to_string().replace(r#""sub""#, r#""\u0073ub""#);
    service.accepts_claims(escaped_only);
    let repeats = format!(r#""\u0073ub":"{}""#, common::SUBJECT);
    service.refuses_claims(first(&repeats, &good), Rejection::ClaimsJson);
    service.refuses_claims(last(&good, &repeats), Rejection::ClaimsJson);
    service.refuses_claims(last(&good, r#""r\u006fles":[],"roles":[]"#), Rejection::ClaimsJson);

    let escaped_only =
        |algorithm| header(algorithm).to_string().replace(r#""alg""#, r#""\u0061lg""#);
    service.accepts_header(escaped_only);
    service.refuses_header(Rejection::HeaderJson, |algorithm| {
        last(&header(algorithm), r#""\u0061lg":"none""#)
    });
}

/// N-J14
#[test]
fn names_that_mean_something_to_other_languages_are_ignored() {
    let service = Service::new();
    let members = r#""__proto__":{"sub":"admin"},"constructor":{"prototype":{}},"toString":1"#;
    service.accepts_claims(last(&service.claims(), members));
    service.accepts_claims(first(members, &service.claims()));
    let token = Mint::real().token(
        Algorithm::Es256,
        &header(Algorithm::Es256).to_string(),
        last(&service.claims(), members),
    );
    let verified = service.verifier.verify(&PresentedToken::bearer(&token)).unwrap();
    assert_eq!(verified.claims().sub.as_str(), common::SUBJECT);
}

fn segments(token: &str) -> [&str; 3] {
    token.split('.').collect::<Vec<_>>().try_into().unwrap()
}

fn plain_base64(text: &str) -> String {
    let plain = STANDARD_NO_PAD.encode(text);
    assert!(plain.contains('+') && plain.contains('/'), "{plain}");
    plain
}

/// The object's text with as many spaces behind it as give a length of `remainder` modulo 3.
fn spaced(object: &Value, remainder: usize) -> String {
    let mut text = object.to_string();
    while text.len() % 3 != remainder {
        text.push(' ');
    }
    text
}

/// The segment with one of its unused bits set: a lax decoder reads the same bytes.
fn respelled(segment: &str) -> String {
    const ALPHABET: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    assert!(matches!(segment.len() % 4, 2 | 3));
    let (rest, end) = segment.split_at(segment.len() - 1);
    let index = ALPHABET.find(end).unwrap() | 1;
    let respelled = format!("{rest}{}", &ALPHABET[index..=index]);
    assert_ne!(respelled, segment);
    assert!(URL_SAFE_NO_PAD.decode(&respelled).is_err());
    respelled
}

/// The segment with characters added until its length is 1 modulo 4.
fn one_over(segment: &str) -> String {
    let mut text = segment.to_owned();
    while text.len() % 4 != 1 {
        text.push('A');
    }
    text
}

/// A token, good but for its length. Spaces in the header reach the lengths claims alone do not.
fn token_of_length(service: &Service, algorithm: Algorithm, length: usize) -> String {
    for remainder in 0..3 {
        let head = encode(spaced(&header(algorithm), remainder));
        let claims = service.claims();
        let empty = Mint::real().token_of_segments(algorithm, &head, "").len();
        let bytes = (length - empty) * 3 / 4;
        let filler = bytes - with(&claims, "x", "").to_string().len();
        let claims = with(&claims, "x", "x".repeat(filler)).to_string();
        let token = Mint::real().token_of_segments(algorithm, &head, &encode(claims));
        if token.len() == length {
            return token;
        }
    }
    unreachable!("three headers of different lengths reach every length");
}
