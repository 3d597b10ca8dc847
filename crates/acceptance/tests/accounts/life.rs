//! The life of an account, by its owner: `PATCH /me`, `DELETE /me`, `GET /me/export`.

use std::collections::BTreeSet;

use auth_service::identity::names;
use auth_service::store::NewInvitation;
use auth_service::tokens::InvitationToken;
use futures_util::future::join_all;
use reqwest::Method;
use serde_json::{Value, json};
use sqlx::AssertSqlSafe;
use testbed::service::until;
use testbed::{Answer, Database, Kind, PASSWORD, Tokens, World, on_both_databases};

use crate::support::{assert_one_sentence, claims_of, members, user_of};

async fn send(
    world: &World,
    method: Method,
    access: &str,
    path: &str,
    body: Option<&Value>,
) -> Answer {
    let request = world.http.request(method, format!("{}{path}", world.auth)).bearer_auth(access);
    Answer::to(match body {
        Some(body) => request.json(body),
        None => request,
    })
    .await
}

async fn patch(world: &World, access: &str, body: &Value) -> Answer {
    send(world, Method::PATCH, access, "/me", Some(body)).await
}

async fn delete(world: &World, access: &str) -> Answer {
    send(world, Method::DELETE, access, "/me", None).await
}

async fn log_in(world: &World, name: &str) -> Answer {
    world.post("/login", &json!({"username": name, "password": PASSWORD})).await
}

async fn count(world: &World, sql: &'static str) -> i64 {
    world.database.number(sql).await
}

/// A minute later the rest is forgotten.
async fn until_forgotten(world: &World) {
    world.clock.advance(61);
    until("the rest is forgotten", async || {
        count(world, "select count(*) from users where deleted_at is not null").await == 0
    })
    .await;
}

/// Gives Ada that many sessions and entries of the audit log more.
async fn crowd(world: &World, many: u32) {
    let numbers = format!(
        "with recursive n (i) as (select 1 union all select i + 1 from n where i < {many})"
    );
    world
        .database
        .execute(AssertSqlSafe(format!(
            "{numbers} insert into sessions (id, user_id, client_id, scope, subject_version, \
                idle_expires_at, expires_at, auth_time, amr, created_at, ip, user_agent) \
             select 'AAAAAAAAAAA' || cast(1000000000 + n.i as text) || 'A', u.id, 'web', \
                'profile', u.version, 9999999999999, 9999999999999, 1, 'pwd', 1795000000000 + n.i, '192.0.2.' || (n.i % 250), 'agent' \
             from n, users u where u.username_key = 'ada'"
        )))
        .await;
}

