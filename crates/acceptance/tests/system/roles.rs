//! The service as a role that may do no more than migrations/README.md grants it.

use std::path::{Path, PathBuf};

use sqlx::{AssertSqlSafe, Executor as _};
use tempfile::TempDir;
use testbed::process::{Process, command};
use testbed::service::{run, until};
use testbed::world::ISSUER;
use testbed::{Answer, Database, Kind, PASSWORD, Service, Tokens};
use uuid::Uuid;

use crate::house::read;

/// What the README says that `whom` runs, for a role of this name: roles belong to the whole server.
fn recipe(whom: &str, role: &str) -> String {
    let text = read("migrations/README.md");
    let mark =
        format!("<!-- crates/acceptance/tests/system/roles.rs runs this as {whom} -->\n```sql\n");
    let block = text.split(&mark).nth(1).and_then(|rest| rest.split("```").next());
    block
        .unwrap_or_else(|| panic!("the README has what {whom} runs"))
        .replace("latchkey_service", role)
}

/// The URL of this database for another role.
fn as_role(database: &Database, role: &str) -> String {
    let url = database.url.replace("postgres@", &format!("{role}@"));
    assert_ne!(url, database.url);
    url
}

async fn run_as(database: &Database, role: &str, sql: String) -> Result<(), sqlx::Error> {
    let pool = sqlx::PgPool::connect(&as_role(database, role)).await.expect("the role may connect");
    let done = pool.execute(AssertSqlSafe(sql)).await.map(drop);
    pool.close().await;
    done
}

/// A role with these rights on a database that is migrated, and how it connects. Neither the owner nor whoever
/// makes the role is a superuser.
async fn role_on(database: &Database) -> (String, String) {
    let unique = Uuid::new_v4().simple();
    let (owner, maker) = (format!("owner_{unique}"), format!("maker_{unique}"));
    let role = format!("service_{unique}");
    let name = database.name();
    let given = format!(
        "create role {owner} login; create role {maker} login createrole; \
         alter database {name} owner to {owner}"
    );
    database.execute(AssertSqlSafe(given)).await;
    let migrates = Service::auth(&as_role(database, &owner), &[]);
    assert!(run("auth-service", &["migrate"], &migrates.settings).status.success());
    run_as(database, &maker, recipe("a role with createrole", &role))
        .await
        .expect("the first step");
    run_as(database, &owner, recipe("the owner", &role)).await.expect("the second step");
    let limited = as_role(database, &role);
    (role, limited)
}

/// What needs `createrole` is only what the README says does.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_owner_without_createrole_cannot_make_the_role_and_needs_it_for_nothing_else() {
    let database = Database::create(Kind::Postgres).await;
    let (role, _) = role_on(&database).await;
    let owner = role.replace("service_", "owner_");
    let other = format!("{role}_other");
    let first = run_as(&database, &owner, recipe("a role with createrole", &other)).await;
    let refused = first.expect_err("it may not make roles").to_string();
    assert!(refused.contains("permission denied to create role"), "{refused}");
    // The second step may be run again: later versions of the page grant more.
    run_as(&database, &owner, recipe("the owner", &role)).await.expect("once more");
}

/// A service of such a role, with a log of its own.
struct Limited {
    service: Service,
    log: PathBuf,
    _directory: TempDir,
    _process: Process,
}

impl Limited {
    async fn start(url: &str, settings: &[(&str, &str)]) -> Self {
        let mut all = vec![("AUTH__DATABASE__MIGRATE_ON_START", "false")];
        all.extend(settings);
        let service = Service::auth(url, &all);
        let directory = tempfile::tempdir().expect("a temporary directory");
        let log = directory.path().join("log");
        let process = Process::recorded(&mut command("auth-service", &[], &service.settings), &log);
        service.ready().await;
        Self { service, log, _directory: directory, _process: process }
    }

    /// Waits until a line of the log has all of these.
    async fn says(&self, parts: &[&str]) {
        until("the log says so", async || says(&self.log, parts)).await;
    }
}

fn says(log: &Path, parts: &[&str]) -> bool {
    let text = std::fs::read_to_string(log).unwrap_or_default();
    text.lines().any(|line| parts.iter().all(|part| line.contains(part)))
}

