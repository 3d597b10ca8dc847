//! Keys, rotated and revoked by an administrator, whose own token is signed with one of them.

use serde_json::{Value, json};
use testbed::service::until;
use testbed::{Tokens, on_both_databases};

use crate::support::{ALL, ask, get, login_for, prepare, read, root, told};

fn of<'a>(keys: &'a Value, purpose: &str, state: &str) -> Option<&'a str> {
    let keys = keys["keys"].as_array().expect("keys");
    let found = keys.iter().find(|key| key["purpose"] == purpose && key["state"] == state)?;
    found["id"].as_str()
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
}
