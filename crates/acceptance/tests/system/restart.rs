//! Processes that are killed, stopped, and started with settings that cannot work.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::{Duration, Instant};

use claims::RefreshTokenShape;
use futures_util::future::join_all;
use serde_json::json;
use sqlx::Connection as _;
use testbed::database::{Database, Kind};
use testbed::world::auth_settings;
use testbed::{Answer, PASSWORD, Tokens};
use uuid::Uuid;

use testbed::on_each_empty_database;
use testbed::service::{
    Service, Settings, assert_one_clear_line, lasting_address, owned, run, until,
};

fn generation(token: &str) -> u32 {
    RefreshTokenShape::parse(token).expect("a refresh token").generation
}

/// Some time below `bound`.
fn random_time(bound: Duration) -> Duration {
    bound.mul_f64(f64::from(Uuid::new_v4().as_bytes()[0]) / 256.0)
}

/// What a client does when it gets no answer: it tries again with the same token.
async fn refresh_until_answered(auth: &Service, token: &str) -> Answer {
    let body = json!({ "refresh_token": token });
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        match auth.try_post("/refresh", &body).await {
            Some(answer) if answer.status != 503 => return answer,
            _ => assert!(Instant::now() < deadline, "no answer in time"),
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

on_each_empty_database! {
    /// Promise "durable": what was acknowledged survives, and what was spent stays spent.
    async fn nothing_acknowledged_is_lost_when_the_process_is_killed(database) {
        // Every refresh rotates, so that several generations are there in no time.
        let mut auth = Service::auth(&database.url, &[("AUTH__TOKENS__GRACE_SECONDS", "0")]);
        auth.start().await;
        let ada = auth.newcomer("ada").await;
        let bob = Tokens::of(&auth.refresh(&auth.newcomer("bob").await.refresh).await);
        let eve = auth.newcomer("eve").await;
        let old = auth.newcomer("old").await;
        let older = Tokens::of(&auth.refresh(&old.refresh).await);
        let newest = Tokens::of(&auth.refresh(&older.refresh).await);
        let sam = auth.newcomer("sam").await;
        let body = json!({"current_password": PASSWORD, "new_password": "another ordinary sentence"});
        let request = auth.http.post(format!("{}/password", auth.public)).bearer_auth(&sam.access);
        assert_eq!(Answer::to(request.json(&body)).await.status, 204);
        auth.logout(&eve.refresh).await;
        auth.kill();
        auth.start().await;

        let mut resource = Service::resource(&auth, &[]);
        resource.start().await;
        for access in [&ada.access, &bob.access, &newest.access] {
            assert_eq!(resource.whoami(access).await.status, 200, "the keys are the same");
        }
        resource.whoami(&eve.access).await.assert_problem(401, "invalid-token");
        let answer = auth.refresh(&eve.refresh).await;
        answer.assert_problem(401, "session-revoked");
        assert_eq!(answer.json()["reason"], "logout");

        let login = |password: &str| {
            let body = json!({"username": "sam", "password": password});
            let request = auth.http.post(format!("{}/login", auth.public)).json(&body);
            Answer::to(request)
        };
        login(PASSWORD).await.assert_problem(401, "invalid-credentials");
        assert_eq!(login("another ordinary sentence").await.status, 200);

        let next = Tokens::of(&auth.refresh(&ada.refresh).await);
        assert_eq!((generation(&next.refresh), &next.session), (2, &ada.session));
        assert_eq!(generation(&Tokens::of(&auth.refresh(&bob.refresh).await).refresh), 3);

        auth.refresh(&old.refresh).await.assert_problem(401, "token-reused");
        auth.kill();
        auth.start().await;
        let answer = auth.refresh(&newest.refresh).await;
        answer.assert_problem(401, "session-revoked");
        assert_eq!(answer.json()["reason"], "reuse");
        until("the end of the session is seen", async || {
            resource.whoami(&newest.access).await.status == 401
        })
        .await;
        assert_eq!(auth.login("ada").await.json["scope"], ada.json["scope"], "users are there too");
    }

    /// Promises "linear" and "retry-safe": whatever the moment of death.
    async fn clients_that_retry_never_notice_that_the_process_was_killed(database) {
        const CLIENTS: usize = 4;
        const ROUNDS: u32 = 20;
        let mut auth = Service::auth(&database.url, &[]);
        auth.start().await;
        let names: Vec<_> = (0..CLIENTS).map(|number| format!("user-{number}")).collect();
        let users = join_all(names.iter().map(|name| auth.newcomer(name))).await;
        let mut tokens: Vec<String> = users.into_iter().map(|user| user.refresh).collect();
        for round in 1..=ROUNDS {
            let acknowledged = {
                let killed = tokio::time::sleep(random_time(Duration::from_millis(15)));
                let before = join_all(tokens.iter().map(|token| {
                    let body = json!({ "refresh_token": token });
                    let auth = &auth;
                    async move { auth.try_post("/refresh", &body).await }
                }));
                tokio::select! {
                    answers = before => answers,
                    () = killed => Vec::new(),
                }
            };
            auth.kill();
            auth.spawn();
            let tabs = tokens.iter().flat_map(|token| [token, token]);
            let answers = join_all(tabs.map(|token| refresh_until_answered(&auth, token))).await;
            let after: Vec<_> = answers.iter().map(|answer| Tokens::of(answer).refresh).collect();
            for (client, pair) in after.chunks(2).enumerate() {
                assert_eq!(pair[0], pair[1], "one lineage");
                assert_eq!(generation(&pair[0]), round + 1, "one step a round");
                if let Some(Some(answer)) = acknowledged.get(client) {
                    assert_eq!(Tokens::of(answer).refresh, pair[0], "acknowledged, so it holds");
                }
                tokens[client].clone_from(&pair[0]);
            }
            // The window passes, so that the next round rotates.
            database.execute("update sessions set rotated_at = rotated_at - 31000").await;
        }
        let sql = "select count(*) from sessions where generation = 21 and revoked_at is null";
        assert_eq!(database.number(sql).await, 4);
        assert_eq!(database.number("select count(*) from sessions").await, 4);
        assert_eq!(database.number("select count(*) from revocations").await, 0);
    }

    async fn a_service_that_is_told_to_stop_stops_gently(database) {
        let mut auth = Service::auth(&database.url, &[("AUTH__HTTP__DRAIN_SECONDS", "1")]);
        auth.start().await;
        auth.register("ada").await;
        let feed = format!("{}/internal/revocations", auth.internal);
        let cursor = Answer::to(auth.http.get(&feed)).await.member("cursor");
        let waiting = auth.http.get(format!("{feed}?cursor={cursor}&wait=20000"));
        let waiting = tokio::spawn(Answer::to(waiting));

        let lock = Lock::on_users(&database).await;
        let body = json!({"username": "ada", "password": PASSWORD});
        let login = auth.http.post(format!("{}/login", auth.public)).json(&body);
        let login = tokio::spawn(Answer::to(login));

        auth.terminate();
        let told = Instant::now();
        let answer = waiting.await.expect("no panic");
        assert!(told.elapsed() < Duration::from_secs(3), "{:?}", told.elapsed());
        assert_eq!((answer.status, &answer.json()["entries"]), (200, &json!([])));
        until("it takes no more connections", async || {
            auth.http.get(format!("{}/health/live", auth.public)).send().await.is_err()
        })
        .await;
        assert!(!login.is_finished(), "the login is still in flight");
        lock.release().await;
        let login = login.await.expect("no panic");
        assert!(auth.ended().await, "the exit code is 0");
        assert!(told.elapsed() < Duration::from_secs(6), "{:?}", told.elapsed());

        let tokens = Tokens::of(&login);
        auth.start().await;
        assert_eq!(generation(&Tokens::of(&auth.refresh(&tokens.refresh).await).refresh), 2);
    }

    async fn a_service_that_is_told_to_stop_says_so_and_serves_on_for_a_while(database) {
        let mut auth = Service::auth(&database.url, &[("AUTH__HTTP__DRAIN_SECONDS", "30")]);
        auth.start().await;
        let tokens = auth.newcomer("ada").await;
        auth.terminate();
        until("it is no longer ready", async || {
            auth.get("/health/ready").await.status == 503
        })
        .await;
        let ready = auth.get("/health/ready").await;
        assert_eq!((ready.status, ready.json()), (503, json!({"status": "stopping"})));
        assert_eq!(auth.get("/health/live").await.status, 200);
        assert_eq!(auth.get_as(&tokens.access, "/me").await.status, 200, "still served");
        auth.kill();
    }

    async fn the_feed_does_not_hold_up_a_stop(database) {
        let mut auth = Service::auth(&database.url, &[]);
        auth.start().await;
        let feed = format!("{}/internal/revocations", auth.internal);
        let cursor = Answer::to(auth.http.get(&feed)).await.member("cursor");
        let address = auth.internal.trim_start_matches("http://");
        let ask = || {
            let mut connection = TcpStream::connect(address).expect("it listens");
            let patience = Some(Duration::from_secs(10));
            connection.set_read_timeout(patience).expect("a time-out can be set");
            let path = format!("/internal/revocations?cursor={cursor}&wait=20000");
            write!(connection, "GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
                .expect("it can be asked");
            connection
        };
        let waiting: Vec<_> = (0..8).map(|_| ask()).collect();
        // Whoever comes last is served last: the others are waiting by then.
        auth.metrics().await;
        auth.terminate();
        let told = Instant::now();
        for mut connection in waiting {
            let mut answer = String::new();
            connection.read_to_string(&mut answer).expect("an answer");
            assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
            // Whole, and with nothing new. The cursor may have moved on: any write moves the horizon.
            assert!(answer.contains("\"entries\":[]"), "{answer}");
            assert!(answer.contains("\"reset\":false"), "{answer}");
        }
        assert!(auth.ended().await, "the exit code is 0");
        assert!(told.elapsed() < Duration::from_secs(3), "{:?}", told.elapsed());
    }

    async fn another_master_key_does_not_open_the_database(database) {
        let settings = settings(&database.url, &[]);
        assert!(run("auth-service", &["migrate"], &settings).status.success());
        let mut auth = Service::auth(&database.url, &[]);
        auth.start().await;
        auth.kill();
        let other = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
        let settings = self::settings(&database.url, &[("AUTH__KEYS__MASTER_KEY", other)]);
        let output = run("auth-service", &[], &settings);
        assert_one_clear_line(&output, "auth-service", &["keys.master_key"]);
        assert!(!String::from_utf8_lossy(&output.stderr).contains(other));
        auth.start().await;
    }

    async fn a_database_without_the_schema_is_migrated_by_command(database) {
        let settings = settings(&database.url, &[("AUTH__DATABASE__MIGRATE_ON_START", "false")]);
        let output = run("auth-service", &[], &settings);
        let parts = ["schema", "run `auth-service migrate`"];
        assert_one_clear_line(&output, "auth-service", &parts);
        for _ in 0..2 {
            let output = run("auth-service", &["migrate"], &settings);
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        }
        assert_eq!(database.number("select count(*) from users").await, 0);
        let not_migrating = [("AUTH__DATABASE__MIGRATE_ON_START", "false")];
        let mut auth = Service::auth(&database.url, &not_migrating);
        auth.start().await;
        auth.newcomer("ada").await;
    }

    async fn the_health_check_tells_whether_the_service_is_ready(database) {
        let mut auth = Service::auth(&database.url, &[]);
        let output = run("auth-service", &["healthcheck"], &auth.settings);
        assert_one_clear_line(&output, "auth-service", &["does not answer"]);
        let mut resource = Service::resource(&auth, &[]);
        resource.spawn();
        let live = format!("{}/health/live", resource.public);
        testbed::process::ready(&resource.http, &live).await;
        let output = run("resource-service", &["healthcheck"], &resource.settings);
        assert_one_clear_line(&output, "resource-service", &["answers 503"]);
        auth.start().await;
        resource.ready().await;
        for service in [("auth-service", &auth), ("resource-service", &resource)] {
            let output = run(service.0, &["healthcheck"], &service.1.settings);
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
            assert_eq!((output.stdout, output.stderr), (vec![], vec![]), "and says nothing");
        }
        resource.terminate();
        assert!(resource.ended().await, "the exit code is 0");
    }
}

/// Holds up whoever opens a session.
pub(crate) enum Lock {
    Postgres(sqlx::PgConnection),
    Sqlite(sqlx::SqliteConnection),
}

impl Lock {
    pub(crate) async fn on_users(database: &Database) -> Self {
        match database.kind() {
            Kind::Postgres => {
                let connection = sqlx::PgConnection::connect(&database.url).await;
                let mut connection = connection.expect("the database answers");
                let sql = "begin; select 1 from users for update";
                sqlx::raw_sql(sql).execute(&mut connection).await.expect("the lock is free");
                Self::Postgres(connection)
            }
            Kind::Sqlite => {
                let connection = sqlx::SqliteConnection::connect(&database.url).await;
                let mut connection = connection.expect("the database opens");
                let sql = "pragma busy_timeout = 5000; begin immediate";
                sqlx::raw_sql(sql).execute(&mut connection).await.expect("the lock is free");
                Self::Sqlite(connection)
            }
        }
    }

    pub(crate) async fn release(self) {
        match self {
            Self::Postgres(connection) => connection.close().await.expect("it closes"),
            Self::Sqlite(connection) => connection.close().await.expect("it closes"),
        }
    }
}

fn settings(database_url: &str, others: &[(&str, &str)]) -> Settings {
    auth_settings(database_url, &owned(others)).collect()
}

/// Settings, and what is said of them.
type Case<'a> = (&'a [(&'a str, &'a str)], &'a [&'a str]);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn settings_that_cannot_work_are_refused_in_one_clear_line() {
    let database = Database::create(Kind::Sqlite).await;
    let url = database.url.as_str();
    let held = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let taken = held.local_addr().expect("an address").to_string();
    let elsewhere = ("AUTH__ISSUER", "https://auth.example.com");
    let unreachable = format!("postgres://nobody@{}/none", lasting_address());
    let below_a_file = format!("sqlite:{}/latchkey.db", file!());
    let strong = [("AUTH__PASSWORDS__MEMORY_KIB", "19456"), ("AUTH__PASSWORDS__ITERATIONS", "2")];
    let cases: [Case; 15] = [
        (&[("AUTH__HTTP__LISTEN", &taken)], &["http.listen", &taken, "in use"]),
        (&[("AUTH__HTTP__INTERNAL_LISTEN", &taken)], &["http.internal_listen", &taken]),
        (&[("AUTH__DATABASE__URL", &unreachable)], &["database.url", "refused"]),
        (&[("AUTH__DATABASE__URL", &below_a_file)], &["database.url"]),
        (&[("AUTH__DATABASE__URL", "")], &["database.url"]),
        (&[("AUTH__ISSUER", "http://auth.example.com")], &["issuer", "https"]),
        (&[elsewhere, strong[0], strong[1]], &["feed.secret"]),
        (&[elsewhere], &["passwords.memory_kib"]),
        (&[("AUTH__KEYS__MASTER_KEY", "c2hvcnQ=")], &["keys.master_key", "32 bytes"]),
        (&[("AUTH__REDIS__URL", "127.0.0.1:6379")], &["redis.url", "redis://"]),
        (
            &[("AUTH__REDIS__URL", "redis://redis.example.com")],
            &["redis.url", "rediss://", "disable"],
        ),
        (&[("AUTH__REDIS__TLS", "prefer")], &["redis.tls", "verify-full"]),
        (&[("AUTH__DATABASE__TLS", "allow")], &["database.tls", "verify-full"]),
        (
            &[("AUTH__DATABASE__URL", "postgres://db.example.com/latchkey")],
            &["database.url", "database.tls", "verify-full", "disable"],
        ),
        (&[("AUTH__NO__SUCH", "1")], &["no"]),
    ];
    for (changed, parts) in cases {
        let output = run("auth-service", &[], &settings(url, changed));
        assert_one_clear_line(&output, "auth-service", parts);
    }
    let cases: [Case; 4] = [
        (&[("RESOURCE__HTTP__LISTEN", &taken)], &["http.listen", &taken, "in use"]),
        (&[("RESOURCE__FEED__URLS", ",")], &["feed.urls"]),
        (
            &[("RESOURCE__REVOCATION__MAX_STALENESS_SECONDS", "1")],
            &["revocation.max_staleness_seconds"],
        ),
        (&[("RESOURCE__HTTP__WORKERS", "many")], &["http.workers"]),
    ];
    for (changed, parts) in cases {
        let mut settings = owned(&[("RESOURCE__HTTP__INTERNAL_LISTEN", "127.0.0.1:0")]);
        settings.extend(owned(changed));
        assert_one_clear_line(&run("resource-service", &[], &settings), "resource-service", parts);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_forgets_acknowledged_commits_is_refused() {
    let database = Database::create(Kind::Postgres).await;
    let sql = "do $$ begin execute format('alter database %I set synchronous_commit = off', \
        current_database()); end $$";
    database.execute(sql).await;
    let output = run("auth-service", &[], &settings(&database.url, &[]));
    assert_one_clear_line(&output, "auth-service", &["synchronous_commit", "set it to on"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replicas_that_start_together_share_one_signing_key_and_one_refresh_key() {
    let database = Database::create(Kind::Postgres).await;
    // Every refresh rotates.
    let strict = [("AUTH__TOKENS__GRACE_SECONDS", "0")];
    let mut replicas: Vec<_> = (0..2).map(|_| Service::auth(&database.url, &strict)).collect();
    replicas.iter_mut().for_each(Service::spawn);
    join_all(replicas.iter().map(Service::ready)).await;
    let (one, other) = (&replicas[0], &replicas[1]);

    let by_purpose = "select count(*) from keys where purpose = 'sign'";
    assert_eq!(database.number(by_purpose).await, 1);
    assert_eq!(database.number("select count(*) from keys").await, 2);
    let keys = join_all([one, other].map(|auth| auth.get("/.well-known/jwks.json"))).await;
    assert_eq!((keys[0].status, keys[0].json()), (200, keys[1].json()));

    let mut resource = Service::resource(one, &[]);
    resource.start().await;
    let first = one.newcomer("ada").await;
    let second = Tokens::of(&other.refresh(&first.refresh).await);
    let third = Tokens::of(&one.refresh(&second.refresh).await);
    assert_eq!(generation(&third.refresh), 3);
    for access in [&first.access, &second.access, &third.access] {
        assert_eq!(resource.whoami(access).await.status, 200);
        assert_eq!(other.get_as(access, "/me").await.status, 200);
    }
    other.logout(&third.refresh).await;
    until("the logout at one replica is seen by followers of the other", async || {
        resource.whoami(&third.access).await.status == 401
    })
    .await;
    one.refresh(&third.refresh).await.assert_problem(401, "session-revoked");
}

#[test]
fn the_secrets_of_a_deployment_are_written_once_and_for_their_owner_only() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let secrets = directory.path().join("run").join("secrets");
    let path = secrets.to_str().expect("text");
    let output = run("auth-service", &["secrets", path], &[]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let names = [
        "auth/database_url",
        "auth/master_key",
        "feed/feed_secret",
        "postgres/postgres_password",
        "auth/redis_url",
        "redis/users.acl",
        "redis/reader_url",
    ];
    let read = || {
        names.map(|name| {
            let file = secrets.join(name);
            let mode = |path: &Path| fs::metadata(path).map(|it| it.permissions().mode() & 0o777);
            assert_eq!(mode(&file).expect("it is there"), 0o400, "{name}");
            assert_eq!(mode(file.parent().expect("a parent")).expect("it is there"), 0o700);
            fs::read_to_string(file).expect("readable")
        })
    };
    let first = read();
    let [url, master_key, feed_secret, password, redis_url, users, reader_url] = &first;
    for url in [redis_url, reader_url] {
        let password = url.split([':', '@']).nth(2).expect("a password");
        assert!(password.len() >= 32 && !users.contains(password), "its hash alone");
    }
    assert!(url.contains(&format!(":{password}@")), "made of it");
    for secret in [master_key, feed_secret, password] {
        assert!(secret.len() >= 32 && first.iter().filter(|one| *one == secret).count() == 1);
    }

    assert!(run("auth-service", &["secrets", path], &[]).status.success());
    assert_eq!(read(), first, "a second run keeps them");
    fs::remove_file(secrets.join("feed/feed_secret")).expect("it can be removed");
    assert!(run("auth-service", &["secrets", path], &[]).status.success());
    let made = read();
    assert_ne!(made[2], first[2], "what is missing is made");
    assert_eq!((&made[..2], &made[3..]), (&first[..2], &first[3..]));

    fs::remove_file(secrets.join("auth/redis_url")).expect("it can be removed");
    fs::remove_file(secrets.join("redis/users.acl")).expect("it can be removed");
    fs::write(secrets.join("auth/redis_url"), "redis://elsewhere").expect("it can be written");
    assert!(run("auth-service", &["secrets", path], &[]).status.success());
    assert!(!secrets.join("redis/users.acl").exists(), "a Redis of one's own has its own users");

    let below_a_file = format!("{path}/auth/master_key/x");
    let output = run("auth-service", &["secrets", &below_a_file], &[]);
    assert_one_clear_line(&output, "auth-service", &["cannot write"]);
}

#[test]
fn the_programs_explain_themselves() {
    for program in ["auth-service", "resource-service", "latchkey"] {
        let output = run(program, &["--help"], &[]);
        assert!(output.status.success());
        assert!(String::from_utf8_lossy(&output.stdout).contains("Usage:"), "{program}");
        let output = run(program, &["--version"], &[]);
        assert!(String::from_utf8_lossy(&output.stdout).starts_with(program));
        assert!(!run(program, &["--no-such"], &[]).status.success());
    }
}
