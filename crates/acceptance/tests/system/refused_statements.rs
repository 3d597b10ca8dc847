//! What the database refuses until somebody mends it: nobody is told to try again shortly, and the log says what
//! to do.

use std::path::Path;

use serde_json::json;
use sqlx::{AssertSqlSafe, Executor as _, PgPool};
use testbed::process::{Process, command};
use testbed::service::{run, until};
use testbed::{Answer, Database, Kind, PASSWORD, Service};
use uuid::Uuid;

/// A service whose role owns nothing, and a log for it.
struct Scene {
    auth: Service,
    admin: PgPool,
    role: String,
    log: tempfile::NamedTempFile,
    _database: Database,
}

impl Scene {
    /// It does not run yet.
    async fn prepare(database: Database) -> Self {
        let role = format!("service_{}", Uuid::new_v4().simple());
        let migrated =
            run("auth-service", &["migrate"], &Service::auth(&database.url, &[]).settings);
        assert!(migrated.status.success(), "{}", String::from_utf8_lossy(&migrated.stderr));
        let admin = database.postgres().await;
        for sql in [
            format!("create role {role} login"),
            format!("grant usage on schema public to {role}"),
            format!("grant all on all tables in schema public to {role}"),
            format!("grant all on all sequences in schema public to {role}"),
        ] {
            admin.execute(AssertSqlSafe(sql)).await.expect("the statement is right");
        }
        let url = database.url.replace("postgres@", &format!("{role}@"));
        let auth = Service::auth(&url, &[("AUTH__DATABASE__MIGRATE_ON_START", "false")]);
        let log = tempfile::NamedTempFile::new().expect("a file");
        Self { auth, admin, role, log, _database: database }
    }

    async fn run(&self, sql: String) {
        self.admin.execute(AssertSqlSafe(sql)).await.expect("the statement is right");
    }

    async fn register(&self, name: &str) -> Answer {
        self.auth.post("/register", &json!({"username": name, "password": PASSWORD})).await
    }

    /// Checks what is said of a registration that the database refused.
    async fn assert_refused_for_good(&self, name: &str, remedy: &str, cause: &str) {
        let answer = self.register(name).await;
        answer.assert_problem(500, "internal");
        let detail = answer.member("detail");
        assert!(detail.contains("mended") && !detail.contains("shortly"), "{detail}");
        let log = std::fs::read_to_string(self.log.path()).expect("text");
        let told = log.lines().rev().find(|line| line.contains("the store failed"));
        let told = told.expect("the log says why");
        assert!(told.contains(remedy) && told.contains(cause), "{told}");
    }
}

fn recorded(service: &Service, log: &Path) -> Process {
    let mut command = command("auth-service", &[], &service.settings);
    Process::recorded(command.env("RUST_LOG", "info"), log)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_database_refuses_until_somebody_mends_it_is_not_told_as_passing() {
    let scene = Scene::prepare(Database::create(Kind::Postgres).await).await;
    let _process = recorded(&scene.auth, scene.log.path());
    scene.auth.ready().await;
    let tokens = scene.auth.newcomer("ada").await;

    scene.run(format!("revoke insert on users from {}", scene.role)).await;
    scene.assert_refused_for_good("bob", "migrations/README.md", "permission denied").await;
    // All else works.
    assert_eq!(scene.auth.refresh(&tokens.refresh).await.status, 200);
    scene.run(format!("grant insert on users to {}", scene.role)).await;
    assert_eq!(scene.register("bob").await.status, 201);

    scene.run("alter table events rename to events_away".to_owned()).await;
    scene.assert_refused_for_good("eve", "auth-service migrate", "events").await;
    scene.run("alter table events_away rename to events".to_owned()).await;
    assert_eq!(scene.register("eve").await.status, 201);
}

/// Tables that grow are nobody's trouble today. Without a right, and without a table.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn housekeeping_that_fails_is_told_and_counted() {
    let scene = Scene::prepare(Database::create(Kind::Postgres).await).await;
    scene.run(format!("revoke delete on revocations from {}", scene.role)).await;
    let file = Database::create(Kind::Sqlite).await;
    let settings = Service::auth(&file.url, &[]).settings;
    assert!(run("auth-service", &["migrate"], &settings).status.success());
    file.execute("alter table invitations rename to invitations_away").await;
    let of_file = Service::auth(&file.url, &[]);
    for (auth, cause) in [(&scene.auth, "permission denied"), (&of_file, "no such table")] {
        let log = tempfile::NamedTempFile::new().expect("a file");
        let _process = recorded(auth, log.path());
        auth.ready().await;
        until("the log says why", async || {
            let log = std::fs::read_to_string(log.path()).expect("text");
            let told =
                log.lines().find(|line| line.contains("not everything that is old can be deleted"));
            told.is_some_and(|line| line.contains("WARN") && line.contains(cause))
        })
        .await;
        let counted = "latchkey_housekeeping_failures_total{task=\"housekeeping\"} 1";
        let metrics = auth.metrics().await;
        assert!(metrics.contains(counted), "{metrics}");
    }
}

/// What passes is told as passing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_lets_nobody_in_for_a_moment_is_told_as_passing() {
    for kind in [Kind::Postgres, Kind::Sqlite] {
        let database = Database::create(kind).await;
        let mut auth = Service::auth(&database.url, &[]);
        auth.start().await;
        let tokens = auth.newcomer("ada").await;
        database.take_away().await;
        let refused = auth.refresh(&tokens.refresh).await;
        refused.assert_problem(503, "unavailable");
        assert!(refused.member("detail").contains("try again shortly"), "{}", refused.text);
        database.bring_back().await;
    }
}
