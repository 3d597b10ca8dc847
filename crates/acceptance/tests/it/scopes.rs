//! Scopes that are bound to roles, to a service, or to both; and those of administrators.

use std::time::{Duration, Instant};

use auth_service::identity::admin_scopes;
use serde_json::{Value, json};
use testbed::world::{AUDIENCE, ISSUER};
use testbed::{Answer, PASSWORD, Tokens, World, on_both_databases};

use crate::present::{claims, restart_with, write_report};
use crate::store::credentials;

const OTHER: &str = "https://other.example";

async fn bind(world: &mut World, table: &Value) {
    restart_with(world, &[("AUTH__SCOPES", &table.to_string())]).await;
}

async fn give_roles(world: &World, roles: &[&str]) {
    let user = credentials(&world.store, "ada").await.user;
    let roles = roles.iter().map(|role| (*role).to_owned()).collect();
    assert!(world.store.set_roles(user, roles).await.unwrap());
}

async fn try_login(world: &World, more: Value) -> Answer {
    let mut body = json!({"username": "ada", "password": PASSWORD});
    for (name, value) in more.as_object().expect("an object") {
        body[name] = value.clone();
    }
    world.post("/login", &body).await
}

async fn log_in(world: &World, more: Value) -> Tokens {
    Tokens::of(&try_login(world, more).await)
}

/// What the answer says that the token allows, after a look at whether the token says so too.
#[track_caller]
fn granted(tokens: &Tokens) -> String {
    let told = tokens.json["scope"].as_str().expect("text").to_owned();
    let claims = claims(&tokens.access);
    assert_eq!(claims.get("scope").cloned().unwrap_or(json!("")), told);
    told
}

