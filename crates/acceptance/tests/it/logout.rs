//! Logging out: what ends, for whom, and who is told.

use std::time::{Duration, Instant};

use serde_json::json;
use testbed::{Answer, Kind, Tokens, World, on_both_databases};

async fn assert_ended(world: &World, tokens: &Tokens) {
    let answer = world.refresh(&tokens.refresh).await;
    answer.assert_problem(401, "session-revoked");
    assert_eq!(answer.json()["reason"], "logout");
    world.until_refused(&tokens.access).await;
}

async fn assert_live(world: &World, tokens: &Tokens) -> Tokens {
    assert_eq!(world.whoami(&tokens.access).await.status, 200);
    Tokens::of(&world.refresh(&tokens.refresh).await)
}

async fn by_bearer(world: &World, access: &str, sessions: &str) -> Answer {
    world.post_as(access, "/logout", &json!({ "sessions": sessions })).await
}

fn assert_cookie_cleared(answer: &Answer) {
    assert_eq!(
        answer.header("set-cookie"),
        Some("__Host-Http-refresh=; Path=/; Secure; HttpOnly; SameSite=Strict; Max-Age=0")
    );
    assert_eq!(answer.header("cache-control"), Some("no-store"));
}

on_both_databases! {
    async fn logging_out_ends_the_session_and_the_unexpired_access_token(world) {
        let tokens = world.newcomer("ada").await;
        assert_eq!(world.whoami(&tokens.access).await.status, 200);
        let answer = world.logout(&tokens.refresh, "current").await;
        assert_eq!((answer.status, answer.text.as_str()), (204, ""));
        assert_cookie_cleared(&answer);
        assert_ended(&world, &tokens).await;
    }

    async fn logging_out_twice_is_logging_out(world) {
        let tokens = world.newcomer("ada").await;
        for _ in 0..3 {
            assert_eq!(world.logout(&tokens.refresh, "current").await.status, 204);
        }
        assert_eq!(world.database.number("select count(*) from revocations").await, 1);
    }

    async fn any_token_a_session_ever_had_ends_it(world) {
        let first = world.newcomer("ada").await;
        let second = Tokens::of(&world.refresh(&first.refresh).await);
        world.clock.advance(60);
        let third = Tokens::of(&world.refresh(&second.refresh).await);
        world.clock.advance(60);
        assert_eq!(world.logout(&first.refresh, "current").await.status, 204);
        assert_ended(&world, &third).await;
    }

    async fn an_access_token_logs_out_too(world) {
        let tokens = world.newcomer("ada").await;
        let empty = world.http.post(format!("{}/logout", world.auth)).bearer_auth(&tokens.access);
        assert_eq!(Answer::to(empty).await.status, 204, "an empty body is {{}}");
        assert_ended(&world, &tokens).await;
    }

    async fn logging_out_the_others_keeps_ones_own(world) {
        let own = world.newcomer("ada").await;
        let (second, third) = (world.login("ada").await, world.login("ada").await);
        let somebody = world.newcomer("grace").await;
        let answer = world.logout(&own.refresh, "others").await;
        assert_eq!(answer.status, 204);
        assert!(answer.header("set-cookie").is_none(), "one's own cookie stays");
        assert_ended(&world, &second).await;
        assert_ended(&world, &third).await;
        assert_live(&world, &own).await;
        assert_live(&world, &somebody).await;
    }

    async fn logging_out_everywhere_ends_every_session_and_a_new_login_works_at_once(world) {
        let (own, other) = (world.newcomer("ada").await, world.login("ada").await);
        let somebody = world.newcomer("grace").await;
        let answer = by_bearer(&world, &own.access, "all").await;
        assert_eq!(answer.status, 204);
        assert_cookie_cleared(&answer);
        let fresh = world.login("ada").await;
        assert_ended(&world, &own).await;
        assert_ended(&world, &other).await;
        assert_live(&world, &fresh).await;
        assert_live(&world, &somebody).await;
        assert_eq!(world.database.number("select count(*) from revocations").await, 1);
    }

    async fn ending_other_sessions_takes_a_token_that_is_good(world) {
        let first = world.newcomer("ada").await;
        let other = world.login("ada").await;
        let second = Tokens::of(&world.refresh(&first.refresh).await);
        world.clock.advance(31);
        for sessions in ["others", "all"] {
            world.logout(&first.refresh, sessions).await.assert_problem(401, "invalid-token");
            world.logout("garbage", sessions).await.assert_problem(401, "invalid-token");
            let nobody = world.post("/logout", &json!({ "sessions": sessions })).await;
            nobody.assert_problem(401, "unauthenticated");
        }
        let other = assert_live(&world, &other).await;
        let third = Tokens::of(&world.refresh(&second.refresh).await);
        // Inside the window the spent token is as good as its successor.
        assert_eq!(world.logout(&second.refresh, "others").await.status, 204);
        assert_ended(&world, &other).await;
        assert_live(&world, &third).await;
    }

    async fn nobody_we_know_is_logged_out_already(world) {
        let spent = world.newcomer("ada").await;
        world.database.execute("delete from sessions").await;
        for token in ["", "garbage", spent.refresh.as_str(), spent.access.as_str()] {
            let answer = world.logout(token, "current").await;
            assert_eq!(answer.status, 204, "{token}: {}", answer.text);
            assert_cookie_cleared(&answer);
        }
        assert_eq!(world.post("/logout", &json!({})).await.status, 204);
        let bare = world.http.post(format!("{}/logout", world.auth));
        assert_eq!(Answer::to(bare).await.status, 204);
    }

    async fn nobody_with_a_bad_access_token_alone_believes_they_are_out(world) {
        let tokens = world.newcomer("ada").await;
        let forged = format!("{}x", &tokens.access[..tokens.access.len() - 1]);
        for sessions in ["current", "others", "all"] {
            by_bearer(&world, &forged, sessions).await.assert_problem(401, "invalid-token");
        }
        world.clock.advance(631);
        by_bearer(&world, &tokens.access, "current").await.assert_problem(401, "invalid-token");
        Tokens::of(&world.refresh(&tokens.refresh).await);
    }

    async fn a_refresh_token_counts_before_an_access_token(world) {
        let (ada, grace) = (world.newcomer("ada").await, world.newcomer("grace").await);
        let (adas, graces) = (world.login("ada").await, world.login("grace").await);
        let body = json!({"refresh_token": ada.refresh, "sessions": "others"});
        assert_eq!(world.post_as(&grace.access, "/logout", &body).await.status, 204);
        assert_ended(&world, &adas).await;
        assert_live(&world, &graces).await;
        let ada = assert_live(&world, &ada).await;
        // One's own session ends by each of them.
        let body = json!({"refresh_token": ada.refresh});
        assert_eq!(world.post_as(&graces.access, "/logout", &body).await.status, 204);
        assert_ended(&world, &ada).await;
        assert_ended(&world, &graces).await;
        let grace = assert_live(&world, &grace).await;
        // Garbage is no refresh token, and the access token means what it says.
        let body = json!({"refresh_token": "garbage"});
        assert_eq!(world.post_as(&grace.access, "/logout", &body).await.status, 204);
        assert_ended(&world, &grace).await;
    }

    /// N-F01: never 204 for what is not committed.
    async fn without_the_database_nobody_is_told_they_are_out(world) {
        let browser = world.browser();
        world.register("ada").await;
        assert_eq!(browser.login("ada", testbed::PASSWORD).await.status, 200);
        let cookie = browser.cookie().unwrap();
        world.database.take_away().await;
        let answer = browser.post("/logout", &json!({})).await;
        answer.assert_problem(503, "unavailable");
        assert_cookie_cleared(&answer);
        browser.set_cookie(&cookie);
        browser.refresh().await.assert_problem(503, "unavailable");
        world.database.bring_back().await;
        // Connections that died meanwhile are noticed one by one.
        let deadline = Instant::now() + Duration::from_secs(10);
        let mut answer = browser.refresh().await;
        while answer.status == 503 && Instant::now() < deadline {
            answer = browser.refresh().await;
        }
        assert_eq!(answer.status, 200, "nothing had happened: {}", answer.text);
    }
}

/// Nobody can say whether the access token is good, so nobody can say that its session is over.
#[tokio::test(flavor = "multi_thread")]
async fn garbage_beside_a_token_that_cannot_be_judged_is_no_logout() {
    for kind in [Kind::Postgres, Kind::Sqlite] {
        let settings = [("AUTH__REVOCATION__MAX_STALENESS_SECONDS", "2")];
        let world = World::start_with(kind, &settings).await;
        let tokens = world.newcomer("ada").await;
        world.database.execute("alter table revocations rename to revocations_away").await;
        let deadline = Instant::now() + Duration::from_secs(10);
        while world.get_as(&tokens.access, "/me").await.status != 503 {
            assert!(Instant::now() < deadline, "the service does not notice");
        }
        let body = json!({"refresh_token": "garbage"});
        let answer = world.post_as(&tokens.access, "/logout", &body).await;
        answer.assert_problem(503, "revocation-stale");
        world.database.execute("alter table revocations_away rename to revocations").await;
        let _ = Tokens::of(&world.refresh(&tokens.refresh).await);
    }
}