const LATER_MIGRATION: &str = "insert into _sqlx_migrations \
        (version, description, success, checksum, execution_time) \
        values (9999, 'later', true, '\\x00', 0); \
    insert into schema_compatibility (version, oldest_program) values (9999, 4)";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_service_works_with_the_rights_that_the_readme_grants_and_has_no_others() {
    let database = Database::create(Kind::Postgres).await;
    let (_, limited) = role_on(&database).await;
    let owner = database.postgres().await;
    let settings =
        [("AUTH__KEYS__PUBLISH_SECONDS", "1"), ("AUTH__DATABASE__MIGRATE_ON_START", "false")];
    let mut service = Service::auth(&limited, &settings);
    let admin = r#"{"latchkey:users:write":{"roles":["admin"]}}"#;
    service.settings.push(("AUTH__SCOPES".to_owned(), admin.to_owned()));
    // While an upgrade goes through, the role must learn whether it may serve the newer schema.
    owner.execute(LATER_MIGRATION).await.expect("a later migration");
    service.start().await;
    let first = service.newcomer("ada").await;
    let second = Tokens::of(&service.refresh(&first.refresh).await);
    for path in ["/me", "/sessions", "/sessions/events"] {
        assert_eq!(service.get_as(&second.access, path).await.status, 200, "{path}");
    }
    let others = service.login("ada").await;
    let body = serde_json::json!({"refresh_token": others.refresh, "sessions": "others"});
    assert_eq!(service.post("/logout", &body).await.status, 204);
    service.logout(&others.refresh).await;
    for command in [
        &["keys", "rotate", "--now"][..],
        &["keys", "list"],
        &["user", "list"],
        &["user", "disable", "ada"],
        &["user", "enable", "ada"],
        &["user", "invitations"],
        &["user", "list", "--search", "a"],
        &["user", "show", "ada"],
        &["user", "rename", "ada", "ada-of-the-role"],
        &["user", "rename", "ada-of-the-role", "ada"],
        &["user", "export", "ada"],
        &["session", "end-all", "--after-restore"],
        &["doctor"],
    ] {
        let output = run("auth-service", command, &service.settings);
        assert!(
            output.status.success(),
            "{command:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
    service.login("ada").await;
    let output = run("auth-service", &["user", "roles", "ada", "admin"], &service.settings);
    assert!(output.status.success());
    let body = serde_json::json!({
        "username": "ada", "password": PASSWORD, "resource": ISSUER, "scope": "latchkey:users:write",
    });
    let access = service.post("/login", &body).await.member("access_token");
    let body = serde_json::json!({"username": "grace", "password": PASSWORD});
    let request = service.http.post(format!("{}/admin/v1/users", service.internal));
    let request = request.bearer_auth(access).header("idempotency-key", "\"once\"");
    assert_eq!(Answer::to(request.json(&body)).await.status, 201);
    let by_invitation =
        [("AUTH__REGISTRATION", "invite"), ("AUTH__DATABASE__MIGRATE_ON_START", "false")];
    let mut invites = Service::auth(&limited, &by_invitation);
    invites.start().await;
    let output = run("auth-service", &["user", "invite"], &invites.settings);
    let line = String::from_utf8_lossy(&output.stdout).into_owned();
    let token = line.split('\t').nth(1).expect("an invitation").to_owned();
    let body = serde_json::json!({"username": "eve", "password": PASSWORD, "invitation": token});
    let answer = invites.post("/register", &body).await;
    assert_eq!(answer.status, 201, "{}", answer.text);

    // Deleted, and forgotten by a service for which a minute has passed.
    invites.login("eve").await;
    assert!(run("auth-service", &["user", "delete", "eve"], &invites.settings).status.success());
    let later =
        [("AUTH__CLOCK__OFFSET_SECONDS", "120"), ("AUTH__DATABASE__MIGRATE_ON_START", "false")];
    let mut later = Service::auth(&limited, &later);
    later.start().await;
    let left = "select count(*) from users where deleted_at is not null";
    until("the rest is forgotten", async || database.number(left).await == 0).await;

    let pool = sqlx::PgPool::connect(&limited).await.expect("the role may connect");
    for forbidden in [
        "update events set kind = 'nothing'",
        "update events set at = 0",
        "update events set user_id = null",
        "update revocations set expires_at = 0",
        "delete from keys",
        "delete from clients",
        "alter table users add column x text",
        "drop trigger users_told on users",
        "create table x (y int)",
    ] {
        let error = pool.execute(forbidden).await.expect_err(forbidden).to_string();
        assert!(error.contains("permission denied") || error.contains("must be owner"), "{error}");
    }
    pool.close().await;
    owner.close().await;
}

/// It deletes what is old, and today's only where anybody can write it in any number.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_role_takes_nothing_of_today_out_of_the_audit_log() {
    let database = Database::create(Kind::Postgres).await;
    let (role, limited) = role_on(&database).await;
    let service = Limited::start(&limited, &[]).await;
    service.service.newcomer("ada").await;
    drop(service);
    let add = "insert into events (at, kind) values (1, 'login'), \
        (cast(extract(epoch from now()) * 1000 as bigint), 'login-failed')";
    database.execute(add).await;
    let logins = "select count(*) from events where kind = 'login'";
    for (sql, said) in [
        ("delete from events where kind = 'login'", "is of today"),
        ("delete from events", "is of today"),
        ("update events set times = 0", "would count less"),
        ("update events set last_at = 1; update events set last_at = 0", "would count less"),
    ] {
        let error = run_as(&database, &role, sql.to_owned()).await.expect_err(sql).to_string();
        assert!(error.contains(said), "{sql}: {error}");
    }
    assert_eq!(database.number(logins).await, 2);
    for sql in ["delete from events where at = 1", "delete from events where kind = 'login-failed'"]
    {
        run_as(&database, &role, sql.to_owned()).await.expect(sql);
    }
    assert_eq!(database.number(logins).await, 1);
    // The owner may do everything, and could drop the trigger.
    let owner = role.replace("service_", "owner_");
    run_as(&database, &owner, "delete from events".to_owned()).await.expect("the owner");
}

/// What changes something is told by triggers, wherever the session that makes the change looks first.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_role_writes_no_entry_that_triggers_write_and_hides_none() {
    let database = Database::create(Kind::Postgres).await;
    let (role, limited) = role_on(&database).await;
    let service = Limited::start(&limited, &[]).await;
    let tokens = service.service.newcomer("ada").await;
    for values in [
        "(1, 'password-changed', null)",
        "(1, 'session-ended', 'logout')",
        "(1, 'session-ended', null)",
        "(1, 'limited', null), (1, 'key-revoked', 'k')",
    ] {
        let sql = format!("insert into events (at, kind, reason) values {values}");
        let error = run_as(&database, &role, sql).await.expect_err(values).to_string();
        assert!(error.contains("is written by a trigger"), "{values}: {error}");
    }
    // A trigger of its own is no way around.
    let helper = "create temp table t (x int); \
        create function pg_temp.f() returns trigger language plpgsql as \
            $$ begin insert into public.events (at, kind) values (1, 'login'); return null; end $$; \
        create trigger t after insert on t for each row execute function pg_temp.f(); \
        insert into t values (1)";
    let error = run_as(&database, &role, helper.to_owned()).await.expect_err("refused").to_string();
    assert!(error.contains("is written by a trigger"), "{error}");
    // Nor is one of ours on a table of its own: the owner would write what never was, and revoke what nobody revoked.
    let pool = database.postgres().await;
    let ours: Vec<String> = sqlx::query_scalar(
        "select proname::text from pg_proc where proname ~ '^latchkey_(tell|announce)_'",
    )
    .fetch_all(&pool)
    .await
    .expect("an answer");
    pool.close().await;
    assert!(ours.len() >= 8, "{ours:?}");
    for function in ours {
        let sql = format!(
            "create temp table mine (id text); create trigger mine after insert on mine for each row \
                execute function public.{function}()"
        );
        let error = run_as(&database, &role, sql).await.expect_err(&function).to_string();
        assert!(error.contains("permission denied for function"), "{function}: {error}");
    }

    // Tables of the session do not stand in the place of ours.
    let before = database.number("select count(*) from events").await;
    let beside = "create temp table events (like public.events including all); \
        create temp table revocations (like public.revocations including all); \
        create temp table users (like public.users including all); \
        update public.users set email_key = 'eve@example.com'; \
        update public.sessions set revoked_at = 1, revoke_reason = 'admin'";
    run_as(&database, &role, beside.to_owned()).await.expect("it may change them");
    assert_eq!(database.number("select count(*) from events").await, before + 2);
    until("the auth-service hears of it", async || {
        service.service.get_as(&tokens.access, "/me").await.status == 401
    })
    .await;
    assert_eq!(database.number("select count(*) from revocations").await, 1);
}

