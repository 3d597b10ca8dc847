//! The auth-service's command line, on a database that a service uses meanwhile.

use std::io::Write as _;
use std::process::{Output, Stdio};

use auth_service::store::{AuditEntry, AuditEvent};
use claims::{Timestamp, UserId};
use serde_json::{Value, json};
use testbed::service::{run, until};
use testbed::{PASSWORD, Tokens, World, on_both_databases, process};

pub(crate) fn command(world: &World, arguments: &[&str]) -> Output {
    run("auth-service", arguments, &world.auth_settings())
}

/// With a line on standard input.
pub(crate) fn told(world: &World, arguments: &[&str], line: &str) -> Output {
    let mut command = process::command("auth-service", arguments, &world.auth_settings());
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.env("RUST_LOG", "off").spawn().expect("it starts");
    let mut input = child.stdin.take().expect("a pipe");
    writeln!(input, "{line}").expect("it reads");
    drop(input);
    child.wait_with_output().expect("it ends")
}

#[track_caller]
pub(crate) fn good(output: &Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout.clone()).expect("text")
}

#[track_caller]
pub(crate) fn bad(output: &Output, part: &str) {
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success(), "it went well");
    assert_eq!(said.lines().count(), 1, "{said}");
    assert!(said.contains(part), "{part} is not in {said}");
}

