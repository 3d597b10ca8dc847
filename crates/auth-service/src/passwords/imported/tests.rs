//! Hashes that other implementations made, in the forms of the systems that they come from.

use secrecy::SecretString;

use super::*;
use crate::passwords::hasher::Hasher;
use crate::passwords::pool::Arena;

const PASSWORD: &str = "correct horse battery staple";

/// Of PASSWORD, made by the implementations themselves: Django 5.2.19, Werkzeug 3.1.9, argon2-cffi 25.1.0, passlib
/// 1.7.4 and @better-auth/utils 0.5.1. Those of Spring Security, Keycloak and ASP.NET Identity were put
/// together in Python from `hashlib.scrypt`, `hashlib.pbkdf2_hmac` and argon2-cffi, as these systems describe their
/// forms; [`PUBLISHED`] has some that the systems themselves made.
#[rustfmt::skip]
const MADE: [&str; 23] = [
    // Django.
    "argon2$argon2id$v=19$m=1024,t=2,p=2$c29tZXNhbHRvZmRqYW5nbw$jv+G3WrL/h+VeOdtlT6t0rK7v6Dxy9ZaxW2i3x2tmqo",
    "scrypt$1024$seasaltofdjango$8$1$H4YU+KUxT4hLB4hMI3ZKhSPeOKuBTUFZ8iDBmB+ylo0rnDvKlT79Ide9hs+OEgTx3uEI0MXvnXfPrhnGX3hYsw==",
    "bcrypt$$2b$04$abcdefghijklmnopqrstuu7EJV7kdjBBQxyb0HjTh9KS7.Lah/6CG",
    "bcrypt_sha256$$2b$04$abcdefghijklmnopqrstuuaBT8mpw5tGdD3eO40znWcQP/dT9hEVK",
    "pbkdf2_sha1$1000$seasaltofdjango$R+R6svBcOn/65pxF4K5ZgrIwfL4=",
    // Werkzeug.
    "scrypt:1024:8:1$d24wcVxrAy08RbhM$2314c859d013250cfb311ffa9c7b1f7ae5ce6ee8eecef75b9442ab92c49a153a89fe9ec063c97cedc7d412ea98c4c7188b0aa4845f94eaa6b9d77af99fe02a40",
    "pbkdf2:sha256:1000$fz0KxpCrPZ1LDNKK$b29e3b63be0d5e9114d9e9688bc5b23a8aac9e34e9cd923a6754a47d7c014dd9",
    "pbkdf2:sha512:1000$HxfXvuRAI7k4vurF$948f0132d53008016c1a99f0ed97f3bc15c0e25ff715ed1463120b2e5c7049de49fce3285375a32d6c419ca43d8153a24a64385f0514b6318c060da3f69d8f4f",
    // argon2-cffi and passlib.
    "$argon2i$v=19$m=1024,t=2,p=1$c2l4dGVlbiBieXRlIHNsdA$uVu24iMFLy5pFqCq82B7ZQC0CleNqeo6scn5ZLf6E8U",
    "$pbkdf2$1000$c2l4dGVlbiBieXRlIHNsdA$FMzdi193zlT50xfDm2YNyRZVEJU",
    // PHC strings with padding.
    "$argon2id$v=19$m=1024,t=2,p=1$c2V2ZW50ZWVuIGJ5dGVzbHQ=$jxcLamsA1N/gsLoLdpIvX5PlgnRioPyLjvQWxRWc9FQ=",
    "$scrypt$ln=10,r=8,p=1$c2l4dGVlbiBieXRlIHNsdA==$1DuK7t0mGkvYvadig0p9VpOI+L6xz1bcO5P8nWLyjWA=",
    "$pbkdf2-sha256$i=1000$c2l4dGVlbiBieXRlIHNsdA==$BaruwSbpHYJRQRMzlz9t09usJ2bfLKNK+A6dm04mJuk=",
    // Spring Security.
    "{argon2@SpringSecurity_v5_8}$argon2id$v=19$m=1024,t=2,p=1$c2l4dGVlbiBieXRlIHNsdA$38z79Yp1xRosLa6uxG5iM1Ak+sP11icCE8B3gUQ1Qbg",
    "{scrypt@SpringSecurity_v5_8}$a0801$c2l4dGVlbiBieXRlIHNsdA==$1DuK7t0mGkvYvadig0p9VpOI+L6xz1bcO5P8nWLyjWA=",
    "{pbkdf2@SpringSecurity_v5_8}7369787465656e206279746520736c7421a3fac6039104a4633b182af786248fe9be5d98870ac4820195df19e3941561",
    // Keycloak.
    r#"{"type":"password","secretData":"{\"value\":\"Fo14bWaPyhnyDMXHeBqPa8drWbzbaPyV2dWucpq4Pf4=\",\"salt\":\"c2l4dGVlbiBieXRlIHNsdA==\",\"additionalParameters\":{}}","credentialData":"{\"hashIterations\":5,\"algorithm\":\"argon2\",\"additionalParameters\":{\"hashLength\":[\"32\"],\"memory\":[\"1024\"],\"type\":[\"id\"],\"version\":[\"1.3\"],\"parallelism\":[\"1\"]}}"}"#,
    r#"{"type":"password","secretData":"{\"value\":\"Qx3qbw278zSt9WeG86lWZvHDoTyEGK0+JPKz57+E4H/Ng6YoGOwtYI+YoBjP/HcmVuBoCFrzDegARigUEGzp1g==\",\"salt\":\"c2l4dGVlbiBieXRlIHNsdA==\",\"additionalParameters\":{}}","credentialData":"{\"hashIterations\":27500,\"algorithm\":\"pbkdf2-sha256\",\"additionalParameters\":{}}"}"#,
    r#"{"type":"password","secretData":"{\"value\":\"3QMwrxLg4/X2UcnWiHG3oGtaw1Sr4coKsAAOWMiR/640yePfdIno4J23vNuKz9ZkADlvSFRe8oUd+qOpwSH1Ww==\",\"salt\":\"c2l4dGVlbiBieXRlIHNsdA==\",\"additionalParameters\":{}}","credentialData":"{\"hashIterations\":1000,\"algorithm\":\"pbkdf2-sha512\",\"additionalParameters\":{}}"}"#,
    // ASP.NET Identity.
    "AQAAAAAAAAPoAAAAEHNpeHRlZW4gYnl0ZSBzbHQUzN2LX3fOVPnTF8ObZg3JFlUQlVyHrRdNi9Gutj97Sw==",
    "AQAAAAEAAAPoAAAAEHNpeHRlZW4gYnl0ZSBzbHQFqu7BJukdglFBEzOXP23T26wnZt8so0r4Dp2bTiYm6Q==",
    "AQAAAAIAAAPoAAAAEHNpeHRlZW4gYnl0ZSBzbHTdAzCvEuDj9fZRydaIcbega1rDVKvhygqwAA5YyJH/rg==",
    // better-auth.
    "1107f0afd09990f6e62445b7215ff715:f58f42e55b9bec2db177eb70d725b104107fd3fa01481cc1eff252220a3f2c57fa4293482e44c430d0fa87429a1b41f92528192026cd90951ef520a0a7bf3338",
];

