//! Users of another system: `user import`.

use std::fs;
use std::path::PathBuf;
use std::process::{Output, Stdio};

use auth_service::identity::names;
use serde_json::{Value, json};
use sqlx::AssertSqlSafe;
use tempfile::TempDir;
use testbed::service::{run, until};
use testbed::{Database, Kind, World, on_both_databases, process};

use crate::commands::{command, good};
use crate::house::read;

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
        let lines: Vec<_> = lines.into_iter().map(|line| line.to_string()).collect();
        Self::new(lines.join("\n") + "\n")
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

const HASH: &str = "$2b$04$abcdefghijklmnopqrstuu7EJV7kdjBBQxyb0HjTh9KS7.Lah/6CG";
/// The same password with another salt.
const OTHER_HASH: &str =
    "pbkdf2_sha256$1000$OfnnrsEtRPY7$x/dgYZAmhuUAXwuUhTalRCab5yaMdPnAfzpji/qVEcs=";
const ID: &str = "9b2c6e4a-1f3d-4a5b-8c7d-0e1f2a3b4c5d";
const OTHER_ID: &str = "1a2b3c4d-5e6f-4708-9a0b-1c2d3e4f5061";

/// What was printed, where the import failed.
#[track_caller]
fn failed(output: &Output) -> String {
    assert!(!output.status.success(), "it went well");
    String::from_utf8(output.stdout.clone()).expect("text")
}

/// The users of a database as another one imports them, by the query of docs/import.md.
async fn as_lines(database: &Database) -> Vec<String> {
    let page = read("docs/import.md");
    let queries: Vec<_> = page.split("```sql\n").skip(1).collect();
    let query = queries[usize::from(database.kind() == Kind::Sqlite)];
    let query = query.split("```").next().expect("an end").trim().trim_end_matches(';');
    let query = AssertSqlSafe(format!("select cast(line as text) from ({query}) as users_of_then"));
    let mut lines: Vec<String> = match database.kind() {
        Kind::Postgres => {
            let pool = database.postgres().await;
            let lines = sqlx::query_scalar(query).fetch_all(&pool).await.expect("a good query");
            pool.close().await;
            lines
        }
        Kind::Sqlite => {
            let pool = database.sqlite().await;
            let lines = sqlx::query_scalar(query).fetch_all(&pool).await.expect("a good query");
            pool.close().await;
            lines
        }
    };
    lines.sort();
    lines
}

