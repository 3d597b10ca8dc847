//! The audit log: filtered, page by page, and never all of it at once.

use serde_json::{Value, json};
use sqlx::AssertSqlSafe;
use testbed::{Kind, World, on_both_databases};

use crate::support::{AUDIT_READ, ask, login_for, prepare, read, root, somebody, told};

/// Adds entries that nothing else makes, at that time in milliseconds, one after the other.
async fn add(world: &World, kind: &str, user: Option<&str>, at: i64, count: u32) {
    let user = match (user, world.database.kind()) {
        (None, _) => "null".to_owned(),
        (Some(id), Kind::Postgres) => format!("'{id}'::uuid"),
        (Some(id), Kind::Sqlite) => format!("'{id}'"),
    };
    let numbers = match world.database.kind() {
        Kind::Postgres => format!("generate_series(1, {count}) n(i)"),
        Kind::Sqlite => format!(
            "(with recursive n(i) as (select 1 union all select i + 1 from n where i < {count}) select i from n) n"
        ),
    };
    let sql = format!(
        "insert into events (at, kind, user_id) select {at}, '{kind}', {user} from {numbers}"
    );
    world.database.execute(AssertSqlSafe(sql)).await;
}

/// All that a question finds, page by page; and how many pages that took.
async fn all(world: &World, access: &str, query: &str) -> (Vec<Value>, usize) {
    let (mut found, mut after, mut pages) = (Vec::new(), String::new(), 0);
    loop {
        let page = read(world, access, &format!("/events?{query}{after}")).await;
        found.extend(page["events"].as_array().expect("events").iter().cloned());
        pages += 1;
        let Some(next) = page["next"].as_i64() else { return (found, pages) };
        after = format!("&after={next}");
    }
}

on_both_databases! {
    async fn what_is_rare_is_found_behind_what_is_frequent(world) {
        prepare(&mut world, &[]).await;
        let (_, tokens) = root(&world).await;
        let ada = somebody(&world, "ada", &[]).await;
        add(&world, "rare", Some(&ada), 1_000, 3).await;
        add(&world, "frequent", None, 2_000, 25_000).await;
        add(&world, "login-failed", Some(&ada), 3_000, 12_000).await;
        let (rare, pages) = all(&world, &tokens.access, "kind=rare&limit=2").await;
        assert_eq!(rare.len(), 3);
        assert!((4..9).contains(&pages), "each looks at 10,000: {pages}");
        let (of_ada, _) = all(&world, &tokens.access, &format!("user={ada}&kind=rare")).await;
        assert_eq!(of_ada.len(), 3);
        let (everything, _) = all(&world, &tokens.access, "limit=500").await;
        let ids: Vec<_> = everything.iter().map(|event| event["id"].as_i64().expect("an id")).collect();
        assert!(ids.windows(2).all(|pair| pair[0] > pair[1]), "none twice, the latest first");
        assert!(ids.len() > 37_000, "{}", ids.len());
        // From 1970 they are; what is asked for since then is not walked to.
        let (none, pages) = all(&world, &tokens.access, "kind=rare&since=2020-01-01T00:00:00Z").await;
        assert_eq!(none.len(), 0);
        assert!(pages < 4, "{pages}");
        let (old, _) = all(&world, &tokens.access, "until=1970-01-01T00:00:01.500Z&limit=500").await;
        assert_eq!(old.len(), 3);
    }

    async fn a_filter_finds_what_it_says_and_nothing_else(world) {
        prepare(&mut world, &[]).await;
        let (root_id, tokens) = root(&world).await;
        let ada = somebody(&world, "ada", &[]).await;
        world.login("ada").await;
        let body = json!({"username": "ada", "password": "not the one at all"});
        world.post("/login", &body).await.assert_problem(401, "invalid-credentials");
        testbed::service::until("the failed login is told", async || {
            !told(&world, &tokens.access, "login-failed").await.is_empty()
        })
        .await;
        let (of_ada, _) = all(&world, &tokens.access, &format!("user={ada}&limit=1")).await;
        let kinds: Vec<_> = of_ada.iter().map(|event| event["kind"].as_str().expect("a kind")).collect();
        assert_eq!(kinds, ["login-failed", "login", "registered"]);
        assert!(of_ada[0]["subject"].is_string() && of_ada[1]["ip"].is_string());
        let (none, _) = all(&world, &tokens.access, "until=2020-01-01T00:00:00Z").await;
        assert_eq!(none.len(), 0);
        let (all_since, _) = all(&world, &tokens.access, "since=2020-01-01T00:00:00%2B01:00").await;
        assert!(all_since.len() > 4);
        let (hostile, _) = all(&world, &tokens.access, "kind=%27%20or%201%3D1--").await;
        assert_eq!(hostile.len(), 0);
        // Reading changes nothing and tells nothing of itself.
        let before = world.database.number("select count(*) from events").await;
        all(&world, &tokens.access, "").await;
        assert_eq!(world.database.number("select count(*) from events").await, before);
        // Whoever reads the log may do nothing else.
        somebody(&world, "auditor", &[AUDIT_READ]).await;
        let auditor = login_for(&world, "auditor", &[AUDIT_READ]).await;
        assert!(!told(&world, &auditor.access, "login").await.is_empty());
        ask(&world, &auditor.access, "PATCH", &format!("/users/{root_id}"), Some(json!({"roles": []}))).await
            .assert_problem(403, "forbidden");
    }
}
