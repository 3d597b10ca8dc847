//! Rotation: one successor, retries that work, replays that end the session.

use claims::RefreshTokenShape;
use futures_util::future::join_all;
use serde_json::json;
use testbed::{Kind, Tokens, World, on_both_databases};

fn generation(token: &str) -> u32 {
    RefreshTokenShape::parse(token).expect("a refresh token").generation
}

on_both_databases! {
    async fn a_refresh_token_is_exchanged_for_its_successor(world) {
        let first = world.newcomer("ada").await;
        let second = Tokens::of(&world.refresh(&first.refresh).await);
        assert_eq!((generation(&first.refresh), generation(&second.refresh)), (1, 2));
        assert_eq!(first.session, second.session);
        assert_ne!(first.access, second.access);
        assert_eq!(world.whoami(&second.access).await.status, 200);
        assert_eq!(second.json["refresh_token_timeout"], 604_800);
    }

    /// N-R02
    async fn sixty_four_refreshes_of_one_token_get_one_successor(world) {
        let first = world.newcomer("ada").await;
        let answers = join_all((0..64).map(|_| world.refresh(&first.refresh))).await;
        let successors: Vec<_> = answers.iter().map(|answer| Tokens::of(answer).refresh).collect();
        assert!(successors.iter().all(|successor| *successor == successors[0]));
        assert_eq!(world.database.number("select generation from sessions").await, 2);
        world.clock.advance(30);
        let next = Tokens::of(&world.refresh(&successors[0]).await);
        assert_eq!(generation(&next.refresh), 3);
    }

    /// N-R06: the client sees the connection close and tries again.
    async fn a_lost_reply_is_made_good_by_a_retry(world) {
        let first = world.newcomer("ada").await;
        let lost = Tokens::of(&world.refresh(&first.refresh).await);
        world.clock.advance(20);
        let retried = Tokens::of(&world.refresh(&first.refresh).await);
        assert_eq!(retried.refresh, lost.refresh, "byte for byte");
        assert_eq!(world.whoami(&retried.access).await.status, 200);
        Tokens::of(&world.refresh(&retried.refresh).await);
    }

    /// A session rotates at most once in a window: who has the current token already is given it
    /// again, with a fresh access token, and nothing changes.
    async fn a_token_that_is_new_is_given_again(world) {
        let first = world.newcomer("ada").await;
        let second = Tokens::of(&world.refresh(&first.refresh).await);
        world.clock.advance(20);
        let row = "select generation + rotated_at + idle_expires_at from sessions";
        let before = world.database.number(row).await;
        let again = Tokens::of(&world.refresh(&second.refresh).await);
        assert_eq!(again.refresh, second.refresh, "byte for byte");
        assert_ne!(again.access, second.access);
        assert_eq!(world.whoami(&again.access).await.status, 200);
        assert_eq!(world.database.number(row).await, before);
        world.clock.advance(10);
        let third = Tokens::of(&world.refresh(&again.refresh).await);
        assert_eq!(generation(&third.refresh), 3);
        assert_ne!(world.database.number(row).await, before);
    }

    /// N-R01, N-R05
    async fn a_replay_after_the_window_ends_the_session_and_the_newest_token_with_it(world) {
        let first = world.newcomer("ada").await;
        let second = Tokens::of(&world.refresh(&first.refresh).await);
        world.clock.advance(31);
        let third = Tokens::of(&world.refresh(&second.refresh).await);
        world.clock.advance(31);
        world.refresh(&second.refresh).await.assert_problem(401, "token-reused");
        let answer = world.refresh(&third.refresh).await;
        answer.assert_problem(401, "session-revoked");
        assert_eq!(answer.json()["reason"], "reuse");
        world.until_refused(&third.access).await;
        assert_eq!(world.database.number("select count(*) from revocations").await, 1);
    }

    /// N-R14
    async fn a_clock_that_steps_back_does_not_make_the_window_longer(world) {
        let first = world.newcomer("ada").await;
        let second = Tokens::of(&world.refresh(&first.refresh).await);
        world.clock.advance(-7200);
        let third = Tokens::of(&world.refresh(&second.refresh).await);
        world.clock.advance(-7200);
        world.refresh(&second.refresh).await.assert_problem(401, "token-reused");
        world.refresh(&third.refresh).await.assert_problem(401, "session-revoked");
    }

    /// N-R04: the window is for the predecessor only.
    async fn an_older_token_ends_the_session_even_inside_the_window(world) {
        let first = world.newcomer("ada").await;
        let second = Tokens::of(&world.refresh(&first.refresh).await);
        world.clock.advance(31);
        let third = Tokens::of(&world.refresh(&second.refresh).await);
        world.refresh(&first.refresh).await.assert_problem(401, "token-reused");
        world.refresh(&third.refresh).await.assert_problem(401, "session-revoked");
    }

    /// R-11, N-R08
    async fn no_rotation_moves_the_absolute_end(world) {
        let mut tokens = world.newcomer("ada").await;
        let mut last = tokens.json["authorization_expires_in"].as_u64().unwrap();
        assert_eq!(last, 2_592_000);
        for round in 1..=50 {
            world.clock.advance(50_000);
            tokens = Tokens::of(&world.refresh(&tokens.refresh).await);
            let left = tokens.json["authorization_expires_in"].as_u64().unwrap();
            assert!(left <= last - 50_000 && left >= last - 50_030, "round {round}: {left}");
            let timeout = tokens.json["refresh_token_timeout"].as_u64().unwrap();
            assert_eq!(timeout, left.min(604_800), "round {round}");
            last = left;
        }
        assert_eq!(world.database.number("select count(distinct expires_at) from sessions").await, 1);
        world.clock.advance(i64::try_from(last).unwrap() + 1);
        world.refresh(&tokens.refresh).await.assert_problem(401, "session-expired");
    }

    async fn a_session_that_is_not_used_expires(world) {
        let tokens = world.newcomer("ada").await;
        world.clock.advance(604_700);
        let tokens = Tokens::of(&world.refresh(&tokens.refresh).await);
        world.clock.advance(604_801);
        world.refresh(&tokens.refresh).await.assert_problem(401, "session-expired");
    }

    async fn no_access_token_outlives_its_session(world) {
        let mut tokens = world.newcomer("ada").await;
        for _ in 0..4 {
            world.clock.advance(600_000);
            tokens = Tokens::of(&world.refresh(&tokens.refresh).await);
        }
        world.clock.advance(2_592_000 - 4 * 600_000 - 100);
        tokens = Tokens::of(&world.refresh(&tokens.refresh).await);
        let lifetime = tokens.json["expires_in"].as_u64().unwrap();
        assert!((60..=100).contains(&lifetime), "{lifetime}");
    }

    /// An asynchronous failover may forget the last rotation.
    async fn a_rotation_that_the_database_forgot_is_made_up_for(world) {
        let first = world.newcomer("ada").await;
        let second = Tokens::of(&world.refresh(&first.refresh).await);
        world.database.execute("update sessions set generation = 1").await;
        let third = Tokens::of(&world.refresh(&second.refresh).await);
        assert_eq!(generation(&third.refresh), 3);
        world.database.execute("update sessions set generation = 1").await;
        world.refresh(&third.refresh).await.assert_problem(401, "invalid-token");
        assert_eq!(world.database.number("select generation from sessions").await, 1);
    }

    /// N-R11: refused before any query, and nothing changes.
    async fn a_token_that_was_tampered_with_is_refused(world) {
        let tokens = world.newcomer("ada").await;
        let parts: Vec<&str> = tokens.refresh.split('.').collect();
        let (handle, tag) = (parts[1], parts[3]);
        let swap_case: String = handle
            .chars()
            .map(|c| if c.is_ascii_lowercase() { c.to_ascii_uppercase() } else { c.to_ascii_lowercase() })
            .collect();
        for forged in [
            format!("rt1.{handle}.2.{tag}"),
            format!("rt1.{handle}.01.{tag}"),
            format!("rt1.{handle}.+1.{tag}"),
            format!("rt1.{handle}.1e0.{tag}"),
            format!("rt1.{handle}.4294967296.{tag}"),
            format!("rt1.{swap_case}.1.{tag}"),
            format!("rt1.{handle}.1{tag}"),
            format!("rt1.{handle}.1.{tag}."),
            format!("rt2.{handle}.1.{tag}"),
            format!("{} ", tokens.refresh),
            tokens.access.clone(),
            tokens.session.clone(),
            String::new(),
            "x".repeat(10_000),
        ] {
            world.refresh(&forged).await.assert_problem(401, "invalid-token");
        }
        assert_eq!(world.database.number("select generation from sessions").await, 1);
        Tokens::of(&world.refresh(&tokens.refresh).await);
    }

    /// N-R17
    async fn what_is_not_one_text_is_not_a_token(world) {
        let tokens = world.newcomer("ada").await;
        for body in [json!({"refresh_token": 1}), json!({"refresh_token": [tokens.refresh]}),
            json!({"refresh_token": {"a": 1}}), json!({"token": tokens.refresh}), json!([])]
        {
            world.post("/refresh", &body).await.assert_problem(400, "invalid-request");
        }
        world.post("/refresh", &json!({})).await.assert_problem(401, "unauthenticated");
        world.post("/refresh", &json!({"refresh_token": null})).await
            .assert_problem(401, "unauthenticated");
    }

    /// N-X01, N-X02
    async fn a_refresh_token_is_no_access_token(world) {
        let tokens = world.newcomer("ada").await;
        world.whoami(&tokens.refresh).await.assert_problem(401, "invalid-token");
        world.get_as(&tokens.refresh, "/me").await.assert_problem(401, "invalid-token");
    }

    async fn a_session_that_was_purged_has_expired(world) {
        let tokens = world.newcomer("ada").await;
        world.clock.advance(604_800 + 7 * 86_400 + 60);
        let before = claims::Timestamp(world.clock.now().0 - 7 * 86_400_000);
        assert!(world.store.purge_sessions(before, None, 1000).await.unwrap().is_some());
        assert_eq!(world.database.number("select count(*) from sessions").await, 0);
        world.refresh(&tokens.refresh).await.assert_problem(401, "session-expired");
    }
}

/// ASVS 10.4.5 to the letter: no second use at all.
#[tokio::test(flavor = "multi_thread")]
async fn with_a_window_of_zero_every_second_use_ends_the_session() {
    for kind in [Kind::Postgres, Kind::Sqlite] {
        let world = World::start_with(kind, &[("AUTH__TOKENS__GRACE_SECONDS", "0")]).await;
        let first = world.newcomer("ada").await;
        let second = Tokens::of(&world.refresh(&first.refresh).await);
        world.refresh(&first.refresh).await.assert_problem(401, "token-reused");
        world.refresh(&second.refresh).await.assert_problem(401, "session-revoked");

        let browser = world.browser();
        assert_eq!(browser.login("ada", testbed::PASSWORD).await.status, 200);
        assert_eq!(browser.refresh().await.status, 200);
        let spent = browser.cookie();
        assert_eq!(browser.refresh().await.status, 200);
        assert_ne!(browser.cookie(), spent, "no cookie is given twice");
    }
}
