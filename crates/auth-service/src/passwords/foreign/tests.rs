//! Stored hashes of each form, and what is none.

use super::*;

const PASSWORD: &str = "correct horse battery staple";
/// Of PASSWORD: bcrypt 5.0.0, `hashlib.scrypt`, `hashlib.pbkdf2_hmac` and passlib 1.7.4 (Python).
const VECTORS: [&str; 9] = [
    "$2b$04$abcdefghijklmnopqrstuu7EJV7kdjBBQxyb0HjTh9KS7.Lah/6CG",
    "$2a$04$abcdefghijklmnopqrstuu7EJV7kdjBBQxyb0HjTh9KS7.Lah/6CG",
    "$2y$04$abcdefghijklmnopqrstuu7EJV7kdjBBQxyb0HjTh9KS7.Lah/6CG",
    "$scrypt$ln=10,r=8,p=1$c2l4dGVlbiBieXRlIHNsdA$1DuK7t0mGkvYvadig0p9VpOI+L6xz1bcO5P8nWLyjWA",
    "$scrypt$ln=10,r=8,p=1$C2FsDcEYwxijlHIuxXjv/Q$cUys0fV8qb7CD+eiNVgvRXDoSvN1in5Ga3Ot6Mzm4XA",
    "$pbkdf2-sha256$i=1000,l=32$c2l4dGVlbiBieXRlIHNsdA$BaruwSbpHYJRQRMzlz9t09usJ2bfLKNK+A6dm04mJuk",
    "$pbkdf2-sha512$i=1000,l=64$c2l4dGVlbiBieXRlIHNsdA$3QMwrxLg4/X2UcnWiHG3oGtaw1Sr4coKsAAOWMiR/640yePfdIno4J23vNuKz9ZkADlvSFRe8oUd+qOpwSH1Ww",
    "$pbkdf2-sha512$1000$w3gvZSxFyNkbQyjlfC.lFA$ebtrJhzF7bmXL7G/LdUDq2UPi0VbpEahHAGgdComkykvVxVXsDLaySI6AVpYy2cdH1mSUYhYAZwdQxfEbwz7cQ",
    "pbkdf2_sha256$1000$OfnnrsEtRPY7$x/dgYZAmhuUAXwuUhTalRCab5yaMdPnAfzpji/qVEcs=",
];
/// passlib's, with its dot.
const PASSLIB: &str =
    "$pbkdf2-sha256$1000$P2fMeU.JEQJAaI3R2ptzrg$0ulh95DJAdjneUSpb4tkZCplEVLuyB02y02sGbrxrSU";
/// Of 72 times `x`.
const BCRYPT_72: &str = "$2b$04$abcdefghijklmnopqrstuubzadhGtS2zEF.gu0yd0opP6cVzb.e0i";
/// Of a decomposed accent.
const DECOMPOSED: &str =
    "pbkdf2_sha256$1000$BVXEkmqRbe9j$8wAPLdzlpt9Hpndv/7yIpNQ9HvenVA4TGaSY0aBHKvE=";

fn check_form(hash: &str) -> Result<(), BadForm> {
    Stored::read(hash).map(drop)
}

fn check(hash: &str, password: &str) -> Checked {
    match Stored::read(hash) {
        Ok(Stored::Foreign(foreign)) => foreign.check(password),
        Ok(Stored::Argon2id(_)) => panic!("{hash} is ours"),
        Err(error) => panic!("{hash}: {error}"),
    }
}

fn is_hash_of(hash: &str, password: &str) -> bool {
    check(hash, password).is_good()
}

#[test]
fn hashes_of_other_systems_are_known_again() {
    for hash in VECTORS.into_iter().chain([PASSLIB]) {
        assert_eq!(check_form(hash), Ok(()), "{hash}");
        assert!(is_hash_of(hash, PASSWORD), "{hash}");
        assert!(!is_hash_of(hash, "correct horse battery Staple"), "{hash}");
        assert!(!is_hash_of(hash, ""), "{hash}");
    }
}

#[test]
fn bcrypt_tells_passwords_apart_that_are_equal_in_their_first_72_bytes() {
    let base = "x".repeat(72);
    assert!(is_hash_of(BCRYPT_72, &base));
    for other in [format!("{base}x"), format!("{base}1"), "x".repeat(71)] {
        assert!(!is_hash_of(BCRYPT_72, &other));
    }
}

#[test]
fn bcrypt_that_was_imported_as_truncated_takes_what_begins_alike_and_is_not_renewed_by_it() {
    let (hash, base) = (format!("{TRUNCATED}{BCRYPT_72}"), "x".repeat(72));
    assert_eq!(check(&hash, &base), Checked::Outdated);
    // A new hash would be of whatever came after the 72 bytes this time.
    for longer in [format!("{base}x"), format!("{base} and something mistyped")] {
        assert_eq!(check(&hash, &longer), Checked::Good);
    }
    for other in ["x".repeat(71), format!("{}y", "x".repeat(71)), String::new()] {
        assert_eq!(check(&hash, &other), Checked::Wrong);
    }
}

#[test]
fn a_password_is_taken_as_it_was_received() {
    assert!(is_hash_of(DECOMPOSED, "cafe\u{301} au lait, monsieur"));
    assert!(!is_hash_of(DECOMPOSED, "caf\u{e9} au lait, monsieur"));
}