on_both_databases! {
    async fn a_scope_that_takes_a_role_comes_and_goes_with_it(world) {
        bind(&mut world, &json!({"reports:write": {"roles": ["editor", "chief"]}})).await;
        let first = world.newcomer("ada").await;
        assert_eq!(granted(&first), "profile reports:read", "others are for everybody");
        assert_eq!(write_report(&world, &first).await, 403);
        // Asking for it helps nobody, and is no error: RFC 6749 §3.3 has the answer say what was granted.
        let asked = log_in(&world, json!({"scope": "reports:write"})).await;
        assert_eq!(granted(&asked), "");
        for other in [&["writer"][..], &["Editor"], &["editors", "edit"]] {
            give_roles(&world, other).await;
            assert_eq!(granted(&Tokens::of(&world.refresh(&asked.refresh).await)), "", "{other:?}");
        }
        // It comes with the role, also to sessions that were there.
        give_roles(&world, &["auditor", "chief"]).await;
        for _ in 0..2 {
            let next = Tokens::of(&world.refresh(&first.refresh).await);
            assert_eq!(granted(&next), "profile reports:read reports:write");
            assert_eq!(write_report(&world, &next).await, 201);
            let next = Tokens::of(&world.refresh(&asked.refresh).await);
            assert_eq!(granted(&next), "reports:write");
        }
        let narrow = log_in(&world, json!({"scope": "reports:read"})).await;
        assert_eq!(granted(&narrow), "reports:read", "nobody gets what they did not ask for");
        // And it goes with the role, also within the window, where nothing is rotated.
        give_roles(&world, &[]).await;
        for tokens in [&first, &asked] {
            for _ in 0..2 {
                let next = Tokens::of(&world.refresh(&tokens.refresh).await);
                assert!(!granted(&next).contains("write"));
                assert_eq!(write_report(&world, &next).await, 403);
            }
        }
        bind(&mut world, &json!({})).await;
        let free = Tokens::of(&world.refresh(&asked.refresh).await);
        assert_eq!(granted(&free), "reports:write", "what is bound to nothing is for everybody");
    }

    async fn a_scope_that_belongs_to_a_service_is_in_tokens_for_it_only(world) {
        world.set("AUTH__TOKENS__AUDIENCE", &format!("{AUDIENCE},{OTHER}"));
        bind(&mut world, &json!({
            "reports:read": {"audience": AUDIENCE},
            "reports:write": {"audience": AUDIENCE, "roles": ["editor"]},
            "email": {"audience": ISSUER},
        })).await;
        world.register("ada").await;
        let all = json!("profile email reports:read reports:write");
        for (resource, without, with) in [
            (json!(null), "profile email reports:read", "profile email reports:read reports:write"),
            (json!(AUDIENCE), "profile reports:read", "profile reports:read reports:write"),
            (json!(OTHER), "profile", "profile"),
            (json!([ISSUER, OTHER]), "profile email", "profile email"),
        ] {
            give_roles(&world, &[]).await;
            let more = json!({"scope": all.clone(), "resource": resource.clone()});
            let tokens = log_in(&world, more).await;
            assert_eq!(granted(&tokens), without, "{resource}");
            give_roles(&world, &["editor"]).await;
            assert_eq!(granted(&Tokens::of(&world.refresh(&tokens.refresh).await)), with, "{resource}");
        }
        // A token that a refresh narrows loses what belongs elsewhere, and the session does not.
        let wide = log_in(&world, json!({})).await;
        assert_eq!(granted(&wide), "profile reports:read reports:write");
        let body = json!({"refresh_token": wide.refresh, "resource": OTHER});
        let narrow = Tokens::of(&world.post("/refresh", &body).await);
        assert_eq!(granted(&narrow), "profile");
        let again = Tokens::of(&world.refresh(&wide.refresh).await);
        assert_eq!((granted(&again), &again.refresh), (granted(&wide), &narrow.refresh));
    }

    async fn the_scopes_of_administrators_are_for_those_to_whom_the_settings_bind_them(world) {
        world.register("ada").await;
        give_roles(&world, &["admin"]).await;
        for scope in admin_scopes::ALL {
            let answer = try_login(&world, json!({"scope": scope})).await;
            answer.assert_problem(400, "invalid-request");
        }
        bind(&mut world, &json!({
            "latchkey:users:read": {"roles": ["admin", "support"]},
            "latchkey:keys": {"roles": ["admin"]},
        })).await;
        for unbound in ["latchkey:audit:read", "latchkey:users:write", "latchkey:x", "latchkey:"] {
            let scope = format!("profile latchkey:keys {unbound}");
            try_login(&world, json!({ "scope": scope })).await.assert_problem(400, "invalid-request");
        }
        assert_eq!(granted(&world.login("ada").await), "profile reports:read reports:write", "never by default");
        let asked = json!({"scope": "profile latchkey:keys latchkey:users:read"});
        let tokens = log_in(&world, asked.clone()).await;
        assert_eq!(granted(&tokens), "profile latchkey:keys latchkey:users:read");
        // They are good at the issuer only.
        for (resource, told) in [
            (json!(AUDIENCE), "profile"),
            (json!(ISSUER), "profile latchkey:keys latchkey:users:read"),
        ] {
            let body = json!({"refresh_token": tokens.refresh, "resource": resource});
            assert_eq!(granted(&Tokens::of(&world.post("/refresh", &body).await)), told);
        }
        give_roles(&world, &["support"]).await;
        let next = Tokens::of(&world.refresh(&tokens.refresh).await);
        assert_eq!(granted(&next), "profile latchkey:users:read");
        give_roles(&world, &["editor"]).await;
        assert_eq!(granted(&log_in(&world, asked).await), "profile");
        // Nor does anybody get one by the table of clients.
        give_roles(&world, &["admin"]).await;
        bind(&mut world, &json!({})).await;
        let free = Tokens::of(&world.refresh(&tokens.refresh).await);
        assert_eq!(granted(&free), "profile", "they are bound to nothing any more");
        world.database.execute("update clients set scopes = 'latchkey:keys'").await;
        let deadline = Instant::now() + Duration::from_secs(30);
        loop {
            let now = granted(&Tokens::of(&world.refresh(&tokens.refresh).await));
            if now != "profile" {
                assert_eq!(now, "");
                break;
            }
            assert!(Instant::now() < deadline, "the service does not hear of it");
            tokio::time::sleep(Duration::from_millis(250)).await;
        }
    }
}
