//! Scopes and limits are those that a session was given and those that are set now: whichever is less.

use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use testbed::{Tokens, World, on_both_databases};

const DAY: i64 = 86_400;

pub(crate) fn claims(access: &str) -> Value {
    let payload = access.split('.').nth(1).expect("a JWT");
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload).unwrap()).unwrap()
}

pub(crate) async fn write_report(world: &World, tokens: &Tokens) -> u16 {
    let request = world.http.post(format!("{}/reports", world.resource));
    let request = request.bearer_auth(&tokens.access).json(&json!({"title": "x"}));
    testbed::Answer::to(request).await.status
}

pub(crate) async fn restart_with(world: &mut World, settings: &[(&str, &str)]) {
    for (name, value) in settings {
        world.set(name, value);
    }
    world.restart().await;
}

on_both_databases! {
    async fn a_scope_that_is_taken_out_of_the_settings_goes_with_the_next_refresh(world) {
        let first = world.newcomer("ada").await;
        assert_eq!(first.json["scope"], "profile reports:read reports:write");
        assert_eq!(write_report(&world, &first).await, 201);
        restart_with(&mut world, &[
            ("AUTH__TOKENS__SCOPES", "profile email reports:read"),
            ("AUTH__TOKENS__DEFAULT_SCOPES", "profile"),
        ]).await;
        // Rotated, and then given again.
        for _ in 0..2 {
            let next = Tokens::of(&world.refresh(&first.refresh).await);
            assert_eq!(next.json["scope"], "profile reports:read", "and the answer says so");
            assert_eq!(claims(&next.access)["scope"], "profile reports:read");
            assert_eq!(write_report(&world, &next).await, 403);
        }
        restart_with(&mut world, &[
            ("AUTH__TOKENS__SCOPES", "email"), ("AUTH__TOKENS__DEFAULT_SCOPES", "email"),
        ]).await;
        let none = Tokens::of(&world.refresh(&first.refresh).await);
        assert_eq!(none.json["scope"], "");
        let claims = claims(&none.access);
        assert_eq!((claims.get("scope"), claims.get("preferred_username")), (None, None));
        assert_eq!(world.get_as(&none.access, "/me").await.status, 200);
    }

    async fn a_lowered_absolute_limit_reaches_the_sessions_that_are_there(world) {
        let first = world.newcomer("ada").await;
        let untouched = world.login("ada").await;
        world.clock.advance(2 * DAY);
        let limits = [("AUTH__TOKENS__ABSOLUTE_SECONDS", "259200"), ("AUTH__TOKENS__IDLE_SECONDS", "259200")];
        restart_with(&mut world, &limits).await;
        for _ in 0..2 {
            let next = Tokens::of(&world.refresh(&first.refresh).await);
            let left = |name: &str| next.json[name].as_i64().unwrap();
            assert!((DAY - 60..=DAY).contains(&left("authorization_expires_in")), "{}", next.json);
            assert_eq!(left("refresh_token_timeout"), left("authorization_expires_in"));
        }
        let next = Tokens::of(&world.refresh(&first.refresh).await);
        // What the owner sees agrees, also of a session that was not refreshed.
        let high = "select count(*) from sessions where expires_at > created_at + 259200000 \
                    or idle_expires_at > expires_at";
        let deadline = Instant::now() + Duration::from_secs(20);
        while world.database.number(high).await > 0 {
            assert!(Instant::now() < deadline, "the sessions keep their ends");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let seen = world.get_as(&next.access, "/sessions").await.json();
        assert_eq!(seen["sessions"].as_array().unwrap().len(), 2);
        world.clock.advance(DAY + 1);
        for over in [&next, &untouched] {
            world.refresh(&over.refresh).await.assert_problem(401, "session-expired");
        }
    }

    async fn a_lowered_idle_limit_reaches_the_sessions_that_are_there(world) {
        let used = world.newcomer("ada").await;
        let unused = world.login("ada").await;
        world.clock.advance(2 * DAY);
        let used = Tokens::of(&world.refresh(&used.refresh).await);
        world.clock.advance(DAY / 2);
        restart_with(&mut world, &[("AUTH__TOKENS__IDLE_SECONDS", "86400")]).await;
        world.refresh(&unused.refresh).await.assert_problem(401, "session-expired");
        let next = Tokens::of(&world.refresh(&used.refresh).await);
        assert_eq!(next.json["refresh_token_timeout"], DAY);
        world.clock.advance(DAY);
        world.refresh(&next.refresh).await.assert_problem(401, "session-expired");
    }

    /// A spent token of a session that is over by the present limits ends nothing.
    async fn what_is_over_by_the_present_limits_is_expired_and_not_reused(world) {
        let first = world.newcomer("ada").await;
        Tokens::of(&world.refresh(&first.refresh).await);
        world.clock.advance(2 * DAY);
        restart_with(&mut world, &[("AUTH__TOKENS__IDLE_SECONDS", "86400")]).await;
        world.refresh(&first.refresh).await.assert_problem(401, "session-expired");
        assert_eq!(world.database.number("select count(*) from revocations").await, 0);
    }

    /// A session that is not used ends at its idle end, and no access token outlives it.
    async fn no_access_token_outlives_the_idle_end(world) {
        restart_with(&mut world, &[("AUTH__TOKENS__IDLE_SECONDS", "120")]).await;
        let first = world.newcomer("ada").await;
        let next = Tokens::of(&world.refresh(&first.refresh).await);
        world.clock.advance(20);
        let again = Tokens::of(&world.refresh(&next.refresh).await);
        for (tokens, most) in [(&first, 120), (&next, 120), (&again, 100)] {
            let left = tokens.json["expires_in"].as_u64().unwrap();
            assert!(left <= most && left + 10 > most, "{left}");
            // Both are cut off to whole seconds.
            assert!(left <= tokens.json["refresh_token_timeout"].as_u64().unwrap() + 1);
        }
    }
}
