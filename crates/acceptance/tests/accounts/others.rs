//! N-U08: what is done with a token is done to who it speaks for, while their session is live.

use serde_json::json;
use testbed::{Answer, PASSWORD, World, on_both_databases};

use crate::support::state;

const NEW: &str = "another quite ordinary sentence";

async fn change_password(world: &World, access: &str, current: &str, new: &str) -> Answer {
    let body = json!({"current_password": current, "new_password": new});
    world.post_as(access, "/password", &body).await
}

async fn log_in(world: &World, username: &str, password: &str) -> Answer {
    world.post("/login", &json!({"username": username, "password": password})).await
}

on_both_databases! {
    async fn somebody_elses_token_or_an_old_one_changes_no_password(world) {
        world.register("ada").await;
        let eve = world.newcomer("eve").await;
        assert_eq!(change_password(&world, &eve.access, PASSWORD, NEW).await.status, 204);
        world.login("ada").await;
        assert_eq!(log_in(&world, "eve", NEW).await.status, 200);
        let over = world.login("ada").await;
        assert_eq!(world.logout(&over.refresh, "current").await.status, 204);
        let old = world.login("ada").await;
        let before = state(&world).await;
        change_password(&world, &over.access, PASSWORD, NEW).await.assert_problem(401, "invalid-token");
        change_password(&world, &old.refresh, PASSWORD, NEW).await.assert_problem(401, "invalid-token");
        world.clock.advance(700);
        change_password(&world, &old.access, PASSWORD, NEW).await.assert_problem(401, "invalid-token");
        assert_eq!(state(&world).await, before);
    }
}
