//! People who have an address and no name.

use futures_util::future::join_all;
use serde_json::{Value, json};
use testbed::{Answer, PASSWORD, Tokens, World, on_both_databases};

use crate::support::{assert_one_sentence, claims_of};

async fn register(world: &World, email: &str) -> Answer {
    world.post("/register", &json!({"email": email, "password": PASSWORD})).await
}

async fn log_in(world: &World, name: &str) -> Answer {
    world.post("/login", &json!({"username": name, "password": PASSWORD})).await
}

on_both_databases! {
    async fn an_address_is_enough_to_register_and_to_log_in(world) {
        let answer = register(&world, "Ada@example.com").await;
        assert_eq!(answer.status, 201, "{}", answer.text);
        let user = answer.json()["user"].clone();
        assert_eq!((&user["username"], &user["email"]), (&Value::Null, &json!("Ada@example.com")));
        let tokens = Tokens::of(&log_in(&world, "ada@EXAMPLE.com").await);
        let claims = claims_of(&tokens.access);
        assert!(claims["scope"].as_str().is_some_and(|scope| scope.contains("profile")));
        assert!(claims.get("preferred_username").is_none(), "{claims}");
        assert!(claims.get("email").is_none(), "nobody asked for it");
        let me = world.get_as(&tokens.access, "/me").await.json();
        assert_eq!((&me["id"], &me["username"]), (&user["id"], &Value::Null));
        let whoami = world.whoami(&tokens.access).await;
        assert_eq!(whoami.status, 200, "{}", whoami.text);
        assert!(whoami.json()["username"].is_null(), "{}", whoami.text);
        let again = Tokens::of(&world.refresh(&tokens.refresh).await);
        assert!(claims_of(&again.access).get("preferred_username").is_none());
    }

    /// Whoever has both may use either, and it is one account.
    async fn whoever_has_a_name_and_an_address_logs_in_by_either(world) {
        let body = json!({"username": "Ada", "email": "ada@example.com", "password": PASSWORD});
        assert_eq!(world.post("/register", &body).await.status, 201);
        let by_name = Tokens::of(&log_in(&world, "ADA").await);
        let by_address = Tokens::of(&log_in(&world, "Ada@Example.com").await);
        assert_eq!(claims_of(&by_name.access)["sub"], claims_of(&by_address.access)["sub"]);
    }

    async fn an_account_needs_one_of_the_two(world) {
        for body in [
            json!({"password": PASSWORD}),
            json!({"password": PASSWORD, "username": null}),
            json!({"password": PASSWORD, "username": null, "email": null}),
            json!({"password": PASSWORD, "username": "", "email": "ada@example.com"}),
            json!({"password": PASSWORD, "username": "ada", "email": ""}),
        ] {
            let answer = world.post("/register", &body).await;
            answer.assert_problem(400, "invalid-request");
            assert_one_sentence(&answer);
        }
        assert_eq!(world.database.number("select count(*) from users").await, 0);
    }

    async fn of_sixteen_registrations_of_one_address_without_a_name_one_wins(world) {
        let spellings = ["ada@example.com", "ADA@example.com", "ａda@EXAMPLE.com", "ada\u{34f}@example.com"];
        let attempts = (0..16).map(|n| register(&world, spellings[n % spellings.len()]));
        let answers = join_all(attempts).await;
        for lost in answers.iter().filter(|answer| answer.status != 201) {
            lost.assert_problem(409, "conflict");
        }
        assert_eq!(world.database.number("select count(*) from users").await, 1);
        // Whoever has a name as well does not take somebody's address from them.
        let body = json!({"username": "eve", "email": "Ada@example.com", "password": PASSWORD});
        world.post("/register", &body).await.assert_problem(409, "conflict");
        for other in ["bob@example.com", "eve@example.com"] {
            assert_eq!(register(&world, other).await.status, 201);
        }
    }

    /// What stands in the place of the name is nothing that anybody can be called or can type.
    async fn nobody_logs_in_by_the_name_that_somebody_does_not_have(world) {
        let answer = register(&world, "ada@example.com").await;
        let id = answer.json()["user"]["id"].as_str().expect("an id").to_owned();
        for name in ["", "@", "-", "null", &id, &format!("@{id}"), &format!("\u{3164}@{id}"), "ada", "ada@"] {
            log_in(&world, name).await.assert_problem(401, "invalid-credentials");
            if name != "ada" && name != "-" && name != "null" {
                let body = json!({"username": name, "password": PASSWORD});
                world.post("/register", &body).await.assert_problem(400, "invalid-request");
            }
            let body = json!({"username": "eve", "email": name, "password": PASSWORD});
            world.post("/register", &body).await.assert_problem(400, "invalid-request");
        }
        assert_eq!(log_in(&world, "ada@example.com").await.status, 200);
    }

    /// Names and addresses have nothing in common, so no name blocks or takes over a login by address.
    async fn a_name_that_looks_like_somebodys_address_is_nobodys(world) {
        assert_eq!(register(&world, "ada@example.com").await.status, 201);
        for name in ["ada@example.com", "ada＠example.com", "ada﹫example.com"] {
            let body = json!({"username": name, "email": "eve@example.com", "password": PASSWORD});
            world.post("/register", &body).await.assert_problem(400, "invalid-request");
        }
        let body = json!({"username": "ada", "password": "quite another sentence"});
        assert_eq!(world.post("/register", &body).await.status, 201);
        let body = json!({"username": "ada.example.com", "password": "quite another sentence"});
        assert_eq!(world.post("/register", &body).await.status, 201);
        assert_eq!(log_in(&world, "ada@example.com").await.status, 200);
        log_in(&world, "ada").await.assert_problem(401, "invalid-credentials");
    }

    async fn a_password_that_is_the_address_is_refused(world) {
        let body = json!({"email": "somebody@example.com", "password": "my somebody@example.com"});
        let answer = world.post("/register", &body).await;
        answer.assert_problem(422, "password-policy");
        assert_eq!(answer.json()["violations"], json!(["contains_name"]));
    }

    /// A program of before reads a text there and compares by a key that is nobody else's.
    async fn programs_of_before_find_what_they_read(world) {
        for email in ["ada@example.com", "eve@example.com"] {
            assert_eq!(register(&world, email).await.status, 201);
        }
        let sql = "select count(*) from users where username = '' and username_key = '@' || cast(id as text)";
        assert_eq!(world.database.number(sql).await, 2);
    }
}