/// What may be live goes by the commands and routes, which tell and announce, or by the owner.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_role_deletes_no_session_that_may_be_live_and_no_user_who_is_not_deleted() {
    let database = Database::create(Kind::Postgres).await;
    let (role, limited) = role_on(&database).await;
    let service = Limited::start(&limited, &[]).await;
    let tokens = service.service.newcomer("ada").await;
    let over = service.service.login("ada").await;
    service.service.logout(&over.refresh).await;
    let over = format!("where id = '{}'", over.session);
    for (sql, said) in [
        ("delete from sessions".to_owned(), "may be live"),
        ("delete from users".to_owned(), "is not deleted yet"),
        (format!("update sessions set revoked_at = null {over}"), "would be live again"),
    ] {
        let error = run_as(&database, &role, sql.clone()).await.expect_err(&sql).to_string();
        assert!(error.contains(said), "{sql}: {error}");
    }
    assert_eq!(service.service.get_as(&tokens.access, "/me").await.status, 200);
    run_as(&database, &role, format!("delete from sessions {over}")).await.expect("it is over");
    // With the users their sessions go, by the owner's rights.
    let owner = role.replace("service_", "owner_");
    run_as(&database, &owner, "delete from users".to_owned()).await.expect("the owner");
    assert_eq!(database.number("select count(*) from sessions").await, 0);
}

