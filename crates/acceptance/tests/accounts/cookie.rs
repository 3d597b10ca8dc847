//! The refresh cookie: how it is set, what it is worth, and what it is not.

use claims::refresh_token;
use reqwest::header::{COOKIE, SET_COOKIE};
use serde_json::json;
use testbed::{Answer, Kind, PASSWORD, Tokens, World, on_both_databases};

use crate::support::{
    assert_one_sentence, cookie_token, generation, members, raw, set_cookie, state, statuses,
    with_cookie,
};

const NAME: &str = refresh_token::COOKIE;

/// A login in cookie mode, and its cookie.
async fn log_in(world: &World, username: &str) -> (Answer, String) {
    let browser = world.browser();
    let answer = browser.login(username, PASSWORD).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    (answer, browser.cookie().expect("the cookie is kept"))
}

async fn refresh(world: &World, cookie: &str) -> Answer {
    Answer::to(with_cookie(world, "/refresh", cookie).json(&json!({}))).await
}

/// Refreshes with a `Cookie` header as given.
/// Cookies as bytes: a header need not be text.
async fn cookies(world: &World, cookies: Vec<u8>) -> Answer {
    let request = world.http.post(format!("{}/refresh", world.auth)).header("x-latchkey", "1");
    Answer::to(request.header(COOKIE, cookies).json(&json!({}))).await
}

async fn refresh_with(world: &World, header: &str) -> Answer {
    let request = world.http.post(format!("{}/refresh", world.auth)).header("x-latchkey", "1");
    Answer::to(request.header(COOKIE, header).json(&json!({}))).await
}

/// Logs in again with a cookie of an earlier login.
async fn log_in_over(world: &World, username: &str, cookie: &str) -> Answer {
    let body = json!({"username": username, "password": PASSWORD, "transport": "cookie"});
    Answer::to(with_cookie(world, "/login", cookie).json(&body)).await
}

fn max_age(answer: &Answer) -> u64 {
    let set = set_cookie(answer);
    let (_, text) = set.rsplit_once("; Max-Age=").expect("a Max-Age at the end");
    text.parse().expect("a number")
}

