//! Invitations by an administrator.

use serde_json::{Value, json};
use testbed::{PASSWORD, on_both_databases};

use crate::support::{ALL, ask, login_for, prepare, read, root, somebody, told};

on_both_databases! {
    async fn somebody_is_invited_and_comes_in(world) {
        prepare(&mut world, &[]).await;
        let root_id = somebody(&world, "root", &["admin"]).await;
        world.set("AUTH__REGISTRATION", "invite");
        world.restart().await;
        let tokens = login_for(&world, "root", &ALL).await;
        let body = json!({"email": "Ada@example.com", "expires_hours": 1});
        let made = ask(&world, &tokens.access, "POST", "/invitations", Some(body)).await;
        assert_eq!(made.status, 201, "{}", made.text);
        let (id, token) = (made.member("id"), made.member("token"));
        assert_eq!((&made.json()["state"], &made.json()["link"]), (&json!("open"), &Value::Null));
        let other = ask(&world, &tokens.access, "POST", "/invitations", Some(json!({}))).await;
        let listed = read(&world, &tokens.access, "/invitations?limit=1").await;
        assert_eq!((&listed["invitations"][0]["id"], &listed["next"]), (&json!(id), &json!(id)));
        let rest = read(&world, &tokens.access, &format!("/invitations?after={id}")).await;
        assert_eq!(rest["invitations"][0]["id"], other.member("id"));
        assert_eq!(rest["next"], Value::Null);
        assert!(!listed.to_string().contains(&token[5..]));

        let body = json!({"username": "ada", "password": PASSWORD, "email": "ada@example.com", "invitation": token});
        assert_eq!(world.post("/register", &body).await.status, 201);
        let listed = read(&world, &tokens.access, "/invitations").await;
        assert_eq!(listed["invitations"][0]["state"], "used");
        assert_eq!(listed["invitations"][0]["user_id"].as_str().map(str::len), Some(36));
        let path = format!("/invitations/{}", other.member("id"));
        assert_eq!(ask(&world, &tokens.access, "DELETE", &path, None).await.status, 204);
        for gone in [&path, &format!("/invitations/{id}"), "/invitations/inv1.x"] {
            let answer = ask(&world, &tokens.access, "DELETE", gone, None).await;
            answer.assert_problem(404, "not-found");
            assert!(!answer.text.contains("inv1"), "it may be the token");
        }
        for bad in [json!({"expires_hours": 0}), json!({"expires_hours": 721}), json!({"email": "ada"})] {
            ask(&world, &tokens.access, "POST", "/invitations", Some(bad)).await
                .assert_problem(400, "invalid-request");
        }
        let taken = Some(json!({"email": "ADA@example.com"}));
        ask(&world, &tokens.access, "POST", "/invitations", taken).await.assert_problem(409, "conflict");
        for kind in ["invited", "invitation-revoked"] {
            let events = told(&world, &tokens.access, kind).await;
            assert!(!events.is_empty() && events.iter().all(|event| event["actor"] == root_id), "{kind}");
        }
        assert_eq!(told(&world, &tokens.access, "invitation-used").await[0]["actor"], Value::Null);
    }

    async fn nobody_is_invited_where_nobody_could_use_it(world) {
        prepare(&mut world, &[]).await;
        let (_, tokens) = root(&world).await;
        let answer = ask(&world, &tokens.access, "POST", "/invitations", Some(json!({}))).await;
        answer.assert_problem(400, "invalid-request");
        assert!(answer.member("detail").contains("Registration is open"), "{}", answer.text);
        assert_eq!(world.database.number("select count(*) from invitations").await, 0);
    }
}