/// What is left of a deleted user, and what may be lacking to forget it.
const LEFT: [(&str, &str, &str); 2] = [
    (
        "update (ip, user_agent, other_ip, other_user_agent) on events",
        "select count(*) from events where user_agent is not null and user_agent not like '~%'",
        "table events",
    ),
    ("delete on sessions", "select count(*) from sessions", "table sessions"),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_may_be_forgotten_of_a_deleted_user_is_forgotten_also_where_the_rest_may_not() {
    for (at, (lacking, left, named)) in LEFT.into_iter().enumerate() {
        let (_, other, _) = LEFT[1 - at];
        let database = Database::create(Kind::Postgres).await;
        let (role, limited) = role_on(&database).await;
        database.execute(AssertSqlSafe(format!("revoke {lacking} from {role}"))).await;
        let now = Limited::start(&limited, &[]).await;
        now.service.newcomer("ada").await;
        assert!(
            run("auth-service", &["user", "delete", "ada"], &now.service.settings).status.success()
        );
        assert!(database.number(left).await > 0 && database.number(other).await > 0);

        let later = Limited::start(&limited, &[("AUTH__CLOCK__OFFSET_SECONDS", "120")]).await;
        until(&format!("without {lacking}: {other}"), async || database.number(other).await == 0)
            .await;
        later.says(&["\"task\":\"deletions\"", named]).await;
        let rows = "select count(*) from users where deleted_at is not null";
        assert_eq!(database.number(rows).await, 1, "by it the rest is found");
        assert!(database.number(left).await > 0, "{lacking}");
        // Once it may, it goes on.
        database.execute(AssertSqlSafe(format!("grant {lacking} to {role}"))).await;
        until("the rest is forgotten", async || database.number(rows).await == 0).await;
        assert_eq!(database.number(left).await, 0, "{lacking}");
    }
}

/// For a look at the passwords it needs a column that a change of names does not need.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_the_database_does_not_say_which_account_is_the_demo_none_is_renamed() {
    let database = Database::create(Kind::Postgres).await;
    let (role, limited) = role_on(&database).await;
    let scopes = r#"{"latchkey:users:write":{"roles":["admin"]}}"#;
    let whole = Limited::start(&limited, &[("AUTH__SCOPES", scopes)]).await;
    let demo = whole.service.newcomer("demo").await;
    whole.service.register("root").await;
    let admin = run("auth-service", &["user", "roles", "root", "admin"], &whole.service.settings);
    assert!(admin.status.success());
    let body = serde_json::json!({
        "username": "root", "password": PASSWORD, "resource": ISSUER, "scope": "latchkey:users:write",
    });
    let root = whole.service.post("/login", &body).await.member("access_token");
    let id = whole.service.get_as(&demo.access, "/me").await.member("id");
    let blind = format!(
        "revoke select on users from {role}; do $$ begin execute ( \
            select 'grant select (' || string_agg(quote_ident(column_name), ',') || ') on users to {role}' \
            from information_schema.columns where table_schema = 'public' and table_name = 'users' \
              and column_name <> 'password_hash'); end $$"
    );
    database.execute(AssertSqlSafe(blind)).await;
    let settings = [
        ("AUTH__SCOPES", scopes),
        ("AUTH__PAGE__ENABLED", "true"),
        ("AUTH__PAGE__DEMO_USERNAME", "demo"),
        ("AUTH__PAGE__DEMO_PASSWORD", PASSWORD),
    ];
    let limited = Limited::start(&limited, &settings).await;
    let service = &limited.service;
    let name = serde_json::json!({"username": "mine"});
    for (url, access) in [
        (format!("{}/me", service.public), &demo.access),
        (format!("{}/admin/v1/users/{id}", service.internal), &root),
    ] {
        let patch =
            |body: &serde_json::Value| service.http.patch(&url).bearer_auth(access).json(body);
        Answer::to(patch(&name)).await.assert_problem(500, "internal");
        let address = Answer::to(patch(&serde_json::json!({"email": "demo@example.com"}))).await;
        assert!(
            matches!(address.status, 200 | 204),
            "what needs no look is done: {}",
            address.text
        );
    }
    assert_eq!(database.number("select count(*) from users where username = 'demo'").await, 1);
    let settings = service.get("/assets/page.json").await;
    assert_eq!((settings.status, &settings.json()["demo"]), (200, &serde_json::Value::Null));
    limited.says(&["does not offer the demo account", "table users"]).await;
}

