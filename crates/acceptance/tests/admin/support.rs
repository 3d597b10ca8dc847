//! Administrators of a world: roles that grant scopes, tokens of them, and requests with those.

use reqwest::Method;
use serde_json::{Value, json};
use testbed::world::ISSUER;
use testbed::{Answer, PASSWORD, Tokens, World};

pub(crate) const USERS_READ: &str = "latchkey:users:read";
pub(crate) const USERS_WRITE: &str = "latchkey:users:write";
pub(crate) const SESSIONS_END: &str = "latchkey:sessions:end";
pub(crate) const KEYS: &str = "latchkey:keys";
pub(crate) const AUDIT_READ: &str = "latchkey:audit:read";
pub(crate) const ALL: [&str; 5] = [USERS_READ, USERS_WRITE, SESSIONS_END, KEYS, AUDIT_READ];
/// An id that nobody has.
pub(crate) const NOBODY: &str = "0197a3f2-5b1c-7d2e-8f90-a1b2c3d4e5f6";

/// Binds each scope to the role `admin`, which has all of them, and to one that is called as the scope. `support` looks
/// at accounts and changes them.
pub(crate) fn table() -> String {
    let rules = ALL.map(|scope| {
        let mut roles = vec!["admin".to_owned(), scope.to_owned()];
        if [USERS_READ, USERS_WRITE].contains(&scope) {
            roles.push("support".to_owned());
        }
        (scope.to_owned(), json!({ "roles": roles }))
    });
    Value::Object(rules.into_iter().collect()).to_string()
}

/// A world with administrators, and settings besides.
pub(crate) async fn prepare(world: &mut World, settings: &[(&str, &str)]) {
    world.set("AUTH__SCOPES", &table());
    for (name, value) in settings {
        world.set(name, value);
    }
    world.restart().await;
}

/// Registers somebody who has these roles; their id.
pub(crate) async fn somebody(world: &World, name: &str, roles: &[&str]) -> String {
    let body = json!({"username": name, "password": PASSWORD});
    let answer = world.post("/register", &body).await;
    assert_eq!(answer.status, 201, "{}", answer.text);
    let id = answer.json()["user"]["id"].as_str().expect("an id").to_owned();
    give(world, &id, roles).await;
    id
}

/// Gives a user these roles and no others, as the command line would.
pub(crate) async fn give(world: &World, id: &str, roles: &[&str]) {
    let user = claims::UserId(id.parse().expect("an id"));
    let roles = roles.iter().map(|&role| role.to_owned()).collect();
    assert!(world.store.set_roles(user, roles).await.expect("the database answers"));
}

/// Logs in for the auth-service alone.
pub(crate) async fn login_for(world: &World, name: &str, scopes: &[&str]) -> Tokens {
    let body = json!({
        "username": name, "password": PASSWORD, "scope": scopes.join(" "), "resource": ISSUER,
    });
    Tokens::of(&world.post("/login", &body).await)
}

/// Somebody who has all that an administrator can have: their id, and their tokens.
pub(crate) async fn root(world: &World) -> (String, Tokens) {
    let id = somebody(world, "root", &["admin"]).await;
    (id, login_for(world, "root", &ALL).await)
}

/// A request of an administrator.
pub(crate) fn request(
    world: &World,
    access: &str,
    method: &str,
    path: &str,
) -> reqwest::RequestBuilder {
    let method: Method = method.parse().expect("a method");
    world.http.request(method, format!("{}/admin/v1{path}", world.internal)).bearer_auth(access)
}

/// Sends one.
pub(crate) async fn ask(
    world: &World,
    access: &str,
    method: &str,
    path: &str,
    body: Option<Value>,
) -> Answer {
    let request = request(world, access, method, path);
    Answer::to(match body {
        Some(body) => request.json(&body),
        None => request,
    })
    .await
}

pub(crate) async fn get(world: &World, access: &str, path: &str) -> Answer {
    ask(world, access, "GET", path, None).await
}

/// Gets what is there.
pub(crate) async fn read(world: &World, access: &str, path: &str) -> Value {
    let answer = get(world, access, path).await;
    assert_eq!(answer.status, 200, "{path}: {}", answer.text);
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    answer.assert_hardened();
    answer.json()
}

/// How many entries of the audit log tell of `kind`, and were done by nobody or by somebody.
pub(crate) async fn told(world: &World, access: &str, kind: &str) -> Vec<Value> {
    let page = read(world, access, &format!("/events?kind={kind}&limit=500")).await;
    page["events"].as_array().expect("events").clone()
}
