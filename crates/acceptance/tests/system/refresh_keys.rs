//! Refresh keys that are revoked: refused by every replica as soon as signing keys are, and no owner is
//! kept from ending a session whose token is of such a key.

use std::time::{Duration, Instant};

use auth_service::store::{KeyPurpose, KeyState, Store};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;
use sqlx::Executor as _;
use testbed::service::{Settings, run, until};
use testbed::{Answer, Browser, Database, Kind, Service, Tokens, World, on_both_databases};

async fn active(store: &Store, purpose: KeyPurpose) -> String {
    let read = store.keys().await.expect("the database answers");
    read.one(purpose, KeyState::Active).expect("an active key").id.to_string()
}

/// Runs the auth-service's command line.
fn command(settings: &Settings, arguments: &[&str]) -> String {
    let output = run("auth-service", arguments, settings);
    let err = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {err}");
    String::from_utf8(output.stdout).expect("text")
}

/// What `keys list` says of a key.
fn line_of(world: &World, key: &str) -> String {
    let listed = command(&world.auth_settings(), &["keys", "list"]);
    listed.lines().find(|line| line.starts_with(key)).expect("it is listed").to_owned()
}

/// Revokes the active refresh key, and waits until the service has another.
async fn revoke(world: &World) -> String {
    let key = active(&world.store, KeyPurpose::Refresh).await;
    let probe = world.login("ada").await;
    command(&world.auth_settings(), &["keys", "revoke", &key]);
    until("the service has another", async || world.refresh(&probe.refresh).await.status == 401)
        .await;
    key
}

/// Whether the session is over, as the database has it.
async fn is_over(world: &World, tokens: &Tokens) -> bool {
    let live =
        world.store.live_sessions(auth_service::identity::names::username("ada").unwrap()).await;
    live.unwrap().iter().all(|view| view.id.to_string() != tokens.session)
}

async fn sealed_and_revoked(world: &World) -> usize {
    let keys = world.store.keys().await.unwrap().keys;
    let kept = keys.iter().filter(|key| key.state == KeyState::Revoked && !key.sealed.is_empty());
    kept.count()
}

on_both_databases! {
    async fn a_token_of_a_revoked_refresh_key_ends_its_session_and_does_nothing_else(world) {
        world.set("AUTH__LIMITS__FORGED_BURST", "3");
        world.restart().await;
        world.register("ada").await;
        let (first, second) = (world.login("ada").await, world.login("ada").await);
        let mut browser = world.browser();
        let by_cookie = browser_login(&mut browser).await;
        let replaced = { let mut other = world.browser(); (browser_login(&mut other).await, other) };
        revoke(&world).await;
        assert_eq!(sealed_and_revoked(&world).await, 1);

        // It was made here: no guess, which would count against the network that it comes from.
        for _ in 0..10 {
            world.refresh(&first.refresh).await.assert_problem(401, "invalid-token");
        }
        for sessions in ["others", "all"] {
            assert_eq!(world.logout(&first.refresh, sessions).await.status, 401, "{sessions}");
        }
        assert_eq!(world.whoami(&first.access).await.status, 200);
        assert!(!is_over(&world, &second).await);

        assert_eq!(world.logout(&first.refresh, "current").await.status, 204);
        assert!(is_over(&world, &first).await);
        world.until_refused(&first.access).await;
        assert_eq!(world.whoami(&second.access).await.status, 200);

        // By cookie too, and also where another login takes the session's place.
        assert_eq!(browser.post("/logout", &json!({})).await.status, 204);
        assert!(is_over(&world, &by_cookie).await);
        let (before, mut other) = replaced;
        browser_login(&mut other).await;
        assert!(is_over(&world, &before).await);

        // And at a service that starts later.
        world.restart().await;
        assert_eq!(world.logout(&second.refresh, "current").await.status, 204);
        assert!(is_over(&world, &second).await);
    }

    async fn the_secret_of_a_revoked_refresh_key_is_kept_for_the_idle_limit_and_listed(world) {
        world.register("ada").await;
        let key = revoke(&world).await;
        let listed = line_of(&world, &key);
        assert!(listed.contains("\trevoked\t"), "{listed}");
        assert!(listed.contains("\tlogs out until "), "{listed}");
        // A signing key's is wiped at once.
        let signing = active(&world.store, KeyPurpose::Sign).await;
        command(&world.auth_settings(), &["keys", "revoke", &signing]);
        assert_eq!(sealed_and_revoked(&world).await, 1);

        world.clock.advance(7 * 86_400 - 60);
        world.restart().await;
        assert_eq!(sealed_and_revoked(&world).await, 1);
        world.clock.advance(60 + 121);
        world.restart().await;
        until("it is wiped", async || sealed_and_revoked(&world).await == 0).await;
        let listed = line_of(&world, &key);
        assert!(listed.contains("\trevoked\t") && !listed.contains("logs out"), "{listed}");
    }

    async fn a_revoked_refresh_key_is_sealed_anew_with_the_others(world) {
        world.register("ada").await;
        let tokens = world.login("ada").await;
        revoke(&world).await;
        let (old, new) = (STANDARD.encode([42; 32]), STANDARD.encode([43; 32]));
        world.set("AUTH__KEYS__MASTER_KEY", &new);
        world.set("AUTH__KEYS__OTHER_MASTER_KEY", &old);
        world.restart().await;
        let said = command(&world.auth_settings(), &["keys", "reseal"]);
        assert!(said.starts_with("3 resealed"), "{said}");
        world.set("AUTH__KEYS__OTHER_MASTER_KEY", "");
        world.restart().await;
        assert_eq!(world.logout(&tokens.refresh, "current").await.status, 204);
        assert!(is_over(&world, &tokens).await);
    }
}

