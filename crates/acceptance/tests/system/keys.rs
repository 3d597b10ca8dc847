//! Keys that change: by themselves, by command, at once; and never a good token refused for it.

use std::collections::BTreeSet;
use std::time::Duration;

use auth_service::store::{KeyPurpose, KeyState, Store};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::Value;
use testbed::service::{Settings, run, until};
use testbed::{Answer, Kind, Service, Tokens, World, on_both_databases, on_each_empty_database};

const DAY: i64 = 24 * 3600;

/// The `kid` that signed an access token.
fn kid(access: &str) -> String {
    let header = access.split('.').next().expect("a header");
    let header = URL_SAFE_NO_PAD.decode(header).expect("base64url");
    let header: Value = serde_json::from_slice(&header).expect("JSON");
    header["kid"].as_str().expect("a kid").to_owned()
}

/// The `kid`s that are published.
async fn published(world: &World) -> BTreeSet<String> {
    let url = format!("{}/.well-known/jwks.json", world.auth);
    let set = Answer::to(world.http.get(url)).await.json();
    let keys = set["keys"].as_array().expect("keys").iter();
    keys.map(|key| key["kid"].as_str().expect("a kid").to_owned()).collect()
}

async fn state(store: &Store, purpose: KeyPurpose, state: KeyState) -> Option<String> {
    let read = store.keys().await.expect("the database answers");
    read.one(purpose, state).map(|key| key.id.to_string())
}

/// Keys take over a second after they are published.
async fn hurry(world: &mut World) {
    world.set("AUTH__KEYS__PUBLISH_SECONDS", "1");
    world.set("RESOURCE__KEYS__REFRESH_SECONDS", "1");
    world.restart().await;
}

on_both_databases! {
    async fn a_key_is_published_used_retired_and_removed_by_itself(world) {
        hurry(&mut world).await;
        let old = kid(&world.newcomer("ada").await.access);
        assert_eq!(published(&world).await, BTreeSet::from([old.clone()]));

        world.clock.advance(30 * DAY);
        until("another is published", async || published(&world).await.len() == 2).await;
        world.clock.advance(1);
        let store = world.store.clone();
        until("it takes over", async || {
            state(&store, KeyPurpose::Sign, KeyState::Active).await.is_some_and(|id| id != old)
        }).await;
        until("it signs", async || kid(&world.login("ada").await.access) != old).await;
        assert_eq!(published(&world).await.len(), 2, "the old one still checks");

        world.clock.advance(900 + 30 + 60 + 121);
        until("the old one is gone", async || published(&world).await.len() == 1).await;
        let read = store.keys().await.unwrap();
        let gone = read.keys.iter().find(|key| key.id.to_string() == old).unwrap();
        assert_eq!((gone.state, gone.sealed.len()), (KeyState::Removed, 0));
        // The refresh key went the same way, and its tokens are good for as long as they may lie.
        assert!(state(&store, KeyPurpose::Refresh, KeyState::Retiring).await.is_some());
        world.restart().await;
        assert_eq!(world.whoami(&world.login("ada").await.access).await.status, 200);
    }

    async fn a_refresh_token_is_good_while_its_key_retires_and_its_successor_is_of_the_next(world) {
        hurry(&mut world).await;
        let first = world.newcomer("ada").await;
        let lying = world.login("ada").await;
        world.clock.advance(30 * DAY - 6 * DAY);
        let mut latest = Tokens::of(&world.refresh(&world.login("ada").await.refresh).await);
        for _ in 0..3 {
            world.clock.advance(3 * DAY);
            latest = Tokens::of(&world.refresh(&latest.refresh).await);
        }
        let store = world.store.clone();
        until("the next signing key is published", async || published(&world).await.len() == 2).await;
        world.clock.advance(2);
        until("the refresh key changes", async || {
            state(&store, KeyPurpose::Refresh, KeyState::Retiring).await.is_some()
        }).await;
        // Every honest client goes on; whoever waited for too long hears that, and not "invalid".
        for _ in 0..8 {
            latest = Tokens::of(&world.refresh(&latest.refresh).await);
            world.clock.advance(DAY);
        }
        until("the old key is gone", async || {
            state(&store, KeyPurpose::Refresh, KeyState::Retiring).await.is_none()
        }).await;
        latest = Tokens::of(&world.refresh(&latest.refresh).await);
        // The clock went past the time in which services fetch the next signing key.
        until("services know the key that signs", async || {
            world.whoami(&latest.access).await.status == 200
        }).await;
        for ended in [&first, &lying] {
            world.refresh(&ended.refresh).await.assert_problem(401, "invalid-token");
        }
    }

    async fn another_algorithm_begins_with_the_next_key(world) {
        let old = world.newcomer("ada").await;
        // Logging in again and again until a key is there must not end the first session.
        world.set("AUTH__TOKENS__MAX_SESSIONS", "0");
        world.set("AUTH__KEYS__ALGORITHM", "EdDSA");
        world.set("AUTH__KEYS__PUBLISH_SECONDS", "20");
        world.set("RESOURCE__KEYS__REFRESH_SECONDS", "1");
        world.restart().await;
        assert_eq!(kid(&world.login("ada").await.access), kid(&old.access), "not before it is known");
        assert_eq!(published(&world).await.len(), 2);
        world.clock.advance(20);
        until("it signs", async || kid(&world.login("ada").await.access) != kid(&old.access)).await;
        until("services know it", async || {
            world.whoami(&world.login("ada").await.access).await.status == 200
        }).await;
        assert_eq!(world.whoami(&old.access).await.status, 200);
    }

    async fn a_revoked_key_is_replaced_at_once_and_its_tokens_are_refused(world) {
        let tokens = world.newcomer("ada").await;
        let stolen = kid(&tokens.access);
        assert_eq!(world.whoami(&tokens.access).await.status, 200);
        let output = command(&world, &["keys", "revoke", &stolen]);
        assert_eq!(output, format!("{stolen} is revoked\n"));
        world.until_refused(&tokens.access).await;
        // The session goes on, with another key.
        until("the service signs with another", async || {
            kid(&Tokens::of(&world.refresh(&tokens.refresh).await).access) != stolen
        }).await;
        assert!(!published(&world).await.contains(&stolen));
        until("services know it", async || {
            world.whoami(&world.login("ada").await.access).await.status == 200
        }).await;
        assert_eq!(command(&world, &["keys", "revoke", &stolen]), format!("{stolen} is revoked\n"));
    }
}