on_both_databases! {
    async fn a_user_is_created_changed_disabled_and_enabled(world) {
        let create = ["user", "create", "Ada", "--email", "ada@example.com", "--role", "auditor"];
        bad(&told(&world, &create, "short"), "too_short");
        bad(&told(&world, &create, ""), "no password");
        let id = good(&told(&world, &create, PASSWORD)).trim().to_owned();
        bad(&told(&world, &create, PASSWORD), "taken");
        let tokens = world.login("ada").await;
        let me = world.get_as(&tokens.access, "/me").await.json();
        assert_eq!((&me["id"], &me["roles"]), (&json!(id), &json!(["auditor"])));

        good(&command(&world, &["user", "roles", "ada@example.com", "admin", "auditor"]));
        let tokens = Tokens::of(&world.refresh(&tokens.refresh).await);
        assert_eq!(world.whoami(&tokens.access).await.json()["roles"], json!(["admin", "auditor"]));
        bad(&command(&world, &["user", "roles", "ada", "two words"]), "no role");

        let list = good(&command(&world, &["user", "list"]));
        let line = format!("{id}\tAda\tada@example.com\tadmin,auditor\tenabled\t");
        assert!(list.starts_with(&line) && list.lines().count() == 1, "{list}");

        good(&command(&world, &["user", "disable", &id]));
        world.until_refused(&tokens.access).await;
        let body = json!({"username": "ada", "password": PASSWORD});
        world.post("/login", &body).await.assert_problem(401, "invalid-credentials");
        good(&command(&world, &["user", "enable", "ada"]));
        let tokens = world.login("ada").await;

        let other = "another ordinary sentence";
        good(&told(&world, &["user", "set-password", "ada"], other));
        world.until_refused(&tokens.access).await;
        world.post("/login", &body).await.assert_problem(401, "invalid-credentials");
        let body = json!({"username": "ada", "password": other});
        assert_eq!(world.post("/login", &body).await.status, 200);
        bad(&command(&world, &["user", "disable", "nobody"]), "no user");
    }

    async fn sessions_are_listed_and_revoked(world) {
        let (one, two) = (world.newcomer("ada").await, world.login("ada").await);
        let list = good(&command(&world, &["session", "list", "ada"]));
        assert_eq!(list.lines().count(), 2, "{list}");
        assert!(list.starts_with(&two.session), "newest first: {list}");
        good(&command(&world, &["session", "revoke", &one.session]));
        world.until_refused(&one.access).await;
        let refused = world.refresh(&one.refresh).await;
        refused.assert_problem(401, "session-revoked");
        assert_eq!(refused.json()["reason"], "admin");
        assert_eq!(world.whoami(&two.access).await.status, 200);
        good(&command(&world, &["session", "revoke", "--all-of", "ada"]));
        world.until_refused(&two.access).await;
        bad(&command(&world, &["session", "revoke", "nonsense"]), "no session id");
        for hyphened in ["-AAAAAAAAAAAAAAAAAAAAA", "--AAAAAAAAAAAAAAAAAAAA", "-hAAAAAAAAAAAAAAAAAAAA"] {
            bad(&command(&world, &["session", "revoke", hyphened]), "there is no such session");
        }
        // One that is over is over.
        assert_eq!(
            good(&command(&world, &["session", "revoke", &one.session])),
            format!("session {} is over\n", one.session)
        );
    }

    /// Whoever mistypes an id must not read that it is done.
    async fn what_nobody_knows_is_not_done(world) {
        let nobody = "id:01a20013-fec0-70fb-8f69-81a9924a8b57";
        world.register("ada").await;
        for (arguments, why) in [
            (&["session", "revoke", "AAAAAAAAAAAAAAAAAAAAAA"][..], "no such session"),
            (&["session", "revoke", "--all-of", nobody], "no user"),
            (&["session", "list", nobody], "no user"),
            (&["user", "show", nobody], "no user"),
            (&["user", "rename", nobody, "bob"], "no user"),
            (&["user", "set-email", nobody, "bob@example.com"], "no user"),
            (&["user", "delete", nobody], "no user"),
            (&["user", "export", nobody], "no user"),
            (&["user", "disable", nobody], "no user"),
            (&["user", "enable", nobody], "no user"),
            (&["user", "roles", nobody, "admin"], "no user"),
            (&["user", "set-password", nobody], "no user"),
            (&["user", "uninvite", "01a20013-fec0-70fb-8f69-81a9924a8b57"], "no such invitation"),
            (&["user", "list", "--search", "ada", "--after", nobody], "no user"),
            (&["keys", "revoke", "AAAAAAAAAAAAAAAA"], "no such key"),
        ] {
            let output = command(&world, arguments);
            bad(&output, why);
            assert_eq!(output.stdout, b"", "{arguments:?}");
        }
    }

    async fn the_doctor_tells_what_is_well_and_what_is_not(world) {
        world.register("ada").await;
        let told = good(&command(&world, &["doctor"]));
        for part in ["ok    settings", "ok    database", "ok    clock", "ok    keys", "ok    redis"] {
            assert!(told.contains(part), "{part} is not in {told}");
        }
        assert!(told.contains("warn  passwords"), "tests hash too cheaply: {told}");
        let mut settings = world.auth_settings();
        settings.push(("AUTH__KEYS__OTHER_MASTER_KEY".to_owned(), settings
            .iter().find(|(name, _)| name == "AUTH__KEYS__MASTER_KEY").unwrap().1.clone()));
        settings.retain(|(name, _)| name != "AUTH__KEYS__MASTER_KEY");
        settings.push((
            "AUTH__KEYS__MASTER_KEY".to_owned(),
            "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=".to_owned(),
        ));
        let output = run("auth-service", &["doctor"], &settings);
        assert!(good(&output).contains("run `keys reseal`"));
        settings.retain(|(name, _)| name != "AUTH__KEYS__OTHER_MASTER_KEY");
        let output = run("auth-service", &["doctor"], &settings);
        let told = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(!output.status.success() && told.contains("BAD   keys"), "{told}");
        settings.retain(|(name, _)| name != "AUTH__DATABASE__URL");
        let output = run("auth-service", &["doctor"], &settings);
        let told = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(!output.status.success() && told.starts_with("BAD   settings"), "{told}");
    }
}

/// `an imported sentence`, hashed by Python's hashlib and by its bcrypt package.
const IMPORTED: [(&str, &str); 4] = [
    ("bcrypt", "$2b$05$Zwf.xuC9O7bA7sxTicjBTewDB6UW6rrn/pDvAvytvnLMh5F/ZZy0e"),
    (
        "scrypt",
        "$scrypt$ln=14,r=8,p=1$MDEyMzQ1Njc4OWFiY2RlZg$X+fq4W9Qoqmdid2oSsf6iMKLaHHEdCXUWjMmydjaFg0",
    ),
    (
        "pbkdf2",
        "$pbkdf2-sha256$i=600000,l=32$MDEyMzQ1Njc4OWFiY2RlZg$tDJ/4CDI07k7vfz1dRXdTTNX5o69jk5Hd7UneflnZiQ",
    ),
    ("django", "pbkdf2_sha256$1000$abcdefghijkl$kABtwueOzElaqE9Uy9HgjsRutorwwm18p3KcK6Zb6b8="),
];

