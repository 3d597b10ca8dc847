//! Lines that are good, and what is said of others.

use super::*;
use serde_json::json;

const HASH: &str = "$2b$04$abcdefghijklmnopqrstuu7EJV7kdjBBQxyb0HjTh9KS7.Lah/6CG";

fn config() -> Config {
    let key = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
    let settings = [("AUTH__DATABASE__URL", "sqlite:x.db"), ("AUTH__KEYS__MASTER_KEY", key)];
    Config::load(None, settings.map(|(k, v)| (k.to_owned(), v.to_owned()))).unwrap()
}

fn read(line: &[u8]) -> Result<Option<ImportedUser>, String> {
    let config = config();
    let importer = Importer::new(&config.passwords, false).unwrap();
    let now = "2026-11-21T18:50:00Z".parse().unwrap();
    let reader = Reader { config: &config, importer: &importer, now };
    reader.read(line).map(|read| read.map(|(user, _)| user))
}

#[test]
fn a_line_has_all_that_an_account_has() {
    let line = json!({
        "id": "0197A3F2-5b1c-7d2e-8f90-a1b2c3d4e5f6", "username": "Ada", "email": "ada@example.com",
        "password_hash": HASH, "roles": ["editor"], "enabled": false,
        "created_at": "2020-02-29T12:00:00+02:00",
    });
    let user = read(line.to_string().as_bytes()).unwrap().unwrap();
    assert_eq!(user.id.unwrap().to_string(), "0197a3f2-5b1c-7d2e-8f90-a1b2c3d4e5f6");
    assert_eq!(user.username.unwrap().0, "Ada");
    assert_eq!(user.email.unwrap().0, "ada@example.com");
    assert_eq!((user.roles, user.enabled), (vec!["editor".to_owned()], false));
    assert_eq!(user.created_at, Some("2020-02-29T10:00:00Z".parse().unwrap()));
    let line = json!({"username": null, "email": "a@b.c", "password_hash": HASH, "roles": null});
    let user = read(line.to_string().as_bytes()).unwrap().unwrap();
    assert!(user.id.is_none() && user.username.is_none() && user.created_at.is_none());
    assert!(user.enabled && user.roles.is_empty());
    for nothing in ["", "  ", "\t"] {
        assert!(read(nothing.as_bytes()).unwrap().is_none());
    }
}

#[test]
fn what_is_wrong_is_told_with_its_member_and_without_what_is_in_it() {
    let with = |member: &str, value: Value| {
        let mut line = json!({"username": "secret-ada", "password_hash": HASH});
        line[member] = value;
        line.to_string()
    };
    let long_roles: Vec<_> = (0..100).map(|number| format!("{number:064}")).collect();
    for (line, expected) in [
        ("{".to_owned(), "is not JSON: see column"),
        ("{} x".to_owned(), "is not JSON: see column"),
        ("[1]".to_owned(), "is not a JSON object"),
        ("\"secret\"".to_owned(), "is not a JSON object"),
        (format!("{{\"a\":{}1{}}}", "[".repeat(200), "]".repeat(200)), "is not JSON"),
        (r#"{"username":"a","username":"b"}"#.to_owned(), "username: is there twice"),
        (r#"{"username":"a","\u0075sername":"b"}"#.to_owned(), "username: is there twice"),
        (with("disabled", json!(true)), "disabled: is no member of a user, which are id, "),
        (with("\u{1b}[31m", json!(true)), "\\u{1b}[31m: is no member"),
        (with("id", json!("17")), "id: must be a UUID"),
        (with("id", json!(17)), "id: must be a text"),
        (with("id", json!(Uuid::nil())), "id: "),
        (with("username", json!("a\u{0}b")), "username: A username has"),
        (with("username", json!(["secret"])), "username: must be a text"),
        (with("username", json!(Uuid::max())), "username: A username does not look like"),
        (with("username", Value::Null), "An account needs"),
        (with("email", json!("nowhere")), "email: The email is not an address."),
        (with("password_hash", Value::Null), "password_hash: is missing"),
        (with("password_hash", json!(7)), "password_hash: must be a text"),
        (with("password_hash", json!("secret")), "password_hash: the hash has none of the forms"),
        (with("password_hash", json!({"secretData": "{}"})), "password_hash: the Keycloak hash"),
        (with("password_hash", json!({"a": {"b": [{}]}})), "password_hash: "),
        (with("password_hash", json!(HASH.replace("$04$", "$20$"))), "password_hash: the bcrypt"),
        (with("roles", json!("editor")), "roles: must be a list of texts"),
        (with("roles", json!([["editor"]])), "roles: must be a list of texts"),
        (with("roles", json!(["two words"])), "roles: \"two words\" is no role"),
        (with("roles", json!(long_roles)), "roles: the roles take"),
        (with("enabled", json!("yes")), "enabled: must be true or false"),
        (with("created_at", json!(1_795_287_000)), "created_at: must be a text"),
        (with("created_at", json!("2020-02-30")), "created_at: must be an instant"),
        (with("created_at", json!("2026-11-21T18:50:01Z")), "created_at: is in the future"),
        (with("created_at", json!("1969-12-31T23:59:59Z")), "created_at: is before 1970"),
    ] {
        let why = read(line.as_bytes()).unwrap_err();
        assert!(why.starts_with(expected), "{line}: {why}");
        assert!(!why.contains("secret") && !why.contains('\n'), "{why}");
    }
    let latin = b"{\"username\":\"b\xf6b\"}";
    assert_eq!(read(latin).unwrap_err(), "is not UTF-8: see byte 15");
}