fn settings(world: &World) -> Settings {
    world.auth_settings()
}

/// Runs the auth-service's command line on the database of a running world.
fn command(world: &World, arguments: &[&str]) -> String {
    let output = run("auth-service", arguments, &settings(world));
    let (out, err) = (&output.stdout, String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{arguments:?}: {err}");
    String::from_utf8(out.clone()).expect("text")
}

on_each_empty_database! {
    /// In the order that the settings tell, with a service running throughout.
    async fn one_master_key_replaces_another_without_a_stop(database) {
        let (old, new) = (STANDARD.encode([42; 32]), STANDARD.encode([43; 32]));
        let with = |current: &str, other: &str| {
            Service::auth(&database.url, &[
                ("AUTH__KEYS__MASTER_KEY", current),
                ("AUTH__KEYS__OTHER_MASTER_KEY", other),
            ])
        };
        let mut first = with(&old, "");
        first.start().await;
        let tokens = first.newcomer("ada").await;
        first.terminate();
        assert!(first.ended().await);

        let mut stranger = with(&new, "");
        stranger.spawn();
        assert!(!stranger.ended().await, "it does not start without the old one");

        let mut second = with(&new, &old);
        second.start().await;
        let tokens = Tokens::of(&second.refresh(&tokens.refresh).await);
        let output = run("auth-service", &["keys", "reseal"], &second.settings);
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert_eq!(said, "2 resealed; all keys open with keys.master_key\n");
        let again = run("auth-service", &["keys", "reseal"], &second.settings);
        assert!(String::from_utf8_lossy(&again.stdout).starts_with("0 resealed"));
        let tokens = Tokens::of(&second.refresh(&tokens.refresh).await);
        second.terminate();
        assert!(second.ended().await);

        let mut third = with(&new, "");
        third.start().await;
        assert_eq!(third.refresh(&tokens.refresh).await.status, 200);
    }
}

/// Two replicas that step at the same time make one key, and both know it before it is used.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replicas_rotate_together() {
    let database = testbed::Database::create(Kind::Postgres).await;
    let quick = [("AUTH__KEYS__PUBLISH_SECONDS", "6")];
    let (mut one, mut two) =
        (Service::auth(&database.url, &quick), Service::auth(&database.url, &quick));
    one.start().await;
    two.start().await;
    let mut tokens = one.newcomer("ada").await;
    for round in 0..3 {
        let before = kid(&tokens.access);
        let output = run("auth-service", &["keys", "rotate"], &one.settings);
        assert!(output.status.success());
        let output =
            run("auth-service", &["keys", "rotate", "--purpose", "refresh"], &two.settings);
        assert!(output.status.success());
        // Every refresh succeeds at either, whoever changed first.
        until("a new key signs", async || {
            for service in [&one, &two] {
                tokens = Tokens::of(&service.refresh(&tokens.refresh).await);
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            kid(&tokens.access) != before
        })
        .await;
        let active = "select count(*) from keys where state = 'active'";
        assert_eq!(database.number(active).await, 2, "round {round}");
    }
}
