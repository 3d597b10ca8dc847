//! One's own account: who one is, one's sessions, one's password, and being disabled.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use testbed::{Answer, PASSWORD, Tokens, World, on_both_databases};

use crate::support::{assert_one_sentence, members, state, user_of};

const NEW: &str = "another quite ordinary sentence";

async fn sessions(world: &World, access: &str) -> Vec<Value> {
    let answer = world.get_as(access, "/sessions").await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    answer.assert_hardened();
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    assert_eq!(members(&answer.json()), ["sessions"]);
    answer.json()["sessions"].as_array().expect("a list").clone()
}

async fn ids(world: &World, access: &str) -> Vec<String> {
    let sessions = sessions(world, access).await;
    sessions.iter().map(|one| one["id"].as_str().expect("an id").to_owned()).collect()
}

async fn remove(world: &World, access: &str, id: &str) -> Answer {
    let request = world.http.delete(format!("{}/sessions/{id}", world.auth));
    Answer::to(request.bearer_auth(access)).await
}

async fn change(world: &World, access: &str, current: &str, new: &str) -> Answer {
    let body = json!({"current_password": current, "new_password": new});
    world.post_as(access, "/password", &body).await
}

async fn change_and(world: &World, access: &str, sessions: &str) -> Answer {
    let body = json!({"current_password": PASSWORD, "new_password": NEW, "sessions": sessions});
    world.post_as(access, "/password", &body).await
}

async fn log_in(world: &World, username: &str, password: &str) -> Answer {
    world.post("/login", &json!({"username": username, "password": password})).await
}

/// Checks that a session is over everywhere, and why.
async fn assert_ended(world: &World, tokens: &Tokens, reason: &str) {
    let answer = world.refresh(&tokens.refresh).await;
    answer.assert_problem(401, "session-revoked");
    assert_eq!(answer.json()["reason"], reason);
    world.until_refused(&tokens.access).await;
    until_refused_at_home(world, &tokens.access).await;
}

