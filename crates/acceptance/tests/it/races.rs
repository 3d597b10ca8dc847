//! Two at once: whatever the order, nothing survives a logout, and nobody is refused who should
//! not be.

use futures_util::future::join_all;
use futures_util::stream::{self, StreamExt as _};
use testbed::{Tokens, World, on_both_databases};
use tokio::task::yield_now;

/// One refresh against one logout; what the refresh got, if it got anything.
async fn refresh_against_logout(world: &World, round: usize) -> Vec<Tokens> {
    let tokens = world.login("ada").await;
    let refreshing = async {
        for _ in 0..(round % 7) {
            yield_now().await;
        }
        world.refresh(&tokens.refresh).await
    };
    let leaving = async {
        for _ in 0..(round % 5) {
            yield_now().await;
        }
        world.logout(&tokens.refresh, "current").await
    };
    let (refreshed, left) = if round.is_multiple_of(2) {
        tokio::join!(refreshing, leaving)
    } else {
        let (left, refreshed) = tokio::join!(leaving, refreshing);
        (refreshed, left)
    };
    assert_eq!(left.status, 204, "{}", left.text);
    let mut all = vec![tokens];
    match refreshed.status {
        200 => all.push(Tokens::of(&refreshed)),
        _ => refreshed.assert_problem(401, "session-revoked"),
    }
    for tokens in &all {
        world.refresh(&tokens.refresh).await.assert_problem(401, "session-revoked");
    }
    all
}

on_both_databases! {
    /// N-R15
    async fn nothing_survives_a_logout_that_races_a_refresh(world) {
        world.register("ada").await;
        let rounds = stream::iter(0..200).map(|round| refresh_against_logout(&world, round));
        let ended: Vec<_> = rounds.buffer_unordered(4).collect().await;
        assert!(ended.iter().any(|tokens| tokens.len() == 2), "some refreshes were first");
        for tokens in ended.iter().flatten() {
            world.until_refused(&tokens.access).await;
        }
    }

    /// A refresh that slips past a logout-everywhere carries the old version.
    async fn nothing_survives_a_logout_everywhere_that_races_refreshes(world) {
        world.register("ada").await;
        for _ in 0..20 {
            let sessions = join_all((0..4).map(|_| world.login("ada"))).await;
            let refreshes = join_all(sessions.iter().map(|tokens| world.refresh(&tokens.refresh)));
            let leaving = world.logout(&sessions[0].refresh, "all");
            let (refreshed, left) = tokio::join!(refreshes, leaving);
            assert_eq!(left.status, 204, "{}", left.text);
            let mut all = sessions;
            all.extend(refreshed.iter().filter(|answer| answer.status == 200).map(Tokens::of));
            for tokens in &all {
                world.refresh(&tokens.refresh).await.assert_problem(401, "session-revoked");
                world.until_refused(&tokens.access).await;
            }
        }
    }

    /// N-R16
    async fn a_login_in_flight_does_not_survive_a_password_change(world) {
        world.register("ada").await;
        let mut password = testbed::PASSWORD.to_owned();
        for round in 0..30 {
            let body = serde_json::json!({"username": "ada", "password": password});
            let own = Tokens::of(&world.post("/login", &body).await);
            let next = format!("another ordinary sentence, number {round}");
            let change =
                serde_json::json!({"current_password": password, "new_password": next});
            let (logins, changed) = tokio::join!(
                join_all((0..3).map(|_| world.post("/login", &body))),
                world.post_as(&own.access, "/password", &change)
            );
            assert_eq!(changed.status, 204, "{}", changed.text);
            for login in logins {
                if login.status == 200 {
                    let tokens = Tokens::of(&login);
                    world.refresh(&tokens.refresh).await.assert_problem(401, "session-revoked");
                    world.until_refused(&tokens.access).await;
                } else {
                    login.assert_problem(401, "invalid-credentials");
                }
            }
            assert_eq!(world.whoami(&own.access).await.status, 200, "one's own session stays");
            password = next;
        }
    }

    async fn a_login_in_flight_while_everything_is_logged_out_is_not_told_a_wrong_password(world) {
        world.register("ada").await;
        for _ in 0..20 {
            let own = world.login("ada").await;
            let body = serde_json::json!({"username": "ada", "password": testbed::PASSWORD});
            let (logins, out) = tokio::join!(
                join_all((0..4).map(|_| world.post("/login", &body))),
                world.logout(&own.refresh, "all"),
            );
            assert_eq!(out.status, 204, "{}", out.text);
            for login in logins {
                // Ended if it was first, and live if it was second.
                let tokens = Tokens::of(&login);
                let answer = world.refresh(&tokens.refresh).await;
                assert!(answer.status == 200 || answer.json()["reason"] == "logout", "{}", answer.text);
            }
        }
    }
}
