//! A clock that is wrong for a moment does no lasting harm.

use auth_service::store::{KeyPurpose, KeyState};
use serde_json::Value;
use testbed::service::{run, until};
use testbed::{Answer, Tokens, World, on_both_databases};

const HOUR: i64 = 3600;
const DAY: i64 = 24 * HOUR;

/// As it is delivered: nothing is deleted until the clock has settled.
async fn as_delivered(world: &mut World) {
    world.set("AUTH__HOUSEKEEPING__SETTLE_SECONDS", "3600");
    world.restart().await;
}

/// Starts the services with a clock that is ahead, as before NTP has set it; lets them work for a while,
/// and sets the clock right again, with and without another start.
async fn ahead_for_a_while(world: &mut World, seconds: i64, set_right_while_running: bool) {
    world.clock.advance(seconds);
    world.restart().await;
    // Housekeeping begins with the start. A session that it would delete is opened and found.
    let opened = world.login("ada").await;
    assert_eq!(world.whoami(&opened.access).await.status, 200);
    let mut reads = world.store.revocation_reader();
    for _ in 0..3 {
        reads.read(true).await.expect("the database answers");
    }
    world.clock.advance(-seconds);
    if !set_right_while_running {
        world.restart().await;
    }
}

async fn feed(world: &World) -> Vec<Value> {
    let url = format!("{}/internal/revocations", world.internal);
    let batch = Answer::to(world.http.get(url)).await.json();
    batch["entries"].as_array().expect("entries").clone()
}

on_both_databases! {
    async fn what_was_revoked_stays_revoked_although_the_clock_was_ahead_at_a_start(world) {
        as_delivered(&mut world).await;
        let (session, everywhere) = (world.newcomer("ada").await, world.newcomer("grace").await);
        assert_eq!(world.logout(&session.refresh, "current").await.status, 204);
        assert_eq!(world.logout(&everywhere.refresh, "all").await.status, 204);
        world.until_refused(&session.access).await;
        for (seconds, running) in [(2 * HOUR, false), (5 * HOUR, true), (100 * DAY, false)] {
            ahead_for_a_while(&mut world, seconds, running).await;
            let entries = feed(&world).await;
            let expires_in = |entry: &Value| entry["expires_in"].as_u64().expect("seconds");
            assert!(entries.len() >= 2, "{seconds}: {entries:?}");
            // Nobody who follows forgets it before the last token that it could kill is dead.
            assert!(entries.iter().all(|entry| expires_in(entry) > 900), "{seconds}: {entries:?}");
            for ended in [&session, &everywhere] {
                world.until_refused(&ended.access).await;
            }
        }
    }

    async fn a_clock_that_was_far_ahead_has_deleted_nothing_and_moved_no_key(world) {
        as_delivered(&mut world).await;
        let (lying, ended) = (world.newcomer("ada").await, world.login("ada").await);
        assert_eq!(world.logout(&ended.refresh, "current").await.status, 204);
        let keys = world.store.keys().await.expect("the database answers").keys;
        let events = world.database.number("select count(*) from events").await;
        ahead_for_a_while(&mut world, 100 * DAY, false).await;
        assert_eq!(world.store.keys().await.expect("the database answers").keys, keys);
        assert!(world.database.number("select count(*) from events").await > events);
        assert_eq!(world.refresh(&lying.refresh).await.status, 200);
        world.refresh(&ended.refresh).await.assert_problem(401, "session-revoked");
    }

    async fn a_step_is_told_and_holds_up_nobody(world) {
        as_delivered(&mut world).await;
        let tokens = world.newcomer("ada").await;
        for (seconds, by) in [(2 * HOUR, "+7200 s"), (-2 * HOUR, "-7200 s")] {
            world.clock.advance(seconds);
            until("it is told", async || doctor(&world).contains(&format!("stepped by {by}"))).await;
        }
        // Other tests of this process count too.
        let metrics = Answer::to(world.http.get(format!("{}/metrics", world.internal))).await.text;
        assert!(metrics.contains("\nlatchkey_clock_steps_total "), "{metrics}");
        let refreshed = Tokens::of(&world.refresh(&tokens.refresh).await);
        assert_eq!(world.whoami(&refreshed.access).await.status, 200);
        world.login("ada").await;
    }

    async fn once_the_clock_has_settled_what_has_expired_goes(world) {
        world.set("AUTH__HOUSEKEEPING__SETTLE_SECONDS", "1");
        let tokens = world.newcomer("ada").await;
        assert_eq!(world.logout(&tokens.refresh, "current").await.status, 204);
        world.database.execute(
            "insert into revocations (kind, id, created_at, expires_at) \
             values ('token', 'AAAAAAAAAAAAAAAAAAAAAA', 1, 1)",
        ).await;
        let count = async |world: &World| world.database.number("select count(*) from revocations").await;
        world.clock.advance(990 + 2 * HOUR - 60);
        world.restart().await;
        until("what expired long ago goes", async || count(&world).await == 1).await;
        world.clock.advance(70);
        world.restart().await;
        until("it goes", async || count(&world).await == 0).await;
    }

    async fn the_age_of_a_key_counts_once_the_clock_has_settled(world) {
        world.set("AUTH__HOUSEKEEPING__SETTLE_SECONDS", "1");
        world.set("AUTH__KEYS__PUBLISH_SECONDS", "1");
        world.newcomer("ada").await;
        world.clock.advance(31 * DAY);
        world.restart().await;
        let store = world.store.clone();
        until("the next key is published", async || {
            let read = store.keys().await.expect("the database answers");
            read.one(KeyPurpose::Sign, KeyState::Retiring).is_some()
        }).await;
    }
}

/// What `auth-service doctor` says, also where something is bad.
fn doctor(world: &World) -> String {
    let output = run("auth-service", &["doctor"], &settings(world));
    String::from_utf8(output.stdout).expect("text")
}

fn settings(world: &World) -> Vec<(String, String)> {
    let offset = world.clock.offset_millis() / 1000;
    let clock = ("AUTH__CLOCK__OFFSET_SECONDS".to_owned(), offset.to_string());
    world.auth_settings().into_iter().chain([clock]).collect()
}
