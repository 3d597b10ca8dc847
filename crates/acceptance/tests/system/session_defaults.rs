//! What `alter database` and `alter role` may set for every session, and the SQL relies on.

use serde_json::json;
use sqlx::{AssertSqlSafe, Executor as _, PgPool};
use testbed::service::{assert_one_clear_line, run, until};
use testbed::{Answer, Database, Kind, PASSWORD, Service, Tokens};
use uuid::Uuid;

/// Each otherwise than it must be, and none can be helped by the service having set it before.
const OTHERWISE: [(&str, &str); 16] = [
    ("default_transaction_isolation", "'serializable'"),
    ("default_transaction_deferrable", "on"),
    ("search_path", "decoys, public"),
    ("row_security", "on"),
    ("timezone", "'Asia/Kathmandu'"),
    ("datestyle", "'German, DMY'"),
    ("intervalstyle", "'iso_8601'"),
    ("bytea_output", "'escape'"),
    ("extra_float_digits", "-15"),
    ("standard_conforming_strings", "off"),
    ("client_encoding", "'LATIN1'"),
    ("statement_timeout", "1"),
    ("lock_timeout", "1"),
    ("idle_in_transaction_session_timeout", "1"),
    ("plan_cache_mode", "'force_generic_plan'"),
    ("default_statistics_target", "1"),
];

/// Tables and a function of our names, for whoever looks there first.
const DECOYS: &str = "create schema decoys; \
    create table decoys.users (like public.users); \
    create table decoys.sessions (like public.sessions); \
    create table decoys.revocations (like public.revocations); \
    create table decoys.events (like public.events); \
    create table decoys.keys (like public.keys); \
    create function decoys.latchkey_now(bigint) returns bigint language sql as 'select 0::bigint'";

/// A database of a role of its own: what is set for the role then reaches no other test.
struct Scene {
    database: Database,
    role: String,
    url: String,
    admin: PgPool,
}

impl Scene {
    async fn new() -> Self {
        let database = Database::create(Kind::Postgres).await;
        let role = format!("owner_{}", Uuid::new_v4().simple());
        let admin = database.postgres().await;
        let url = database.url.replace("postgres@", &format!("{role}@"));
        let scene = Self { database, role, url, admin };
        scene.run(format!("create role {} login", scene.role)).await;
        scene.run(format!("alter database {} owner to {}", scene.name(), scene.role)).await;
        scene.run(format!("alter schema public owner to {}", scene.role)).await;
        // What is set for the database is not to reach the test's own connections.
        for (name, value) in OTHERWISE.iter().filter(|(name, _)| name.ends_with("timeout")) {
            let value = value.replace('1', "0");
            let name_of = scene.name();
            scene
                .run(format!("alter role postgres in database {name_of} set {name} = {value}"))
                .await;
        }
        scene
    }

    fn name(&self) -> &str {
        self.database.url.rsplit('/').next().expect("a database")
    }

    async fn run(&self, sql: String) {
        self.admin
            .execute(AssertSqlSafe(sql.clone()))
            .await
            .unwrap_or_else(|it| panic!("{sql}: {it}"));
    }

    /// Whom a default is set for: the database, or the role.
    fn holders(&self) -> [String; 2] {
        [format!("database {}", self.name()), format!("role {}", self.role)]
    }

    /// Ends the service's connections.
    async fn disconnect(&self) {
        self.run(
            "select pg_terminate_backend(pid) from pg_stat_activity \
             where datname = current_database() and application_name = 'latchkey'"
                .to_owned(),
        )
        .await;
    }

    /// How many statements of services wait for a lock, but for those that keep the tables small.
    async fn waiting(&self) -> i64 {
        let sql = "select count(*) from pg_stat_activity where datname = current_database() \
             and application_name = 'latchkey' and wait_event_type = 'Lock' \
             and query not like '%delete from events%'";
        sqlx::query_scalar(sql).fetch_one(&self.admin).await.expect("it can be asked")
    }

