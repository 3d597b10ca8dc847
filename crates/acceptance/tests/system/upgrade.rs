//! A database of the first version, with people in it, and the program of today.

use std::process::Output;

use auth_service::Config;
use auth_service::passwords::{HashingPurpose, Passwords};
use auth_service::store::{KeyPurpose, NewKey};
use auth_service::tokens::keyring::place;
use auth_service::tokens::rotation::new_key;
use auth_service::tokens::seal::MasterKeys;
use auth_service::tokens::{RefreshKeys, RefreshToken};
use claims::{Algorithm, Transport};
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::json;
use sqlx::migrate::{Migration, MigrationType, Migrator};
use sqlx::{Executor as _, SqlSafeStr as _};
use testbed::service::{run, until};
use testbed::world::{ISSUER, auth_settings};
use testbed::{Database, Kind, PASSWORD, Service, Tokens, on_each_empty_database};
use tokio::task::JoinHandle;
use uuid::Uuid;

/// Every world's master key.
const MASTER: [u8; 32] = [42; 32];

fn first_version(kind: Kind) -> Migrator {
    let sql = match kind {
        Kind::Postgres => include_str!("../../../../migrations/postgres/0001_start.sql"),
        Kind::Sqlite => include_str!("../../../../migrations/sqlite/0001_start.sql"),
    };
    let simple = MigrationType::Simple;
    let first = Migration::new(1, "start".into(), simple, sql.into_sql_str(), false);
    Migrator::with_migrations(vec![first])
}

/// As the first version left them: an algorithm was changed once, so two keys were active.
struct Old {
    keys: Vec<NewKey>,
    user: Uuid,
    session: String,
    hash: String,
    /// What the user's client holds.
    refresh_token: SecretString,
}

impl Old {
    async fn made(config: &Config) -> Self {
        let masters = MasterKeys::new(&MASTER, None);
        let key = |purpose, algorithm| new_key(&masters, purpose, algorithm);
        let keys = vec![
            key(KeyPurpose::Sign, Algorithm::EdDsa),
            key(KeyPurpose::Sign, Algorithm::Es256),
            key(KeyPurpose::Refresh, Algorithm::Es256),
        ];
        let secret = masters.open(&place(&keys[2].id), &keys[2].sealed).expect("it opens");
        let token = RefreshToken::first();
        let client = config.tokens.client_id.clone();
        let ring = RefreshKeys::new(&secret, &[] as &[[u8; 32]]);
        let passwords = Passwords::new(&config.passwords).expect("passwords can be hashed");
        let place = passwords.enter(HashingPurpose::Login).expect("there is a place");
        let hash = place.hash(&SecretString::from(PASSWORD)).await.expect("it is hashed");
        Self {
            keys,
            user: Uuid::now_v7(),
            session: token.session_id().to_string(),
            hash,
            refresh_token: ring.write(&token, &client, Transport::Body),
        }
    }
}

/// The statements are the same on both; only how a user's id is written differs.
macro_rules! fill {
    ($pool:expr, $old:expr, $user:expr) => {{
        let (pool, old) = ($pool, $old);
        for (number, key) in old.keys.iter().enumerate() {
            sqlx::query(
                "insert into keys (id, purpose, algorithm, state, sealed, created_at) \
                 values ($1, $2, $3, 'active', $4, $5)",
            )
            .bind(key.id.as_str())
            .bind(key.purpose().as_str())
            .bind(key.algorithm_name())
            .bind(&key.sealed)
            .bind(i64::try_from(number).expect("small"))
            .execute(pool)
            .await
            .expect("a key of old");
        }
        sqlx::query(
            "insert into users (id, username, username_key, password_hash, created_at) \
             values ($1, 'Ada', 'ada', $2, 1)",
        )
        .bind($user)
        .bind(&old.hash)
        .execute(pool)
        .await
        .expect("a user of old");
        sqlx::query(
            "insert into sessions (id, user_id, client_id, scope, subject_version, \
                idle_expires_at, expires_at, auth_time, amr, created_at) \
             values ($1, $2, 'latchkey', 'profile reports:read', 1, $3, $3, $4, 'pwd', $4)",
        )
        .bind(&old.session)
        .bind($user)
        .bind(9_999_999_999_999_i64)
        // Yesterday: the limits of today count for it too.
        .bind(verifier::Clock::default().now().0 - 86_400_000)
        .execute(pool)
        .await
        .expect("a session of old");
    }};
}

async fn fill(database: &Database, old: &Old) {
    match database.kind() {
        Kind::Postgres => {
            let pool = database.postgres().await;
            first_version(Kind::Postgres).run(&pool).await.expect("the first schema");
            fill!(&pool, old, old.user);
            pool.close().await;
        }
        Kind::Sqlite => {
            let options: sqlx::sqlite::SqliteConnectOptions = database.url.parse().expect("a URL");
            let options = options.create_if_missing(true);
            let pool = sqlx::SqlitePool::connect_with(options).await.expect("it opens");
            first_version(Kind::Sqlite).run(&pool).await.expect("the first schema");
            fill!(&pool, old, old.user.to_string());
            pool.close().await;
        }
    }
}

