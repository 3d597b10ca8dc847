//! The service as a role that may do no more than migrations/README.md grants it.

use sqlx::{AssertSqlSafe, Executor as _};
use testbed::service::{run, until};
use testbed::world::ISSUER;
use testbed::{Answer, Database, Kind, PASSWORD, Service, Tokens};
use uuid::Uuid;

use crate::house::read;

/// The grants, for a role of this name: roles belong to the whole server.
fn grants(role: &str) -> String {
    let text = read("migrations/README.md");
    let block = text.split("```sql\n").nth(1).and_then(|rest| rest.split("```").next());
    block.expect("the README has the grants").replace("latchkey_service", role)
}

const LATER_MIGRATION: &str = "insert into _sqlx_migrations \
        (version, description, success, checksum, execution_time) \
        values (9999, 'later', true, '\\x00', 0); \
    insert into schema_compatibility (version, oldest_program) values (9999, 4)";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_service_works_with_the_rights_that_the_readme_grants_and_has_no_others() {
    let database = Database::create(Kind::Postgres).await;
    let mut service = Service::auth(&database.url, &[("AUTH__KEYS__PUBLISH_SECONDS", "1")]);
    assert!(run("auth-service", &["migrate"], &service.settings).status.success());
    let role = format!("service_{}", Uuid::new_v4().simple());
    let owner = database.postgres().await;
    owner.execute(AssertSqlSafe(grants(&role))).await.expect("the grants are right");

    let limited = database.url.replace("postgres@", &format!("{role}@"));
    assert_ne!(limited, database.url);
    for (name, value) in &mut service.settings {
        match name.as_str() {
            "AUTH__DATABASE__URL" => value.clone_from(&limited),
            "AUTH__DATABASE__MIGRATE_ON_START" => "false".clone_into(value),
            _ => {}
        }
    }
    service.settings.push(("AUTH__DATABASE__MIGRATE_ON_START".to_owned(), "false".to_owned()));
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