on_both_databases! {
    async fn each_line_is_judged_by_itself_and_told_by_its_number(world) {
        let line = |name: &str| json!({"username": name, "password_hash": HASH}).to_string();
        let roles: Vec<_> = (0..100).map(|number| format!("{number:064}")).collect();
        let text = |line: Value| line.to_string().into_bytes();
        let lines: Vec<Vec<u8>> = vec![
            // As an editor on Windows begins a file.
            [&b"\xef\xbb\xbf"[..], line("ada").as_bytes()].concat(),
            Vec::new(),
            b"{\"username\":\"b\xf6b\"}".to_vec(),
            line("bob").into_bytes(),
            vec![b'x'; 1_000_000],
            b"\0\0\0".to_vec(),
            text(json!({"username": "m", "password_hash": HASH, "roles": roles})),
            text(json!({"username": "o", "password_hash": HASH, "disabled": true})),
            text(json!({"username": "n", "password_hash": HASH.replace("$04$", "$31$")})),
            line("eve").into_bytes(),
        ];
        for end in ["\r\n", "\n"] {
            let users = Users::new(lines.join(end.as_bytes()));
            let output = users.import(&world, &[]);
            let said = failed(&output);
            let expected = [
                "line 3: is not UTF-8: see byte 15",
                "line 5: has more than 16384 bytes",
                "line 6: is not JSON",
                "line 7: roles: the roles take",
                "line 8: disabled: is no member",
                "line 9: password_hash: the bcrypt hash costs more",
            ];
            for (told, expected) in said.lines().zip(expected) {
                assert!(told.starts_with(expected), "{said}");
            }
            let (added, known) = if end == "\r\n" { (3, 0) } else { (0, 3) };
            let summary = format!("{added} added, {known} there already, 0 in conflict, 6 bad\n");
            assert!(said.ends_with(&summary), "{said}");
            assert!(!said.contains("$2b$"), "{said}");
        }
        assert_eq!(login(&world, "ada", SENTENCE).await, 200);
        assert_eq!(world.database.number("select count(*) from users").await, 3);
    }

    async fn somebody_who_is_there_otherwise_is_a_conflict_whose_members_are_named(world) {
        let first = json!({
            "id": ID, "username": "Ada", "email": "ada@example.com", "password_hash": HASH,
            "roles": ["a", "b"], "created_at": "2020-01-01T00:00:00Z",
        });
        let second = json!({
            "id": OTHER_ID, "username": "grace", "email": "grace@example.com", "password_hash": HASH,
        });
        let users = Users::of([first.clone(), second]);
        assert!(good(&users.import(&world, &[])).contains("2 added"));
        let with = |changes: Value| {
            let mut line = first.clone();
            for (member, value) in changes.as_object().expect("an object") {
                line[member] = value.clone();
            }
            line
        };
        let nothing = Value::Null;
        for (changes, expected) in [
            (json!({"username": "someone"}), "username: "),
            (json!({"username": "ADA"}), "username: "),
            (json!({"email": nothing}), "email: "),
            (json!({"email": "other@example.com", "roles": ["a"]}), "email, roles: "),
            (json!({"password_hash": OTHER_HASH}), "password_hash: "),
            (json!({"enabled": false}), "enabled: "),
            (json!({"created_at": "2020-01-01T00:00:01Z"}), "created_at: "),
            (json!({"id": "00000000-0000-4000-8000-000000000001"}), "id: "),
            (json!({"id": nothing, "username": nothing, "password_hash": OTHER_HASH}), "username, password_hash: "),
        ] {
            let said = failed(&Users::of([with(changes)]).import(&world, &[]));
            let line = format!("line 1: conflict: {expected}id:{ID} has it otherwise");
            assert!(said.starts_with(&line), "{line}: {said}");
            assert!(said.ends_with("0 added, 0 there already, 1 in conflict, 0 bad\n"), "{said}");
        }
        // What belongs to several is none of theirs.
        let said = failed(&Users::of([with(json!({"email": "Grace@example.com"}))]).import(&world, &[]));
        let both = format!("conflict: id is id:{ID}'s, username is id:{ID}'s, email is id:{OTHER_ID}'s");
        assert!(said.contains(&both), "{said}");
        // A name that a stranger has registered, although it is in the file.
        let stranger = world.newcomer("eve").await;
        let claimed = json!({"username": "eve", "password_hash": HASH});
        assert!(failed(&Users::of([claimed]).import(&world, &[])).contains("conflict: password_hash: "));
        assert_eq!(world.get_as(&stranger.access, "/me").await.status, 200);
        // In another order, and with less said, it is the same.
        let same = with(json!({"roles": ["b", "a", "a"], "id": nothing, "created_at": nothing}));
        let said = good(&Users::of([same]).import(&world, &[]));
        assert_eq!(said, "0 added, 1 there already, 0 in conflict, 0 bad\n");
    }

    async fn lines_that_come_in_each_others_way_are_told_by_their_numbers(world) {
        let line = |name: &str, email: &str, hash: &str| {
            json!({"username": name, "email": email, "password_hash": hash})
        };
        let lines = [
            line("ada", "ada@example.com", HASH),
            line("Ada", "other@example.com", HASH),
            line("bob", "ADA@example.com", HASH),
            line("ada", "ada@example.com", OTHER_HASH),
            line("ada", "ada@example.com", HASH),
            line("bob", "bob@example.com", HASH),
        ];
        for options in [&["--dry-run"][..], &[]] {
            let said = failed(&Users::of(lines.clone()).import(&world, options));
            let told: Vec<_> = said.lines().filter(|line| line.starts_with("line")).collect();
            assert_eq!(told, [
                "line 2: conflict: username: line 1 has it too",
                "line 3: conflict: email: line 1 has it too",
                "line 4: conflict: username: line 1 has it too",
            ]);
            let added = if options.is_empty() { "added" } else { "would be added" };
            let summary = format!("2 {added}, 1 there already, 3 in conflict, 0 bad\n");
            assert!(said.ends_with(&summary), "{said}");
        }
    }

    async fn ids_begin_and_state_come_along_and_running_it_again_goes_on(world) {
        world.register("last").await;
        let lines = [
            json!({"id": ID, "username": "ada", "password_hash": HASH, "roles": ["editor"],
                "created_at": "2020-02-29T12:00:00.250+02:00"}),
            json!({"username": "grace", "password_hash": HASH, "enabled": false,
                "created_at": "2010-01-01T00:00:00Z"}),
        ];
        let users = Users::of(lines);
        assert!(good(&users.import(&world, &[])).contains("2 added"));
        let show = good(&command(&world, &["user", "show", "ada"]));
        for line in [format!("id\t{ID}"), "roles\teditor".to_owned(), "registered\t2020-02-29T10:00:00Z".to_owned()] {
            assert!(show.lines().any(|told| told == line), "{line}: {show}");
        }
        assert_eq!(login(&world, "grace", SENTENCE).await, 401);
        // Ids that are made here are in the order in which people registered.
        let list = good(&command(&world, &["user", "list"]));
        let names: Vec<_> = list.lines().filter_map(|line| line.split('\t').nth(1)).collect();
        assert_eq!(names, ["grace", "last", "ada"]);

        let body = json!({"username": "ada", "password": SENTENCE});
        let tokens = testbed::Tokens::of(&world.post("/login", &body).await);
        assert_eq!(world.get_as(&tokens.access, "/me").await.json()["id"], ID);
        until("the hash is renewed", async || {
            stored_hash(&world, "ada").await.starts_with("$argon2id$")
        }).await;
        let said = good(&users.import(&world, &[]));
        let expected = "1 of those who are there have a hash that a login made anew\n\
            0 added, 2 there already, 0 in conflict, 0 bad\n";
        assert_eq!(said, expected);
        assert_eq!(world.get_as(&tokens.access, "/me").await.status, 200, "nothing was changed");
        assert_eq!(login(&world, "ada", SENTENCE).await, 200);
    }

    async fn a_dry_run_says_what_would_be_and_writes_nothing(world) {
        world.register("grace").await;
        let lines: Vec<Value> = (0..700)
            .map(|number| json!({"username": format!("user-{number}"), "password_hash": HASH}))
            .chain([
                json!({"username": "grace", "password_hash": HASH}),
                json!({"username": "user-3", "password_hash": HASH, "enabled": false}),
                json!({"username": "x", "password_hash": "y"}),
            ])
            .collect();
        let users = Users::of(lines);
        let before = world.database.number("select count(*) from events").await;
        let dry = failed(&users.import(&world, &["--dry-run"]));
        assert!(dry.ends_with("700 would be added, 0 there already, 2 in conflict, 1 bad\n"), "{dry}");
        assert_eq!(world.database.number("select count(*) from users").await, 1);
        assert_eq!(world.database.number("select count(*) from events").await, before);
        let wet = failed(&users.import(&world, &[]));
        assert_eq!(wet, dry.replace("would be added", "added"));
        assert_eq!(world.database.number("select count(*) from users").await, 701);
        let again = failed(&users.import(&world, &["--dry-run"]));
        assert!(again.ends_with("0 would be added, 700 there already, 2 in conflict, 1 bad\n"), "{again}");
    }

    async fn an_import_that_was_cut_off_goes_on_where_it_was(world) {
        const MANY: i64 = 10_500;
        let line = |number| json!({
            "username": format!("user-{number}"), "email": format!("user-{number}@example.com"),
            "password_hash": HASH,
        });
        let users = Users::of((0..MANY).map(line));
        let file = users.file.to_str().expect("text");
        let mut first = process::command("auth-service", &["user", "import", file], &world.auth_settings());
        let mut first = first.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("it starts");
        until("some are there", async || {
            world.database.number("select count(*) from users").await > 0
        }).await;
        first.kill().expect("it runs or has ended");
        first.wait().expect("it ended");
        let there = world.database.number("select count(*) from users").await;
        let output = users.import(&world, &[]);
        let said = good(&output);
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(told.lines().count() == 1 && told.contains("10000 lines: "), "{told}");
        let now = world.database.number("select count(*) from users").await;
        assert_eq!(now, MANY);
        // What was in flight when it was killed may have been committed since.
        let summary = said.lines().last().expect("a summary");
        let known: i64 = summary.split(", ").nth(1).and_then(|part| part.split(' ').next())
            .and_then(|number| number.parse().ok()).expect("a number");
        assert!(known >= there, "{summary} {there}");
        assert!(summary.starts_with(&format!("{} added, ", MANY - known)), "{summary}");
    }

    async fn users_move_from_one_latchkey_to_another(world) {
        world.register("ada").await;
        let lines = [
            json!({"email": "grace@example.com", "password_hash": HASH, "roles": ["a", "b"]}),
            json!({"username": "Eve \"the\" \\ great", "password_hash": CUT, "enabled": false}),
        ];
        good(&Users::of(lines).import(&world, &["--bcrypt-truncate"]));
        let there = as_lines(&world.database).await;
        assert_eq!(there.len(), 3);
        let users = Users::new(there.join("\n"));
        let said = good(&users.import(&world, &[]));
        assert_eq!(said, "0 added, 3 there already, 0 in conflict, 0 bad\n");

        let other = Database::create(world.database.kind()).await;
        let mut settings = world.auth_settings();
        settings.push(("AUTH__DATABASE__URL".to_owned(), other.url.clone()));
        assert!(run("auth-service", &["migrate"], &settings).status.success());
        let file = users.file.to_str().expect("text");
        let said = good(&run("auth-service", &["user", "import", file], &settings));
        assert_eq!(said, "3 added, 0 there already, 0 in conflict, 0 bad\n");
        assert_eq!(as_lines(&other).await, there);
        let list = |settings: &[(String, String)]| good(&run("auth-service", &["user", "list"], settings));
        assert_eq!(list(&settings), list(&world.auth_settings()));
    }
}
