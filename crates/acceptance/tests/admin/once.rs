//! `Idempotency-Key`: what is asked for twice is done once.

use futures_util::future::join_all;
use serde_json::{Value, json};
use testbed::{Answer, PASSWORD, World, on_both_databases};

use crate::support::{ALL, login_for, prepare, read, request, root, somebody};

async fn post(world: &World, access: &str, path: &str, key: &str, body: &Value) -> Answer {
    let request = request(world, access, "POST", path).header("idempotency-key", key);
    Answer::to(request.json(body)).await
}

async fn users(world: &World) -> i64 {
    world.database.number("select count(*) from users").await
}

on_both_databases! {
    async fn a_repetition_gets_the_same_answer_and_makes_nothing(world) {
        prepare(&mut world, &[]).await;
        somebody(&world, "root", &["admin"]).await;
        world.set("AUTH__REGISTRATION", "invite");
        world.restart().await;
        let tokens = login_for(&world, "root", &ALL).await.access;
        let body = json!({"username": "ada", "password": PASSWORD});
        let first = post(&world, &tokens, "/users", "\"k-1\"", &body).await;
        assert_eq!(first.status, 201, "{}", first.text);
        for key in ["\"k-1\"", "k-1"] {
            let again = post(&world, &tokens, "/users", key, &body).await;
            assert_eq!(again.told(), first.told(), "{key}");
        }
        assert_eq!(users(&world).await, 2);
        // Another request: in the body, and on another route.
        for (path, other) in [
            ("/users", json!({"username": "eve", "password": PASSWORD})),
            ("/users", json!({"username": "ada", "password": PASSWORD, "roles": []})),
            ("/keys", json!({"purpose": "sign"})),
            ("/invitations", json!({})),
        ] {
            post(&world, &tokens, path, "\"k-1\"", &other).await
                .assert_problem(422, "idempotency-key-reused");
        }
        assert_eq!(users(&world).await, 2);
        assert_eq!(world.database.number("select count(*) from invitations").await, 0);

        let invited = post(&world, &tokens, "/invitations", "\"k-2\"", &json!({})).await;
        let again = post(&world, &tokens, "/invitations", "\"k-2\"", &json!({})).await;
        assert_eq!((again.status, again.member("id")), (201, invited.member("id")));
        assert_eq!((&again.json()["token"], &again.json()["link"]), (&Value::Null, &Value::Null));
        assert_eq!(world.database.number("select count(*) from invitations").await, 1);

        let rotate = json!({"purpose": "refresh", "now": true});
        let rotated = post(&world, &tokens, "/keys", "\"k-3\"", &rotate).await;
        assert_eq!(rotated.member("state"), "active");
        let again = post(&world, &tokens, "/keys", "\"k-3\"", &rotate).await;
        assert_eq!(again.told(), rotated.told());
        let keys = read(&world, &tokens, "/keys").await.to_string();
        assert_eq!(keys.matches("\"refresh\"").count(), 2, "{keys}");
    }

    async fn what_failed_may_be_tried_again_with_its_key(world) {
        prepare(&mut world, &[]).await;
        let (_, tokens) = root(&world).await;
        let id = somebody(&world, "ada", &[]).await;
        let body = json!({"username": "ada", "password": PASSWORD});
        post(&world, &tokens.access, "/users", "\"k\"", &body).await.assert_problem(409, "conflict");
        assert_eq!(world.database.number("select count(*) from idempotency_keys").await, 0);
        world.database.execute(sqlx::AssertSqlSafe(format!("delete from users where id = '{id}'"))).await;
        assert_eq!(post(&world, &tokens.access, "/users", "\"k\"", &body).await.status, 201);
    }

    async fn of_many_at_once_one_is_done(world) {
        prepare(&mut world, &[]).await;
        let (_, tokens) = root(&world).await;
        let body = json!({"username": "ada", "password": PASSWORD});
        let answers = join_all((0..12).map(|_| post(&world, &tokens.access, "/users", "\"k\"", &body))).await;
        let first = &answers[0];
        for answer in &answers {
            assert_eq!(answer.status, 201, "{}", answer.text);
            assert_eq!(answer.member("id"), first.member("id"));
        }
        assert_eq!(users(&world).await, 2);
        // Of many different ones with one key, one is done too.
        let bodies: Vec<_> = (0..12).map(|number| json!({"username": format!("eve-{number}"), "password": PASSWORD})).collect();
        let answers = join_all(bodies.iter().map(|body| post(&world, &tokens.access, "/users", "\"k2\"", body))).await;
        let done = answers.iter().filter(|answer| answer.status == 201).count();
        assert_eq!(done, 1);
        for answer in answers.iter().filter(|answer| answer.status != 201) {
            answer.assert_problem(422, "idempotency-key-reused");
        }
        assert_eq!(users(&world).await, 3);
    }

    async fn a_key_is_of_one_administrator_and_of_one_day_and_tells_nothing(world) {
        prepare(&mut world, &[]).await;
        let (_, tokens) = root(&world).await;
        somebody(&world, "other", &["admin"]).await;
        let other = login_for(&world, "other", &ALL).await;
        let body = |name: &str| json!({"username": name, "password": PASSWORD});
        assert_eq!(post(&world, &tokens.access, "/users", "\"secret-key\"", &body("ada")).await.status, 201);
        assert_eq!(post(&world, &other.access, "/users", "\"secret-key\"", &body("eve")).await.status, 201);
        let told = "select count(*) from idempotency_keys where key like '%secret%' or request like '%ordinary%' \
            or length(key) <> 22 or length(request) <> 22 or length(result) <> 36";
        assert_eq!(world.database.number(told).await, 0);
        world.clock.advance(24 * 3600 + 1);
        let again = login_for(&world, "root", &ALL).await;
        let late = post(&world, &again.access, "/users", "\"secret-key\"", &body("ada")).await;
        late.assert_problem(409, "conflict");
        let before = claims::Timestamp(i64::MAX);
        let purged = world.store.purge_idempotency_keys(before, 1).await.expect("the database answers");
        assert_eq!((purged, world.database.number("select count(*) from idempotency_keys").await), (1, 0));
    }

    async fn what_is_no_key_is_refused(world) {
        prepare(&mut world, &[]).await;
        let (_, tokens) = root(&world).await;
        let body = json!({"username": "ada", "password": PASSWORD});
        let long = format!("\"{}\"", "k".repeat(129));
        for bad in ["", "\"\"", "\"a b\"", "\"a", "a\"", "a, b", "\"a\", \"b\"", "\"a\\\"b\"", "\"a\";x=1", &long] {
            let answer = post(&world, &tokens.access, "/users", bad, &body).await;
            answer.assert_problem(400, "invalid-request");
        }
        let twice = request(&world, &tokens.access, "POST", "/users").header("idempotency-key", "\"a\"")
            .header("idempotency-key", "\"a\"").json(&body);
        Answer::to(twice).await.assert_problem(400, "invalid-request");
        assert_eq!(users(&world).await, 1);
    }
}
