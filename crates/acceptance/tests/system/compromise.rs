//! A stolen signing key, and a single token that is out in the open: entries that an administrator
//! writes, and every verifier obeys.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;
use testbed::service::until;
use testbed::{Kind, Tokens, World, on_both_databases};

/// The header (0) or the claims (1) of an access token.
fn part(access: &str, index: usize) -> Value {
    let segment = access.split('.').nth(index).expect("a segment");
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(segment).expect("base64url")).expect("JSON")
}

fn text(value: &Value) -> String {
    value.as_str().expect("text").to_owned()
}

/// Writes an entry as an administrator would; without an end if it is a key.
async fn revoke(world: &World, kind: &str, id: &str) {
    let expires_at = (kind != "key").then_some(9_999_999_999_999_i64);
    let sql = "insert into revocations (kind, id, created_at, expires_at) values ($1, $2, 0, $3)";
    match world.database.kind() {
        Kind::Postgres => {
            let pool = world.database.postgres().await;
            let insert = sqlx::query(sql).bind(kind).bind(id).bind(expires_at);
            insert.execute(&pool).await.expect("it is written");
        }
        Kind::Sqlite => {
            let pool = world.database.sqlite().await;
            let insert = sqlx::query(sql).bind(kind).bind(id).bind(expires_at);
            insert.execute(&pool).await.expect("it is written");
        }
    }
}

/// At the resource-service, and where the auth-service itself takes it.
async fn refused(world: &World, access: &str) {
    until("the resource-service refuses it", async || world.whoami(access).await.status == 401)
        .await;
    until("the auth-service refuses it", async || world.get_as(access, "/me").await.status == 401)
        .await;
    world.whoami(access).await.assert_problem(401, "invalid-token");
    world.get_as(access, "/me").await.assert_problem(401, "invalid-token");
}

async fn accepted(world: &World, access: &str) {
    assert_eq!(world.whoami(access).await.status, 200);
    assert_eq!(world.get_as(access, "/me").await.status, 200);
}

on_both_databases! {
    async fn a_token_that_is_out_is_refused_and_no_other_of_its_session(world) {
        let first = world.newcomer("ada").await;
        let second = Tokens::of(&world.refresh(&first.refresh).await);
        revoke(&world, "token", &text(&part(&first.access, 1)["jti"])).await;
        refused(&world, &first.access).await;
        accepted(&world, &second.access).await;
        assert_eq!(world.refresh(&second.refresh).await.status, 200, "the session lives");
    }

    /// Whoever has it can sign fresh tokens for ever, so it is refused for ever.
    async fn every_token_of_a_stolen_key_is_refused_for_ever(world) {
        let tokens = world.newcomer("ada").await;
        accepted(&world, &tokens.access).await;
        revoke(&world, "key", &text(&part(&tokens.access, 0)["kid"])).await;
        refused(&world, &tokens.access).await;
        let fresh = world.login("ada").await;
        refused(&world, &fresh.access).await;

        // Long after everything else is forgotten, to those that start then too, and although the
        // key set still has the key.
        world.clock.advance(100_000);
        world.store.purge_revocations(world.clock.now()).await.expect("the database answers");
        world.restart().await;
        let later = world.login("ada").await;
        world.whoami(&later.access).await.assert_problem(401, "invalid-token");
        world.get_as(&later.access, "/me").await.assert_problem(401, "invalid-token");
        let feed = world.http.get(format!("{}/internal/revocations", world.internal));
        let batch = testbed::Answer::to(feed.timeout(Duration::from_secs(5))).await.json();
        let entry = &batch["entries"][0];
        assert_eq!((&entry["kind"], entry.get("expires_in")), (&Value::from("key"), None));
    }
}