/// With the passwords that they are published with: in the reference and the tests of Spring Security, Django and ASP.NET
/// Core, and as Keycloak 26 exported one.
#[rustfmt::skip]
const PUBLISHED: [(&str, &str); 11] = [
    ("password", "{bcrypt}$2a$10$dXJ3SW6G7P50lGmMkkmwe.20cQQubK3.HZWzG3YB1tlRy.fqvM/BG"),
    ("password", "{pbkdf2}5d923b44a6d129f3ddf3e3c8d29412723dcbde72445e8ef6bf3b508fbf17fa4ed4d6b99ca763d8dc"),
    ("password", "{scrypt}$e0801$8bWJaSu2IKSn9Z9kM+TPXfOc/9bdYSrN1oD9qfVThWEwdRTnO7re7Ei+fUZRJ68k9lTyuTeUp4of4g24hHnazw==$OAOec05+bXxvuu/1qZ6NUR+xQYvYv7BeL1QxwRpY5Pc="),
    ("alicepass", "{argon2@SpringSecurity_v5_8}$argon2id$v=19$m=16384,t=2,p=1$hp9jQvZs8lvWNzB/+zrdnQ$rW8hKbhfb3Ll1UgpvZqcDkb2fAUPWuvZkDo4F+XvNBU"),
    ("l\u{e8}tmein", "scrypt$16384$seasalt$8$5$ECMIUp+LMxMSK8xB/IVyba+KYGTI7FTnet025q/1f/vBAVnnP3hdYqJuRi+mJn6ji6ze3Fbb7JEFPKGpuEf5vw=="),
    ("my password", "AQAAAAIAAAAyAAAAEOMwvh3+FZxqkdMBz2ekgGhwQ4B6pZWND6zgESBuWiHw"),
    ("my password", "AQAAAAIAAAD6AAAAIJbVi5wbMR+htSfFp8fTw8N8GOS/Sje+S/4YZcgBfU7EQuqv4OkVYmc4VJl9AGZzmRTxSkP7LtVi9IWyUxX8IAAfZ8v+ZfhjCcudtC1YERSqE1OEdXLW9VukPuJWBBjLuw=="),
    ("my password", "AQAAAAAAAAD6AAAAEAhftMyfTJylOlZT+eEotFXd1elee8ih5WsjXaR3PA9M"),
    ("my password", "AQAAAAEAA9CQAAAAIESkQuj2Du8Y+kbc5lcN/W/3NiAZFEm11P27nrSN5/tId+bR1SwV8CO1Jd72r4C08OLvplNlCDc3oQZ8efcW+jQ="),
    ("my password", "AAABAgMEBQYHCAkKCwwNDg+ukCEMDf0yyQ29NYubggHIVY0sdEUfdyeM+E1LtH1uJg=="),
    ("secret", r#"{"type":"password","secretData":"{\"value\":\"xKjWvB9+0sSP6wTqI1JoEI7w+iA0x9VDhPgmrOHRG80=\",\"salt\":\"LRScGShC7shkdoU5B1UgUQ==\",\"additionalParameters\":{}}","credentialData":"{\"hashIterations\":5,\"algorithm\":\"argon2\",\"additionalParameters\":{\"hashLength\":[\"32\"],\"memory\":[\"7168\"],\"type\":[\"id\"],\"version\":[\"1.3\"],\"parallelism\":[\"1\"]}}"}"#),
];

/// better-auth's, of the first of these two, which it takes for the second.
const COMPATIBLE: [&str; 2] =
    ["\u{fb01}ne cafe\u{301} \u{bd} \u{ff21} sentence", "fine caf\u{e9} 1\u{2044}2 A sentence"];
#[rustfmt::skip]
const OF_COMPATIBLE: &str = "0703de45300b2f19b1b6c44f43099f56:ea36d24acbe8b928574d060c23de5eb5cff51f8f671077ad6bd3e4e6e234c0c9ab634df44074f4a06b2af7641f9e4342b27a797965465f877576e971eb7c43b4";

/// Of 84 times `x`: bcrypt 4.0.1, which cuts it off, and Django's `bcrypt_sha256`, which does not.
const CUT: &str = "$2b$04$abcdefghijklmnopqrstuubzadhGtS2zEF.gu0yd0opP6cVzb.e0i";
const NOT_CUT: &str = "bcrypt_sha256$$2b$04$abcdefghijklmnopqrstuugjfVrq.c.gOa1JLJhXkITvxNVAb4Rfe";

fn settings(peppers: &str) -> config::Passwords {
    config::Passwords {
        min_length: 15,
        max_length: 256,
        memory_kib: 64,
        iterations: 1,
        max_wait_seconds: 3,
        peppers: SecretString::from(peppers),
    }
}

fn imported(hash: &str, truncate: bool) -> Result<ImportedHash, NotImported> {
    Importer::new(&settings(""), truncate).unwrap().read(hash)
}

/// Whether somebody with this password would get in once the hash is stored.
fn lets_in(stored: &str, password: &str) -> bool {
    let hasher = Hasher::new(&settings("")).unwrap();
    hasher.check(&SecretString::from(password), Some(stored), &mut Arena::new()).is_good()
}

#[test]
fn whoever_comes_from_another_system_gets_in_with_their_password_and_with_no_other() {
    let made = MADE.into_iter().map(|hash| (PASSWORD, hash));
    for (password, hash) in made.chain(PUBLISHED) {
        let stored = imported(hash, false).unwrap_or_else(|why| panic!("{hash}: {why}")).text;
        assert!(lets_in(&stored, password), "{hash} as {stored}");
        assert!(!lets_in(&stored, &format!("{password}x")), "{hash}");
        assert!(!lets_in(&stored, ""), "{hash}");
        // What is stored may be imported too, as from another Latchkey.
        assert_eq!(imported(&stored, false).unwrap().text, stored);
    }
}

#[test]
fn better_auth_takes_a_password_in_its_compatible_form() {
    let stored = imported(OF_COMPATIBLE, false).unwrap().text;
    for spelling in COMPATIBLE {
        assert!(lets_in(&stored, spelling), "{spelling}");
    }
    assert!(!lets_in(&stored, "fine cafe 1\u{2044}2 A sentence"));
}

#[test]
fn what_follows_72_bytes_counts_unless_the_import_says_otherwise() {
    let (long, other) = ("x".repeat(84), format!("{}y", "x".repeat(83)));
    for hash in [CUT, &format!("bcrypt${CUT}"), &format!("{{bcrypt}}{CUT}")] {
        let strict = imported(hash, false).unwrap();
        assert!(strict.refuses_long && !lets_in(&strict.text, &long), "{hash}");
        let cut = imported(hash, true).unwrap();
        assert!(!cut.refuses_long && lets_in(&cut.text, &long), "{hash}");
        assert!(lets_in(&cut.text, &other) && !lets_in(&cut.text, &long[..71]), "{hash}");
    }
    for truncate in [false, true] {
        let digested = imported(NOT_CUT, truncate).unwrap();
        assert!(!digested.refuses_long && lets_in(&digested.text, &long));
        assert!(!lets_in(&digested.text, &other));
    }
}

#[test]
fn a_hash_whose_pepper_is_not_there_is_refused_by_the_name_of_the_pepper() {
    let hash = |keyid: &str| {
        format!("$argon2id$v=19$m=64,t=1,p=1{keyid}$c2FsdHNhbHQ$AAAAAAAAAAAAAAAAAAAAAAAAAAA")
    };
    let peppers = "1:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
    let importer = Importer::new(&settings(peppers), false).unwrap();
    for known in ["", ",keyid=MQ"] {
        assert!(importer.read(&hash(known)).is_ok(), "{known}");
    }
    let unknown = importer.read(&hash(",keyid=Mg"));
    assert_eq!(unknown, Err(NotImported::Pepper("2".to_owned())));
    assert_eq!(imported(&hash(",keyid=MQ"), false), Err(NotImported::Pepper("1".to_owned())));
}

#[test]
fn what_would_stall_the_service_is_refused_in_whatever_form_it_comes() {
    let salt_and_key = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
    let zeros = "AAAAAAAAAAAAAAAAAAAAAA";
    let keycloak = |memory: &str, passes: u32| {
        let inner = |value: serde_json::Value| value.to_string();
        serde_json::json!({
            "secretData": inner(serde_json::json!({"value": zeros, "salt": zeros})),
            "credentialData": inner(serde_json::json!({
                "algorithm": "argon2", "hashIterations": passes,
                "additionalParameters": {"memory": [memory], "parallelism": ["1"], "type": ["id"]},
            })),
        })
        .to_string()
    };
    for (hash, scheme) in [
        // 4 GiB.
        (format!("argon2$argon2id$v=19$m=4194304,t=1,p=1${zeros}${zeros}"), "argon2id"),
        (format!("$argon2i$v=19$m=4194304,t=1,p=1${zeros}==${zeros}=="), "argon2i"),
        (keycloak("4194304", 1), "argon2id"),
        (keycloak("65536", 1000), "argon2id"),
        (format!("scrypt$1048576$salt$8$1${zeros}=="), "scrypt"),
        (format!("scrypt:2147483648:8:1$salt${salt_and_key}"), "scrypt"),
        (format!("scrypt:32768:8:4096$salt${salt_and_key}"), "scrypt"),
        (format!("{{scrypt}}$ffff0801${zeros}${zeros}"), "scrypt"),
        (format!("{{scrypt}}$1f0801${zeros}${zeros}"), "scrypt"),
        (format!("pbkdf2:sha256:4000000000$salt${salt_and_key}"), "pbkdf2"),
        // All rounds for each of four digests.
        (format!("$pbkdf2-sha1$i=5000000${zeros}${}", "A".repeat(86)), "pbkdf2"),
        // 2^32 - 1 rounds.
        (
            "AQAAAAH/////AAAAEHNpeHRlZW4gYnl0ZSBzbHQFqu7BJukdglFBEzOXP23T26wnZt8so0r4Dp2bTiYm6Q=="
                .to_owned(),
            "pbkdf2",
        ),
        (format!("bcrypt${}", CUT.replace("$04$", "$31$")), "bcrypt"),
        (NOT_CUT.replace("$04$", "$31$"), "bcrypt"),
    ] {
        assert_eq!(
            imported(&hash, false),
            Err(NotImported::Form(BadForm::TooCostly(scheme))),
            "{hash}"
        );
    }
}

#[test]
fn what_is_no_hash_is_refused_and_nothing_panics() {
    for text in [
        "",
        "{",
        "{}",
        "{\"",
        "{\"secretData\":\"{}\",\"credentialData\":\"{}\"}",
        "{\"secretData\":1,\"credentialData\":[]}",
        "{noop}password",
        "{bcrypt}{bcrypt}$2b$04$abcdefghijklmnopqrstuu7EJV7kdjBBQxyb0HjTh9KS7.Lah/6CG",
        "{pbkdf2}5d92",
        "{scrypt}$+e0801$AAAA$AAAA",
        "{unknown}x",
        "5f4dcc3b5aa765d61d8327deb882cf99",
        "AQ==",
        "AQAAAAEAAAPo",
        "AQAAAAMAAAPoAAAAEHNpeHRlZW4gYnl0ZSBzbHQFqu7BJukdglFBEzOXP23T26wnZt8so0r4Dp2bTiYm6Q==",
        "AQAAAAEAAAPo/////3NpeHRlZW4gYnl0ZSBzbHQFqu7BJukdglFBEzOXP23T26wnZt8so0r4Dp2bTiYm6Q==",
        "argon2$",
        "bcrypt$$",
        "bcrypt_sha256$$2b$",
        "scrypt$1000$salt$8$1$AAAAAAAAAAAAAAAAAAAAAA==",
        "scrypt:0:8:1$salt$00",
        "scrypt:1024:8$salt$00",
        "pbkdf2:md5:1000$salt$0123456789abcdef0123456789abcdef",
        "pbkdf2:sha256$salt$0123456789abcdef0123456789abcdef",
        "0123456789abcdef0123456789abcdef:xyz",
        "\u{1f600}$\u{1f600}$\u{1f600}",
        "pbkdf2_sha256$1000$sa\0lt$x/dgYZAmhuUAXwuUhTalRCab5yaMdPnAfzpji/qVEcs=",
        "$=$=$=",
        "====",
    ] {
        let refused = imported(text, false);
        assert!(matches!(refused, Err(NotImported::Form(_))), "{text}: {refused:?}");
    }
    // Whatever stands where, and however it is cut off.
    for (_, hash) in MADE.into_iter().map(|hash| ("", hash)).chain(PUBLISHED) {
        for end in (0..hash.len()).filter(|end| hash.is_char_boundary(*end)) {
            let _ = imported(&hash[..end], true);
            let _ = imported(&hash[end..], true);
        }
    }
}
