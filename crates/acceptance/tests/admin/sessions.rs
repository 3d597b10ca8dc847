//! Sessions of others: looked at and ended.

use serde_json::json;
use testbed::on_both_databases;

use crate::support::{NOBODY, ask, prepare, read, root, somebody, told};

on_both_databases! {
    async fn sessions_are_looked_at_and_ended_one_by_one_and_all(world) {
        prepare(&mut world, &[]).await;
        let (root_id, tokens) = root(&world).await;
        let id = somebody(&world, "ada", &[]).await;
        let (one, two, three) =
            (world.login("ada").await, world.login("ada").await, world.login("ada").await);
        let listed = read(&world, &tokens.access, &format!("/users/{id}/sessions")).await;
        let listed: Vec<_> = listed["sessions"].as_array().expect("sessions").iter()
            .map(|session| session["id"].as_str().expect("an id").to_owned()).collect();
        assert_eq!(listed, [&three.session, &two.session, &one.session].map(Clone::clone));
        let own = read(&world, &tokens.access, &format!("/users/{root_id}/sessions")).await;
        assert_eq!(own["sessions"][0]["current"], true);

        let path = format!("/sessions/{}", one.session);
        for _ in 0..2 {
            assert_eq!(ask(&world, &tokens.access, "DELETE", &path, None).await.status, 204);
        }
        world.until_refused(&one.access).await;
        let refused = world.refresh(&one.refresh).await;
        refused.assert_problem(401, "session-revoked");
        assert_eq!(refused.json()["reason"], "admin");
        assert_eq!(world.whoami(&two.access).await.status, 200);
        let path = format!("/users/{id}/sessions");
        assert_eq!(ask(&world, &tokens.access, "DELETE", &path, None).await.status, 204);
        world.until_refused(&two.access).await;
        world.refresh(&three.refresh).await.assert_problem(401, "session-revoked");
        assert_eq!(read(&world, &tokens.access, &path).await, json!({"sessions": []}));

        for kind in ["session-ended", "all-sessions-ended"] {
            let events = told(&world, &tokens.access, kind).await;
            assert_eq!(events.len(), 1, "{kind}: what is over is not ended again: {events:?}");
            assert_eq!((&events[0]["actor"], &events[0]["reason"]), (&json!(root_id), &json!("admin")));
        }
        let unknown = "/sessions/AAAAAAAAAAAAAAAAAAAAAA";
        ask(&world, &tokens.access, "DELETE", unknown, None).await.assert_problem(404, "not-found");
        ask(&world, &tokens.access, "DELETE", "/sessions/x", None).await.assert_problem(404, "not-found");
        ask(&world, &tokens.access, "DELETE", &format!("/users/{NOBODY}/sessions"), None).await
            .assert_problem(404, "not-found");
    }
}