/// A row of long ago in each table from which old ones are deleted.
const OLD: [(&str, &str); 5] = [
    ("events", "select count(*) from events where at = 1"),
    ("revocations", "select count(*) from revocations where created_at = 1"),
    ("sessions", "select count(*) from sessions where created_at = 1"),
    ("invitations", "select count(*) from invitations where created_at = 1"),
    ("idempotency_keys", "select count(*) from idempotency_keys where created_at = 1"),
];

const MAKE_OLD: &str = "insert into events (at, kind) values (1, 'test'); \
    insert into revocations (kind, id, created_at, expires_at) \
        values ('session', 'AAAAAAAAAAAAAAAAAAAAAA', 1, 1); \
    insert into sessions (id, user_id, client_id, scope, subject_version, idle_expires_at, expires_at, \
        revoked_at, auth_time, amr, created_at) \
        select 'AAAAAAAAAAAAAAAAAAAAAA', id, 'web', 'profile', version, 1, 1, 1, 1, 'pwd', 1 from users; \
    insert into invitations (id, digest, created_at, expires_at) \
        values (gen_random_uuid(), sha256('x'), 1, 2); \
    insert into idempotency_keys values (gen_random_uuid(), 'key', 'request', '', 1)";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_table_from_which_nothing_may_be_deleted_keeps_no_other_one_large() {
    for (lacking, left) in OLD {
        let database = Database::create(Kind::Postgres).await;
        let (role, limited) = role_on(&database).await;
        let first = Limited::start(&limited, &[]).await;
        first.service.register("ada").await;
        drop(first);
        database.execute(MAKE_OLD).await;
        database.execute(AssertSqlSafe(format!("revoke delete on {lacking} from {role}"))).await;
        let limited = Limited::start(&limited, &[]).await;
        for (_, old) in OLD.into_iter().filter(|(table, _)| *table != lacking) {
            until(&format!("without {lacking}: {old}"), async || database.number(old).await == 0)
                .await;
        }
        limited.says(&["\"task\":\"housekeeping\"", &format!("table {lacking}")]).await;
        assert!(database.number(left).await > 0, "{lacking}");
        let metrics = limited.service.metrics().await;
        assert!(metrics.contains("latchkey_housekeeping_passes_total 0"), "{lacking}: {metrics}");
    }
}