on_both_databases! {
    async fn users_of_another_system_are_imported_and_keep_their_passwords(world) {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("users.jsonl");
        let line = |(name, hash): (&str, &str)| {
            json!({"username": name, "password_hash": hash, "roles": ["old"]}).to_string() + "\n"
        };
        let lines: String = IMPORTED.into_iter().map(line).collect();
        let bad = [
            r#"{"username":"costly","password_hash":"$2b$20$Zwf.xuC9O7bA7sxTicjBTewDB6UW6rrn/pDvAvytvnLMh5F/ZZy0e"}"#,
            r#"{"username":"md5","password_hash":"5f4dcc3b5aa765d61d8327deb882cf99"}"#,
            r#"{"username":"twice","username":"bcrypt","password_hash":"x"}"#,
        ];
        std::fs::write(&file, lines.clone() + &bad.join("\n")).unwrap();
        let import = ["user", "import", file.to_str().unwrap()];
        let output = command(&world, &import);
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(!output.status.success() && said.ends_with("4 added, 0 there already, 0 in conflict, 3 bad\n"), "{said}");
        assert!(!said.contains("Zwf.") && !said.contains("5f4d"), "{said}");
        std::fs::write(&file, &lines).unwrap();
        assert_eq!(good(&command(&world, &import)), "0 added, 4 there already, 0 in conflict, 0 bad\n");

        for (name, hash) in IMPORTED {
            let body = |password: &str| json!({"username": name, "password": password});
            let wrong = world.post("/login", &body("an imported Sentence")).await;
            wrong.assert_problem(401, "invalid-credentials");
            let answer = world.post("/login", &body("an imported sentence")).await;
            assert_eq!(answer.status, 200, "{name}: {}", answer.text);
            let key = auth_service::identity::names::username(name).unwrap();
            until("the hash is renewed", async || {
                let now = world.store.credentials(key.clone()).await.unwrap().unwrap();
                now.password_hash.starts_with("$argon2id$") && now.password_hash != hash
            }).await;
            assert_eq!(world.post("/login", &body("an imported sentence")).await.status, 200);
        }
    }
}

on_both_databases! {
    async fn people_with_an_address_and_no_name_are_imported_created_and_found(world) {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("users.jsonl");
        let hash = IMPORTED[0].1;
        let lines = [
            json!({"email": "ada@example.com", "password_hash": hash}),
            json!({"username": null, "email": "bob@example.com", "password_hash": hash}),
            json!({"username": "eve", "email": "eve@example.com", "password_hash": hash}),
            json!({"password_hash": hash}),
            json!({"username": "", "email": "carl@example.com", "password_hash": hash}),
            json!({"username": "x@y.example", "password_hash": hash}),
        ];
        std::fs::write(&file, lines.map(|line| line.to_string() + "\n").concat()).unwrap();
        let output = command(&world, &["user", "import", file.to_str().unwrap()]);
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(!output.status.success() && said.ends_with("3 added, 0 there already, 0 in conflict, 3 bad\n"), "{said}");
        assert!(said.contains("line 4: An account needs a username, an email, or both."), "{said}");
        // Once more: nobody is there twice.
        let output = command(&world, &["user", "import", file.to_str().unwrap()]);
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(said.ends_with("0 added, 3 there already, 0 in conflict, 3 bad\n"), "{said}");
        for name in ["ada@example.com", "Bob@Example.com", "eve", "eve@example.com"] {
            let body = json!({"username": name, "password": "an imported sentence"});
            assert_eq!(world.post("/login", &body).await.status, 200, "{name}");
        }

        let create = ["user", "create", "--email", "dora@example.com"];
        let id = good(&told(&world, &create, PASSWORD)).trim().to_owned();
        bad(&told(&world, &create, PASSWORD), "taken");
        let output = command(&world, &["user", "create"]);
        assert!(!output.status.success(), "neither a name nor an address");
        let list = good(&command(&world, &["user", "list"]));
        assert!(list.contains(&format!("{id}\t-\tdora@example.com\t-\tenabled\t")), "{list}");
        good(&command(&world, &["user", "disable", "email:DORA@example.com"]));
        good(&command(&world, &["user", "enable", &format!("id:{id}")]));
        bad(&command(&world, &["user", "disable", "name:-"]), "no user");
        bad(&command(&world, &["user", "disable", &format!("@{id}")]), "no user");
        bad(&command(&world, &["user", "disable", ""]), "no user");
        world.login("dora@example.com").await;
    }
}