on_each_empty_database! {
    async fn whoever_was_signed_in_before_an_upgrade_is_signed_in_after_it(database) {
        let config = Config::load(None, auth_settings(&database.url, &[])).expect("good settings");
        let old = Old::made(&config).await;
        fill(&database, &old).await;

        // Without being told to migrate, the program says what to do.
        let settings = [("AUTH__DATABASE__MIGRATE_ON_START", "false")];
        let mut service = Service::auth(&database.url, &settings);
        let refused = run("auth-service", &[], &service.settings);
        let said = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert!(!refused.status.success() && said.contains("auth-service migrate"), "{said}");
        assert!(run("auth-service", &["migrate"], &service.settings).status.success());
        service.start().await;

        let tokens = Tokens::of(&service.refresh(old.refresh_token.expose_secret()).await);
        assert_eq!(tokens.session, old.session);
        let me = service.get_as(&tokens.access, "/me").await.json();
        assert_eq!(me["id"], json!(old.user.to_string()), "{ISSUER}");
        service.login("ada").await;
        // The newer of the two keys signs on; the older one still checks what it signed.
        let set = service.get("/.well-known/jwks.json").await.json();
        assert_eq!(set["keys"].as_array().expect("keys").len(), 2);
        let active = "select count(*) from keys where state = 'active'";
        assert_eq!(database.number(active).await, 2);
        assert!(service.refresh(&tokens.refresh).await.status == 200);
    }
}

/// An index on a table in use. Built in the migration itself it would hold up every writer, for as long as
/// the oldest of them takes and then for as long as the build does.
#[tokio::test(flavor = "multi_thread")]
async fn writers_go_on_while_a_migration_builds_an_index() {
    let database = of_the_first_version(Kind::Postgres).await;
    let pool = database.postgres().await;
    let mut writer = pool.begin().await.expect("a writer");
    writer.execute("update sessions set device = 'x'").await.expect("it writes");
    let migrating = migration(&database);
    let building = "select count(*) from pg_stat_activity where datname = current_database() \
        and query like 'create index concurrently%' and wait_event_type = 'Lock'";
    until("the index is being built", async || database.number(building).await == 1).await;
    let mut other = pool.acquire().await.expect("a connection");
    other.execute("set lock_timeout = '2s'").await.expect("a setting");
    other.execute(ANOTHER_SESSION).await.expect("it does not wait");
    writer.rollback().await.expect("the writer ends");
    assert!(migrating.await.expect("it runs").status.success());
    assert_eq!(database.number(GOOD_INDEX).await, 1);
    other.close().await.expect("it closes");
    pool.close().await;
}

/// A dump reads every table for as long as it takes. A migration that waits for it must not keep everybody
/// else waiting behind itself.
#[tokio::test(flavor = "multi_thread")]
async fn nobody_waits_behind_a_migration_that_waits_for_a_reader() {
    let database = of_the_first_version(Kind::Postgres).await;
    let pool = database.postgres().await;
    let mut reader = pool.begin().await.expect("a reader");
    reader.execute("select from users").await.expect("it reads");
    let migrating = migration(&database);
    let waiting = "select count(*) from pg_stat_activity where datname = current_database() \
        and wait_event_type = 'Lock' and wait_event = 'relation'";
    let mut other = pool.acquire().await.expect("a connection");
    other.execute("set lock_timeout = '3s'").await.expect("a setting");
    for _ in 0..2 {
        until("the migration waits for the reader", async || database.number(waiting).await == 1)
            .await;
        other.execute("select from users").await.expect("it does not wait for the reader");
    }
    reader.rollback().await.expect("the reader ends");
    assert!(migrating.await.expect("it runs").status.success());
    other.close().await.expect("it closes");
    pool.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_index_that_was_left_unfinished_is_built_anew() {
    let database = of_the_first_version(Kind::Postgres).await;
    let pool = database.postgres().await;
    pool.execute(ANOTHER_SESSION).await.expect("a second session");
    let interrupted = "create unique index concurrently sessions_live on sessions (user_id)";
    pool.execute(interrupted).await.expect_err("there are two of one user");
    let left = "select count(*) from pg_index where indexrelid = to_regclass('sessions_live')";
    assert_eq!(database.number(left).await, 1, "what was built so far is left behind");
    assert_eq!(database.number(GOOD_INDEX).await, 0);
    assert!(migration(&database).await.expect("it runs").status.success());
    assert_eq!(database.number(GOOD_INDEX).await, 1);
    pool.close().await;
}

/// Whoever waits must not be waited for.
#[tokio::test(flavor = "multi_thread")]
async fn replicas_that_start_at_once_on_an_older_schema_all_serve() {
    let database = of_the_first_version(Kind::Postgres).await;
    let mut replicas = [(); 4].map(|()| Service::auth(&database.url, &[]));
    for replica in &mut replicas {
        replica.spawn();
    }
    for replica in &replicas {
        replica.ready().await;
    }
    assert_eq!(database.number(GOOD_INDEX).await, 1);
}

/// With an index that is finished, and as it should be.
const GOOD_INDEX: &str = "select count(*) from pg_index \
    where indexrelid = to_regclass('sessions_live') and indisvalid and not indisunique";

const ANOTHER_SESSION: &str = "insert into sessions (id, user_id, client_id, scope, \
    subject_version, idle_expires_at, expires_at, auth_time, amr, created_at) \
    select 'AAAAAAAAAAAAAAAAAAAAAA', user_id, client_id, scope, subject_version, \
        idle_expires_at, expires_at, auth_time, amr, created_at from sessions limit 1";

pub(crate) async fn of_the_first_version(kind: Kind) -> Database {
    let database = Database::create(kind).await;
    let config = Config::load(None, auth_settings(&database.url, &[])).expect("good settings");
    fill(&database, &Old::made(&config).await).await;
    database
}

/// `auth-service migrate`, to its end.
pub(crate) fn migration(database: &Database) -> JoinHandle<Output> {
    let settings = Service::auth(&database.url, &[]).settings;
    tokio::task::spawn_blocking(move || run("auth-service", &["migrate"], &settings))
}
