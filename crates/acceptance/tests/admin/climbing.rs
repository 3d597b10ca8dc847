//! Nobody gets more than they have: not by giving roles, and not by taking the account of somebody who has more.

use serde_json::{Value, json};
use testbed::{PASSWORD, Tokens, World, on_both_databases};

use crate::support::{
    ALL, KEYS, USERS_READ, USERS_WRITE, ask, give, login_for, prepare, read, root, somebody,
};

/// Everything by which an account can be changed.
fn changes(id: &str) -> Vec<(&'static str, String, Option<Value>)> {
    let user = format!("/users/{id}");
    vec![
        ("PATCH", user.clone(), Some(json!({"enabled": false}))),
        ("PATCH", user.clone(), Some(json!({"enabled": true}))),
        ("PATCH", user.clone(), Some(json!({"roles": []}))),
        ("PATCH", user.clone(), Some(json!({"roles": ["editor"]}))),
        ("PATCH", user.clone(), Some(json!({"username": "other"}))),
        ("PATCH", user.clone(), Some(json!({"email": "mallory@example.com"}))),
        ("DELETE", user.clone(), None),
        ("PUT", format!("{user}/password"), Some(json!({"password": "another ordinary sentence"}))),
        // Nothing is spent on a password of theirs, and nothing said of it.
        ("PUT", format!("{user}/password"), Some(json!({"password": "short"}))),
        ("PUT", format!("{user}/password"), Some(json!({"password": "x".repeat(1025)}))),
    ]
}

async fn refused(world: &World, tokens: &Tokens, id: &str) {
    for (method, path, body) in changes(id) {
        let answer = ask(world, &tokens.access, method, &path, body.clone()).await;
        answer.assert_problem(403, "forbidden");
        assert!(answer.header("www-authenticate").is_none(), "another token would not help");
        assert!(answer.member("detail").contains("more than you may"), "{method} {path} {body:?}");
    }
}

on_both_databases! {
    async fn no_role_that_grants_more_can_be_given_or_taken(world) {
        prepare(&mut world, &[]).await;
        let own = somebody(&world, "sue", &["support"]).await;
        let other = somebody(&world, "ada", &[]).await;
        let tokens = login_for(&world, "sue", &[USERS_READ, USERS_WRITE]).await;
        for role in ["admin", KEYS] {
            for id in [&own, &other] {
                let body = Some(json!({"roles": ["support", role]}));
                ask(&world, &tokens.access, "PATCH", &format!("/users/{id}"), body).await
                    .assert_problem(403, "forbidden");
            }
            let body = Some(json!({"username": "mallory", "password": PASSWORD, "roles": [role]}));
            ask(&world, &tokens.access, "POST", "/users", body).await.assert_problem(403, "forbidden");
        }
        assert_eq!(world.database.number("select count(*) from users").await, 2);
        // What they have themselves, and what is nobody's business here, they may give.
        for roles in [json!(["support"]), json!(["editor", USERS_READ]), json!([])] {
            let body = Some(json!({"roles": roles}));
            let answer = ask(&world, &tokens.access, "PATCH", &format!("/users/{other}"), body).await;
            assert_eq!(answer.status, 200, "{}", answer.text);
        }
    }

    async fn no_account_that_may_do_more_can_be_taken_over(world) {
        prepare(&mut world, &[]).await;
        let (id, root) = root(&world).await;
        let keeper = somebody(&world, "kay", &["editor", KEYS]).await;
        somebody(&world, "sue", &["support"]).await;
        let tokens = login_for(&world, "sue", &[USERS_READ, USERS_WRITE]).await;
        for id in [&id, &keeper] {
            refused(&world, &tokens, id).await;
        }
        // With a token that allows less than they may have, an administrator is no more than the token.
        let narrow = login_for(&world, "root", &[USERS_WRITE]).await;
        for id in [&id, &keeper] {
            refused(&world, &narrow, id).await;
        }
        assert_eq!(world.database.number("select cast(sum(password_version) as bigint) from users").await, 3);
        let answer = ask(&world, &root.access, "PATCH", &format!("/users/{keeper}"), Some(json!({"roles": []}))).await;
        assert_eq!(answer.status, 200, "whoever may do all of it may: {}", answer.text);
        // Now it is an account as others are.
        let answer = ask(&world, &tokens.access, "PATCH", &format!("/users/{keeper}"), Some(json!({"enabled": false}))).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
    }

    /// The role comes between the look and the change, at whatever moment.
    async fn an_account_that_gets_more_meanwhile_is_not_taken_over(world) {
        prepare(&mut world, &[]).await;
        somebody(&world, "sue", &["support"]).await;
        let tokens = login_for(&world, "sue", &[USERS_READ, USERS_WRITE]).await;
        for round in 0..12 {
            let id = somebody(&world, &format!("user-{round}"), &[]).await;
            let body = Some(json!({"password": "another ordinary sentence"}));
            let path = format!("/users/{id}/password");
            let (answer, ()) = tokio::join!(
                ask(&world, &tokens.access, "PUT", &path, body),
                give(&world, &id, &["admin"]),
            );
            // Whichever was first: the password was set before the role came, or not at all.
            let user: claims::UserId = claims::UserId(id.parse().expect("an id"));
            let version = world.store.credentials_of(user).await.unwrap().unwrap().password_version;
            if answer.status == 204 {
                assert_eq!(version, 2);
                let order = "select count(*) from events p, events r where p.kind = 'password-changed' \
                    and r.kind = 'roles-changed' and r.reason = 'admin' and p.user_id = r.user_id and p.id > r.id";
                assert_eq!(world.database.number(order).await, 0, "the role was there first");
            } else {
                answer.assert_problem(403, "forbidden");
                assert_eq!(version, 1);
            }
        }
    }

    async fn sessions_of_whoever_may_do_more_can_be_ended_all_the_same(world) {
        prepare(&mut world, &[]).await;
        let (id, root) = root(&world).await;
        somebody(&world, "guard", &["latchkey:sessions:end"]).await;
        let tokens = login_for(&world, "guard", &["latchkey:sessions:end"]).await;
        let answer = ask(&world, &tokens.access, "DELETE", &format!("/users/{id}/sessions"), None).await;
        assert_eq!(answer.status, 204, "{}", answer.text);
        ask(&world, &root.access, "GET", "/users", None).await.assert_problem(401, "invalid-token");
        let again = login_for(&world, "root", &ALL).await;
        assert!(read(&world, &again.access, "/users").await["users"].is_array());
    }
}