fn kinds(events: &Value) -> Vec<(String, Option<String>)> {
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let events = events["events"].as_array().expect("events").iter();
    events.map(|one| (text(&one["kind"]).expect("a kind"), text(&one["reason"]))).collect()
}

on_both_databases! {
    async fn the_owner_is_told_why_each_session_ended(world) {
        let first = world.newcomer("ada").await;
        let second = world.login("ada").await;
        world.logout(&second.refresh, "current").await;
        let spent = world.login("ada").await;
        let next = Tokens::of(&world.refresh(&spent.refresh).await);
        world.clock.advance(31);
        world.refresh(&spent.refresh).await.assert_problem(401, "token-reused");
        assert_eq!(next.session, spent.session);
        let fourth = world.login("ada").await;
        good(&command(&world, &["session", "revoke", &fourth.session]));
        let body = json!({
            "current_password": PASSWORD, "new_password": "a different sentence", "sessions": "others",
        });
        let fifth = world.login("ada").await;
        assert_eq!(world.post_as(&fifth.access, "/password", &body).await.status, 204);
        world.until_refused(&first.access).await;

        let answer = world.get_as(&fifth.access, "/sessions/events").await;
        assert_eq!(answer.header("cache-control"), Some("no-store"));
        let told = answer.json();
        let mut expected = Vec::from([
            ("session-ended", Some("password")),
            ("password-changed", None),
            ("login", None),
            ("session-ended", Some("admin")),
            ("login", None),
            ("session-ended", Some("reuse")),
            ("login", None),
            ("session-ended", Some("logout")),
            ("login", None),
            ("login", None),
            ("registered", None),
        ]);
        let found = kinds(&told);
        let found: Vec<_> = found.iter().map(|(kind, why)| (kind.as_str(), why.as_deref())).collect();
        // Told by one statement, in either order.
        if found[0].0 == "password-changed" {
            expected.swap(0, 1);
        }
        assert_eq!(found, expected);
        let reuse = &told["events"][5];
        assert_eq!(reuse["session_id"], json!(spent.session));
        for context in ["ip", "other_ip"] {
            assert_eq!(reuse[context], "127.0.0.1", "{context}");
        }
        for context in ["user_agent", "other_user_agent"] {
            assert_eq!(reuse[context], "acceptance", "{context}");
        }

        // Nobody else's, and not without a live session.
        let other = world.newcomer("bob").await;
        let told = world.get_as(&other.access, "/sessions/events").await.json();
        assert_eq!(kinds(&told).len(), 2);
        world.logout(&other.refresh, "current").await;
        until("the token is refused", async || {
            world.get_as(&other.access, "/sessions/events").await.status == 401
        }).await;
    }

    async fn what_an_administrator_does_by_hand_is_told_too(world) {
        let tokens = world.newcomer("ada").await;
        world.database.execute(
            "update users set version = version + 1, version_reason = 'admin'",
        ).await;
        assert_eq!(world.refresh(&tokens.refresh).await.json()["reason"], "admin");
        let again = world.login("ada").await;
        let told = world.get_as(&again.access, "/sessions/events").await.json();
        assert_eq!(kinds(&told)[1], ("all-sessions-ended".to_owned(), Some("admin".to_owned())));
    }

    async fn a_replay_from_elsewhere_within_the_window_is_told(world) {
        let tokens = world.newcomer("ada").await;
        let next = Tokens::of(&world.refresh(&tokens.refresh).await);
        let elsewhere = world.http.post(format!("{}/refresh", world.auth))
            .header("user-agent", "elsewhere")
            .json(&json!({"refresh_token": tokens.refresh}));
        let again = Tokens::of(&testbed::Answer::to(elsewhere).await);
        assert_eq!(again.refresh, next.refresh);
        let told = world.get_as(&next.access, "/sessions/events").await.json();
        let replay = &told["events"][0];
        assert_eq!(replay["kind"], "refresh-replayed");
        assert_eq!((&replay["user_agent"], &replay["other_user_agent"]), (&json!("elsewhere"), &json!("acceptance")));
    }

    async fn failed_logins_and_limits_are_told_without_names_and_addresses(world) {
        world.set("AUTH__LIMITS__LOGIN_FREE", "2");
        world.restart().await;
        let tokens = world.newcomer("ada").await;
        // Where nobody lives: who shares a network with a session of theirs is counted apart.
        // The last as if no time had passed since the one before, however busy this machine is.
        for (name, back, expected) in
            [("ada", 0, 401), ("nobody", 0, 401), ("nobody", 0, 401), ("nobody", -5, 429)]
        {
            let body = json!({"username": name, "password": "not at all the one"});
            world.clock.advance(back);
            assert_eq!(world.post("/login", &body).await.status, expected);
            world.clock.advance(-back);
        }
        let told = async |sql| world.database.number(sql).await;
        until("all is told", async || {
            told("select cast(sum(times) as bigint) from events where kind = 'login-failed'").await == 3
                && told("select count(*) from events where kind = 'limited' and reason = 'login'").await == 1
        }).await;
        let subjects = "select count(distinct subject) from events where kind = 'login-failed'";
        assert_eq!(told(subjects).await, 2);
        let plain = "select count(*) from events where kind in ('login-failed', 'limited') \
            and (ip is not null or subject in ('ada', 'nobody') or origin like '127%')";
        assert_eq!(told(plain).await, 0);
        let mine = world.get_as(&tokens.access, "/sessions/events").await.json();
        let failed = kinds(&mine).iter().filter(|(kind, _)| kind == "login-failed").count();
        assert_eq!(failed, 1, "the owner hears of guesses at their own account: {mine}");
    }

    /// Strangers write those. They must not hide that a session was ended for theft.
    async fn failed_logins_push_nothing_else_out_of_the_owners_list(world) {
        let tokens = world.newcomer("ada").await;
        let user = world.get_as(&tokens.access, "/me").await.member("id").parse().map(UserId).unwrap();
        for _ in 0..150 {
            let failed = AuditEntry { user: Some(user), ..AuditEntry::new(AuditEvent::LoginFailed) };
            world.store.record(failed).await.unwrap();
        }
        let told = world.get_as(&tokens.access, "/sessions/events").await.json();
        let kinds = kinds(&told);
        let count = |wanted: &str| kinds.iter().filter(|(kind, _)| kind == wanted).count();
        assert_eq!((count("login-failed"), count("login"), count("registered")), (20, 1, 1));
        assert_eq!(kinds[0].0, "login-failed", "newest first");
    }

    async fn the_audit_log_is_cut_off_at_its_age_and_at_its_length(world) {
        for _ in 0..20 {
            world.register(&format!("user{}", fastrand::u32(..))).await;
        }
        // Setting the clock is told too, somewhat later.
        let sql = "select count(*) from events where kind <> 'clock-stepped'";
        let count = async || world.database.number(sql).await;
        let before = count().await;
        let an_hour_ago = || Timestamp(world.clock.now().0 - 3_600_000);
        assert_eq!(world.store.purge_events(an_hour_ago(), 1000).await.unwrap(), 0);
        // What is of today stays, whatever the length.
        assert!(trim(&world, 5).await == 0 && count().await == before);
        world.clock.advance(86_401);
        let trimmed = trim(&world, 5).await;
        assert!(i64::try_from(trimmed).unwrap() >= before - 8 && (1..=8).contains(&count().await));
        while world.store.purge_events(an_hour_ago(), 2).await.unwrap() > 0 {}
        assert_eq!(count().await, 0);
    }

    /// Of whatever kind there are very many.
    async fn the_audit_log_is_cut_off_where_it_has_most(world) {
        let old = |kind: &str, number: u32| {
            let numbers = format!("with recursive n (i) as (select 1 union all select i + 1 from n where i < {number})");
            let numbers = format!("insert into events (at, kind) {numbers} select 1, '{kind}' from n");
            sqlx::AssertSqlSafe(numbers)
        };
        let count = async |sql: &'static str| world.database.number(sql).await;
        for (kind, number) in [("password-changed", 10), ("login", 300), ("limited", 500), ("key-revoked", 3)] {
            world.database.execute(old(kind, number)).await;
        }
        trim(&world, 113).await;
        assert_eq!(count("select count(*) from events where kind = 'password-changed'").await, 10);
        assert_eq!(count("select count(*) from events where kind = 'key-revoked' and at = 1").await, 3);
        for sql in [
            "select count(*) from events where kind = 'login'",
            "select count(*) from events where kind = 'limited'",
        ] {
            assert!((40..=50).contains(&count(sql).await), "{sql}: {}", count(sql).await);
        }
        // What comes in any number goes also on the day that it came.
        world.database.execute("update events set at = 9000000000000 where kind in ('login', 'limited')").await;
        trim(&world, 20).await;
        assert!(count("select count(*) from events where kind = 'limited'").await < 20);
        assert!(count("select count(*) from events where kind = 'login'").await >= 40);
    }

    /// Whoever has one token and changes the user agent each time, and whoever guesses without end.
    async fn what_comes_again_and_again_is_one_entry_that_counts(world) {
        let tokens = world.newcomer("ada").await;
        let next = Tokens::of(&world.refresh(&tokens.refresh).await);
        let again = async |agent: String| {
            let request = world.http.post(format!("{}/refresh", world.auth)).header("user-agent", agent);
            testbed::Answer::to(request.json(&json!({"refresh_token": tokens.refresh}))).await.status
        };
        for turn in 0..30 {
            assert_eq!(again(format!("agent/{turn}")).await, 200);
        }
        // Many at once too.
        let mut at_once = Vec::new();
        for turn in 0..20 {
            at_once.push(again(format!("agent/{turn}")));
        }
        assert!(futures_util::future::join_all(at_once).await.iter().all(|status| *status == 200));
        for _ in 0..5 {
            let body = json!({"username": "ada", "password": "not at all the one"});
            assert_eq!(world.post("/login", &body).await.status, 401);
        }
        let number = async |sql| world.database.number(sql).await;
        until("all is counted", async || {
            number("select cast(coalesce(sum(times), 0) as bigint) from events where kind = 'login-failed'").await == 5
        }).await;
        // Two where ten minutes end meanwhile.
        let rows = "select count(*) from events where kind = 'login-failed'";
        assert!((1..=2).contains(&number(rows).await));
        let rows = "select count(*) from events where kind = 'refresh-replayed'";
        assert!((1..=2).contains(&number(rows).await));
        let counted = "select cast(sum(times) as bigint) from events where kind = 'refresh-replayed'";
        assert_eq!(number(counted).await, 50);
        let told = world.get_as(&next.access, "/sessions/events").await.json();
        let replayed = |event: &&serde_json::Value| event["kind"] == "refresh-replayed";
        let events = told["events"].as_array().unwrap();
        let times: i64 = events.iter().filter(replayed).map(|it| it["times"].as_i64().unwrap()).sum();
        assert_eq!(times, 50);
        assert!(events.iter().any(|event| event["last_at"].is_string()), "{told}");
        // Another session is told apart.
        let other = world.login("ada").await;
        world.refresh(&other.refresh).await;
        let request = world.http.post(format!("{}/refresh", world.auth)).header("user-agent", "agent/0");
        testbed::Answer::to(request.json(&json!({"refresh_token": other.refresh}))).await;
        let sessions = "select count(distinct session_id) from events where kind = 'refresh-replayed'";
        assert_eq!(number(sessions).await, 2);
    }

    /// However many there are of any other one.
    async fn no_kind_pushes_another_out_of_the_owners_list(world) {
        let tokens = world.newcomer("ada").await;
        for kind in ["login", "session-ended", "refresh-replayed", "login-failed", "user-renamed", "roles-changed"] {
            let many = format!(
                "insert into events (at, kind, user_id) with recursive n (i) as \
                    (select 1 union all select i + 1 from n where i < 300) \
                 select 1, '{kind}', u.id from n, users u"
            );
            world.database.execute(sqlx::AssertSqlSafe(many)).await;
        }
        let told = world.get_as(&tokens.access, "/sessions/events").await.json();
        let kinds = kinds(&told);
        let count = |wanted: &str| kinds.iter().filter(|(kind, _)| kind == wanted).count();
        assert_eq!(count("registered"), 1, "{kinds:?}");
        assert_eq!((count("login"), count("session-ended"), count("user-renamed")), (40, 40, 20));
        assert_eq!((count("refresh-replayed"), count("login-failed"), count("roles-changed")), (20, 20, 20));
    }
}

/// Trims the audit log to this length, and says how much that was.
async fn trim(world: &World, most: i64) -> u64 {
    let mut trimmed = 0;
    for surplus in world.store.surplus_events(most).await.expect("the database answers") {
        loop {
            let gone = world.store.trim_events(&surplus, 7).await.expect("the database answers");
            trimmed += gone;
            if gone == 0 {
                break;
            }
        }
    }
    trimmed
}
