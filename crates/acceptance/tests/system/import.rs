//! Users of another system: `user import`.

use std::fs;
use std::path::PathBuf;
use std::process::Output;

use auth_service::identity::names;
use serde_json::{Value, json};
use tempfile::TempDir;
use testbed::service::until;
use testbed::{World, on_both_databases};

use crate::commands::{command, good};

/// What every hash of [`FORMS`] is of.
const SENTENCE: &str = "correct horse battery staple";

/// One of each system, as it made it; how, is beside the vectors in `passwords/imported`.
#[rustfmt::skip]
const FORMS: [(&str, &str); 8] = [
    ("django-argon2", "argon2$argon2id$v=19$m=1024,t=2,p=2$c29tZXNhbHRvZmRqYW5nbw$jv+G3WrL/h+VeOdtlT6t0rK7v6Dxy9ZaxW2i3x2tmqo"),
    ("django-bcrypt", "bcrypt$$2b$04$abcdefghijklmnopqrstuu7EJV7kdjBBQxyb0HjTh9KS7.Lah/6CG"),
    ("django-scrypt", "scrypt$1024$seasaltofdjango$8$1$H4YU+KUxT4hLB4hMI3ZKhSPeOKuBTUFZ8iDBmB+ylo0rnDvKlT79Ide9hs+OEgTx3uEI0MXvnXfPrhnGX3hYsw=="),
    ("spring", "{bcrypt}$2b$04$abcdefghijklmnopqrstuu7EJV7kdjBBQxyb0HjTh9KS7.Lah/6CG"),
    ("werkzeug", "scrypt:1024:8:1$qRaBonRRneEqG8SB$d4408eec9b26d7cd658101fc405647a7a5855e9d72bb32c466e63f7af21aabee1b5f8749659f47246fae30c04197fa6859d4801526545089ec7ce95092d0f683"),
    ("better-auth", "1107f0afd09990f6e62445b7215ff715:f58f42e55b9bec2db177eb70d725b104107fd3fa01481cc1eff252220a3f2c57fa4293482e44c430d0fa87429a1b41f92528192026cd90951ef520a0a7bf3338"),
    ("padded", "$argon2id$v=19$m=1024,t=2,p=1$c2V2ZW50ZWVuIGJ5dGVzbHQ=$jxcLamsA1N/gsLoLdpIvX5PlgnRioPyLjvQWxRWc9FQ="),
    ("aspnet", "AQAAAAEAAAPoAAAAEHNpeHRlZW4gYnl0ZSBzbHQFqu7BJukdglFBEzOXP23T26wnZt8so0r4Dp2bTiYm6Q=="),
];

/// Of a phrase of 84 bytes, of which bcrypt looked at the first 72.
const PHRASE: &str =
    "this phrase has eighty-four bytes, of which bcrypt looks at the first seventy-two: x";
const CUT: &str = "$2b$04$abcdefghijklmnopqrstuu3AqmE4IGRink1djDlXPB03a4pdwe7Ee";

/// As Keycloak exports it.
fn keycloak() -> Value {
    let secret = json!({
        "value": "Fo14bWaPyhnyDMXHeBqPa8drWbzbaPyV2dWucpq4Pf4=",
        "salt": "c2l4dGVlbiBieXRlIHNsdA==",
    });
    let data = json!({
        "hashIterations": 5, "algorithm": "argon2",
        "additionalParameters": {
            "hashLength": ["32"], "memory": ["1024"], "type": ["id"], "version": ["1.3"],
            "parallelism": ["1"],
        },
    });
    json!({
        "type": "password", "secretData": secret.to_string(), "credentialData": data.to_string(),
    })
}

/// A file that is gone when the test is over.
struct Users {
    file: PathBuf,
    _directory: TempDir,
}

impl Users {
    fn new(content: impl AsRef<[u8]>) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let users = Self { file: directory.path().join("users.jsonl"), _directory: directory };
        fs::write(&users.file, content).expect("there is room");
        users
    }

    fn of(lines: impl IntoIterator<Item = Value>) -> Self {
        Self::new(lines.into_iter().map(|line| format!("{line}\n")).collect::<String>())
    }

    fn import(&self, world: &World, options: &[&str]) -> Output {
        let file = self.file.to_str().expect("text");
        command(world, &[&["user", "import", file], options].concat())
    }
}

async fn login(world: &World, name: &str, password: &str) -> u16 {
    let body = json!({"username": name, "password": password});
    world.post("/login", &body).await.status
}

async fn stored_hash(world: &World, name: &str) -> String {
    let key = names::account(name).expect("a name");
    world.store.credentials(key).await.expect("an answer").expect("an account").password_hash
}

on_both_databases! {
    async fn hashes_of_other_systems_open_their_accounts_and_are_made_anew(world) {
        let forms = FORMS.map(|(name, hash)| (name, json!(hash)));
        let keycloak = [("keycloak", keycloak()), ("keycloak-text", json!(keycloak().to_string()))];
        let lines: Vec<_> = forms.into_iter().chain(keycloak).collect();
        let users = Users::of(
            lines.iter().map(|(name, hash)| json!({"username": name, "password_hash": hash})),
        );
        let said = good(&users.import(&world, &[]));
        assert!(said.contains("10 added"), "{said}");
        for (name, _) in &lines {
            let before = stored_hash(&world, name).await;
            assert_eq!(login(&world, name, "correct horse battery Staple").await, 401, "{name}");
            assert_eq!(login(&world, name, SENTENCE).await, 200, "{name} as {before}");
            until("the hash is renewed", async || {
                let now = stored_hash(&world, name).await;
                now.starts_with("$argon2id$") && now != before
            }).await;
            assert_eq!(login(&world, name, SENTENCE).await, 200, "{name}");
        }
    }

    async fn a_long_phrase_of_bcrypt_logs_in_where_the_import_says_so_and_is_told_of_where_not(world) {
        let users = Users::of([json!({"username": "strict", "password_hash": CUT})]);
        let said = good(&users.import(&world, &[]));
        assert!(said.contains("--bcrypt-truncate"), "{said}");
        assert_eq!(login(&world, "strict", PHRASE).await, 401);

        let users = Users::of([json!({"username": "cut", "password_hash": CUT})]);
        let said = good(&users.import(&world, &["--bcrypt-truncate"]));
        assert!(!said.contains("--bcrypt-truncate"), "{said}");
        // What follows the 72 bytes means nothing, and a login with it changes nothing.
        for phrase in [PHRASE, &format!("{PHRASE} mistyped"), &PHRASE[..73]] {
            assert_eq!(login(&world, "cut", phrase).await, 200, "{phrase}");
        }
        assert_eq!(login(&world, "cut", &PHRASE[..71]).await, 401);
        assert!(stored_hash(&world, "cut").await.ends_with(CUT));
        assert_eq!(login(&world, "cut", &PHRASE[..72]).await, 200);
        until("the hash is renewed", async || {
            stored_hash(&world, "cut").await.starts_with("$argon2id$")
        }).await;
    }
}