#[test]
fn our_own_form_may_be_imported_within_bounds() {
    let argon2 = |params: &str| {
        check_form(&format!("$argon2id${params}$c2FsdHNhbHQ$AAAAAAAAAAAAAAAAAAAAAAAAAAA"))
    };
    assert_eq!(argon2("v=19$m=19456,t=2,p=1"), Ok(()));
    assert_eq!(argon2("v=19$m=65536,t=3,p=4"), Ok(()));
    assert_eq!(argon2("v=19$m=65536,t=3,p=4,keyid=MQ"), Ok(()));
    assert_eq!(argon2("v=16$m=19456,t=2,p=1"), Err(BadForm::Malformed("argon2id")));
    assert_eq!(argon2("m=19456,t=2,p=1"), Err(BadForm::Malformed("argon2id")));
    for costly in ["m=131073,t=1,p=1", "m=65536,t=17,p=1", "m=4294967295,t=4294967295,p=1"] {
        assert_eq!(argon2(&format!("v=19${costly}")), Err(BadForm::TooCostly("argon2id")));
    }
    assert_eq!(argon2("v=19$m=4096,t=1,p=17"), Err(BadForm::TooCostly("argon2id")));
}

#[test]
fn what_would_stall_the_service_is_refused() {
    let bcrypt = VECTORS[0].replace("$04$", "$15$");
    assert_eq!(check_form(&bcrypt), Err(BadForm::TooCostly("bcrypt")));
    assert_eq!(check_form(&VECTORS[0].replace("$04$", "$14$")), Ok(()));
    for (params, form) in [
        ("ln=16,r=8,p=1", Ok(())),
        ("ln=15,r=16,p=4", Ok(())),
        ("ln=17,r=8,p=1", Err(BadForm::TooCostly("scrypt"))),
        ("ln=16,r=8,p=5", Err(BadForm::TooCostly("scrypt"))),
        ("ln=4,r=8,p=17", Err(BadForm::TooCostly("scrypt"))),
        ("ln=31,r=4294967295,p=4294967295", Err(BadForm::TooCostly("scrypt"))),
        ("ln=64,r=8,p=1", Err(BadForm::TooCostly("scrypt"))),
        ("ln=0,r=8,p=1", Err(BadForm::Malformed("scrypt"))),
        ("ln=10,r=0,p=1", Err(BadForm::Malformed("scrypt"))),
        ("ln=10,r=8,p=0", Err(BadForm::Malformed("scrypt"))),
        ("r=8,ln=10,p=1", Err(BadForm::Malformed("scrypt"))),
        ("ln=10,r=8", Err(BadForm::Malformed("scrypt"))),
        ("ln=10,r=8,p=1,q=1", Err(BadForm::Malformed("scrypt"))),
        ("ln=+10,r=8,p=1", Err(BadForm::Malformed("scrypt"))),
    ] {
        assert_eq!(check_form(&VECTORS[3].replace("ln=10,r=8,p=1", params)), form, "{params}");
    }
    for (hash, own) in [(VECTORS[5], "i=1000"), (PASSLIB, "$1000"), (VECTORS[8], "$1000")] {
        let with = |rounds: &str| check_form(&hash.replace(own, &own.replace("1000", rounds)));
        assert_eq!(with("5000000"), Ok(()));
        assert_eq!(with("5000001"), Err(BadForm::TooCostly("pbkdf2")));
        assert_eq!(with("0"), Err(BadForm::Malformed("pbkdf2")));
        assert_eq!(with("-1"), Err(BadForm::Malformed("pbkdf2")));
        assert_eq!(with("99999999999"), Err(BadForm::Malformed("pbkdf2")));
    }
}

#[test]
fn a_round_of_sha512_counts_twice() {
    let with = |rounds| check_form(&VECTORS[6].replace("i=1000", rounds));
    assert_eq!(with("i=2500000"), Ok(()));
    assert_eq!(with("i=2500001"), Err(BadForm::TooCostly("pbkdf2")));
}

#[test]
fn what_is_no_hash_is_refused() {
    for text in [
        "",
        "$",
        "password",
        "$1$salt$hash",
        "$6$salt$hash",
        "{SSHA}aaaa",
        "$2x$04$abcdefghijklmnopqrstuu7EJV7kdjBBQxyb0HjTh9KS7.Lah/6CG",
        "$argon2d$v=19$m=64,t=1,p=1$c2FsdHNhbHQ$AAAAAAAAAAAAAAAAAAAAAAAAAAA",
        "$pbkdf2-sha384$i=1000$c2FsdHNhbHQ$AAAAAAAAAAAAAAAAAAAAAAAAAAA",
        "bcrypt_truncated$",
        "0123456789abcdef0123456789abcdef:0123",
    ] {
        assert_eq!(check_form(text), Err(BadForm::Unknown), "{text}");
    }
    for hash in VECTORS.into_iter().chain([PASSLIB]) {
        // One character less or more, another alphabet, a shorter hash.
        let cut = &hash[..hash.rfind('$').unwrap() + 9];
        for bad in [&hash[..hash.len() - 1], &format!("{hash}x"), &format!("{hash} "), cut] {
            if let Ok(Stored::Foreign(foreign)) = Stored::read(bad) {
                assert!(!foreign.is_hash_of(PASSWORD), "{bad}");
            }
        }
        assert!(check_form(cut).is_err(), "{cut}: a short hash fits too many passwords");
    }
}
