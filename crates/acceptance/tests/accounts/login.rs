//! Login: what whoever knows the password gets, and that nobody else learns anything.

use futures_util::future::join_all;
use reqwest::header::{CONTENT_TYPE, SET_COOKIE};
use serde_json::{Value, json};
use testbed::world::{AUDIENCE, ISSUER};
use testbed::{Answer, PASSWORD, Tokens, World, on_both_databases};

use crate::support::{
    assert_one_sentence, claims_of, generation, jwt_part, members, state, user_of,
};

async fn log_in(world: &World, username: &str, password: &str) -> Answer {
    world.post("/login", &json!({"username": username, "password": password})).await
}

async fn log_in_with(world: &World, member: &str, value: Value) -> Answer {
    let mut body = json!({"username": "ada", "password": PASSWORD});
    body[member] = value;
    world.post("/login", &body).await
}

async fn form(world: &World, body: &str) -> Answer {
    let request = world.http.post(format!("{}/login", world.auth));
    let request = request.header(CONTENT_TYPE, "application/x-www-form-urlencoded");
    Answer::to(request.body(body.to_owned())).await
}

on_both_databases! {
    async fn the_token_answer_has_its_members_and_no_others(world) {
        world.register("ada").await;
        let answer = log_in(&world, "ada", PASSWORD).await;
        let tokens = Tokens::of(&answer);
        answer.assert_hardened();
        assert_eq!(answer.header("content-type"), Some("application/json"));
        assert_eq!(answer.header("cache-control"), Some("no-store"));
        assert!(answer.headers.get(SET_COOKIE).is_none());
        assert_eq!(
            members(&tokens.json),
            [
                "access_token",
                "authorization_expires_in",
                "expires_in",
                "refresh_token",
                "refresh_token_timeout",
                "scope",
                "session_id",
                "token_type",
            ]
        );
        assert_eq!(tokens.json["token_type"], "Bearer");
        assert_eq!(tokens.json["refresh_token_timeout"], 604_800);
        assert_eq!(tokens.json["authorization_expires_in"], 2_592_000);
        assert_eq!(tokens.json["scope"], "profile reports:read reports:write");
        assert_eq!(generation(&tokens.refresh), 1);
    }

    /// RFC 9068
    async fn the_access_token_says_what_it_must_and_no_more(world) {
        world.register("ada").await;
        let me = world.login("ada").await;
        let id = world.get_as(&me.access, "/me").await.member("id");
        let tokens = world.login("ada").await;
        let header = jwt_part(&tokens.access, 0);
        let kid =
            serde_json::from_str::<Value>(&header).unwrap()["kid"].as_str().unwrap().to_owned();
        assert_eq!(header, format!(r#"{{"alg":"ES256","typ":"at+jwt","kid":"{kid}"}}"#));

        let claims = claims_of(&tokens.access);
        assert_eq!(
            members(&claims),
            [
                "amr",
                "aud",
                "auth_time",
                "client_id",
                "exp",
                "iat",
                "iss",
                "jti",
                "preferred_username",
                "scope",
                "sid",
                "sub",
                "sub_ver",
            ]
        );
        assert_eq!(claims["iss"], ISSUER);
        assert_eq!(claims["sub"], id);
        assert_eq!(claims["aud"], json!([AUDIENCE, ISSUER]));
        assert_eq!(claims["client_id"], "latchkey");
        assert_eq!(claims["sid"], tokens.session);
        assert_eq!(claims["scope"], tokens.json["scope"]);
        assert_eq!(claims["amr"], json!(["pwd"]));
        assert_eq!(claims["sub_ver"], 1);
        assert_eq!(claims["preferred_username"], "ada");
        assert!(
            claims["auth_time"].as_u64().unwrap().abs_diff(claims["iat"].as_u64().unwrap()) <= 1
        );
        assert_ne!(claims["jti"], claims_of(&me.access)["jti"]);
        let lifetime = claims["exp"].as_u64().unwrap() - claims["iat"].as_u64().unwrap();
        assert_eq!(tokens.json["expires_in"], lifetime);
        assert!((570..=600).contains(&lifetime), "{lifetime}");
    }

    async fn a_refreshed_token_keeps_the_time_of_the_login(world) {
        let first = world.newcomer("ada").await;
        world.clock.advance(100);
        let second = Tokens::of(&world.refresh(&first.refresh).await);
        let (old, new) = (claims_of(&first.access), claims_of(&second.access));
        for same in ["sub", "sid", "auth_time", "scope", "sub_ver", "amr", "aud"] {
            assert_eq!(old[same], new[same], "{same}");
        }
        assert!(new["iat"].as_u64() >= old["iat"].as_u64().map(|iat| iat + 100));
    }

    async fn the_scope_email_brings_the_address_and_that_it_is_not_verified(world) {
        let body = json!({"username": "ada", "password": PASSWORD, "email": "Ada@example.com"});
        assert_eq!(world.post("/register", &body).await.status, 201);
        let tokens = Tokens::of(&log_in_with(&world, "scope", json!("email")).await);
        let claims = claims_of(&tokens.access);
        assert_eq!(
            (&claims["email"], &claims["email_verified"]),
            (&json!("Ada@example.com"), &json!(false))
        );
        assert!(claims.get("preferred_username").is_none(), "that is with profile");
        let without = claims_of(&world.login("ada").await.access);
        assert!(without.get("email").is_none() && without.get("email_verified").is_none());

        world.register("eve").await;
        let body = json!({"username": "eve", "password": PASSWORD, "scope": "email"});
        let claims = claims_of(&Tokens::of(&world.post("/login", &body).await).access);
        assert!(claims.get("email").is_none() && claims.get("email_verified").is_none());
    }

    async fn a_name_in_any_spelling_or_the_address_logs_in(world) {
        let body = json!({"username": "Zoë", "password": PASSWORD, "email": "Zoe@example.com"});
        assert_eq!(world.post("/register", &body).await.status, 201);
        for name in ["Zoë", "ZOË", "zoe\u{308}", "Ｚｏë", "zoe@example.com", "ZOE@EXAMPLE.COM"]
        {
            let claims = claims_of(&Tokens::of(&log_in(&world, name, PASSWORD).await).access);
            assert_eq!(claims["preferred_username"], "Zoë", "as registered");
        }
    }

    async fn a_form_logs_in_where_the_token_goes_into_the_body(world) {
        world.register("ada").await;
        for body in [
            "username=ada&password=a+quite+ordinary+sentence",
            "username=ada&password=a%20quite%20ordinary%20sentence&transport=body&device=Web",
        ] {
            let answer = form(&world, body).await;
            Tokens::of(&answer);
            assert!(answer.headers.get(SET_COOKIE).is_none());
        }
        let before = state(&world).await;
        for (body, status, code) in [
            (
                "username=ada&password=a+quite+ordinary+sentence&transport=cookie",
                415,
                "unsupported-media-type",
            ),
            (
                "username=ada&username=eve&password=a+quite+ordinary+sentence",
                400,
                "invalid-request",
            ),
            ("username=ada&password=a+quite+ordinary+sentence&more=1", 400, "invalid-request"),
            (
                "username=ada&password=a+quite+ordinary+sentence&transport=Body",
                400,
                "invalid-request",
            ),
            ("username=ada", 400, "invalid-request"),
            ("", 400, "invalid-request"),
            ("{\"username\":\"ada\"}", 400, "invalid-request"),
            ("username=ada&password=wrong", 401, "invalid-credentials"),
        ] {
            let answer = form(&world, body).await;
            answer.assert_problem(status, code);
            assert_one_sentence(&answer);
            assert!(!answer.text.contains("ordinary"), "nothing sent is repeated: {}", answer.text);
        }
        assert_eq!(state(&world).await, before);
    }

    /// N-U01
    async fn unknown_wrong_and_disabled_look_the_same(world) {
        let tokens = world.newcomer("ada").await;
        world.register("eve").await;
        assert!(world.store.set_enabled(user_of(&tokens.access), false).await.unwrap());
        let before = state(&world).await;
        let mut answers = vec![log_in(&world, "ada", PASSWORD).await];
        for (name, password) in [
            ("ada", "not the password"),
            ("eve", "not the password"),
            ("eve", ""),
            ("eve", "x"),
            ("nobody", PASSWORD),
            ("nobody@example.com", PASSWORD),
            ("", PASSWORD),
            ("@", PASSWORD),
            ("a\0b", PASSWORD),
            (" eve", PASSWORD),
            (&"x".repeat(5000), PASSWORD),
            ("' or 1=1 --", PASSWORD),
        ] {
            answers.push(log_in(&world, name, password).await);
        }
        for answer in &answers {
            answer.assert_problem(401, "invalid-credentials");
            assert_one_sentence(answer);
            assert_eq!(answer.told(), answers[0].told());
        }
        assert_eq!(state(&world).await, before);
        assert_eq!(log_in(&world, "eve", PASSWORD).await.status, 200);
    }

    async fn a_narrower_scope_is_granted(world) {
        world.register("ada").await;
        for scope in ["reports:read", "profile email", "reports:write profile"] {
            let tokens = Tokens::of(&log_in_with(&world, "scope", json!(scope)).await);
            assert_eq!(tokens.json["scope"], scope);
            assert_eq!(claims_of(&tokens.access)["scope"], scope);
            let next = Tokens::of(&world.refresh(&tokens.refresh).await);
            assert_eq!(next.json["scope"], scope, "a refresh does not widen it");
        }
        for nothing in [json!(""), json!(null)] {
            let tokens = Tokens::of(&log_in_with(&world, "scope", nothing).await);
            assert_eq!(tokens.json["scope"], "profile reports:read reports:write");
        }
    }

    /// N-O17
    async fn a_scope_that_is_unknown_or_malformed_is_refused(world) {
        world.register("ada").await;
        let many: Vec<String> = (0..1000).map(|n| format!("s{n}")).collect();
        for scope in [
            "admin",
            "profile admin",
            "Profile",
            "reports",
            "reports:",
            "openid",
            " profile",
            "profile ",
            "profile  email",
            "profile\temail",
            "profile,email",
            "profile+email",
            "profile\nemail",
            "profile profile",
            "pro\0file",
            "\"profile\"",
            "prof\\ile",
            "é",
            &many.join(" "),
        ] {
            let answer = log_in_with(&world, "scope", json!(scope)).await;
            answer.assert_problem(400, "invalid-request");
            assert_one_sentence(&answer);
        }
        assert_eq!(world.database.number("select count(*) from sessions").await, 0);
    }

    async fn a_device_name_is_short_and_visible(world) {
        world.register("ada").await;
        for device in [
            "Ada’s telephone",
            &"é".repeat(64),
            &"e\u{301}".repeat(64),
            "🐈",
            "👨\u{200d}👩\u{200d}👧 at home",
            "تلفن علی\u{200c}رضا",
        ] {
            let tokens = Tokens::of(&log_in_with(&world, "device", json!(device)).await);
            let sessions = world.get_as(&tokens.access, "/sessions").await.json();
            assert_eq!(sessions["sessions"][0]["device"], device);
        }
        let before = state(&world).await;
        for device in [
            "",
            " ",
            "\u{3164}",
            &"é".repeat(65),
            &"e\u{301}".repeat(65),
            "a\nb",
            "a\0b",
            "a\u{1b}[2Jb",
            "a\u{7f}",
            "Telephone\u{202e}enohpeleT",
            "a\u{2066}b",
            "a\u{200b}b",
            "a\u{200d}b",
            "\u{feff}a",
            "\u{e000}",
            "\u{2028}",
        ] {
            let answer = log_in_with(&world, "device", json!(device)).await;
            answer.assert_problem(400, "invalid-request");
            assert_one_sentence(&answer);
        }
        assert_eq!(state(&world).await, before);
    }

    async fn each_login_is_a_session_of_its_own(world) {
        let (one, two) = (world.newcomer("ada").await, world.login("ada").await);
        assert_ne!(one.session, two.session);
        assert_eq!(world.logout(&one.refresh, "current").await.status, 204);
        world.until_refused(&one.access).await;
        assert_eq!(world.whoami(&two.access).await.status, 200);
        Tokens::of(&world.refresh(&two.refresh).await);
    }

    async fn a_password_too_long_to_be_one_is_a_bad_request(world) {
        world.register("ada").await;
        for name in ["ada", "nobody"] {
            log_in(&world, name, &"x".repeat(1024))
                .await
                .assert_problem(401, "invalid-credentials");
            for password in [&"x".repeat(1025), &"🐈".repeat(257), "a\0b"] {
                let answer = log_in(&world, name, password).await;
                answer.assert_problem(400, "invalid-request");
                assert_one_sentence(&answer);
            }
        }
    }

    /// bcrypt would not tell them apart.
    async fn every_character_of_a_password_counts(world) {
        let stem = "the first seventy-two bytes of these two passwords are the same, all of it";
        assert!(stem.len() > 72);
        let body = json!({"username": "ada", "password": format!("{stem}1")});
        assert_eq!(world.post("/register", &body).await.status, 201);
        assert_eq!(log_in(&world, "ada", &format!("{stem}1")).await.status, 200);
        for other in [format!("{stem}2"), stem.to_owned(), format!("{stem}1 "), format!("{stem}11")]
        {
            log_in(&world, "ada", &other).await.assert_problem(401, "invalid-credentials");
        }
    }

    async fn many_may_log_in_at_once(world) {
        world.register("ada").await;
        let answers = join_all((0..32).map(|_| log_in(&world, "ada", PASSWORD))).await;
        let mut sessions: Vec<_> =
            answers.iter().map(|answer| Tokens::of(answer).session).collect();
        sessions.sort();
        sessions.dedup();
        assert_eq!(sessions.len(), 32);
        assert_eq!(world.database.number("select count(*) from sessions").await, 32);
    }
}