/// Takes away the refresh key that makes tokens, as somebody with psql does.
const REVOKE: &str =
    "update keys set state = 'revoked' where purpose = 'refresh' and state = 'active'";

on_both_databases! {
    /// Also where the service has not heard of it by itself.
    async fn a_login_after_a_key_was_revoked_gets_no_token_of_it(world) {
        world.register("ada").await;
        let mut browser = world.browser();
        for round in 0..5 {
            world.database.execute(REVOKE).await;
            let tokens = world.login("ada").await;
            assert_eq!(world.refresh(&tokens.refresh).await.status, 200, "round {round}");
            world.database.execute(REVOKE).await;
            browser_login(&mut browser).await;
            let refreshed = browser.post("/refresh", &json!({})).await;
            assert_eq!(refreshed.status, 200, "by cookie, round {round}: {}", refreshed.text);
        }
    }
}

/// It was begun with a good token and ends with an answer, but whoever knows the key must not come out of
/// it with a token of the next one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refresh_during_which_its_key_is_revoked_gets_no_token_of_the_next_key() {
    let world = World::start(Kind::Postgres).await;
    world.register("ada").await;
    let pool = world.database.postgres().await;
    // The server lets nobody wait for a lock for longer than three seconds: what was answered 503 on a busy
    // machine proves nothing, and is done again.
    let mut tried = 0;
    let (by_body, browser) = loop {
        tried += 1;
        assert!(tried < 20, "no refresh was still under way when its key was revoked");
        let tokens = world.login("ada").await;
        let mut browser = world.browser();
        browser_login(&mut browser).await;
        let mut lock = pool.begin().await.unwrap();
        lock.execute("select 1 from sessions for update").await.unwrap();
        let meanwhile = async {
            let waiting = "select count(*) from pg_stat_activity \
                where datname = current_database() and wait_event_type = 'Lock'";
            until("both wait", async || world.database.number(waiting).await >= 2).await;
            world.database.execute(REVOKE).await;
            until("the next key is in use", async || {
                let probe = world.login("ada").await;
                world.refresh(&probe.refresh).await.status == 200
            })
            .await;
            lock.rollback().await.unwrap();
        };
        let nothing = json!({});
        let (by_body, by_cookie, ()) = tokio::join!(
            world.refresh(&tokens.refresh),
            browser.send("/refresh", &nothing),
            meanwhile
        );
        if by_body.status == 200 && by_cookie.status == 200 {
            browser.take(&by_cookie);
            break (Tokens::of(&by_body), browser);
        }
    };
    world.refresh(&by_body.refresh).await.assert_problem(401, "invalid-token");
    browser.post("/refresh", &json!({})).await.assert_problem(401, "invalid-token");
    pool.close().await;
}

