//! Accounts: listed, made, shown and changed by an administrator.

use std::collections::BTreeSet;

use auth_service::store::{Acting, EndReason, StoreError};
use claims::UserId;
use serde_json::{Value, json};
use testbed::service::{assert_one_clear_line, run};
use testbed::{Answer, PASSWORD, on_both_databases};

use crate::support::{
    ALL, NOBODY, USERS_WRITE, ask, get, give, login_for, prepare, read, root, somebody, told,
};

const OTHER: &str = "another ordinary sentence";

on_both_databases! {
    async fn users_are_listed_page_by_page_and_found(world) {
        prepare(&mut world, &[]).await;
        let (root_id, tokens) = root(&world).await;
        let mut made = vec![root_id];
        for number in 0..24 {
            made.push(somebody(&world, &format!("user-{number}"), &[]).await);
        }
        for limit in [1, 7, 25, 500] {
            let (mut found, mut after, mut pages) = (Vec::new(), String::new(), 0);
            loop {
                let page = read(&world, &tokens.access, &format!("/users?limit={limit}{after}")).await;
                let users = page["users"].as_array().expect("users");
                assert!(users.len() <= limit);
                found.extend(users.iter().map(|user| user["id"].as_str().expect("an id").to_owned()));
                pages += 1;
                let Some(next) = page["next"].as_str() else { break };
                after = format!("&after={next}");
            }
            assert_eq!(found, made, "{limit}");
            assert_eq!(pages, 25_usize.div_ceil(limit), "no page is empty");
        }
        for user in ["id:", "name:user-3", "user-3", "USER-3"] {
            let user = if user == "id:" { format!("id:{}", made[4]) } else { user.to_owned() };
            let page = read(&world, &tokens.access, &format!("/users?user={user}")).await;
            assert_eq!(page["users"][0]["id"], made[4], "{user}");
            assert_eq!(page["users"].as_array().map(Vec::len), Some(1));
        }
        for nobody in ["name:nobody", "nobody", &format!("id:{NOBODY}")] {
            get(&world, &tokens.access, &format!("/users?user={nobody}")).await
                .assert_problem(404, "not-found");
        }
        let one = read(&world, &tokens.access, &format!("/users/{}", made[4])).await;
        let members: BTreeSet<_> = one.as_object().expect("an object").keys().map(String::as_str).collect();
        assert_eq!(members, BTreeSet::from(["id", "username", "email", "roles", "enabled", "created_at"]));
        assert_eq!(one["username"], "user-3");
    }

    async fn nobody_gets_roles_with_which_their_tokens_would_be_refused(world) {
        prepare(&mut world, &[]).await;
        let (_, tokens) = root(&world).await;
        let id = somebody(&world, "ada", &[]).await;
        let roles = |many: usize| (0..many).map(|number| format!("r{number:063}")).collect::<Vec<_>>();
        let give = async |many| {
            let body = json!({ "roles": roles(many) });
            ask(&world, &tokens.access, "PATCH", &format!("/users/{id}"), Some(body)).await
        };
        let refused = give(100).await;
        refused.assert_problem(400, "invalid-request");
        assert!(refused.text.contains("bytes of an access token"), "{}", refused.text);
        let made = json!({"username": "eve", "password": PASSWORD, "roles": roles(100)});
        ask(&world, &tokens.access, "POST", "/users", Some(made)).await
            .assert_problem(400, "invalid-request");
        get(&world, &tokens.access, "/users?user=name:eve").await.assert_problem(404, "not-found");

        // As many as there may be, with the longest names: services take the token.
        let mut many = 100;
        while give(many).await.status != 200 {
            many -= 1;
        }
        assert!(many > 40, "{many}");
        let longest = json!({
            "username": "\u{2f800}".repeat(64), "email": format!("{}@\\.\\", "\\".repeat(250)),
        });
        let changed = ask(&world, &tokens.access, "PATCH", &format!("/users/{id}"), Some(longest.clone())).await;
        assert_eq!(changed.status, 200, "{}", changed.text);
        let body = json!({
            "username": longest["username"], "password": PASSWORD,
            "scope": "profile email reports:read reports:write",
        });
        let login = world.post("/login", &body).await;
        let access = login.member("access_token");
        let told = world.whoami(&access).await;
        assert_eq!(told.status, 200, "{} bytes: {}", access.len(), told.text);
        assert_eq!(told.json()["roles"].as_array().map(Vec::len), Some(many));
    }

    async fn an_account_is_made_changed_and_disabled_and_the_log_has_who_did_it(world) {
        prepare(&mut world, &[]).await;
        let root_id = somebody(&world, "root", &["admin"]).await;
        // Whoever else may register: administrators make accounts.
        world.set("AUTH__REGISTRATION", "closed");
        world.restart().await;
        let tokens = login_for(&world, "root", &ALL).await;
        let body = json!({"username": "Ada", "email": "ada@example.com", "password": PASSWORD, "roles": ["editor"]});
        let answer = ask(&world, &tokens.access, "POST", "/users", Some(body.clone())).await;
        assert_eq!(answer.status, 201, "{}", answer.text);
        let id = answer.member("id");
        assert_eq!(answer.header("location"), Some(format!("/admin/v1/users/{id}").as_str()));
        ask(&world, &tokens.access, "POST", "/users", Some(body)).await.assert_problem(409, "conflict");
        let short = json!({"username": "eve", "password": "short"});
        ask(&world, &tokens.access, "POST", "/users", Some(short)).await
            .assert_problem(422, "password-policy");
        let ada = world.login("ada").await;
        let path = format!("/users/{id}");

        let changed = ask(&world, &tokens.access, "PATCH", &path,
            Some(json!({"roles": ["editor", "auditor"]}))).await;
        assert_eq!((changed.status, &changed.json()["roles"]), (200, &json!(["editor", "auditor"])));
        let disabled = ask(&world, &tokens.access, "PATCH", &path,
            Some(json!({"enabled": false, "roles": []}))).await;
        assert_eq!(disabled.json()["enabled"], false);
        assert_eq!(disabled.json()["roles"], json!([]));
        let login = json!({"username": "ada", "password": PASSWORD});
        world.post("/login", &login).await.assert_problem(401, "invalid-credentials");
        world.refresh(&ada.refresh).await.assert_problem(401, "session-revoked");
        let enabled = ask(&world, &tokens.access, "PATCH", &path, Some(json!({"enabled": true}))).await;
        assert_eq!(enabled.json()["enabled"], true);
        let nothing = ask(&world, &tokens.access, "PATCH", &path, Some(json!({}))).await;
        assert_eq!(nothing.status, 200);

        let ada = world.login("ada").await;
        let password = Some(json!({"password": OTHER}));
        let set = ask(&world, &tokens.access, "PUT", &format!("{path}/password"), password).await;
        assert_eq!(set.status, 204, "{}", set.text);
        world.refresh(&ada.refresh).await.assert_problem(401, "session-revoked");
        world.post("/login", &login).await.assert_problem(401, "invalid-credentials");
        let with_name = Some(json!({"password": "ada ada ada ada ada"}));
        ask(&world, &tokens.access, "PUT", &format!("{path}/password"), with_name).await
            .assert_problem(422, "password-policy");
        ask(&world, &tokens.access, "PUT", &format!("/users/{NOBODY}/password"), Some(json!({"password": OTHER})))
            .await.assert_problem(404, "not-found");

        for kind in ["registered", "roles-changed", "user-disabled", "user-enabled", "password-changed"] {
            let events = told(&world, &tokens.access, kind).await;
            let of_ada: Vec<_> = events.iter().filter(|event| event["user_id"] == id).collect();
            assert!(!of_ada.is_empty(), "{kind}");
            for event in of_ada {
                assert_eq!(event["actor"], root_id, "{kind}: {event}");
            }
        }
        // What she did herself, and what nobody did for her, has no name.
        for login in told(&world, &tokens.access, "login").await {
            assert_eq!(login["actor"], Value::Null, "{login}");
        }
        let registered = told(&world, &tokens.access, "registered").await;
        let of_root = registered.iter().find(|event| event["user_id"] == root_id).expect("it is told");
        assert_eq!(of_root["actor"], Value::Null);
        // She is told that it was not she, and not who it was.
        let body = json!({"username": "ada", "password": OTHER});
        let ada = testbed::Tokens::of(&world.post("/login", &body).await);
        let own = world.get_as(&ada.access, "/sessions/events").await;
        let events = own.json();
        let events = events["events"].as_array().expect("events");
        let by = |kind: &str| events.iter().find(|event| event["kind"] == kind).expect("told")["by_administrator"].clone();
        assert_eq!((by("password-changed"), by("login")), (json!(true), json!(false)));
        assert!(!own.text.contains(&root_id) && !own.text.contains("actor"), "{}", own.text);
    }

    async fn a_user_is_renamed_exported_and_deleted(world) {
        prepare(&mut world, &[]).await;
        let (root_id, tokens) = root(&world).await;
        let id = somebody(&world, "ada", &["editor"]).await;
        somebody(&world, "eve", &[]).await;
        let ada = world.login("ada").await;
        let path = format!("/users/{id}");
        let patch = |body: Value| ask(&world, &tokens.access, "PATCH", &path, Some(body));
        let changed = patch(json!({"username": "Grace", "email": "grace@example.com"})).await;
        assert_eq!((&changed.json()["username"], &changed.json()["email"]), (&json!("Grace"), &json!("grace@example.com")));
        let changed = patch(json!({"username": null, "roles": ["auditor"]})).await;
        assert_eq!((&changed.json()["username"], &changed.json()["roles"]), (&Value::Null, &json!(["auditor"])));
        // All of it or nothing.
        patch(json!({"username": "eve", "roles": [], "enabled": false})).await.assert_problem(409, "conflict");
        patch(json!({"email": null, "roles": []})).await.assert_problem(400, "invalid-request");
        let now = read(&world, &tokens.access, &path).await;
        assert_eq!((&now["roles"], &now["enabled"], &now["email"]), (&json!(["auditor"]), &json!(true), &json!("grace@example.com")));
        let found = read(&world, &tokens.access, "/users?search=GRA").await;
        assert_eq!(found["users"][0]["id"], id);

        let export = read(&world, &tokens.access, &format!("{path}/export")).await;
        assert_eq!(export["user"]["email"], "grace@example.com");
        assert_eq!(export["sessions"].as_array().map(Vec::len), Some(1));
        assert!(!export.to_string().contains("argon2"));

        let deleted = ask(&world, &tokens.access, "DELETE", &path, None).await;
        assert_eq!(deleted.status, 204, "{}", deleted.text);
        world.refresh(&ada.refresh).await.assert_problem(401, "session-revoked");
        for (method, path) in [
            ("DELETE", path.clone()), ("GET", path.clone()), ("GET", format!("{path}/export")),
            ("DELETE", format!("{path}/sessions")),
        ] {
            ask(&world, &tokens.access, method, &path, None).await.assert_problem(404, "not-found");
        }
        world.register("grace").await;
        for kind in ["user-renamed", "email-changed", "user-deleted"] {
            let events = told(&world, &tokens.access, kind).await;
            assert!(!events.is_empty() && events.iter().all(|event| event["actor"] == root_id), "{kind}: {events:?}");
        }
    }

    /// By its name it is found when an installation is to be served to others.
    async fn the_demo_account_keeps_its_name_also_for_administrators(world) {
        let demo = [
            ("AUTH__PAGE__ENABLED", "true"), ("AUTH__PAGE__DEMO_USERNAME", "demo"), ("AUTH__PAGE__DEMO_PASSWORD", PASSWORD),
        ];
        prepare(&mut world, &demo).await;
        let (_, tokens) = root(&world).await;
        let id = somebody(&world, "demo", &[]).await;
        let path = format!("/users/{id}");
        let patch = |body: Value| ask(&world, &tokens.access, "PATCH", &path, Some(body));
        for body in [
            json!({"username": "mine"}), json!({"username": "DEMO"}), json!({"username": null, "email": "x@example.com"}),
            // While it is disabled nobody would find it, and enabled again it would have the published password.
            json!({"username": "mine", "enabled": false}),
        ] {
            let answer = patch(body).await;
            answer.assert_problem(403, "forbidden");
            assert!(answer.member("detail").contains("demo account"), "{}", answer.text);
        }
        assert_eq!(patch(json!({"enabled": false})).await.status, 200);
        patch(json!({"username": "mine"})).await.assert_problem(403, "forbidden");
        let command = run("auth-service", &["user", "rename", "name:demo", "mine"], &world.auth_settings());
        assert_one_clear_line(&command, "auth-service", &["demo account"]);
        let shown = Answer::to(world.http.get(format!("{}/assets/page.json", world.auth))).await;
        assert_eq!(shown.json()["demo"], Value::Null, "nobody could use it");
        let changed = patch(json!({"enabled": true, "email": "demo@example.com", "roles": ["editor"]})).await;
        assert_eq!((changed.status, &changed.json()["username"]), (200, &json!("demo")));
        let shown = Answer::to(world.http.get(format!("{}/assets/page.json", world.auth))).await;
        assert_eq!(shown.json()["demo"]["username"], "demo");
        // With another password it is an account as others are.
        let body = Some(json!({"password": OTHER}));
        assert_eq!(ask(&world, &tokens.access, "PUT", &format!("{path}/password"), body).await.status, 204);
        assert_eq!(patch(json!({"username": "hers"})).await.status, 200);
    }

    /// A change of nothing, or to what is there already, would be a look.
    async fn a_change_tells_nothing_to_whoever_may_not_look_at_users(world) {
        prepare(&mut world, &[]).await;
        let id = somebody(&world, "ada", &["editor"]).await;
        let email = json!({"email": "ada@example.com"});
        let (_, root) = root(&world).await;
        let path = format!("/users/{id}");
        assert_eq!(ask(&world, &root.access, "PATCH", &path, Some(email.clone())).await.status, 200);
        somebody(&world, "writer", &[USERS_WRITE]).await;
        // By their roles, and by their token alone.
        for (name, scopes) in [("writer", &ALL[..]), ("root", &[USERS_WRITE])] {
            let tokens = login_for(&world, name, scopes).await;
            get(&world, &tokens.access, &path).await.assert_problem(403, "forbidden");
            for body in [
                json!({}), json!({"enabled": true}), json!({"roles": ["editor"]}), email.clone(),
                json!({"username": "ada"}), json!({"enabled": false, "roles": []}), json!({"enabled": true, "roles": ["editor"]}),
            ] {
                let answer = ask(&world, &tokens.access, "PATCH", &path, Some(body.clone())).await;
                assert_eq!((answer.status, answer.text.as_str()), (204, ""), "{name}: {body}");
            }
            let nobody = ask(&world, &tokens.access, "PATCH", &format!("/users/{NOBODY}"), Some(json!({}))).await;
            nobody.assert_problem(404, "not-found");
            let body = Some(json!({"password": OTHER}));
            let set = ask(&world, &tokens.access, "PUT", &format!("{path}/password"), body).await;
            assert_eq!((set.status, set.text.as_str()), (204, ""));
        }
        let shown = ask(&world, &root.access, "PATCH", &path, Some(json!({}))).await;
        assert_eq!((shown.status, &shown.json()["roles"]), (200, &json!(["editor"])));
    }

    async fn nothing_is_left_of_a_change_that_is_refused(world) {
        prepare(&mut world, &[]).await;
        let (_, tokens) = root(&world).await;
        let id = somebody(&world, "ada", &["editor"]).await;
        let ada = world.login("ada").await;
        let path = format!("/users/{id}");
        let bad = Some(json!({"enabled": false, "roles": ["two words"]}));
        ask(&world, &tokens.access, "PATCH", &path, bad).await.assert_problem(400, "invalid-request");
        let user = read(&world, &tokens.access, &path).await;
        assert_eq!((&user["enabled"], &user["roles"]), (&json!(true), &json!(["editor"])));
        assert_eq!(world.refresh(&ada.refresh).await.status, 200);
        // Whoever acts logs out while the request is on its way: nothing was done for nobody.
        assert_eq!(world.logout(&tokens.refresh, "current").await.status, 204);
        ask(&world, &tokens.access, "PATCH", &path, Some(json!({"enabled": false}))).await
            .assert_problem(401, "invalid-token");
        assert_eq!(world.database.number("select count(*) from users where not enabled").await, 0);
    }

    /// Whoever watches the audit log for new administrators sees those who are made as such, and no others.
    async fn a_role_that_an_account_is_made_with_is_told(world) {
        prepare(&mut world, &[]).await;
        let (root_id, tokens) = root(&world).await;
        let before = told(&world, &tokens.access, "roles-changed").await.len();
        let mut body = json!({"username": "ada", "password": PASSWORD, "roles": ["editor", "admin"]});
        let answer = ask(&world, &tokens.access, "POST", "/users", Some(body.clone())).await;
        assert_eq!(answer.status, 201, "{}", answer.text);
        body["username"] = json!("grace");
        body["roles"] = json!([]);
        let plain = ask(&world, &tokens.access, "POST", "/users", Some(body)).await;
        assert_eq!(plain.status, 201, "{}", plain.text);
        let events = told(&world, &tokens.access, "roles-changed").await;
        assert_eq!(events.len(), before + 1);
        let event = events.iter().find(|one| one["user_id"] == answer.member("id")).expect("it is told");
        assert_eq!((&event["reason"], &event["actor"]), (&json!("editor admin"), &json!(root_id)));
    }

    /// Their session ends, or the account gets a role, after they were let in: the transaction looks once more.
    async fn a_change_looks_once_more_at_who_makes_it_and_at_whom_it_is_about(world) {
        prepare(&mut world, &[]).await;
        let (root_id, tokens) = root(&world).await;
        let [root_id, ada] = [root_id, somebody(&world, "ada", &["admin"]).await]
            .map(|id| UserId(id.parse().expect("an id")));
        let acting = |about, out_of_reach: &[&str]| Acting {
            administrator: root_id,
            session: tokens.session.parse().expect("a session"),
            roles: vec!["admin".to_owned()],
            about,
            out_of_reach: out_of_reach.iter().map(|&role| role.to_owned()).collect(),
        };
        let refused = world.store.on_behalf_of(acting(Some(ada), &["admin"])).set_enabled(ada, false).await;
        assert!(matches!(refused, Err(StoreError::OutOfReach)), "{refused:?}");
        let allowed = world.store.on_behalf_of(acting(Some(ada), &["other"]));
        assert!(allowed.set_enabled(ada, false).await.expect("it is done"));
        // A role of theirs is taken away while the request waits, for its body or for its turn.
        let root = root_id.0.to_string();
        give(&world, &root, &[USERS_WRITE, "administrator"]).await;
        let back = world.store.on_behalf_of(acting(Some(root_id), &[]));
        for refused in [
            allowed.set_enabled(ada, true).await.map(drop),
            back.set_roles(root_id, vec!["admin".to_owned()]).await.map(drop),
        ] {
            assert!(matches!(refused, Err(StoreError::NotActing)), "{refused:?}");
        }
        give(&world, &root, &["more", "admin"]).await;
        assert_eq!(world.logout(&tokens.refresh, "current").await.status, 204);
        let late = world.store.on_behalf_of(acting(Some(ada), &[]));
        for refused in [
            late.set_enabled(ada, true).await.map(drop),
            late.set_password(ada, "x".to_owned()).await.map(drop),
            late.delete_user(ada).await.map(drop),
            late.end_session("AAAAAAAAAAAAAAAAAAAAAA".parse().expect("an id"), EndReason::Admin).await
                .map(drop),
        ] {
            assert!(matches!(refused, Err(StoreError::NotActing)), "{refused:?}");
        }
        assert!(world.store.takes_writes().await.is_ok(), "the database is none the worse for it");
        let enabled = world.store.credentials_of(ada).await.unwrap().unwrap();
        assert_eq!((enabled.enabled, enabled.password_version), (false, 1));
    }

    async fn no_connection_goes_on_acting_for_an_administrator(world) {
        prepare(&mut world, &[]).await;
        let (_, tokens) = root(&world).await;
        let id = somebody(&world, "ada", &[]).await;
        for number in 0..30 {
            let body = Some(json!({"enabled": number % 2 == 1}));
            let answer = ask(&world, &tokens.access, "PATCH", &format!("/users/{id}"), body).await;
            assert_eq!(answer.status, 200, "{}", answer.text);
            // On whichever connection: it acts for nobody.
            world.register(&format!("user-{number}")).await;
        }
        let wrong = "select count(*) from events where kind = 'registered' and actor is not null";
        assert_eq!(world.database.number(wrong).await, 0);
        let right = "select count(*) from events where kind in ('user-enabled', 'user-disabled') and actor is null";
        assert_eq!(world.database.number(right).await, 0);
    }
}
