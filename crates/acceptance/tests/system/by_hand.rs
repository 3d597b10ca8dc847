//! Changes by SQL, as somebody with `psql` or another tool makes them: services obey them as they obey the
//! API, because triggers of the database announce and no program has to.

use std::collections::HashSet;
use std::time::Instant;

use claims::time::REVOCATION_TTL_SECONDS;
use claims::{Revoked, Timestamp};
use serde_json::json;
use sqlx::Executor as _;
use testbed::process::{Process, command};
use testbed::service::{Service, until};
use testbed::{Answer, Database, Kind, Tokens, World, on_both_databases};

/// What the database says to a statement that it refuses.
async fn refused(database: &Database, sql: &'static str) -> String {
    let error = match database.kind() {
        Kind::Postgres => database.postgres().await.execute(sql).await.map(drop),
        Kind::Sqlite => database.sqlite().await.execute(sql).await.map(drop),
    };
    error.expect_err(sql).to_string()
}

/// The access token is refused at services and at the auth-service, and the refresh token with it.
async fn assert_ended(world: &World, tokens: &Tokens, what: &str) {
    world.until_refused(&tokens.access).await;
    until("the auth-service refuses it too", async || {
        world.get_as(&tokens.access, "/me").await.status == 401
    })
    .await;
    let refreshed = world.refresh(&tokens.refresh).await;
    assert_eq!(refreshed.status, 401, "{what}: {}", refreshed.text);
}

async fn entries(database: &Database) -> i64 {
    database.number("select count(*) from revocations").await
}

async fn revoked(world: &World) -> HashSet<Revoked> {
    let read = world.store.revocation_reader().read(true).await.expect("the database answers");
    read.rows.into_iter().map(|row| row.revoked).collect()
}