/// What is left of a session in cookie mode: its access token, and which it is.
async fn browser_login(browser: &mut Browser) -> Tokens {
    let body = json!({
        "username": "ada", "password": testbed::PASSWORD, "transport": "cookie"});
    let answer: Answer = browser.post("/login", &body).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    Tokens {
        access: answer.member("access_token"),
        refresh: String::new(),
        session: answer.member("session_id"),
        json: answer.json(),
    }
}

/// Far below the ten seconds after which each replica looks at the keys in any case.
const SOON: Duration = Duration::from_secs(5);

/// Every change of a key, of either purpose, by command or by hand, reaches a replica that did not make
/// it within a poll.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_change_of_a_key_wakes_every_replica() {
    let database = Database::create(Kind::Postgres).await;
    let (mut one, mut other) =
        (Service::auth(&database.url, &[]), Service::auth(&database.url, &[]));
    one.start().await;
    other.start().await;
    one.newcomer("ada").await;
    let id = async |purpose: &str| {
        let listed = command(&one.settings, &["keys", "list"]);
        let mut lines = listed.lines();
        let line = lines
            .find(|line| line.contains(&format!("\t{purpose}\t")) && line.contains("\tactive\t"));
        line.and_then(|line| line.split('\t').next()).expect("an active key").to_owned()
    };

    // A revoked refresh key: tokens of it are refused, and none is made any more.
    for round in 0..3 {
        let tokens = one.login("ada").await;
        let key = id("refresh").await;
        if round < 2 {
            command(&one.settings, &["keys", "revoke", &key]);
        } else {
            database
                .execute(
                    "update keys set state = 'revoked' where purpose = 'refresh' \
                and state = 'active'",
                )
                .await;
        }
        let begun = Instant::now();
        let (mut given, mut refused) = (Vec::new(), None);
        while refused.is_none() {
            given.push((begun.elapsed(), other.login("ada").await));
            let refreshed = other.refresh(&tokens.refresh).await;
            assert!(matches!(refreshed.status, 200 | 401), "{}", refreshed.text);
            refused = (refreshed.status == 401).then(|| begun.elapsed());
            assert!(begun.elapsed() < SOON, "still honoured");
        }
        let mut last = Duration::ZERO;
        for (at, tokens) in &given {
            if other.refresh(&tokens.refresh).await.status == 401 {
                last = *at;
            }
        }
        println!(
            "round {round}: refused after {refused:?}; the last token of the dead key after {last:?}"
        );
        for _ in 0..5 {
            let tokens = other.login("ada").await;
            assert_eq!(other.refresh(&tokens.refresh).await.status, 200, "no token of it any more");
        }
        other.logout(&tokens.refresh).await;
        until("its session is over", async || {
            other.get_as(&tokens.access, "/me").await.status == 401
        })
        .await;
    }

    // A signing key that is published, and one that takes over at once.
    let published = async |auth: &Service| {
        auth.get("/.well-known/jwks.json").await.json()["keys"].as_array().expect("keys").len()
    };
    let before = published(&other).await;
    command(&one.settings, &["keys", "rotate"]);
    let begun = Instant::now();
    while published(&other).await == before {
        assert!(begun.elapsed() < SOON, "not published");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    println!("published after {:?}", begun.elapsed());
    let before = kid(&other.login("ada").await);
    command(&one.settings, &["keys", "rotate", "--now"]);
    let begun = Instant::now();
    while kid(&other.login("ada").await) == before {
        assert!(begun.elapsed() < SOON, "not used");
    }
    println!("used after {:?}", begun.elapsed());
}

/// The header of an access token, which names its key.
fn kid(tokens: &Tokens) -> String {
    tokens.access.split('.').next().expect("a header").to_owned()
}
