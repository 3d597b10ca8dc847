//! One audience at a time: `resource` (RFC 8707) at login and refresh.

use futures_util::future::join_all;
use serde_json::{Value, json};
use testbed::world::{AUDIENCE, ISSUER};
use testbed::{Answer, PASSWORD, Tokens, World, on_both_databases};

use crate::present::{claims, restart_with};

const OTHER: &str = "https://other.example";

/// With one service more than the usual one.
async fn with_two_services(world: &mut World) {
    restart_with(world, &[("AUTH__TOKENS__AUDIENCE", &format!("{AUDIENCE},{OTHER}"))]).await;
}

async fn try_login(world: &World, resource: Value) -> Answer {
    let body = json!({"username": "ada", "password": PASSWORD, "resource": resource});
    world.post("/login", &body).await
}

async fn log_in(world: &World, resource: Value) -> Tokens {
    Tokens::of(&try_login(world, resource).await)
}

async fn refresh(world: &World, tokens: &Tokens, resource: Value) -> Answer {
    let body = json!({"refresh_token": tokens.refresh, "resource": resource});
    world.post("/refresh", &body).await
}

async fn form(world: &World, more: &str) -> Answer {
    let body = format!("username=ada&password={}{more}", PASSWORD.replace(' ', "+"));
    let request = world.http.post(format!("{}/login", world.auth));
    let request = request.header("content-type", "application/x-www-form-urlencoded");
    Answer::to(request.body(body)).await
}

fn aud(tokens: &Tokens) -> Value {
    claims(&tokens.access)["aud"].clone()
}

/// Everything that a refresh or a login could change.
async fn state(world: &World) -> i64 {
    let sql = "select (select count(*) * 1000000 + coalesce(sum(generation), 0) * 1000 from sessions) \
               + (select count(*) from events)";
    // A sum is no integer on Postgres.
    let sql = match world.database.kind() {
        testbed::Kind::Postgres => concat!(
            "select cast((select count(*) * 1000000 + coalesce(sum(generation), 0) * 1000 from sessions) ",
            "+ (select count(*) from events) as bigint)"
        ),
        testbed::Kind::Sqlite => sql,
    };
    world.database.number(sql).await
}

/// What names no service of ours, or one twice.
fn bad_resources() -> Vec<Value> {
    let mut bad = vec![
        json!([]),
        json!([""]),
        json!([AUDIENCE, AUDIENCE]),
        json!([AUDIENCE, ""]),
        json!([AUDIENCE, "https://evil.example"]),
        json!([ISSUER, AUDIENCE, OTHER, ISSUER]),
        json!(vec![""; 5000]),
        json!(vec![AUDIENCE; 500]),
    ];
    bad.extend(
        [
            "",
            " ",
            "*",
            "latchkey",
            "https://evil.example",
            "http://127.0.0.1:8081/",
            "http://127.0.0.1:8081#",
            "http://127.0.0.1:8081#here",
            "http://127.0.0.1:8081?x",
            "HTTP://127.0.0.1:8081",
            " http://127.0.0.1:8081",
            "http://127.0.0.1:8081\0",
            "http://127.0.0.1:8081,https://other.example",
            "http://127.0.0.1:8081 https://other.example",
            "[\"http://127.0.0.1:8081\"]",
            "http://127.0.0.1:808",
            "https://other.example\u{202e}",
        ]
        .map(|text| json!(text)),
    );
    bad.push(json!("x".repeat(10_000)));
    bad
}

fn wrong_types() -> [Value; 7] {
    let list = json!([[AUDIENCE]]);
    [json!(5), json!(true), json!({}), json!({"0": AUDIENCE}), list, json!([5]), json!([null])]
}