async fn until_refused_at_home(world: &World, access: &str) {
    let deadline = Instant::now() + Duration::from_secs(1);
    loop {
        let answer = world.get_as(access, "/me").await;
        if answer.status == 401 {
            return answer.assert_problem(401, "invalid-token");
        }
        assert!(Instant::now() < deadline, "still accepted");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// Checks that a session is as good as ever.
async fn assert_live(world: &World, tokens: &Tokens) {
    assert_eq!(world.whoami(&tokens.access).await.status, 200);
    assert_eq!(world.get_as(&tokens.access, "/me").await.status, 200);
    let next = Tokens::of(&world.refresh(&tokens.refresh).await);
    assert_eq!(world.whoami(&next.access).await.status, 200);
}

on_both_databases! {
    async fn me_is_who_registered(world) {
        let body = json!({"username": "Ada", "password": PASSWORD, "email": "Ada@example.com"});
        let registered = world.post("/register", &body).await.json()["user"].clone();
        let tokens = world.login("ada").await;
        let answer = world.get_as(&tokens.access, "/me").await;
        assert_eq!(answer.status, 200);
        answer.assert_hardened();
        assert_eq!(answer.header("cache-control"), Some("no-store"));
        let me = answer.json();
        assert_eq!(members(&me), ["created_at", "email", "id", "roles", "username"]);
        assert_eq!(me["roles"], json!([]));
        for member in ["created_at", "email", "id", "username"] {
            assert_eq!(me[member], registered[member], "{member}");
        }
        world.register("eve").await;
        let eve = world.login("eve").await;
        assert!(world.get_as(&eve.access, "/me").await.json()["email"].is_null());
    }

    async fn without_a_good_token_there_is_no_account_to_see(world) {
        let tokens = world.newcomer("ada").await;
        let call = |method: &str, path: &str| {
            let method = method.parse().expect("a method");
            world
                .http
                .request(method, format!("{}{path}", world.auth))
                .json(&json!({"current_password": PASSWORD, "new_password": NEW}))
        };
        let own = format!("/sessions/{}", tokens.session);
        for (method, path) in
            [("GET", "/me"), ("GET", "/sessions"), ("DELETE", own.as_str()), ("POST", "/password")]
        {
            let none = Answer::to(call(method, path)).await;
            none.assert_problem(401, "unauthenticated");
            assert!(!none.header("www-authenticate").unwrap().contains("error="), "RFC 6750 §3.1");
            let basic = Answer::to(call(method, path).basic_auth("ada", Some(PASSWORD))).await;
            basic.assert_problem(401, "unauthenticated");
            for bad in [
                "garbage",
                "",
                &tokens.refresh,
                &tokens.access[1..],
                &format!("{}x", tokens.access),
            ] {
                Answer::to(call(method, path).bearer_auth(bad))
                    .await
                    .assert_problem(401, "invalid-token");
            }
        }
        assert_live(&world, &tokens).await;
    }

    async fn a_session_is_listed_with_its_members_and_no_others(world) {
        world.register("ada").await;
        let body = json!({"username": "ada", "password": PASSWORD, "device": "Telephone"});
        let tokens = Tokens::of(&world.post("/login", &body).await);
        let listed = sessions(&world, &tokens.access).await;
        assert_eq!(listed.len(), 1);
        let session = &listed[0];
        assert_eq!(
            members(session),
            [
                "created_at",
                "current",
                "device",
                "expires_at",
                "id",
                "ip",
                "last_used_at",
                "user_agent",
            ]
        );
        assert_eq!(session["id"], tokens.session);
        assert_eq!(session["device"], "Telephone");
        assert_eq!(
            (&session["ip"], &session["user_agent"]),
            (&json!("127.0.0.1"), &json!("acceptance"))
        );
        assert_eq!(session["current"], true);
        assert_eq!(session["last_used_at"], session["created_at"]);
        assert!(session["expires_at"].as_str() > session["created_at"].as_str());
    }

    async fn sessions_are_listed_newest_first_and_one_is_current(world) {
        let mut logins = vec![world.newcomer("ada").await];
        for _ in 0..2 {
            world.clock.advance(2);
            logins.push(world.login("ada").await);
        }
        let expected: Vec<_> = logins.iter().rev().map(|login| login.session.clone()).collect();
        for login in &logins {
            let listed = sessions(&world, &login.access).await;
            assert_eq!(ids(&world, &login.access).await, expected);
            for session in &listed {
                assert_eq!(session["current"], session["id"] == login.session.as_str());
                assert!(session["device"].is_null());
            }
        }
    }

    async fn a_refresh_moves_the_last_use_and_nothing_else(world) {
        let tokens = world.newcomer("ada").await;
        let before = sessions(&world, &tokens.access).await.remove(0);
        world.clock.advance(100);
        let next = Tokens::of(&world.refresh(&tokens.refresh).await);
        let mut after = sessions(&world, &next.access).await.remove(0);
        assert!(after["last_used_at"].as_str() > before["last_used_at"].as_str());
        after["last_used_at"] = before["last_used_at"].clone();
        assert_eq!(after, before);
    }

    async fn only_ones_own_live_sessions_are_listed(world) {
        let one = world.newcomer("ada").await;
        let ended = world.login("ada").await;
        world.newcomer("eve").await;
        assert_eq!(world.logout(&ended.refresh, "current").await.status, 204);
        assert_eq!(ids(&world, &one.access).await, std::slice::from_ref(&one.session));
        // The idle end of one session passes while another is kept in use.
        world.clock.advance(400_000);
        let fresh = world.login("ada").await;
        world.clock.advance(300_000);
        let fresh = Tokens::of(&world.refresh(&fresh.refresh).await);
        assert_eq!(ids(&world, &fresh.access).await, std::slice::from_ref(&fresh.session));
    }

    async fn at_most_a_hundred_sessions_are_listed(world) {
        let mut tokens = world.newcomer("ada").await;
        for _ in 0..100 {
            tokens = world.login("ada").await;
        }
        assert_eq!(ids(&world, &tokens.access).await.len(), 100);
    }

    async fn a_session_of_ones_own_is_ended_by_its_id(world) {
        let (one, two) = (world.newcomer("ada").await, world.login("ada").await);
        let answer = remove(&world, &one.access, &two.session).await;
        assert_eq!((answer.status, answer.text.as_str()), (204, ""));
        answer.assert_hardened();
        assert_ended(&world, &two, "logout").await;
        assert_eq!(remove(&world, &one.access, &two.session).await.status, 204, "twice is once");
        assert_eq!(world.database.number("select count(*) from revocations").await, 1);
        assert_live(&world, &one).await;
    }

    async fn ones_current_session_may_be_ended_too(world) {
        let tokens = world.newcomer("ada").await;
        assert_eq!(remove(&world, &tokens.access, &tokens.session).await.status, 204);
        assert_ended(&world, &tokens, "logout").await;
        remove(&world, &tokens.access, &tokens.session).await.assert_problem(401, "invalid-token");
    }

    async fn a_session_of_somebody_else_is_not_there(world) {
        let (ada, eve) = (world.newcomer("ada").await, world.newcomer("eve").await);
        let before = state(&world).await;
        let foreign = remove(&world, &eve.access, &ada.session).await;
        foreign.assert_problem(404, "not-found");
        assert_one_sentence(&foreign);
        for id in [
            "AAAAAAAAAAAAAAAAAAAAAA",
            "x",
            "%00",
            "%20",
            "%ff",
            "%c3%28",
            "'",
            "..%2f",
            "-",
            &ada.session[1..],
            &format!("{}=", ada.session),
            &format!("{}%2f", ada.session),
            &ada.access,
            &"A".repeat(10_000),
        ] {
            let answer = remove(&world, &eve.access, id).await;
            assert_eq!(answer.told(), foreign.told(), "{id}");
        }
        assert_eq!(state(&world).await, before);
        assert_live(&world, &ada).await;
    }

    async fn whose_session_is_over_ends_none(world) {
        let (one, two) = (world.newcomer("ada").await, world.login("ada").await);
        assert_eq!(world.logout(&one.refresh, "current").await.status, 204);
        // Whether the verifier has heard of it yet or not.
        for _ in 0..20 {
            remove(&world, &one.access, &two.session).await.assert_problem(401, "invalid-token");
            world.get_as(&one.access, "/sessions").await.assert_problem(401, "invalid-token");
            change(&world, &one.access, PASSWORD, NEW).await.assert_problem(401, "invalid-token");
            change(&world, &one.access, NEW, NEW).await.assert_problem(401, "invalid-token");
        }
        assert_live(&world, &two).await;
        assert_eq!(log_in(&world, "ada", PASSWORD).await.status, 200);
    }

    /// Whoever has a token of a session that is over, also of one whose end nobody announces, learns nothing of the
    /// password by it.
    async fn a_session_that_is_over_is_no_way_to_try_passwords(world) {
        let tokens = world.newcomer("ada").await;
        world.database.execute("update sessions set idle_expires_at = created_at").await;
        let before = state(&world).await;
        let right = change(&world, &tokens.access, PASSWORD, NEW).await;
        right.assert_problem(401, "invalid-token");
        for (current, new) in [(NEW, PASSWORD), (NEW, NEW), (PASSWORD, PASSWORD), (PASSWORD, "short"), ("", "")] {
            let other = change(&world, &tokens.access, current, new).await;
            assert_eq!(other.told(), right.told(), "{current} {new}");
        }
        assert_eq!(state(&world).await, before);
        let failed = "select count(*) from events where kind in ('login-failed', 'limited')";
        assert_eq!(world.database.number(failed).await, 0);
    }

    async fn a_new_password_takes_the_place_of_the_old(world) {
        let tokens = world.newcomer("ada").await;
        let answer = change(&world, &tokens.access, PASSWORD, NEW).await;
        assert_eq!((answer.status, answer.text.as_str()), (204, ""));
        answer.assert_hardened();
        log_in(&world, "ada", PASSWORD).await.assert_problem(401, "invalid-credentials");
        Tokens::of(&log_in(&world, "ada", NEW).await);
        assert_live(&world, &tokens).await;
    }

    async fn a_password_change_ends_the_others_unless_told_otherwise(world) {
        let (mine, other) = (world.newcomer("ada").await, world.login("ada").await);
        let eve = world.newcomer("eve").await;
        assert_eq!(change(&world, &mine.access, PASSWORD, NEW).await.status, 204);
        assert_ended(&world, &other, "password").await;
        assert_live(&world, &mine).await;
        assert_live(&world, &eve).await;
    }

    async fn a_password_change_may_end_the_others_by_name(world) {
        let (mine, other) = (world.newcomer("ada").await, world.login("ada").await);
        assert_eq!(change_and(&world, &mine.access, "others").await.status, 204);
        assert_ended(&world, &other, "password").await;
        assert_live(&world, &mine).await;
    }

    async fn a_password_change_may_end_all_sessions(world) {
        let (mine, other) = (world.newcomer("ada").await, world.login("ada").await);
        let eve = world.newcomer("eve").await;
        assert_eq!(change_and(&world, &mine.access, "all").await.status, 204);
        assert_ended(&world, &mine, "password").await;
        assert_ended(&world, &other, "password").await;
        assert_live(&world, &eve).await;
        assert_live(&world, &Tokens::of(&log_in(&world, "ada", NEW).await)).await;
    }

    async fn a_password_change_may_end_no_session(world) {
        let (mine, other) = (world.newcomer("ada").await, world.login("ada").await);
        assert_eq!(change_and(&world, &mine.access, "none").await.status, 204);
        assert_live(&world, &mine).await;
        assert_live(&world, &other).await;
        assert_eq!(world.database.number("select count(*) from revocations").await, 0);
    }

    async fn whoever_does_not_know_the_password_does_not_change_it(world) {
        let tokens = world.newcomer("ada").await;
        let before = state(&world).await;
        for wrong in ["", "wrong", NEW, &format!("{PASSWORD} ")] {
            let answer = change(&world, &tokens.access, wrong, NEW).await;
            answer.assert_problem(401, "invalid-credentials");
            assert_one_sentence(&answer);
        }
        // Nor learns whether the new one would do.
        change(&world, &tokens.access, "wrong", "short")
            .await
            .assert_problem(401, "invalid-credentials");
        assert_eq!(state(&world).await, before);
        assert_live(&world, &tokens).await;
    }

    /// N-U08
    async fn a_new_password_obeys_the_policy_and_is_new(world) {
        let body =
            json!({"username": "Marjorie", "password": PASSWORD, "email": "m.j@example.com"});
        assert_eq!(world.post("/register", &body).await.status, 201);
        let tokens = world.login("Marjorie").await;
        let before = state(&world).await;
        for (new, violations) in [
            (PASSWORD, json!(["unchanged"])),
            ("fourteen chars", json!(["too_short"])),
            (&"every word counts ".repeat(15), json!(["too_long"])),
            ("password password 123", json!(["common"])),
            ("here is MARJORIE again", json!(["contains_name"])),
            ("write to M.J@example.com", json!(["contains_name"])),
        ] {
            let answer = change(&world, &tokens.access, PASSWORD, new).await;
            answer.assert_problem(422, "password-policy");
            assert_one_sentence(&answer);
            assert_eq!(answer.json()["violations"], violations, "{new}");
        }
        for (current, new) in [
            (PASSWORD, "a quite other\0sentence"),
            ("a\0b", NEW),
            (PASSWORD, &"x".repeat(1025)),
            (&"x".repeat(1025), NEW),
        ] {
            let answer = change(&world, &tokens.access, current, new).await;
            answer.assert_problem(400, "invalid-request");
            assert_one_sentence(&answer);
        }
        change(&world, &tokens.access, PASSWORD, &"x".repeat(1_000_000))
            .await
            .assert_problem(413, "payload-too-large");
        change_and(&world, &tokens.access, "current").await.assert_problem(400, "invalid-request");
        assert_eq!(state(&world).await, before);
        assert_live(&world, &tokens).await;
    }

    async fn of_many_changes_at_once_one_is_made(world) {
        let tokens = world.newcomer("ada").await;
        let news: Vec<_> = (0..8).map(|n| format!("{NEW} number {n}")).collect();
        let changes = news.iter().map(|new| change(&world, &tokens.access, PASSWORD, new));
        let answers = futures_util::future::join_all(changes).await;
        let made: Vec<_> = (0..8).filter(|n| answers[*n].status == 204).collect();
        assert_eq!(made.len(), 1);
        for answer in answers.iter().filter(|answer| answer.status != 204) {
            assert_eq!(answer.status, 401, "{}", answer.text);
        }
        assert_eq!(log_in(&world, "ada", &news[made[0]]).await.status, 200);
    }

    async fn a_disabled_user_is_out_at_once_and_stays_out(world) {
        let (tokens, other) = (world.newcomer("ada").await, world.login("ada").await);
        let eve = world.newcomer("eve").await;
        let ada = user_of(&tokens.access);
        assert!(world.store.set_enabled(ada, false).await.unwrap());
        assert_ended(&world, &tokens, "disabled").await;
        assert_ended(&world, &other, "disabled").await;
        log_in(&world, "ada", PASSWORD).await.assert_problem(401, "invalid-credentials");
        assert_live(&world, &eve).await;

        assert!(world.store.set_enabled(ada, true).await.unwrap());
        assert_ended(&world, &tokens, "disabled").await;
        let back = world.login("ada").await;
        assert_live(&world, &back).await;
        let again = Tokens::of(&world.refresh(&back.refresh).await);
        assert_eq!(ids(&world, &again.access).await, [back.session]);
        assert_ended(&world, &other, "disabled").await;
    }
}
