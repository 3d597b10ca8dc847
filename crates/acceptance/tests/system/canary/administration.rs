//! What administrators do over HTTP, by themselves and by the command line.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use reqwest::Method;
use serde_json::json;
use testbed::world::ISSUER;

use super::commands::command;
use super::scene::Scene;
use super::site::Site;

/// The role that may do all of it; see the settings of the site.
pub(crate) const ROLE: &str = "administrator";
const SCOPES: &str = "latchkey:users:read latchkey:users:write latchkey:sessions:end latchkey:keys latchkey:audit:read";

pub(crate) async fn play(scene: &mut Scene, site: &Site) {
    let password = scene.password("of an administrator");
    let (good, said) =
        command(scene, site, &["user", "create", "root", "--role", ROLE], &password, &[]);
    assert!(good, "{said}");
    let login = scene.post("/login").json(&json!({
        "username": "root", "password": password, "resource": ISSUER, "scope": SCOPES,
    }));
    let tokens = scene.tokens("a login of an administrator", login).await;
    let (access, internal) = (tokens.access.clone(), scene.internal.clone());
    let http = scene.http.clone();
    let ask = |method: Method, path: &str| {
        http.request(method, format!("{internal}/admin/v1{path}")).bearer_auth(&access)
    };

    let (new, other, key) =
        (scene.password("of ida"), scene.password("of ida, later"), scene.password("as a key"));
    let body = json!({"username": "ida", "password": new});
    let create = || ask(Method::POST, "/users").header("idempotency-key", "\"ida\"").json(&body);
    let made = scene.send(create()).await;
    assert_eq!(made.status, 201, "{}", made.text);
    scene.refused(201, create()).await;
    let changed = ask(Method::POST, "/users").header("idempotency-key", "\"ida\"");
    scene.refused(422, changed.json(&json!({"username": "ida", "password": other}))).await;
    let user = format!("/users/{}", made.member("id"));
    scene.refused(409, ask(Method::POST, "/users").json(&body)).await;
    let no_key = ask(Method::POST, "/users").header("idempotency-key", key.as_bytes());
    scene.refused(400, no_key.json(&body)).await;
    scene
        .refused(
            204,
            ask(Method::PUT, &format!("{user}/password")).json(&json!({"password": other})),
        )
        .await;
    scene
        .refused(
            400,
            ask(Method::PUT, &format!("{user}/password")).json(&json!({"passwort": other})),
        )
        .await;
    scene.refused(400, ask(Method::PATCH, &user).json(&json!({"roles": [other]}))).await;
    scene.refused(400, ask(Method::GET, "/users").query(&[("password", &other)])).await;
    scene.refused(404, ask(Method::GET, "/users").query(&[("user", &other)])).await;
    scene.refused(404, ask(Method::DELETE, &format!("/invitations/{}", tokens.refresh))).await;
    for path in ["/users", "/keys", "/events?limit=500", "/invitations"] {
        scene.send_about_user(ask(Method::GET, path)).await;
    }
    scene.send_about_user(ask(Method::GET, &format!("{user}/export"))).await;
    let wrong = http.get(format!("{internal}/admin/v1/keys")).bearer_auth(&tokens.refresh);
    scene.refused(401, wrong).await;
    scene.refused(401, http.get(format!("{internal}/admin/v1/keys?token={access}"))).await;

    // The file with the token is its owner's; what the command says is searched.
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("token");
    fs::write(&file, &access).expect("it can be written");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).expect("a mode");
    let file = file.display().to_string();
    let remote = ["--url", &internal, "--token-file", &file];
    let run = |scene: &mut Scene, arguments: &[&str], line: &str| {
        let all = [&remote[..], arguments].concat();
        command(scene, site, &all, line, &[]).0
    };
    let later = scene.password("of ida, later still");
    assert!(run(scene, &["user", "set-password", "ida"], &later));
    assert!(!run(scene, &["user", "create", "ida"], &later));
    assert!(!run(scene, &["user", "uninvite", &tokens.refresh], ""));
    assert!(run(scene, &["keys", "list"], ""));
    let by_variable =
        [("AUTH_ADMIN_URL", "http://127.0.0.1:1"), ("AUTH_ADMIN_TOKEN", access.as_str())];
    assert!(!command(scene, site, &["user", "list"], "", &by_variable).0);
    let elsewhere = [("AUTH_ADMIN_URL", "http://192.0.2.1"), ("AUTH_ADMIN_TOKEN", access.as_str())];
    assert!(!command(scene, site, &["user", "list"], "", &elsewhere).0);
}