on_both_databases! {
    async fn whatever_ends_a_session_by_hand_reaches_services(world) {
        for sql in [
            "update users set enabled = false",
            "update users set version = version + 1, version_reason = 'admin'",
            "update users set version = version + 1, changed_at = 9223372036854775807",
            "update sessions set revoked_at = created_at + 1, revoke_reason = 'admin'",
            // In seconds, before all time, and after it.
            "update sessions set revoked_at = 1795000000",
            "update sessions set revoked_at = -9223372036854775808",
            "update sessions set revoked_at = 9223372036854775807",
            "delete from sessions",
            "delete from users",
        ] {
            let tokens = world.newcomer("ada").await;
            let unharmed = world.newcomer("grace").await;
            assert_eq!(world.whoami(&tokens.access).await.status, 200);
            let whose = if sql.contains("users") { "id" } else { "user_id" };
            let sql = format!("{sql} where {whose} = (select id from users where username = 'ada')");
            world.database.execute(sqlx::AssertSqlSafe(sql.clone())).await;
            assert_ended(&world, &tokens, &sql).await;
            assert_eq!(world.whoami(&unharmed.access).await.status, 200, "{sql}");
            let told = world.get_as(&unharmed.access, "/sessions/events").await;
            assert_eq!(told.status, 200);
            world.database.execute("delete from users").await;
        }
    }

    /// Whoever is disabled for a moment only, by whatever path, has no session of before.
    async fn whoever_is_enabled_again_has_no_session_of_before(world) {
        let by_hand = [
            "begin; update users set enabled = false; update users set enabled = true; commit",
            "update users set enabled = false",
        ];
        for sql in by_hand {
            let tokens = world.newcomer("ada").await;
            world.database.execute(sql).await;
            let user = world.store.list_users(None, 1).await.unwrap().remove(0);
            world.store.set_enabled(user.user.id, true).await.unwrap();
            assert_ended(&world, &tokens, sql).await;
            let again = world.login("ada").await;
            assert_eq!(world.whoami(&again.access).await.status, 200, "{sql}");
            world.database.execute("delete from users").await;
        }
    }

    /// It is raised by the trigger only where the statement did not raise it.
    async fn a_version_is_raised_once_and_never_goes_down(world) {
        world.register("ada").await;
        let version = async || world.database.number(
            "select cast(version as bigint) from users").await;
        world.database.execute("update users set enabled = false, version = version + 5").await;
        assert_eq!(version().await, 6);
        world.database.execute("update users set enabled = true").await;
        assert_eq!(version().await, 7);
        world.database.execute("update users set enabled = true, version = version").await;
        assert_eq!((version().await, entries(&world.database).await), (7, 2), "nothing changed");
        for sql in ["update users set version = 6", "update users set enabled = false, version = 1"] {
            let said = refused(&world.database, sql).await;
            assert!(said.contains("would be live again"), "{said}");
        }
        assert_eq!(version().await, 7);
    }

    async fn a_user_who_is_deleted_is_one_entry_whatever_the_number_of_sessions(world) {
        let tokens = world.newcomer("ada").await;
        for _ in 0..20 {
            world.login("ada").await;
        }
        world.database.execute("delete from users").await;
        assert_ended(&world, &tokens, "deleted").await;
        assert_eq!(entries(&world.database).await, 1);
        let [Revoked::Subject { min_version: 2, .. }] = revoked(&world).await.drain().collect::<Vec<_>>()[..]
            else { panic!("one entry, above the version of every session") };
    }

    /// Ten million sessions that nobody has used for a week must not fill every service's memory.
    async fn what_is_long_over_is_purged_without_an_entry(world) {
        world.newcomer("ada").await;
        let revoked = world.login("ada").await;
        world.logout(&revoked.refresh, "current").await;
        assert_eq!(entries(&world.database).await, 1);
        world.database.execute(
            "update sessions set idle_expires_at = created_at - 864000000; \
             update sessions set revoked_at = created_at - 864000000 where revoked_at is not null"
        ).await;
        let mut after = None;
        loop {
            let week_ago = Timestamp(world.clock.now().0 - 7 * 24 * 3_600_000);
            after = world.store.purge_sessions(week_ago, after, 10).await.unwrap();
            if after.is_none() { break }
        }
        assert_eq!(world.database.number("select count(*) from sessions").await, 0);
        assert_eq!(entries(&world.database).await, 1);
        // One that is over for a moment may have a living token.
        let tokens = world.login("ada").await;
        world.database.execute("update sessions set idle_expires_at = created_at").await;
        world.database.execute("delete from sessions").await;
        world.until_refused(&tokens.access).await;
    }

    async fn an_entry_lives_as_long_as_any_token_that_it_could_kill(world) {
        let ada = world.newcomer("ada").await;
        let lives = async || {
            let least = "select min(expires_at - created_at) from revocations";
            let most = "select max(expires_at - created_at) from revocations";
            let wanted = i64::try_from(REVOCATION_TTL_SECONDS * 1000).unwrap();
            assert_eq!(world.database.number(least).await, wanted);
            assert_eq!(world.database.number(most).await, wanted);
        };
        world.logout(&ada.refresh, "current").await;
        lives().await;
        world.login("ada").await;
        for sql in [
            "update sessions set revoked_at = 5 where revoked_at is null",
            "update users set enabled = false",
            "update users set version = version + 1, changed_at = 5",
            "delete from users",
        ] {
            world.database.execute("delete from revocations").await;
            world.database.execute(sql).await;
            lives().await;
            let ends = "select min(expires_at) from revocations";
            assert!(world.database.number(ends).await > world.clock.now().0, "{sql}: not expired yet");
        }
    }

    /// Whoever would take its end back has it live again at the auth-service, and dead at services that heard of it.
    async fn a_session_that_is_over_does_not_come_back(world) {
        let tokens = world.newcomer("ada").await;
        world.logout(&tokens.refresh, "current").await;
        let all = world.login("ada").await;
        world.logout(&all.refresh, "all").await;
        world.register("grace").await;
        for sql in [
            "update sessions set revoked_at = null",
            "update sessions set revoked_at = null, revoke_reason = null where revoked_at is not null",
            "update sessions set subject_version = subject_version + 1",
            "update sessions set user_id = (select id from users where username = 'grace')",
        ] {
            let said = refused(&world.database, sql).await;
            assert!(said.contains("would be live again"), "{sql}: {said}");
        }
        assert_eq!(world.refresh(&tokens.refresh).await.status, 401);
        assert_eq!(world.refresh(&all.refresh).await.status, 401);
        // Other changes are free, and so is an end that is written again.
        world.database.execute("update sessions set revoked_at = 5 where revoked_at is not null").await;
        world.database.execute("update sessions set device = 'x', subject_version = subject_version").await;
    }

    /// Also of what is only compared, or only checked: by each of these somebody else could log in.
    async fn every_credential_and_address_that_is_changed_by_hand_is_told(world) {
        let tokens = world.newcomer("ada").await;
        let kinds = async || {
            let told = world.get_as(&tokens.access, "/sessions/events").await.json();
            let events = told["events"].as_array().expect("a list").clone();
            events.iter().map(|it| it["kind"].as_str().expect("text").to_owned()).collect::<Vec<_>>()
        };
        let mut before = kinds().await.len();
        for (sql, kind) in [
            ("update users set password_hash = '$argon2id$of-somebody-else'", "password-rehashed"),
            ("update users set password_hash = '', password_version = password_version + 1", "password-changed"),
            ("update users set password_version = password_version + 1", "password-changed"),
            ("update users set email = 'eve@example.com', email_key = 'eve@example.com'", "email-changed"),
            ("update users set email_key = 'mallory@example.com'", "email-changed"),
            ("update users set email = 'Eve@example.com'", "email-changed"),
            ("update users set email = null, email_key = null", "email-changed"),
            ("update users set username = 'Ada'", "user-renamed"),
            ("update users set username_key = 'eve'", "user-renamed"),
            ("update users set username = 'eva', username_key = 'eva'", "user-renamed"),
        ] {
            world.database.execute(sql).await;
            let told = kinds().await;
            assert_eq!((told[0].as_str(), told.len()), (kind, before + 1), "{sql}: {told:?}");
            before += 1;
            world.database.execute(sql).await;
            let same = !sql.contains("version + 1");
            before += usize::from(!same);
            assert_eq!(kinds().await.len(), before, "what stays as it is is not told: {sql}");
        }
    }

    /// It is a credential too.
    async fn an_invitation_that_is_changed_by_hand_is_told(world) {
        let (made, other_secret) = match world.database.kind() {
            Kind::Postgres => ("gen_random_uuid(), sha256('x')", "sha256('y')"),
            Kind::Sqlite => ("'cb1f53dc-71c4-44f0-a56a-9c6cbb0cfe46', zeroblob(32)", "randomblob(32)"),
        };
        let made = format!("insert into invitations (id, digest, created_at, expires_at) \
            values ({made}, 1, 9000000000000)");
        world.database.execute(sqlx::AssertSqlSafe(made)).await;
        for (told, set) in [
            (1, format!("digest = {other_secret}")),
            (2, "email = 'eve@example.com', email_key = 'eve@example.com'".to_owned()),
            (3, "expires_at = expires_at + 1".to_owned()),
            // That has a kind of its own.
            (3, "revoked_at = 5".to_owned()),
            (4, "revoked_at = null".to_owned()),
            (4, "expires_at = expires_at".to_owned()),
        ] {
            world.database.execute(sqlx::AssertSqlSafe(format!("update invitations set {set}"))).await;
            let count = "select count(*) from events where kind = 'invitation-changed' and reason is not null";
            assert_eq!(world.database.number(count).await, told, "{set}");
        }
    }

    /// The program's own time counts, so that a clock that a test has moved judges as it should.
    async fn an_entry_takes_its_time_from_the_row(world) {
        world.clock.advance(86_400);
        let tokens = world.newcomer("ada").await;
        world.logout(&tokens.refresh, "current").await;
        let tokens = world.login("ada").await;
        world.logout(&tokens.refresh, "all").await;
        let differs = "select count(*) from revocations where created_at not in ( \
            select revoked_at from sessions where revoked_at is not null \
            union all select changed_at from users)";
        assert_eq!(world.database.number(differs).await, 0);
        assert_eq!(revoked(&world).await.len(), 2);
    }

    async fn a_signing_key_that_is_revoked_or_deleted_by_hand_is_refused_for_ever(world) {
        for sql in [
            "update keys set state = 'revoked' where purpose = 'sign' and state = 'active'",
            "delete from keys where purpose = 'sign' and state = 'active'",
        ] {
            let tokens = world.newcomer("ada").await;
            world.database.execute(sql).await;
            world.until_refused(&tokens.access).await;
            let for_ever = "select count(*) from revocations where kind = 'key' and expires_at is null";
            assert_eq!(world.database.number(for_ever).await, 1, "{sql}");
            until("services accept tokens of the next key", async || {
                let login = world.post("/login", &json!({
                    "username": "ada", "password": testbed::PASSWORD})).await;
                login.status == 200 && world.whoami(&Tokens::of(&login).access).await.status == 200
            }).await;
            world.database.execute("delete from users; delete from revocations").await;
            world.restart().await;
        }
        let back = refused(&world.database, "update keys set state = 'active' where state = 'revoked'").await;
        assert!(back.contains("revoked for ever"), "{back}");
        world.database.execute("delete from keys where state = 'revoked'").await;
        assert_eq!(entries(&world.database).await, 0, "it was announced when it was revoked");
    }

    /// As a service of the version before does, which runs beside this one while it is replaced.
    async fn what_announces_by_itself_too_is_heard_once(world) {
        let tokens = world.newcomer("ada").await;
        world.database.execute(
            "insert into revocations (kind, id, created_at, expires_at) \
             select 'session', id, 9000000000000, 9000000990000 from sessions; \
             update sessions set revoked_at = created_at + 1, revoke_reason = 'logout'").await;
        assert_ended(&world, &tokens, "twice").await;
        assert_eq!(entries(&world.database).await, 2);
        let url = format!("{}/internal/revocations", world.internal);
        let batch = testbed::Answer::to(world.http.get(url)).await.json();
        assert_eq!(batch["entries"].as_array().unwrap().len(), 1, "{batch}");
    }

    /// An entry that no program can read is a fault of whoever wrote it, and of nobody else.
    async fn an_entry_that_cannot_be_read_hides_no_other(world) {
        let tokens = world.newcomer("ada").await;
        world.database.execute(
            "insert into revocations (kind, id, min_version, created_at, expires_at) values \
                ('session', 'no session', null, 0, 9000000000000), \
                ('token', '', null, 0, 9000000000000), \
                ('subject', 'ada', -1, 0, 9000000000000), \
                ('subject', 'ada', null, 0, 9000000000000)").await;
        // A hundred megabytes.
        let long = match world.database.kind() {
            Kind::Postgres => "repeat('x', 100000000)",
            Kind::Sqlite => "hex(zeroblob(50000000))",
        };
        let long = format!("insert into revocations (kind, id, created_at, expires_at) \
            values ('key', {long}, 0, 9000000000000)");
        world.database.execute(sqlx::AssertSqlSafe(long)).await;
        world.logout(&tokens.refresh, "current").await;
        world.until_refused(&tokens.access).await;
        let other = world.login("ada").await;
        assert_eq!(world.whoami(&other.access).await.status, 200);
        assert_eq!(revoked(&world).await.iter().filter(|it| matches!(it, Revoked::Key { .. })).count(), 0);
    }

    /// One statement for very many: SECURITY's recipe after a restore.
    async fn ten_thousand_users_are_announced_by_one_statement(world) {
        let tokens = world.newcomer("ada").await;
        world.database.execute(match world.database.kind() {
            Kind::Postgres => "insert into users (id, username, username_key, password_hash, created_at) \
                select gen_random_uuid(), 'u' || i, 'u' || i, '', 1 from generate_series(1, 10000) i",
            Kind::Sqlite => "with recursive n (i) as (select 1 union all select i + 1 from n where i < 10000) \
                insert into users (id, username, username_key, password_hash, created_at) \
                select printf('00000000-0000-4000-8000-%012d', i), 'u' || i, 'u' || i, '', 1 from n",
        }).await;
        let begun = Instant::now();
        world.database.execute(
            "update users set version = version + 1, version_reason = 'admin'").await;
        println!("10,000 users in {:?}", begun.elapsed());
        assert_ended(&world, &tokens, "all").await;
        assert_eq!(world.refresh(&tokens.refresh).await.json()["reason"], "admin");
        assert_eq!(entries(&world.database).await, 10_001);
        assert_eq!(revoked(&world).await.len(), 10_001);
    }
}