on_both_databases! {
    async fn whoever_deletes_their_account_is_gone_at_once(world) {
        let (one, two) = (world.newcomer("ada").await, world.login("ada").await);
        let other = world.newcomer("grace").await;
        let id = user_of(&one.access);
        let answer = delete(&world, &one.access).await;
        assert_eq!((answer.status, answer.text.as_str()), (204, ""));
        for tokens in [&one, &two] {
            world.until_refused(&tokens.access).await;
            delete(&world, &tokens.access).await.assert_problem(401, "invalid-token");
            for path in ["/me", "/me/export", "/sessions"] {
                world.get_as(&tokens.access, path).await.assert_problem(401, "invalid-token");
            }
            world.refresh(&tokens.refresh).await.assert_problem(401, "session-revoked");
        }
        log_in(&world, "ada").await.assert_problem(401, "invalid-credentials");
        assert_eq!(world.whoami(&other.access).await.status, 200);
        // One entry, whatever the number of sessions; and one fact.
        assert_eq!(count(&world, "select count(*) from revocations").await, 1);
        let told = "select count(*) from events where kind in ('user-deleted', 'user-disabled', \
            'all-sessions-ended', 'roles-changed', 'user-renamed', 'email-changed')";
        assert_eq!(count(&world, told).await, 1);

        // The name is free, and whoever takes it is somebody else.
        let new = world.newcomer("Ada").await;
        assert_ne!(user_of(&new.access), id);
        for tokens in [&one, &two] {
            assert_eq!(world.refresh(&tokens.refresh).await.status, 401);
            assert_eq!(world.whoami(&tokens.access).await.status, 401);
        }
        until_forgotten(&world).await;
        world.refresh(&one.refresh).await.assert_problem(401, "session-expired");
        assert_eq!(world.whoami(&one.access).await.status, 401);
        assert_eq!(world.refresh(&new.refresh).await.status, 200);
    }

    async fn nothing_that_names_a_deleted_user_is_left(world) {
        world.set("AUTH__REGISTRATION", "invite");
        world.restart().await;
        let token = InvitationToken::random();
        let email = ("ada@example.com".to_owned(), names::email("ada@example.com").unwrap());
        let lifetime = std::time::Duration::from_hours(1);
        let new = |digest, email| NewInvitation { digest, email, lifetime };
        world.store.invite(new(token.digest(), Some(email.clone()))).await.unwrap();
        // Bound to the address, never used and taken back; of nobody.
        let unused = world.store.invite(new(InvitationToken::random().digest(), Some(email))).await.unwrap();
        assert!(world.store.revoke_invitation(unused.id).await.unwrap());
        world.store.invite(new(InvitationToken::random().digest(), None)).await.unwrap();
        let invitation = secrecy::ExposeSecret::expose_secret(&token.write()).to_owned();
        let body = json!({"username": "lovelace", "email": "ada@example.com", "password": PASSWORD,
            "invitation": invitation});
        assert_eq!(world.post("/register", &body).await.status, 201);
        let body = json!({"username": "lovelace", "password": "quite another sentence"});
        assert_eq!(world.post("/login", &body).await.status, 401);
        let tokens = world.login("lovelace").await;
        assert_eq!(world.refresh(&tokens.refresh).await.status, 200);
        let elsewhere = world.http.post(format!("{}/refresh", world.auth)).header("user-agent", "Else/1");
        let again = elsewhere.json(&json!({"refresh_token": tokens.refresh}));
        assert_eq!(Answer::to(again).await.status, 200);
        until("the failed login is told", async || {
            count(&world, "select count(*) from events where kind = 'login-failed'").await == 1
        }).await;
        let told = count(&world, "select count(*) from events where user_id is not null").await;
        assert_eq!(count(&world, "select count(*) from events where other_user_agent is not null").await, 1);
        assert_eq!(delete(&world, &tokens.access).await.status, 204);
        assert_eq!(count(&world, "select count(*) from invitations").await, 1, "nobody's stays");
        until_forgotten(&world).await;

        assert_eq!(count(&world, "select count(*) from users").await, 0);
        assert_eq!(count(&world, "select count(*) from sessions").await, 0);
        // The facts stay, with the id and without what names anybody.
        let about = "select count(*) from events where user_id is not null";
        assert_eq!(count(&world, about).await, told + 1);
        let named = "select count(*) from events where ip not like '~%' or user_agent not like '~%' \
            or other_ip not like '~%' or other_user_agent not like '~%'";
        assert_eq!(count(&world, named).await, 0);
        let same = "select count(*) from events e, events f where f.kind = 'login-failed' \
            and e.kind = 'login' and e.ip = '~' || f.origin";
        assert_eq!(count(&world, same).await, 1, "one network has one pseudonym");
        let agents = "select count(distinct user_agent) from events where user_agent is not null";
        assert_eq!(count(&world, agents).await, 2, "two programs have two");
        let dump = texts(&world.database).await;
        for word in ["lovelace", "example.com", "127.0.0.1", "acceptance", "Else/1"] {
            assert!(!dump.contains(word), "{word} in {dump}");
        }
    }

    /// Nobody has shown that an address is theirs, so that an invitation which is bound to it is not theirs either.
    async fn an_invitation_that_waits_for_somebody_is_neither_shown_nor_taken_away(world) {
        let ada = world.newcomer("ada").await;
        let email = ("grace@example.com".to_owned(), names::email("grace@example.com").unwrap());
        let (digest, lifetime) = (InvitationToken::random().digest(), std::time::Duration::from_hours(1));
        world.store.invite(NewInvitation { digest, email: Some(email), lifetime }).await.unwrap();
        assert_eq!(patch(&world, &ada.access, &json!({"email": "grace@example.com"})).await.status, 200);
        let export = world.get_as(&ada.access, "/me/export").await.json();
        assert_eq!(export["invitations"], json!([]));
        assert_eq!(delete(&world, &ada.access).await.status, 204);
        assert_eq!(count(&world, "select count(*) from invitations").await, 1);
    }

    async fn what_needs_a_recent_login_is_refused_to_an_older_one(world) {
        let tokens = world.newcomer("ada").await;
        world.clock.advance(890);
        let tokens = Tokens::of(&world.refresh(&tokens.refresh).await);
        let answer = patch(&world, &tokens.access, &json!({"email": "ada@example.com"})).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
        world.clock.advance(31);
        // A refresh makes no login newer.
        let tokens = Tokens::of(&world.refresh(&tokens.refresh).await);
        for answer in [
            delete(&world, &tokens.access).await,
            patch(&world, &tokens.access, &json!({"username": "eve"})).await,
            // Before the body is looked at.
            patch(&world, &tokens.access, &json!({"nothing": 1})).await,
        ] {
            answer.assert_problem(401, "reauthentication-required");
            assert_one_sentence(&answer);
            let challenge = answer.header("www-authenticate").unwrap_or_default();
            for part in ["Bearer ", r#"error="insufficient_user_authentication""#, r#"max_age="900""#] {
                assert!(challenge.contains(part), "{challenge}");
            }
        }
        assert_eq!(world.get_as(&tokens.access, "/me").await.json()["username"], "ada");
        assert_eq!(world.get_as(&tokens.access, "/me/export").await.status, 200);
        let fresh = world.login("ada").await;
        assert_eq!(patch(&world, &fresh.access, &json!({"username": "eve"})).await.status, 200);
        assert_eq!(delete(&world, &fresh.access).await.status, 204);
    }

    async fn a_patch_changes_what_it_names_and_nothing_else(world) {
        let tokens = world.newcomer("ada").await;
        let me = world.get_as(&tokens.access, "/me").await.json();
        let answer = patch(&world, &tokens.access, &json!({})).await;
        assert_eq!((answer.status, answer.json()), (200, me.clone()));
        assert_eq!(answer.header("cache-control"), Some("no-store"));

        let answer = patch(&world, &tokens.access, &json!({"email": "Ada@example.com"})).await;
        assert_eq!(answer.json()["email"], "Ada@example.com");
        assert_eq!((&answer.json()["username"], &answer.json()["id"]), (&me["username"], &me["id"]));
        let answer = patch(&world, &tokens.access, &json!({"username": "ＡDA"})).await;
        assert_eq!((answer.status, &answer.json()["username"]), (200, &json!("ＡDA")));
        let answer = patch(&world, &tokens.access, &json!({"username": "countess"})).await;
        assert_eq!(answer.json()["username"], "countess");
        log_in(&world, "ada").await.assert_problem(401, "invalid-credentials");
        assert_eq!(log_in(&world, "Countess").await.status, 200);
        assert_eq!(log_in(&world, "ada@EXAMPLE.com").await.status, 200);
        // Sessions go on; the next token has the new name.
        assert_eq!(claims_of(&tokens.access)["preferred_username"], "ada");
        let next = Tokens::of(&world.refresh(&tokens.refresh).await);
        assert_eq!(claims_of(&next.access)["preferred_username"], "countess");

        let answer = patch(&world, &tokens.access, &json!({"username": null})).await;
        assert!(answer.status == 200 && answer.json()["username"].is_null(), "{}", answer.text);
        log_in(&world, "countess").await.assert_problem(401, "invalid-credentials");
        // What is free can be taken.
        world.register("ada").await;
        world.register("countess").await;
        let answer = patch(&world, &tokens.access, &json!({"username": "back", "email": null})).await;
        assert_eq!((&answer.json()["username"], &answer.json()["email"]), (&json!("back"), &Value::Null));
        let told = "select count(*) from events where kind = 'user-renamed'";
        assert_eq!(count(&world, told).await, 4);
        let told = "select count(*) from events where kind = 'email-changed'";
        assert_eq!(count(&world, told).await, 2);
        let names = "select count(*) from events where reason is not null and kind in ('user-renamed', 'email-changed')";
        assert_eq!(count(&world, names).await, 0);
        let events = world.get_as(&tokens.access, "/sessions/events").await.text;
        assert!(events.contains("user-renamed") && events.contains("email-changed"), "{events}");
    }

    async fn a_patch_that_is_not_acceptable_changes_nothing(world) {
        let tokens = world.newcomer("ada").await;
        world.register("grace").await;
        let body = json!({"email": "bob@example.com", "password": PASSWORD});
        assert_eq!(world.post("/register", &body).await.status, 201);
        for (status, code, body) in [
            (400, "invalid-request", json!({"username": null})),
            (400, "invalid-request", json!({"username": null, "email": null})),
            (400, "invalid-request", json!({"username": ""})),
            (400, "invalid-request", json!({"username": "a@b"})),
            (400, "invalid-request", json!({"username": "id:ada"})),
            (400, "invalid-request", json!({"username": user_of(&tokens.access).to_string()})),
            (400, "invalid-request", json!({"username": "@"})),
            (400, "invalid-request", json!({"username": "@!x"})),
            (400, "invalid-request", json!({"username": "e\u{202e}ve"})),
            (400, "invalid-request", json!({"username": "e\u{200d}ve"})),
            (400, "invalid-request", json!({"username": ["eve"]})),
            (400, "invalid-request", json!({"username": 1})),
            (400, "invalid-request", json!({"email": "no address"})),
            (400, "invalid-request", json!({"username": "eve", "roles": ["admin"]})),
            (400, "invalid-request", json!({"password": "another ordinary sentence"})),
            (400, "invalid-request", json!(["username"])),
            (409, "conflict", json!({"username": "GRACE"})),
            (409, "conflict", json!({"email": "Bob@example.com"})),
            (409, "conflict", json!({"username": "eve", "email": "bob@example.com"})),
        ] {
            let answer = patch(&world, &tokens.access, &body).await;
            answer.assert_problem(status, code);
            assert_one_sentence(&answer);
        }
        let url = format!("{}/me", world.auth);
        for (media, status) in [
            ("application/merge-patch+json", 200),
            ("application/merge-patch+json; charset=utf-8", 200),
            ("application/merge-patch+json; charset=utf8", 200),
            ("application/merge-patch+json; charset=utf-16", 415),
            ("application/json", 200),
            ("application/json-patch+json", 415),
            ("application/x-www-form-urlencoded", 415),
            ("text/plain", 415),
        ] {
            let request = world.http.patch(&url).bearer_auth(&tokens.access);
            let answer = Answer::to(request.header("content-type", media).body("{}")).await;
            assert_eq!(answer.status, status, "{media}: {}", answer.text);
            let told = answer.header("accept-patch");
            assert_eq!(told, (status == 415).then_some("application/merge-patch+json, application/json"));
        }
        let twice = world.http.patch(&url).bearer_auth(&tokens.access)
            .header("content-type", "application/json")
            .body(r#"{"username":"eve","username":"mallory"}"#);
        Answer::to(twice).await.assert_problem(400, "invalid-request");
        let large = json!({"username": "x".repeat(20_000)});
        patch(&world, &tokens.access, &large).await.assert_problem(413, "payload-too-large");
        for path in ["/me", "/me/export"] {
            let url = format!("{}{path}", world.auth);
            Answer::to(world.http.get(&url)).await.assert_problem(401, "unauthenticated");
        }
        Answer::to(world.http.delete(&url)).await.assert_problem(401, "unauthenticated");
        Answer::to(world.http.patch(&url).json(&json!({}))).await.assert_problem(401, "unauthenticated");
        assert_eq!(world.get_as(&tokens.access, "/me").await.json()["username"], "ada");
        assert_eq!(count(&world, "select count(*) from events where kind in ('user-renamed', 'email-changed')").await, 0);
    }

    async fn names_cannot_be_probed_without_end(world) {
        world.set("AUTH__LIMITS__REGISTER_BURST", "4");
        world.restart().await;
        let (ada, grace) = (world.newcomer("ada").await, world.newcomer("grace").await);
        for _ in 0..4 {
            // This tells nothing.
            patch(&world, &ada.access, &json!({"username": null})).await.assert_problem(400, "invalid-request");
            patch(&world, &ada.access, &json!({"username": "grace"})).await.assert_problem(409, "conflict");
        }
        // Not with another session, and not as somebody else from there; nor for a name that is free.
        let again = world.login("ada").await;
        for access in [&ada.access, &again.access, &grace.access] {
            for name in ["grace", "nobody-of-that-name"] {
                let answer = patch(&world, access, &json!({"username": name})).await;
                answer.assert_problem(429, "rate-limited");
                let policy = answer.header("ratelimit-policy").unwrap_or_default().to_owned();
                assert!(policy.contains("names"), "{policy}");
            }
        }
        // It is in nobody's way who registers, or deletes their account.
        world.register("eve").await;
        assert_eq!(delete(&world, &grace.access).await.status, 204);
        world.clock.advance(180);
        let fresh = world.login("ada").await;
        assert_eq!(patch(&world, &fresh.access, &json!({"username": "countess"})).await.status, 200);
    }

    async fn of_many_who_take_one_name_at_once_one_has_it(world) {
        let mut people = Vec::new();
        for name in ["ada", "bob", "eve", "grace", "mallory", "trent"] {
            people.push(world.newcomer(name).await);
        }
        let body = json!({"username": "victor"});
        let answers = join_all(people.iter().map(|one| patch(&world, &one.access, &body))).await;
        let won = answers.iter().filter(|answer| answer.status == 200).count();
        for lost in answers.iter().filter(|answer| answer.status != 200) {
            lost.assert_problem(409, "conflict");
        }
        assert_eq!((won, count(&world, "select count(*) from users where username_key = 'victor'").await), (1, 1));
    }

    async fn of_many_deletions_at_once_one_happens(world) {
        let mut all = vec![world.newcomer("ada").await];
        for _ in 0..5 {
            all.push(world.login("ada").await);
        }
        let user = user_of(&all[0].access);
        let owners = join_all(all.iter().map(|one| delete(&world, &one.access)));
        let administrators = join_all((0..3).map(|_| world.store.delete_user(user)));
        let (owners, administrators) = tokio::join!(owners, administrators);
        let done = owners.iter().filter(|answer| answer.status == 204).count()
            + administrators.into_iter().filter(|done| *done.as_ref().unwrap()).count();
        assert_eq!(done, 1);
        for refused in owners.iter().filter(|answer| answer.status != 204) {
            refused.assert_problem(401, "invalid-token");
        }
        assert_eq!(count(&world, "select count(*) from events where kind = 'user-deleted'").await, 1);
        assert_eq!(count(&world, "select cast(version as bigint) from users").await, 2);
        assert_eq!(count(&world, "select count(*) from revocations").await, 1);
    }

    /// Whatever was got in the moment of the deletion is worth nothing after it.
    async fn logins_and_refreshes_in_flight_do_not_survive_a_deletion(world) {
        let own = world.newcomer("ada").await;
        let mut sessions = Vec::new();
        for _ in 0..8 {
            sessions.push(world.login("ada").await);
        }
        let logins = join_all((0..8).map(|_| log_in(&world, "ada")));
        let refreshes = join_all(sessions.iter().map(|one| world.refresh(&one.refresh)));
        let renames = join_all((0..4).map(|n| {
            let (access, name) = (&sessions[n].access, format!("ada{n}"));
            let world = &world;
            async move { patch(world, access, &json!({"username": name})).await }
        }));
        let (deleted, logins, refreshes, renames) =
            tokio::join!(delete(&world, &own.access), logins, refreshes, renames);
        assert_eq!(deleted.status, 204, "{}", deleted.text);
        for answer in logins.iter().chain(&refreshes) {
            if answer.status == 200 {
                let tokens = Tokens::of(answer);
                world.until_refused(&tokens.access).await;
                assert_eq!(world.refresh(&tokens.refresh).await.status, 401);
            } else {
                assert_eq!(answer.status, 401, "{}", answer.text);
            }
        }
        assert!(renames.iter().all(|answer| matches!(answer.status, 200 | 401)), "{renames:?}");
        let named = "select count(*) from users where username <> '' or email is not null or enabled";
        assert_eq!(count(&world, named).await, 0);
        until_forgotten(&world).await;
        assert_eq!(count(&world, "select count(*) from sessions").await, 0);
    }

    async fn an_export_has_everything_that_is_kept(world) {
        world.set("AUTH__REGISTRATION", "invite");
        world.restart().await;
        let token = InvitationToken::random();
        let lifetime = std::time::Duration::from_hours(1);
        world.store.invite(NewInvitation { digest: token.digest(), email: None, lifetime }).await.unwrap();
        let invitation = secrecy::ExposeSecret::expose_secret(&token.write()).to_owned();
        let body = json!({"username": "ada", "email": "ada@example.com", "password": PASSWORD,
            "invitation": invitation});
        assert_eq!(world.post("/register", &body).await.status, 201);
        let body = json!({"username": "ada", "password": "quite another sentence"});
        assert_eq!(world.post("/login", &body).await.status, 401);
        until("the failed login is told", async || {
            count(&world, "select count(*) from events where kind = 'login-failed'").await == 1
        }).await;
        let (own, other) = (world.login("ada").await, world.login("ada").await);
        world.logout(&other.refresh, "current").await;

        let answer = world.get_as(&own.access, "/me/export").await;
        answer.assert_hardened();
        assert_eq!(answer.status, 200, "{}", answer.text);
        assert_eq!(answer.header("content-type"), Some("application/json"));
        assert_eq!(answer.header("cache-control"), Some("no-store"));
        let export = answer.json();
        assert_eq!(members(&export), ["events", "invitations", "sessions", "user"]);
        let parts = [
            ("users", export["user"].clone()),
            ("sessions", export["sessions"][0].clone()),
            ("invitations", export["invitations"][0].clone()),
            ("events", export["events"][0].clone()),
        ];
        for (table, part) in parts {
            let mut told: BTreeSet<String> = members(&part).into_iter().map(str::to_owned).collect();
            // What is left out, and why, is said where the export is made and in docs/data.md.
            let left_out: &[&str] = match table {
                "users" => &["password_hash", "username_key", "email_key", "deleted_at"],
                "invitations" => &["digest", "email_key"],
                "events" => &["actor", "repeat_of"],
                _ => &[],
            };
            told.extend(left_out.iter().map(|name| (*name).to_owned()));
            assert_eq!(told, columns(&world.database, table).await, "{table}");
        }
        let kinds: Vec<_> = export["events"].as_array().unwrap().iter()
            .filter_map(|event| event["kind"].as_str()).collect();
        for kind in ["registered", "invitation-used", "login", "session-ended", "login-failed"] {
            assert!(kinds.contains(&kind), "{kind} is not in {kinds:?}");
        }
        assert_eq!(kinds.len(), 6, "{kinds:?}");
        assert_eq!(export["sessions"].as_array().unwrap().len(), 2, "the one that is over too");
        assert_eq!(export["user"]["username"], "ada");
        assert_eq!(export["sessions"][0]["user_agent"], "acceptance");
        assert!(export["sessions"][0]["created_at"].as_str().is_some_and(|at| at.ends_with('Z')));
        for secret in ["$argon2id$", &own.refresh, &invitation[5..]] {
            assert!(!answer.text.contains(secret), "{secret}");
        }
        let head = send(&world, Method::HEAD, &own.access, "/me/export", None).await;
        assert_eq!((head.status, head.text.as_str()), (200, ""));
    }

    async fn an_export_is_whole_however_much_there_is(world) {
        let own = world.newcomer("ada").await;
        let other = world.newcomer("grace").await;
        crowd(&world, 3000).await;
        let export = world.get_as(&own.access, "/me/export").await.json();
        let ids = |list: &str| -> BTreeSet<String> {
            export[list].as_array().unwrap().iter().map(|one| one["id"].to_string()).collect()
        };
        assert_eq!((ids("sessions").len(), export["sessions"].as_array().unwrap().len()), (3001, 3001));
        assert_eq!((ids("events").len(), export["events"].as_array().unwrap().len()), (3002, 3002));
        let of_grace = world.get_as(&other.access, "/me/export").await.json();
        assert_eq!(of_grace["sessions"].as_array().unwrap().len(), 1);
        assert_eq!(of_grace["events"].as_array().unwrap().len(), 2);
    }

    async fn exports_are_limited_for_each_user(world) {
        let (ada, grace) = (world.newcomer("ada").await, world.newcomer("grace").await);
        for _ in 0..5 {
            assert_eq!(world.get_as(&ada.access, "/me/export").await.status, 200);
        }
        let again = world.login("ada").await;
        for access in [&ada.access, &again.access] {
            world.get_as(access, "/me/export").await.assert_problem(429, "rate-limited");
        }
        assert_eq!(world.get_as(&grace.access, "/me/export").await.status, 200);
        world.clock.advance(600);
        assert_eq!(world.get_as(&world.login("ada").await.access, "/me/export").await.status, 200);
    }

    /// By its name it is found when an installation is to be served to others.
    async fn the_demo_account_keeps_its_name_and_can_be_deleted(world) {
        world.set("AUTH__PAGE__ENABLED", "true");
        world.set("AUTH__PAGE__DEMO_USERNAME", "demo");
        world.set("AUTH__PAGE__DEMO_PASSWORD", PASSWORD);
        world.restart().await;
        let demo = world.newcomer("demo").await;
        let other = world.newcomer("ada").await;
        for name in [json!("mine"), json!("DEMO"), Value::Null] {
            let answer = patch(&world, &demo.access, &json!({"username": name, "email": "demo@example.com"})).await;
            answer.assert_problem(403, "forbidden");
            assert_one_sentence(&answer);
        }
        assert_eq!(patch(&world, &demo.access, &json!({"email": "demo@example.com"})).await.status, 200);
        assert_eq!(patch(&world, &other.access, &json!({"username": "countess"})).await.status, 200);
        assert_eq!(delete(&world, &demo.access).await.status, 204);
        let settings = Answer::to(world.http.get(format!("{}/assets/page.json", world.auth))).await;
        assert!(settings.json()["demo"].is_null(), "the page offers it no more: {}", settings.text);
    }
}

/// The columns of a table.
async fn columns(database: &Database, table: &str) -> BTreeSet<String> {
    let sql = match database.kind() {
        Kind::Postgres => format!(
            "select column_name::text from information_schema.columns \
             where table_schema = 'public' and table_name = '{table}'"
        ),
        Kind::Sqlite => format!("select name from pragma_table_info('{table}')"),
    };
    strings(database, sql).await.into_iter().collect()
}

async fn strings(database: &Database, sql: String) -> Vec<String> {
    match database.kind() {
        Kind::Postgres => {
            let pool = database.postgres().await;
            let found = sqlx::query_scalar(AssertSqlSafe(sql)).fetch_all(&pool).await;
            pool.close().await;
            found.expect("the query is right")
        }
        Kind::Sqlite => {
            let pool = database.sqlite().await;
            let found = sqlx::query_scalar(AssertSqlSafe(sql)).fetch_all(&pool).await;
            pool.close().await;
            found.expect("the query is right")
        }
    }
}

/// All that stands in the tables that are about people.
async fn texts(database: &Database) -> String {
    let mut all = String::new();
    for table in ["users", "sessions", "invitations", "events", "revocations"] {
        for column in columns(database, table).await {
            let sql = format!(r#"select coalesce(cast("{column}" as text), '') from {table}"#);
            if column != "digest" {
                all += &strings(database, sql).await.join(" ");
                all.push(' ');
            }
        }
    }
    all
}