on_both_databases! {
    /// N-K01
    async fn the_cookie_is_set_exactly_so(world) {
        world.register("ada").await;
        let (answer, token) = log_in(&world, "ada").await;
        let expected =
            format!("{NAME}={token}; Path=/; Secure; HttpOnly; SameSite=Strict; Max-Age=604800");
        assert_eq!(set_cookie(&answer), expected);
        assert_eq!(answer.json()["refresh_token_timeout"], 604_800);
        assert_eq!(answer.header("cache-control"), Some("no-store"));
        assert_eq!(generation(&token), 1);
        answer.assert_hardened();
    }

    /// N-K07
    async fn in_cookie_mode_the_refresh_token_is_in_the_cookie_and_nowhere_else(world) {
        world.register("ada").await;
        let (login, token) = log_in(&world, "ada").await;
        let refreshed = refresh(&world, &token).await;
        for answer in [&login, &refreshed] {
            assert_eq!(
                members(&answer.json()),
                [
                    "access_token",
                    "authorization_expires_in",
                    "expires_in",
                    "refresh_token_timeout",
                    "scope",
                    "session_id",
                    "token_type",
                ]
            );
            assert!(!answer.text.contains("rt1."));
            let elsewhere = answer.headers.iter().filter(|(name, _)| *name != SET_COOKIE);
            for (name, value) in elsewhere {
                assert!(!String::from_utf8_lossy(value.as_bytes()).contains("rt1."), "{name}");
            }
        }
    }

    async fn a_token_of_one_transport_is_nothing_in_the_other(world) {
        let body = world.newcomer("ada").await;
        let (_, cookie) = log_in(&world, "ada").await;
        let before = state(&world).await;
        world.refresh(&cookie).await.assert_problem(401, "invalid-token");
        let answer = refresh(&world, &body.refresh).await;
        answer.assert_problem(401, "invalid-token");
        assert!(answer.headers.get(SET_COOKIE).is_none(), "a refresh never clears the cookie");
        assert_eq!(state(&world).await, before, "both sessions are untouched");
        assert_eq!(generation(&Tokens::of(&world.refresh(&body.refresh).await).refresh), 2);
        assert_eq!(generation(&cookie_token(&refresh(&world, &cookie).await)), 2);
    }

    /// A browser adds the cookie by itself, and scripts can neither see nor drop it.
    async fn a_token_in_the_body_counts_before_a_cookie_that_came_along(world) {
        let body = world.newcomer("ada").await;
        let (_, cookie) = log_in(&world, "ada").await;
        let dead = log_in(&world, "ada").await.1;
        let ended = with_cookie(&world, "/logout", &dead).json(&json!({}));
        assert_eq!(Answer::to(ended).await.status, 204);
        let spent = format!("{}AAAA", &cookie[..cookie.len() - 4]);
        let named = json!({"refresh_token": body.refresh});
        for ambient in [&cookie, &dead, &spent, "garbage"] {
            let answer = Answer::to(with_cookie(&world, "/refresh", ambient).json(&named)).await;
            assert!(answer.headers.get(SET_COOKIE).is_none(), "{ambient}");
            Tokens::of(&answer);
        }
        // A token that is none is not made up for by the cookie.
        let wrong = json!({"refresh_token": "garbage"});
        let answer = Answer::to(with_cookie(&world, "/refresh", &cookie).json(&wrong)).await;
        answer.assert_problem(401, "invalid-token");
        assert_eq!(generation(&cookie_token(&refresh(&world, &cookie).await)), 2);
    }

    /// Neither do two cookies stand in the way of what a request names, nor one that its page may not
    /// use, nor one that came without a type. None of them is used, and none is cleared.
    async fn a_cookie_that_does_not_count_stands_in_nobodys_way(world) {
        world.register("ada").await;
        let (_, cookie) = log_in(&world, "ada").await;
        let one = format!("{NAME}={cookie}");
        let two = format!("{one}; {NAME}=tossed");
        let may = ("x-latchkey", "1");
        // Nothing says which page sent it.
        let may_not = ("x-nothing", "1");
        for (header, page, typed, alone) in
            [(&one, may_not, true, 403), (&two, may, true, 400), (&one, may, false, 415)]
        {
            let send = |path: &str, named: Option<&str>, access: Option<&str>| {
                let request = world.http.post(format!("{}{path}", world.auth));
                let request = request.header(COOKIE, header).header(page.0, page.1);
                let request = match access {
                    Some(access) => request.bearer_auth(access),
                    None => request,
                };
                let body = json!({ "refresh_token": named });
                Answer::to(if typed { request.json(&body) } else { request })
            };
            let own = world.login("ada").await;
            let answer = send("/logout", None, Some(&own.access)).await;
            assert_eq!(answer.status, 204, "{header} {}", answer.text);
            assert!(answer.headers.get(SET_COOKIE).is_none(), "{header}");
            world.refresh(&own.refresh).await.assert_problem(401, "session-revoked");
            if typed {
                let own = world.login("ada").await;
                Tokens::of(&send("/refresh", Some(&own.refresh), None).await);
                let answer = send("/logout", Some(&own.refresh), None).await;
                assert_eq!(answer.status, 204, "{header} {}", answer.text);
                assert!(answer.headers.get(SET_COOKIE).is_none(), "{header}");
                world.refresh(&own.refresh).await.assert_problem(401, "session-revoked");
            }
            for path in ["/refresh", "/logout"] {
                let answer = send(path, None, None).await;
                assert_eq!(answer.status, alone, "alone it is refused: {header} {}", answer.text);
                assert!(answer.headers.get(SET_COOKIE).is_none(), "{header}");
            }
        }
        assert_eq!(refresh(&world, &cookie).await.status, 200, "the cookie's session lives on");
    }

    async fn logging_out_ends_the_session_of_every_credential(world) {
        let body = world.newcomer("ada").await;
        let bearer = world.newcomer("grace").await;
        let (_, cookie) = log_in(&world, "ada").await;
        let other = world.login("ada").await;
        let named = json!({"refresh_token": body.refresh});
        let all = with_cookie(&world, "/logout", &cookie).bearer_auth(&bearer.access);
        assert_eq!(Answer::to(all.json(&named)).await.status, 204);
        for ended in [&body, &bearer] {
            world.refresh(&ended.refresh).await.assert_problem(401, "session-revoked");
            world.until_refused(&ended.access).await;
        }
        refresh(&world, &cookie).await.assert_problem(401, "session-revoked");
        Tokens::of(&world.refresh(&other.refresh).await);

        // A good one beside one whose session is over, and beside one that is none.
        let (_, live) = log_in(&world, "ada").await;
        let request = with_cookie(&world, "/logout", &cookie).bearer_auth(&other.access);
        assert_eq!(Answer::to(request.json(&json!({}))).await.status, 204);
        world.refresh(&other.refresh).await.assert_problem(401, "session-revoked");
        let request = with_cookie(&world, "/logout", &live);
        let garbage = json!({"refresh_token": "garbage"});
        assert_eq!(Answer::to(request.json(&garbage)).await.status, 204);
        refresh(&world, &live).await.assert_problem(401, "session-revoked");
    }

    async fn others_and_all_act_for_the_first_good_credential(world) {
        let (ada, adas) = (world.newcomer("ada").await, world.login("ada").await);
        let (grace, graces) = (world.newcomer("grace").await, world.login("grace").await);
        let (_, cookie) = log_in(&world, "ada").await;
        let named = json!({"refresh_token": ada.refresh, "sessions": "others"});
        let request = with_cookie(&world, "/logout", &cookie).bearer_auth(&grace.access);
        assert_eq!(Answer::to(request.json(&named)).await.status, 204);
        world.refresh(&adas.refresh).await.assert_problem(401, "session-revoked");
        refresh(&world, &cookie).await.assert_problem(401, "session-revoked");
        Tokens::of(&world.refresh(&ada.refresh).await);
        Tokens::of(&world.refresh(&graces.refresh).await);
        // The cookie's session is over, so the bearer's counts.
        let request = with_cookie(&world, "/logout", &cookie).bearer_auth(&grace.access);
        let answer = Answer::to(request.json(&json!({"sessions": "all"}))).await;
        assert_eq!(answer.status, 204, "{}", answer.text);
        for ended in [&grace, &graces] {
            world.refresh(&ended.refresh).await.assert_problem(401, "session-revoked");
        }
        Tokens::of(&world.refresh(&ada.refresh).await);
    }

    /// N-K02: one of them was put there by somebody else.
    async fn two_cookies_of_the_name_are_refused(world) {
        world.register("ada").await;
        let (_, token) = log_in(&world, "ada").await;
        let before = state(&world).await;
        for header in [
            format!("{NAME}={token}; {NAME}={token}"),
            format!("{NAME}=tossed; {NAME}={token}"),
            format!("{NAME}={token};{NAME}=tossed"),
        ] {
            let answer = refresh_with(&world, &header).await;
            answer.assert_problem(400, "invalid-request");
            assert_one_sentence(&answer);
        }
        for path in ["/refresh", "/logout", "/login"] {
            let body = match path {
                "/login" => json!({"username": "ada", "password": PASSWORD, "transport": "cookie"}),
                _ => json!({}),
            };
            let request =
                with_cookie(&world, path, &token).header(COOKIE, format!("{NAME}=tossed"));
            Answer::to(request.json(&body)).await.assert_problem(400, "invalid-request");
        }
        assert_eq!(state(&world).await, before);
    }

    /// N-K02, C-03
    async fn a_cookie_of_another_name_is_another_cookie(world) {
        world.register("ada").await;
        let (_, token) = log_in(&world, "ada").await;
        for name in [
            "__HOST-HTTP-refresh",
            "__host-http-refresh",
            "__Host-Http-Refresh",
            "refresh",
            "x__Host-Http-refresh",
            "__Host-refresh",
        ] {
            refresh_with(&world, &format!("{name}={token}"))
                .await
                .assert_problem(401, "unauthenticated");
        }
        let among = format!("a=b; __HOST-HTTP-refresh=x; {NAME}={token}; c; =d");
        assert_eq!(generation(&cookie_token(&refresh_with(&world, &among).await)), 2);
        // Spaces to Unicode, and to a browser a part of a name without our prefix: a neighbour in the domain
        // may set that. It neither stands for the cookie nor makes two of it.
        for space in ["\u{2000}", "\u{a0}", "\u{85}", "\u{3000}", "\u{feff}"] {
            let neighbours = format!("{space}{NAME}={token}");
            let alone = cookies(&world, neighbours.clone().into_bytes()).await;
            alone.assert_problem(401, "unauthenticated");
            let beside = format!("{neighbours}; {NAME}={token}").into_bytes();
            assert_eq!(cookies(&world, beside).await.status, 200, "{space:?}");
        }
    }

    /// N-K10
    async fn an_odd_cookie_is_no_token(world) {
        world.register("ada").await;
        let (_, token) = log_in(&world, "ada").await;
        let before = state(&world).await;
        for value in [
            format!("\"{token}\""),
            format!("{token},"),
            format!("{token}%20"),
            "x".repeat(10_000),
            "rt1.".to_owned(),
            "=".to_owned(),
        ] {
            refresh(&world, &value).await.assert_problem(401, "invalid-token");
        }
        let pairs = "a=b; ".repeat(2500);
        assert_eq!(refresh_with(&world, &format!("{pairs}{NAME}=x")).await.status, 401);
        assert_eq!(refresh_with(&world, &format!("{NAME}=x; {pairs}{NAME}=y")).await.status, 400);
        let odd = "a,b; \"c=d\"; é=ü;;; =; e==f; ".repeat(300);
        assert_eq!(refresh_with(&world, &format!("{odd}{NAME}=x")).await.status, 401);
        // Beyond what a head may have.
        let many = format!(
            "POST /refresh HTTP/1.1\r\nHost: x\r\nx-latchkey: 1\r\nCookie: {}\r\n\r\n",
            "a=b; ".repeat(4000)
        );
        assert!(matches!(statuses(&raw(&world, many.as_bytes()).await)[..], [] | [431]));
        let bytes = [NAME.as_bytes(), b"=\xff\xfe"].concat();
        cookies(&world, bytes).await.assert_problem(401, "invalid-token");
        assert_eq!(state(&world).await, before);
    }

    /// N-K09
    async fn a_cookie_login_takes_the_place_of_the_session_it_came_with(world) {
        let other = world.newcomer("ada").await;
        let (first, old) = log_in(&world, "ada").await;
        let (_, unrelated) = log_in(&world, "ada").await;
        let second = log_in_over(&world, "ada", &old).await;
        assert_eq!(second.status, 200, "{}", second.text);
        assert_ne!(first.json()["session_id"], second.json()["session_id"]);
        let ended = refresh(&world, &old).await;
        ended.assert_problem(401, "session-revoked");
        assert_eq!(ended.json()["reason"], "logout");
        world.until_refused(&first.member("access_token")).await;
        assert_eq!(refresh(&world, &unrelated).await.status, 200);
        Tokens::of(&world.refresh(&other.refresh).await);
        assert_eq!(refresh(&world, &cookie_token(&second)).await.status, 200);
    }

    async fn another_user_at_the_same_browser_ends_the_session_that_was_there(world) {
        world.register("ada").await;
        world.register("eve").await;
        let (_, adas) = log_in(&world, "ada").await;
        assert_eq!(log_in_over(&world, "eve", &adas).await.status, 200);
        refresh(&world, &adas).await.assert_problem(401, "session-revoked");
    }

    async fn a_login_that_fails_ends_nothing(world) {
        world.register("ada").await;
        let (_, cookie) = log_in(&world, "ada").await;
        let before = state(&world).await;
        let body =
            json!({"username": "ada", "password": "not the password", "transport": "cookie"});
        Answer::to(with_cookie(&world, "/login", &cookie).json(&body))
            .await
            .assert_problem(401, "invalid-credentials");
        assert_eq!(state(&world).await, before);
        assert_eq!(refresh(&world, &cookie).await.status, 200);
    }

    async fn a_login_ignores_a_cookie_that_is_not_valid(world) {
        let body = world.newcomer("ada").await;
        for cookie in ["garbage", &body.refresh] {
            assert_eq!(log_in_over(&world, "ada", cookie).await.status, 200, "{cookie}");
        }
        // Body mode does not look at the cookie at all.
        let (_, cookie) = log_in(&world, "ada").await;
        let login = json!({"username": "ada", "password": PASSWORD});
        Tokens::of(&Answer::to(with_cookie(&world, "/login", &cookie).json(&login)).await);
        assert_eq!(refresh(&world, &cookie).await.status, 200);
        Tokens::of(&world.refresh(&body.refresh).await);
        assert_eq!(world.database.number("select count(*) from revocations").await, 0);
    }

    /// A jar shared by tabs must not run backwards, nor forwards with each tab.
    async fn inside_the_window_the_same_cookie_is_given_again(world) {
        world.register("ada").await;
        let (_, first) = log_in(&world, "ada").await;
        let second = refresh(&world, &first).await;
        let token = cookie_token(&second);
        assert_eq!(generation(&token), 2);
        for presented in [&first, &token, &first, &token] {
            world.clock.advance(5);
            let again = refresh(&world, presented).await;
            assert_eq!(cookie_token(&again), token);
            assert_ne!(again.member("access_token"), second.member("access_token"));
            assert_eq!(world.whoami(&again.member("access_token")).await.status, 200);
            assert_eq!(Some(max_age(&again)), again.json()["refresh_token_timeout"].as_u64());
        }
        world.clock.advance(31);
        let third = refresh(&world, &token).await;
        assert_eq!(generation(&cookie_token(&third)), 3);
        refresh(&world, &first).await.assert_problem(401, "token-reused");
    }

    async fn a_refresh_never_clears_the_cookie_and_a_logout_always_does(world) {
        world.register("ada").await;
        let (_, cookie) = log_in(&world, "ada").await;
        let out = Answer::to(with_cookie(&world, "/logout", &cookie).json(&json!({}))).await;
        assert_eq!((out.status, out.text.as_str()), (204, ""));
        out.assert_hardened();
        assert_eq!(out.header("cache-control"), Some("no-store"));
        let cleared = format!("{NAME}=; Path=/; Secure; HttpOnly; SameSite=Strict; Max-Age=0");
        assert_eq!(set_cookie(&out), cleared);
        for bad in [cookie.as_str(), "garbage"] {
            let answer = refresh(&world, bad).await;
            assert_eq!(answer.status, 401);
            assert!(answer.headers.get(SET_COOKIE).is_none());
        }
        let again = Answer::to(with_cookie(&world, "/logout", "garbage").json(&json!({}))).await;
        assert_eq!((again.status, set_cookie(&again)), (204, cleared));
    }

    async fn logging_out_the_others_keeps_the_callers_cookie(world) {
        let other = world.newcomer("ada").await;
        let (_, cookie) = log_in(&world, "ada").await;
        let request = with_cookie(&world, "/logout", &cookie).json(&json!({"sessions": "others"}));
        let answer = Answer::to(request).await;
        assert_eq!(answer.status, 204);
        assert!(answer.headers.get(SET_COOKIE).is_none());
        world.refresh(&other.refresh).await.assert_problem(401, "session-revoked");
        assert_eq!(refresh(&world, &cookie).await.status, 200);
    }

    /// C-02
    async fn no_cookie_outlives_its_session(world) {
        world.register("ada").await;
        let (answer, mut cookie) = log_in(&world, "ada").await;
        assert_eq!(max_age(&answer), 604_800);
        for round in 1..=5 {
            world.clock.advance(500_000);
            let answer = refresh(&world, &cookie).await;
            let left = answer.json()["authorization_expires_in"].as_u64().unwrap();
            assert!(left.abs_diff(2_592_000 - round * 500_000) <= 30, "round {round}: {left}");
            assert_eq!(max_age(&answer), left.min(604_800), "round {round}");
            cookie = cookie_token(&answer);
        }
        world.clock.advance(92_001);
        refresh(&world, &cookie).await.assert_problem(401, "session-expired");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn same_site_none_is_for_who_configured_it() {
    for kind in [Kind::Postgres, Kind::Sqlite] {
        let settings = [
            ("AUTH__HTTP__COOKIE_SAME_SITE", "none"),
            ("AUTH__HTTP__ALLOWED_ORIGINS", "https://app.example.com"),
        ];
        let world = World::start_with(kind, &settings).await;
        world.register("ada").await;
        let (answer, token) = log_in(&world, "ada").await;
        let expected =
            format!("{NAME}={token}; Path=/; Secure; HttpOnly; SameSite=None; Max-Age=604800");
        assert_eq!(set_cookie(&answer), expected);
        let out = Answer::to(with_cookie(&world, "/logout", &token).json(&json!({}))).await;
        let cleared = format!("{NAME}=; Path=/; Secure; HttpOnly; SameSite=None; Max-Age=0");
        assert_eq!(set_cookie(&out), cleared);
    }
}