/// Somebody's session may look elsewhere first, for instance into another installation's schema.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_from_a_session_that_looks_elsewhere_is_announced_here() {
    let world = World::start(Kind::Postgres).await;
    let (ended, raised) = (world.newcomer("ada").await, world.newcomer("grace").await);
    let pool = world.database.postgres().await;
    let mut hand = pool.acquire().await.expect("a connection");
    for statement in [
        "create schema elsewhere",
        "create table elsewhere.revocations (like public.revocations including all)",
        "create table elsewhere.events (like public.events including all)",
        "set search_path = elsewhere, public",
        "update public.sessions set revoked_at = 1 where user_id = \
            (select id from public.users where username = 'ada')",
        "update public.users set version = version + 1 where username = 'grace'",
    ] {
        hand.execute(statement).await.expect(statement);
    }
    for (tokens, what) in [(&ended, "a session"), (&raised, "a version")] {
        assert_ended(&world, tokens, what).await;
    }
    for count in
        ["select count(*) from elsewhere.revocations", "select count(*) from elsewhere.events"]
    {
        assert_eq!(world.database.number(count).await, 0, "{count}");
    }
    hand.close().await.expect("it closes");
    pool.close().await;
}

/// SQLite removes the row that is replaced without a trigger that sees it go.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_would_be_replaced_without_a_word_is_refused() {
    let world = World::start(Kind::Sqlite).await;
    let tokens = world.newcomer("ada").await;
    for replaced in [
        "insert or replace into users select * from users",
        "replace into users select * from users",
        "insert or replace into sessions select * from sessions",
    ] {
        let refusal = refused(&world.database, replaced).await;
        assert!(refusal.contains("would tell no service"), "{refusal}");
    }
    assert_eq!(world.refresh(&tokens.refresh).await.status, 200);
}