    /// A login with the old password is in the middle when the password is changed: it must not
    /// survive that.
    async fn assert_a_login_in_flight_does_not_survive(&self, auth: &Service, name: &str) {
        let own = auth.newcomer(name).await;
        // In one process the two would take turns before they reach the database.
        let mut replica = Service::auth(&self.url, &[]);
        replica.start().await;
        let mut slow = self.admin.begin().await.expect("a lock can be taken");
        slow.execute("lock table public.events in exclusive mode").await.expect("it is free");
        let credentials = json!({"username": name, "password": PASSWORD});
        let change = json!({"current_password": PASSWORD,
            "new_password": "another phrase, all of it", "sessions": "others"});
        let changing = auth.http.post(format!("{}/password", replica.public));
        let changing = changing.bearer_auth(&own.access).json(&change);
        let (login, changed, ()) = tokio::join!(
            auth.post("/login", &credentials),
            async {
                until("the login waits", async || self.waiting().await == 1).await;
                Answer::to(changing).await
            },
            async {
                until("both wait", async || self.waiting().await == 2).await;
                slow.rollback().await.expect("the lock is given up");
            }
        );
        assert_eq!((login.status, changed.status), (200, 204), "{} {}", login.text, changed.text);
        let login = Tokens::of(&login);
        auth.refresh(&login.refresh).await.assert_problem(401, "session-revoked");
        assert_eq!(auth.refresh(&own.refresh).await.status, 200);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn defaults_of_the_database_or_the_role_change_nothing() {
    for holder in 0..2 {
        let scene = Scene::new().await;
        let mut auth = Service::auth(&scene.url, &[]);
        assert!(run("auth-service", &["migrate"], &auth.settings).status.success());
        scene.run(DECOYS.to_owned()).await;
        scene.run(format!("alter schema decoys owner to {}", scene.role)).await;
        for (name, value) in OTHERWISE {
            scene.run(format!("alter {} set {name} = {value}", scene.holders()[holder])).await;
        }
        // It migrates, by a connection without time limits, and serves.
        auth.start().await;
        let first = auth.newcomer("zoë-łukasz").await;
        let second = Tokens::of(&auth.refresh(&first.refresh).await);
        for path in ["/me", "/sessions", "/sessions/events"] {
            assert_eq!(auth.get_as(&second.access, path).await.status, 200, "{path}");
        }
        scene.assert_a_login_in_flight_does_not_survive(&auth, "ada").await;
        let output = run("auth-service", &["doctor"], &auth.settings);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
        auth.logout(&second.refresh).await;
        let ended = "select count(*) from public.revocations";
        until("it is told", async || auth.get_as(&second.access, "/me").await.status == 401).await;
        assert!(scene.database.number(ended).await >= 2);
        assert_eq!(scene.database.number("select count(*) from decoys.users").await, 0);
    }
}

/// What the service cannot set, or must not: each is refused by name at the start, and new
/// connections are while it runs. It serves again without being told to.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_set_otherwise_is_refused_for_as_long_as_it_is_so() {
    for (number, (setting, value, part)) in [
        ("session_replication_role", "replica", "session_replication_role is \"replica\""),
        ("default_transaction_read_only", "on", "is read-only"),
        ("synchronous_commit", "off", "logouts would be lost"),
    ]
    .into_iter()
    .enumerate()
    {
        let scene = Scene::new().await;
        let mut auth = Service::auth(&scene.url, &[]);
        auth.start().await;
        let tokens = auth.newcomer("ada").await;
        let holder = &scene.holders()[number % 2];
        scene.run(format!("alter {holder} set {setting} = '{value}'")).await;
        scene.disconnect().await;
        until("it says so", async || auth.get("/health/ready").await.status == 503).await;
        auth.refresh(&tokens.refresh).await.assert_problem(503, "unavailable");
        for arguments in [&["migrate"][..], &["user", "list"]] {
            let output = run("auth-service", arguments, &auth.settings);
            assert_one_clear_line(&output, "auth-service", &["cannot be used", part]);
        }
        scene.run(format!("alter {holder} reset {setting}")).await;
        until("it serves", async || auth.refresh(&tokens.refresh).await.status == 200).await;
        until("it says so", async || auth.get("/health/ready").await.status == 200).await;
    }
}

/// An encoding is for ever. LATIN1 and WIN1252 have no ł, and `SQL_ASCII` takes it for two of something.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_cannot_hold_every_name_is_refused_at_the_start() {
    for encoding in ["LATIN1", "WIN1252", "SQL_ASCII"] {
        let database = Database::encoded(encoding).await;
        let settings = Service::auth(&database.url, &[]).settings;
        for arguments in [&["serve"][..], &["migrate"], &["user", "list"]] {
            let output = run("auth-service", arguments, &settings);
            let parts = ["cannot be used", encoding, "encoding 'UTF8'", "pg_dump"];
            assert_one_clear_line(&output, "auth-service", &parts);
        }
        let doctor = run("auth-service", &["doctor"], &settings);
        let told = String::from_utf8_lossy(&doctor.stdout);
        assert!(!doctor.status.success() && told.contains("BAD   database"), "{told}");
        assert!(told.contains(&format!("its encoding is {encoding}")), "{told}");
    }
}

/// The tables stay where they were found, wherever a later default leads.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_tables_stay_where_they_were_found() {
    let scene = Scene::new().await;
    scene.run("create schema \"the keep\"".to_owned()).await;
    scene.run(format!("alter schema \"the keep\" owner to {}", scene.role)).await;
    scene.run(format!("alter role {} set search_path = \"the keep\", public", scene.role)).await;
    let mut auth = Service::auth(&scene.url, &[]);
    auth.start().await;
    let tokens = auth.newcomer("ada").await;
    scene.run(format!("alter role {} set search_path = public", scene.role)).await;
    scene.disconnect().await;
    until("it serves", async || auth.refresh(&tokens.refresh).await.status == 200).await;
    assert_eq!(scene.database.number("select count(*) from \"the keep\".users").await, 1);
    scene.run(format!("alter role {} set search_path = nowhere", scene.role)).await;
    let output = run("auth-service", &["migrate"], &auth.settings);
    assert_one_clear_line(&output, "auth-service", &["search_path names no schema"]);
}
