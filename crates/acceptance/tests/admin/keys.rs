//! Keys, rotated and revoked by an administrator, whose own token is signed with one of them.

use futures_util::future::join_all;
use serde_json::{Value, json};
use testbed::service::{run, until};
use testbed::{Answer, Tokens, World, on_both_databases};

use crate::support::{ALL, ask, get, login_for, prepare, read, root, somebody, told};

fn of<'a>(keys: &'a Value, purpose: &str, state: &str) -> Option<&'a str> {
    let keys = keys["keys"].as_array().expect("keys");
    let found = keys.iter().find(|key| key["purpose"] == purpose && key["state"] == state)?;
    found["id"].as_str()
}

/// Has one made, or the one that is published take over.
async fn rotate(world: &World, tokens: &Tokens, purpose: &str, now: bool) -> Answer {
    ask(world, &tokens.access, "POST", "/keys", Some(json!({"purpose": purpose, "now": now}))).await
}

async fn revoke(world: &World, tokens: &Tokens, id: &str) -> Answer {
    ask(world, &tokens.access, "DELETE", &format!("/keys/{id}"), None).await
}

/// How many keys there are or were.
async fn count(world: &World) -> i64 {
    world.database.number("select count(*) from keys").await
}

on_both_databases! {
    async fn a_key_is_published_takes_over_and_is_revoked(world) {
        prepare(&mut world, &[]).await;
        let (root_id, tokens) = root(&world).await;
        let before = read(&world, &tokens.access, "/keys").await;
        let first = of(&before, "sign", "active").expect("a key").to_owned();
        let rotate = |now: bool| Some(json!({"purpose": "sign", "now": now}));
        let made = ask(&world, &tokens.access, "POST", "/keys", rotate(false)).await;
        assert_eq!(made.status, 201, "{}", made.text);
        assert_eq!((&made.json()["state"], &made.json()["takes_over_after"]), (&json!("published"), &json!(3600)));
        let again = ask(&world, &tokens.access, "POST", "/keys", rotate(false)).await;
        assert_eq!(again.member("id"), made.member("id"), "there is one already");
        let now = ask(&world, &tokens.access, "POST", "/keys", rotate(true)).await;
        assert_eq!((now.member("id"), now.member("state")), (made.member("id"), "active".to_owned()));
        let keys = read(&world, &tokens.access, "/keys").await;
        assert_eq!(of(&keys, "sign", "retiring"), Some(first.as_str()));
        assert!(!keys.to_string().contains("sealed") && !keys.to_string().contains("\"d\""));

        // The key of the administrator's own token: the revocation is their last deed with it.
        let revoked = ask(&world, &tokens.access, "DELETE", &format!("/keys/{first}"), None).await;
        assert_eq!(revoked.status, 204, "{}", revoked.text);
        until("the token of a revoked key is refused", async || {
            get(&world, &tokens.access, "/keys").await.status == 401
        })
        .await;
        let fresh = Tokens::of(&world.refresh(&tokens.refresh).await);
        let keys = read(&world, &fresh.access, "/keys").await;
        assert_eq!(of(&keys, "sign", "revoked"), Some(first.as_str()));
        let path = format!("/keys/{first}");
        assert_eq!(ask(&world, &fresh.access, "DELETE", &path, None).await.status, 204, "as before");
        for unknown in ["/keys/nokey", "/keys/..%2f"] {
            ask(&world, &fresh.access, "DELETE", unknown, None).await.assert_problem(404, "not-found");
        }
        for kind in ["key-published", "key-active", "key-revoked"] {
            let events = told(&world, &fresh.access, kind).await;
            assert!(events.iter().any(|event| event["actor"] == root_id), "{kind}: {events:?}");
        }
        // The first keys were made by the service.
        let made = told(&world, &fresh.access, "key-active").await;
        assert!(made.iter().any(|event| event["actor"] == Value::Null), "{made:?}");
    }

    async fn the_refresh_key_is_replaced_and_whoever_has_a_token_of_it_logs_in_again(world) {
        prepare(&mut world, &[]).await;
        let (_, tokens) = root(&world).await;
        let keys = read(&world, &tokens.access, "/keys").await;
        let key = of(&keys, "refresh", "active").expect("a key").to_owned();
        let answer = ask(&world, &tokens.access, "DELETE", &format!("/keys/{key}"), None).await;
        assert_eq!(answer.status, 204, "{}", answer.text);
        until("its tokens are refused", async || world.refresh(&tokens.refresh).await.status == 401).await;
        let again = login_for(&world, "root", &ALL).await;
        let keys = read(&world, &again.access, "/keys").await;
        let keys = keys["keys"].as_array().expect("keys");
        let revoked = keys.iter().find(|one| one["id"] == key).expect("it is listed");
        assert!(revoked["logs_out_until"].is_string(), "{revoked}");
    }

    /// Services hold each key for a while, and the revocation of one for ever.
    async fn no_more_keys_are_made_than_eight_in_a_day(world) {
        prepare(&mut world, &[]).await;
        let (_, tokens) = root(&world).await;
        for purpose in ["sign", "refresh"] {
            let mut made = Vec::new();
            // With the one of the start they are eight.
            for _ in 0..7 {
                let answer = rotate(&world, &tokens, purpose, true).await;
                assert_eq!((answer.status, answer.member("state").as_str()), (201, "active"), "{}", answer.text);
                made.push(answer.member("id"));
            }
            let before = count(&world).await;
            for now in [true, false] {
                let answer = rotate(&world, &tokens, purpose, now).await;
                answer.assert_problem(409, "too-many-keys");
                assert!(answer.member("detail").contains("command line"), "{}", answer.text);
            }
            // In the place of the active one another would have to be made; of one that retires, none.
            let (active, retiring) = (made.pop().expect("a key"), made.pop().expect("a key"));
            revoke(&world, &tokens, &active).await.assert_problem(409, "too-many-keys");
            assert_eq!(revoke(&world, &tokens, &retiring).await.status, 204);
            let keys = read(&world, &tokens.access, "/keys").await;
            assert_eq!((of(&keys, purpose, "active"), count(&world).await), (Some(active.as_str()), before));
            // Whoever has the database is not bound by it.
            let command = run("auth-service", &["keys", "rotate", "--purpose", purpose, "--now"], &world.auth_settings());
            assert!(command.status.success(), "{}", String::from_utf8_lossy(&command.stderr));
        }
        world.clock.advance(24 * 3600 + 1);
        // The service may have to hear of the last change first.
        until("another one is made", async || {
            let again = login_for(&world, "root", &ALL).await;
            rotate(&world, &again, "sign", true).await.status == 201
        })
        .await;
    }

    /// Whoever has learnt the secret of a key must not keep it alive by making others.
    async fn a_key_that_is_older_than_a_day_can_always_be_revoked(world) {
        prepare(&mut world, &[]).await;
        somebody(&world, "root", &["admin"]).await;
        world.clock.advance(24 * 3600 + 1);
        let tokens = login_for(&world, "root", &ALL).await;
        let keys = read(&world, &tokens.access, "/keys").await;
        let first = of(&keys, "refresh", "active").expect("a key").to_owned();
        // None of these takes the place of the first.
        for _ in 0..8 {
            let published = rotate(&world, &tokens, "refresh", false).await;
            assert_eq!(published.member("state"), "published");
            assert_eq!(revoke(&world, &tokens, &published.member("id")).await.status, 204);
        }
        rotate(&world, &tokens, "refresh", false).await.assert_problem(409, "too-many-keys");
        assert_eq!(revoke(&world, &tokens, &first).await.status, 204);
        let keys = read(&world, &tokens.access, "/keys").await;
        let second = of(&keys, "refresh", "active").expect("a key").to_owned();
        assert_ne!(second, first);
        revoke(&world, &tokens, &second).await.assert_problem(409, "too-many-keys");
        assert_eq!(revoke(&world, &tokens, &first).await.status, 204, "as before");
    }

    async fn of_many_at_once_no_more_are_made_either(world) {
        prepare(&mut world, &[]).await;
        let (_, tokens) = root(&world).await;
        // Each crowd makes one at the least, and more where some come after others are through.
        for _ in 0..8 {
            let answers = join_all((0..12).map(|_| rotate(&world, &tokens, "refresh", true))).await;
            assert!(answers.iter().all(|answer| [201, 409].contains(&answer.status)), "{answers:?}");
        }
        let made = "select count(*) from keys where purpose = 'refresh'";
        assert_eq!(world.database.number(made).await, 8);
        let events = told(&world, &tokens.access, "key-published").await;
        assert_eq!(events.len(), 7, "{events:?}");
    }
}