on_both_databases! {
    async fn a_login_may_ask_for_fewer_services_for_the_whole_session(world) {
        with_two_services(&mut world).await;
        world.register("ada").await;
        let narrow = log_in(&world, json!(AUDIENCE)).await;
        assert_eq!(aud(&narrow), AUDIENCE, "one is a bare string");
        assert_eq!(world.whoami(&narrow.access).await.status, 200);
        // The routes of the issuer are another service's.
        for path in ["/me", "/sessions", "/sessions/events"] {
            world.get_as(&narrow.access, path).await.assert_problem(401, "invalid-token");
        }
        let next = Tokens::of(&world.refresh(&narrow.refresh).await);
        assert_eq!(aud(&next), AUDIENCE, "a refresh does not widen it");
        let other = log_in(&world, json!([OTHER])).await;
        assert_eq!(aud(&other), OTHER);
        world.whoami(&other.access).await.assert_problem(401, "invalid-token");
        for (asked, told) in [
            (json!([ISSUER]), json!(ISSUER)),
            (json!([ISSUER, AUDIENCE]), json!([AUDIENCE, ISSUER])),
            (json!([OTHER, AUDIENCE]), json!([AUDIENCE, OTHER])),
            (json!([ISSUER, OTHER, AUDIENCE]), json!([AUDIENCE, OTHER, ISSUER])),
            (json!(null), json!([AUDIENCE, OTHER, ISSUER])),
        ] {
            let tokens = log_in(&world, asked.clone()).await;
            assert_eq!(aud(&tokens), told, "{asked}");
            let next = Tokens::of(&refresh(&world, &tokens, asked).await);
            assert_eq!(aud(&next), told);
        }
        let all = "select count(*) from sessions where audience is null";
        assert_eq!(world.database.number(all).await, 1);
    }

    async fn a_refresh_within_the_session_narrows_its_own_token_and_nothing_else(world) {
        with_two_services(&mut world).await;
        world.register("ada").await;
        let session = log_in(&world, json!([AUDIENCE, OTHER])).await;
        let first = Tokens::of(&refresh(&world, &session, json!(OTHER)).await);
        assert_eq!(aud(&first), OTHER);
        world.whoami(&first.access).await.assert_problem(401, "invalid-token");
        // Once more within the window, by either token, for others: each gets what it asks for.
        for token in [&session, &first] {
            for (asked, told) in [
                (json!(AUDIENCE), json!(AUDIENCE)),
                (json!(OTHER), json!(OTHER)),
                (json!([OTHER, AUDIENCE]), json!([AUDIENCE, OTHER])),
                (json!(null), json!([AUDIENCE, OTHER])),
            ] {
                let again = Tokens::of(&refresh(&world, token, asked).await);
                assert_eq!((aud(&again), &again.refresh), (told, &first.refresh));
            }
            refresh(&world, token, json!(ISSUER)).await.assert_problem(400, "invalid-target");
        }
        assert_eq!(world.database.number("select generation from sessions").await, 2);
        world.clock.advance(30);
        let next = Tokens::of(&world.refresh(&first.refresh).await);
        assert_eq!(aud(&next), json!([AUDIENCE, OTHER]), "the session is what it was");
    }

    async fn refreshes_at_once_for_several_services_get_one_successor(world) {
        with_two_services(&mut world).await;
        world.register("ada").await;
        let session = log_in(&world, json!(null)).await;
        let asked = [json!(AUDIENCE), json!(OTHER), json!(ISSUER), json!("https://evil.example")];
        let asked: Vec<_> = asked.iter().cycle().take(32).collect();
        let answers =
            join_all(asked.iter().map(|one| refresh(&world, &session, (*one).clone()))).await;
        let mut successors = Vec::new();
        for (asked, answer) in asked.into_iter().zip(&answers) {
            if *asked == "https://evil.example" {
                answer.assert_problem(400, "invalid-target");
                continue;
            }
            let tokens = Tokens::of(answer);
            assert_eq!(aud(&tokens), *asked);
            successors.push(tokens.refresh);
        }
        assert!(successors.iter().all(|one| *one == successors[0]));
        assert_eq!(world.database.number("select generation from sessions").await, 2);
    }

    async fn a_refresh_for_what_the_session_is_not_for_spends_nothing(world) {
        with_two_services(&mut world).await;
        world.register("ada").await;
        let session = log_in(&world, json!(AUDIENCE)).await;
        let before = state(&world).await;
        for wider in [json!(OTHER), json!(ISSUER), json!([AUDIENCE, OTHER]), json!([OTHER, ISSUER])] {
            refresh(&world, &session, wider).await.assert_problem(400, "invalid-target");
        }
        assert_eq!(state(&world).await, before);
        let next = Tokens::of(&refresh(&world, &session, json!(AUDIENCE)).await);
        assert_eq!((aud(&next), next.refresh == session.refresh), (json!(AUDIENCE), false));
        // A spent token tells of theft, whatever it is sent for.
        world.clock.advance(31);
        let newest = Tokens::of(&world.refresh(&next.refresh).await);
        world.clock.advance(31);
        refresh(&world, &next, json!(OTHER)).await.assert_problem(401, "token-reused");
        for resource in [json!(OTHER), json!(AUDIENCE), json!(null)] {
            let answer = refresh(&world, &newest, resource).await;
            answer.assert_problem(401, "session-revoked");
        }
    }

    async fn a_resource_that_is_none_of_ours_is_refused_before_anything_is_done(world) {
        with_two_services(&mut world).await;
        restart_with(&mut world, &[
            ("AUTH__LIMITS__LOGIN_FREE", "2"), ("AUTH__LIMITS__FORGED_BURST", "2"),
        ]).await;
        world.register("ada").await;
        let session = log_in(&world, json!(null)).await;
        let before = state(&world).await;
        for bad in bad_resources() {
            // No attempt on the account: the password is not looked at.
            for password in [PASSWORD, "not the password"] {
                let body = json!({"username": "ada", "password": password, "resource": bad});
                world.post("/login", &body).await.assert_problem(400, "invalid-target");
            }
            let answer = refresh(&world, &session, bad).await;
            answer.assert_problem(400, "invalid-target");
            assert!(!answer.text.contains("evil"), "what was sent is not repeated");
        }
        for bad in wrong_types() {
            try_login(&world, bad.clone()).await.assert_problem(400, "invalid-request");
            refresh(&world, &session, bad).await.assert_problem(400, "invalid-request");
        }
        let many = json!(vec![AUDIENCE; 10_000]);
        try_login(&world, many.clone()).await.assert_problem(413, "payload-too-large");
        refresh(&world, &session, many).await.assert_problem(413, "payload-too-large");
        // No token of ours is a token of nobody's for being sent with a bad resource, and the reverse.
        let forged = json!({"refresh_token": "rt1.a.1.b", "resource": "https://evil.example"});
        world.post("/refresh", &forged).await.assert_problem(401, "invalid-token");
        assert_eq!(state(&world).await, before);
        Tokens::of(&refresh(&world, &session, json!(AUDIENCE)).await);
        log_in(&world, json!(OTHER)).await;
    }

    async fn a_form_names_several_services_by_saying_it_several_times(world) {
        with_two_services(&mut world).await;
        world.register("ada").await;
        for (more, told) in [
            ("&resource=http://127.0.0.1:8081", json!(AUDIENCE)),
            ("&resource=http%3A%2F%2F127.0.0.1%3A8081", json!(AUDIENCE)),
            ("&resource=https://other.example&resource=http://127.0.0.1:8081", json!([AUDIENCE, OTHER])),
            ("&r%65source=https://other.example", json!(OTHER)),
            ("&r%65source=https://other.example&resource=http://127.0.0.1:8081", json!([AUDIENCE, OTHER])),
            ("", json!([AUDIENCE, OTHER, ISSUER])),
        ] {
            assert_eq!(aud(&Tokens::of(&form(&world, more).await)), told, "{more}");
        }
        let before = state(&world).await;
        for (more, code) in [
            ("&resource=", "invalid-target"),
            ("&resource", "invalid-target"),
            ("&resource=http://127.0.0.1:8081&resource=http://127.0.0.1:8081", "invalid-target"),
            ("&resource=http://127.0.0.1:8081&resource=", "invalid-target"),
            ("&resource=http://127.0.0.1:8081,https://other.example", "invalid-target"),
            ("&resource=http://127.0.0.1:8081&device=a&device=b", "invalid-request"),
            ("&resource[]=http://127.0.0.1:8081", "invalid-request"),
        ] {
            form(&world, more).await.assert_problem(400, code);
        }
        assert_eq!(state(&world).await, before);
    }

    async fn a_page_with_a_cookie_asks_for_services_in_the_same_way(world) {
        with_two_services(&mut world).await;
        world.register("ada").await;
        let browser = world.browser();
        let body = json!({"username": "ada", "password": PASSWORD, "transport": "cookie",
            "resource": [AUDIENCE, OTHER]});
        let first = browser.post("/login", &body).await;
        assert_eq!(claims(&first.member("access_token"))["aud"], json!([AUDIENCE, OTHER]));
        let cookie = browser.cookie();
        browser.post("/refresh", &json!({"resource": ISSUER})).await.assert_problem(400, "invalid-target");
        assert_eq!(browser.cookie(), cookie, "it is not cleared");
        let narrow = browser.post("/refresh", &json!({"resource": OTHER})).await;
        assert_eq!(claims(&narrow.member("access_token"))["aud"], OTHER);
        let wide = browser.refresh().await;
        assert_eq!(claims(&wide.member("access_token"))["aud"], json!([AUDIENCE, OTHER]));
        // A login that is refused does not end the session that it came with.
        let bad = json!({"username": "ada", "password": PASSWORD, "transport": "cookie", "resource": "x"});
        browser.post("/login", &bad).await.assert_problem(400, "invalid-target");
        assert_eq!(browser.refresh().await.status, 200);
        assert_eq!(browser.post("/logout", &json!({})).await.status, 204);
    }

    /// By the settings, or by a row that another replica wrote.
    async fn a_service_that_is_taken_out_of_the_settings_is_no_longer_in_tokens(world) {
        with_two_services(&mut world).await;
        world.register("ada").await;
        let both = log_in(&world, json!([AUDIENCE, OTHER])).await;
        let one = log_in(&world, json!(AUDIENCE)).await;
        restart_with(&mut world, &[("AUTH__TOKENS__AUDIENCE", OTHER)]).await;
        let next = Tokens::of(&world.refresh(&both.refresh).await);
        assert_eq!(aud(&next), OTHER, "what is left");
        // Nothing is left: there is no token, and nothing is spent.
        let before = state(&world).await;
        for resource in [json!(null), json!(AUDIENCE), json!(OTHER)] {
            refresh(&world, &one, resource).await.assert_problem(400, "invalid-target");
        }
        assert_eq!(state(&world).await, before);
        with_two_services(&mut world).await;
        assert_eq!(aud(&Tokens::of(&world.refresh(&one.refresh).await)), AUDIENCE, "it is back");
    }

    async fn a_session_of_before_is_for_all_services_and_a_row_that_nobody_wrote_so_hurts_itself_alone(world) {
        with_two_services(&mut world).await;
        let before = world.newcomer("ada").await;
        let odd = log_in(&world, json!(AUDIENCE)).await;
        let other = log_in(&world, json!(OTHER)).await;
        let next = Tokens::of(&refresh(&world, &before, json!(OTHER)).await);
        assert_eq!(aud(&next), OTHER);
        assert_eq!(aud(&Tokens::of(&world.refresh(&before.refresh).await)), json!([AUDIENCE, OTHER, ISSUER]));
        let by_hand = |text: &str| format!(
            "update sessions set audience = '{text}' where id = '{}'", odd.session);
        let empty = sqlx::AssertSqlSafe(by_hand("[]"));
        world.database.execute(empty).await;
        refresh(&world, &odd, json!(null)).await.assert_problem(400, "invalid-target");
        let nonsense = sqlx::AssertSqlSafe(by_hand("nonsense"));
        world.database.execute(nonsense).await;
        for _ in 0..10 {
            refresh(&world, &odd, json!(null)).await.assert_problem(503, "unavailable");
        }
        assert_eq!(aud(&Tokens::of(&world.refresh(&other.refresh).await)), OTHER);
        // It can be ended all the same.
        assert_eq!(world.logout(&odd.refresh, "current").await.status, 204);
    }

    async fn a_token_of_ours_for_another_service_is_not_taken_for_a_forged_one(world) {
        restart_with(&mut world, &[("AUTH__LIMITS__FORGED_BURST", "2")]).await;
        world.register("ada").await;
        let narrow = log_in(&world, json!(AUDIENCE)).await;
        for _ in 0..6 {
            world.get_as(&narrow.access, "/me").await.assert_problem(401, "invalid-token");
        }
        // It does not log out either, and the refresh token does.
        let alone = world.post_as(&narrow.access, "/logout", &json!({})).await;
        alone.assert_problem(401, "invalid-token");
        assert_eq!(world.whoami(&narrow.access).await.status, 200);
        assert_eq!(world.logout(&narrow.refresh, "current").await.status, 204);
        world.until_refused(&narrow.access).await;
    }
}