/// `TRUNCATE` fires no trigger for rows.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_would_be_truncated_without_a_word_is_refused() {
    let world = World::start(Kind::Postgres).await;
    let tokens = world.newcomer("ada").await;
    for sql in ["truncate sessions", "truncate users cascade", "truncate keys"] {
        let said = refused(&world.database, sql).await;
        assert!(said.contains("would tell no service"), "{said}");
    }
    assert_eq!(world.whoami(&tokens.access).await.status, 200);
}

/// The `sqlite3` that an administrator has may be older than the library that is compiled in.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_trigger_on_sqlite_needs_a_newer_one_than_an_administrator_has() {
    let world = World::start(Kind::Sqlite).await;
    let newer = "select count(*) from sqlite_master \
        where type in ('trigger', 'view') and sql like '%subsec%'";
    assert_eq!(world.database.number(newer).await, 0);
    let triggers = "select count(*) from sqlite_master where type = 'trigger'";
    assert!(world.database.number(triggers).await > 10);
}

/// Each of them is counted and named, and only once, however often all rows are read.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_entry_that_cannot_be_read_is_named_and_counted_once() {
    for kind in [Kind::Postgres, Kind::Sqlite] {
        let database = Database::create(kind).await;
        let service = Service::auth(&database.url, &[]);
        let directory = tempfile::tempdir().expect("a temporary directory");
        let log = directory.path().join("log");
        let _process =
            Process::recorded(&mut command("auth-service", &[], &service.settings), &log);
        service.ready().await;
        database
            .execute(
                "insert into revocations (kind, id, created_at, expires_at) values \
                ('session', 'no session', 0, 9000000000000), ('token', '', 0, 9000000000000)",
            )
            .await;
        let counted = async || {
            let metrics = service.metrics().await;
            metrics.lines().find_map(|line| {
                line.strip_prefix("latchkey_revocations_unreadable_total ")?.parse().ok()
            })
        };
        until("both are counted", async || counted().await == Some(2)).await;
        let told = || {
            let text = std::fs::read_to_string(&log).unwrap_or_default();
            text.lines()
                .filter(|line| line.contains("rows of the table revocations name no token"))
                .count()
        };
        assert!((1..=2).contains(&told()), "{}", told());
        let before = told();
        if kind == Kind::Postgres {
            // After a loss of the connection everything is read anew.
            let others = "select count(*) from (select pg_terminate_backend(pid) from pg_stat_activity \
                where datname = current_database() and pid <> pg_backend_pid()) ended";
            assert!(database.number(others).await > 0);
        }
        let feed = format!("{}/internal/revocations", service.internal);
        let entries = async || Answer::to(service.http.get(&feed)).await.json()["entries"].clone();
        service.ready().await;
        let tokens = service.newcomer("ada").await;
        service.logout(&tokens.refresh).await;
        until("a logout is read", async || {
            entries().await.as_array().is_some_and(|it| it.len() == 1)
        })
        .await;
        assert_eq!((counted().await, told()), (Some(2), before));
        database
            .execute(
                "insert into revocations (kind, id, created_at, expires_at) \
            values ('key', 'no key!', 0, 9000000000000)",
            )
            .await;
        until("another one is news", async || counted().await == Some(3) && told() == before + 1)
            .await;
    }
}
