//! A pooler between the auth-service and Postgres: a real PgBouncer, of the version that is installed.

use serde_json::json;
use sqlx::Executor as _;
use testbed::process::{Process, command};
use testbed::service::{assert_one_clear_line, run, until};
use testbed::{Database, Kind, PASSWORD, Pooler, Service, Tokens};

const CACHE_OFF: (&str, &str) = ("AUTH__DATABASE__STATEMENT_CACHE", "false");
const WAITING: &str = "select count(*) from pg_stat_activity \
    where datname = current_database() and wait_event_type = 'Lock'";

async fn new_database() -> Database {
    Database::create(Kind::Postgres).await
}

/// A database whose migrations are applied.
async fn migrated_database() -> Database {
    let database = new_database().await;
    let settings = Service::auth(&database.url, &[]).settings;
    assert!(run("auth-service", &["migrate"], &settings).status.success());
    database
}

/// As PgBouncer of before 1.21 is, and any later one where nobody set it otherwise.
fn keeps_nothing() -> Vec<(&'static str, &'static str)> {
    if Pooler::can_keep_statements() { vec![("max_prepared_statements", "0")] } else { Vec::new() }
}

/// A life of a session, and the limits of the server, which ends what takes too long.
async fn assert_serves_completely(database: &Database, auth: &Service, name: &str) {
    let first = auth.newcomer(name).await;
    let second = Tokens::of(&auth.refresh(&first.refresh).await);
    for path in ["/me", "/sessions", "/sessions/events"] {
        assert_eq!(auth.get_as(&second.access, path).await.status, 200, "{path}");
    }
    // Of many at once each is done by a connection that another one used before.
    let logins = (0..8).map(|_| auth.login(name));
    let others = futures_util::future::join_all(logins).await;
    let refreshes = others.iter().map(|tokens| auth.refresh(&tokens.refresh));
    for answer in futures_util::future::join_all(refreshes).await {
        assert_eq!(answer.status, 200, "{}", answer.text);
    }
    auth.logout(&second.refresh).await;
    until("the feed tells", async || auth.get_as(&second.access, "/me").await.status == 401).await;

    let pool = database.postgres().await;
    let mut slow = pool.begin().await.expect("a transaction begins");
    slow.execute("lock table sessions in access exclusive mode").await.expect("it is free");
    auth.refresh(&others[0].refresh).await.assert_problem(503, "unavailable");
    until("the server gave up", async || database.number(WAITING).await == 0).await;
    slow.rollback().await.expect("the lock is given up");
    until("it serves", async || auth.get("/health/ready").await.status == 200).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn behind_a_pooler_by_session_it_migrates_and_serves_completely() {
    // As it comes it refuses settings at the start of a connection; it can be told to leave them out.
    for settings in [&[][..], &[("ignore_startup_parameters", "extra_float_digits, options")]] {
        let database = new_database().await;
        let pooler = Pooler::start(&database, "session", settings).await;
        let mut auth = Service::auth(&pooler.url(&database), &[]);
        auth.start().await;
        assert_serves_completely(&database, &auth, "ada").await;
        let doctor = run("auth-service", &["doctor"], &auth.settings);
        assert!(doctor.status.success(), "{}", String::from_utf8_lossy(&doctor.stdout));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pooler_by_transaction_that_keeps_no_statements_is_refused_in_a_sentence() {
    let ignoring = ("ignore_startup_parameters", "extra_float_digits, options");
    for more in [
        vec![],
        vec![ignoring],
        vec![("server_round_robin", "1")],
        vec![("default_pool_size", "1")],
    ] {
        let database = migrated_database().await;
        let settings = [keeps_nothing(), more].concat();
        let pooler = Pooler::start(&database, "transaction", &settings).await;
        let variables = Service::auth(&pooler.url(&database), &[]).settings;
        for arguments in [&["serve"][..], &["migrate"], &["user", "list"]] {
            let output = run("auth-service", arguments, &variables);
            let parts =
                ["pools by transaction", "pool_mode = session", "database.statement_cache", "1.21"];
            assert_one_clear_line(&output, "auth-service", &parts);
        }
        let doctor = run("auth-service", &["doctor"], &variables);
        let told = String::from_utf8_lossy(&doctor.stdout);
        assert!(!doctor.status.success() && told.contains("BAD   database"), "{told}");
        assert!(told.contains("pool_mode = session"), "{told}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pooler_by_statement_is_refused_in_a_sentence() {
    let database = migrated_database().await;
    let pooler = Pooler::start(&database, "statement", &[]).await;
    for settings in [&[][..], &[CACHE_OFF]] {
        let settings = Service::auth(&pooler.url(&database), settings).settings;
        let output = run("auth-service", &["serve"], &settings);
        let parts = ["pools by statement", "pool_mode = session"];
        assert_one_clear_line(&output, "auth-service", &parts);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn behind_a_pooler_by_transaction_it_serves_without_the_cache_of_statements() {
    for more in [&[][..], &[("server_round_robin", "1")]] {
        let database = migrated_database().await;
        let settings = [&keeps_nothing()[..], more].concat();
        let pooler = Pooler::start(&database, "transaction", &settings).await;
        let mut auth = Service::auth(&pooler.url(&database), &[CACHE_OFF]);
        // No start leaves anything behind that the next one waits for.
        for name in ["ada", "bob", "eve"] {
            auth.start().await;
            assert_serves_completely(&database, &auth, name).await;
            auth.kill();
        }
    }
}

/// From PgBouncer 1.21 on, which not every Debian has: to be run by hand where it is.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs PgBouncer 1.21"]
async fn behind_a_pooler_by_transaction_that_keeps_statements_it_serves() {
    assert!(Pooler::can_keep_statements(), "this PgBouncer is older than 1.21");
    let database = migrated_database().await;
    let settings = [("max_prepared_statements", "200")];
    let pooler = Pooler::start(&database, "transaction", &settings).await;
    let mut auth = Service::auth(&pooler.url(&database), &[]);
    for name in ["ada", "bob", "eve"] {
        auth.start().await;
        assert_serves_completely(&database, &auth, name).await;
        auth.kill();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_pooler_is_no_way_for_goes_by_the_direct_address() {
    let database = new_database().await;
    let pooler = Pooler::start(&database, "transaction", &keeps_nothing()).await;
    let by_pooler = pooler.url(&database);
    let refused = |direct: &str, parts: &[&str]| {
        let direct = [CACHE_OFF, ("AUTH__DATABASE__DIRECT_URL", direct)];
        let settings = Service::auth(&by_pooler, &direct).settings;
        assert_one_clear_line(&run("auth-service", &["migrate"], &settings), "auth-service", parts);
    };
    refused("", &["something to migrate", "database.direct_url"]);
    refused(&by_pooler, &["database.direct_url leads to a pooler by transaction"]);
    let other = new_database().await;
    refused(&other.url, &["database.direct_url leads to other tables"]);
    let none = "select count(*) from pg_tables where schemaname = 'public'";
    assert_eq!(database.number(none).await + other.number(none).await, 0);

    let direct = [CACHE_OFF, ("AUTH__DATABASE__DIRECT_URL", database.url.as_str())];
    let mut auth = Service::auth(&by_pooler, &direct);
    auth.start().await;
    assert_serves_completely(&database, &auth, "ada").await;
}

/// A pool that is too small, of the service or of a pooler.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_waits_for_a_connection_is_told_of_in_the_log() {
    let small = ("AUTH__DATABASE__MAX_CONNECTIONS", "2");
    let database = migrated_database().await;
    let auth = Service::auth(&database.url, &[small]);
    let (log, _process) = recorded(&auth);
    auth.ready().await;
    let tokens = auth.newcomer("ada").await;
    let pool = database.postgres().await;
    let mut slow = pool.begin().await.expect("a transaction begins");
    slow.execute("lock table sessions in access exclusive mode").await.expect("it is free");
    let lists = (0..3).map(|_| auth.get_as(&tokens.access, "/sessions"));
    futures_util::future::join_all(lists).await;
    slow.rollback().await.expect("the lock is given up");
    assert_eq!(told(&log, "main"), 1, "once, not for each who waits");

    // One for the reader, one for the rest, and none for logins.
    let pooler = Pooler::start(&database, "session", &[("default_pool_size", "2")]).await;
    let auth = Service::auth(&pooler.url(&database), &[small]);
    let (log, _process) = recorded(&auth);
    auth.ready().await;
    let body = json!({"username": "ada", "password": PASSWORD});
    auth.post("/login", &body).await.assert_problem(503, "unavailable");
    until("it is told", async || told(&log, "logins") == 1).await;
}

fn recorded(service: &Service) -> (tempfile::NamedTempFile, Process) {
    let log = tempfile::NamedTempFile::new().expect("a file");
    let mut command = command("auth-service", &[], &service.settings);
    let process = Process::recorded(command.env("RUST_LOG", "info"), log.path());
    (log, process)
}

fn told(log: &tempfile::NamedTempFile, pool: &str) -> usize {
    let text = std::fs::read_to_string(log.path()).expect("text");
    let is_it =
        |line: &&str| line.contains("was waited for longer than a second") && line.contains(pool);
    text.lines().filter(is_it).count()
}
