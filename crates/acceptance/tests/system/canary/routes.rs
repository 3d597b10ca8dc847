//! Every route of both services, used well and badly.

use reqwest::Method;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE};
use serde_json::{Value, json};
use testbed::Tokens;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::canaries::Place;

use super::scene::Scene;
use super::site::Site;

const JSON: &str = "application/json";
const FORM: &str = "application/x-www-form-urlencoded";
const TRACE: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

pub(crate) async fn play(scene: &mut Scene, site: &Site) {
    let password = scene.password("of ada");
    register(scene, &password).await;
    log_in(scene, &password).await;
    refresh(scene, site, &password).await;
    log_out(scene, site, &password).await;
    account(scene, &password).await;
    verify(scene, &password).await;
    public(scene).await;
    internal(scene, site).await;
    framing(scene, &password).await;
}

async fn register(scene: &mut Scene, password: &str) {
    let address = scene.address("of ada");
    let good = json!({"username": "ada", "password": password, "email": address});
    let answer = scene.send_about_user(scene.post("/register").json(&good)).await;
    assert_eq!(answer.status, 201, "{}", answer.text);
    scene.refused(409, scene.post("/register").json(&good)).await;

    let long = scene.password("that is too long").repeat(8);
    let huge = scene.password("that is no honest request").repeat(40);
    let nul = scene.password("with a NUL") + "\0";
    for (status, password) in [(422, long), (400, huge), (400, nul)] {
        let body = json!({"username": "bob", "password": password});
        scene.refused(status, scene.post("/register").json(&body)).await;
    }
    let named = format!("name-{:016x}", fastrand::u64(..));
    scene.canaries.text("password", "that is a name", &named);
    let body = json!({"username": named, "password": named});
    scene.refused(422, scene.post("/register").json(&body)).await;
    let no_address = scene.address("that is none").replace('@', "\u{202e}");
    let body = json!({"username": "bob", "password": password, "email": no_address});
    scene.refused(400, scene.post("/register").json(&body)).await;
    unreadable(scene, "/register", password, &json!({"username": "bob", "password": password}))
        .await;
}

/// Bodies in which something is wrong beside the secret.
async fn unreadable(scene: &mut Scene, path: &str, secret: &str, good: &Value) {
    let text = good.to_string();
    let quoted = json!(secret).to_string();
    let list = text.replace(&quoted, &format!("[{quoted}]"));
    let cut = text[..text.len() - 2].to_owned();
    let twice = text.replacen('{', &format!("{{\"password\":{quoted},\"password\":{quoted},"), 1);
    let unknown = text.replacen('{', &format!("{{\"secret\":{quoted},"), 1);
    let named = text.replacen('{', &format!("{{{quoted}:1,"), 1);
    for body in [list, cut, twice, unknown, named, quoted.clone(), format!("[{text}]")] {
        scene.refused(400, scene.post(path).header(CONTENT_TYPE, JSON).body(body)).await;
    }
    let plain = scene.post(path).header(CONTENT_TYPE, "text/plain").body(text.clone());
    scene.refused(415, plain).await;
    let large = format!("{text}{}", " ".repeat(20_000));
    scene.refused(413, scene.post(path).header(CONTENT_TYPE, JSON).body(large)).await;
    let method = scene.request(Method::PUT, path).header(CONTENT_TYPE, JSON).body(text);
    scene.refused(405, method).await;
}

async fn log_in(scene: &mut Scene, password: &str) {
    let wrong = scene.password("that is wrong");
    let traced = scene.log_in("ada", password).header("traceparent", TRACE);
    scene.tokens("a login", traced).await;
    scene.refused(401, scene.log_in("ada", &wrong)).await;
    scene.refused(401, scene.log_in("nobody", &wrong)).await;
    // Typed into the wrong field.
    scene.refused(401, scene.log_in(&wrong, &wrong)).await;
    let stray = scene.address("of nobody");
    scene.refused(401, scene.log_in(&stray, &wrong)).await;
    unreadable(scene, "/login", password, &json!({"username": "ada", "password": password})).await;

    let form = |password: &str, transport: &str| {
        let encode = |text: &str| {
            text.bytes().fold(String::new(), |encoded, byte| format!("{encoded}%{byte:02X}"))
        };
        format!("username=ada&password={}&transport={transport}", encode(password))
    };
    for (status, body) in
        [(401, form(&wrong, "body")), (415, form(password, "cookie")), (400, form(password, "x"))]
    {
        scene.refused(status, scene.post("/login").header(CONTENT_TYPE, FORM).body(body)).await;
    }
    let good = scene.post("/login").header(CONTENT_TYPE, FORM).body(form(password, "body"));
    scene.tokens("a login by form", good).await;
    let body = json!({"username": "ada", "password": password, "scope": wrong});
    scene.refused(400, scene.post("/login").json(&body)).await;
    let body = json!({"username": "ada", "password": password, "device": wrong.repeat(3)});
    scene.refused(400, scene.post("/login").json(&body)).await;
    let body = json!({"username": "ada", "password": password, "transport": "cookie"});
    scene
        .refused(403, scene.post("/login").json(&body).header("origin", "https://evil.example"))
        .await;
    let query = scene.post("/login").query(&[("password", &wrong)]).json(&json!({}));
    scene.refused(400, query).await;
    scene.refused(404, scene.post("/nowhere").query(&[("password", &wrong)])).await;
}

async fn refresh(scene: &mut Scene, site: &Site, password: &str) {
    let body = |token: &str| json!({ "refresh_token": token });
    let first = scene.tokens("a login", scene.log_in("ada", password)).await;
    let second = scene.post("/refresh").json(&body(&first.refresh));
    let second = scene.tokens("a refresh", second).await;
    // Again, from elsewhere: recorded in the audit log.
    let again = scene.post("/refresh").header("user-agent", "x").json(&body(&first.refresh));
    scene.tokens("a refresh again", again).await;
    // A session rotates at most once in a window.
    site.database.execute("update sessions set rotated_at = rotated_at - 60000").await;
    let third = scene.post("/refresh").json(&body(&second.refresh));
    let third = scene.tokens("a refresh", third).await;

    let tampered = flipped(&third.refresh);
    scene.refresh_token("tampered with", &tampered);
    let garbage = scene.password("as a refresh token");
    for wrong in [&tampered, &garbage, &third.access] {
        scene.refused(401, scene.post("/refresh").json(&body(wrong))).await;
        scene.refused(401, scene.with_cookie("/refresh", wrong, &json!({}))).await;
    }
    let both = scene.with_cookie("/refresh", &third.refresh, &body(&third.refresh));
    scene.tokens("a refresh beside a cookie", both).await;
    let crossed = scene.with_cookie("/refresh", &third.refresh, &json!({}));
    scene.refused(401, crossed).await;
    for body in [
        json!({ "refresh_token": [third.refresh] }),
        json!({ third.refresh.clone(): 1 }),
        json!({ "refresh_token": {"is": third.refresh} }),
        json!(third.refresh),
    ] {
        scene.refused(400, scene.post("/refresh").json(&body)).await;
    }
    for (status, path) in
        [(404, "/refresh/"), (405, "/sessions/"), (404, "/problems/"), (404, "/nothing?token=")]
    {
        let path = format!("{path}{}", third.refresh);
        scene.refused(status, scene.request(Method::GET, &path)).await;
    }
    // Two behind: the session is ended.
    scene.refused(401, scene.post("/refresh").json(&body(&first.refresh))).await;
    scene.refused(401, scene.post("/refresh").json(&body(&third.refresh))).await;

    let login = json!({"username": "ada", "password": password, "transport": "cookie"});
    let login = scene.post("/login").header("x-latchkey", "1").json(&login);
    let jar = scene.tokens("a login by cookie", login).await;
    let request = scene.with_cookie("/refresh", &jar.refresh, &json!({}));
    let jar = scene.tokens("a refresh by cookie", request).await;
    scene.refused(401, scene.post("/refresh").json(&body(&jar.refresh))).await;
    let refused = scene.with_cookie("/refresh", &jar.refresh, &json!({}));
    scene.refused(403, refused.header("sec-fetch-site", "cross-site")).await;
    let two = scene.with_cookie("/refresh", &jar.refresh, &json!({}));
    let second = format!("{}={}", claims::refresh_token::COOKIE, jar.refresh);
    scene.refused(400, two.header("cookie", second)).await;
    scene.refused(204, scene.with_cookie("/logout", &jar.refresh, &json!({}))).await;
}

/// With another last character, which is no other form of the same bytes.
fn flipped(token: &str) -> String {
    let at = token.len() - 10;
    let other = if &token[at..=at] == "A" { "B" } else { "A" };
    format!("{}{other}{}", &token[..at], &token[at + 1..])
}

async fn log_out(scene: &mut Scene, site: &Site, password: &str) {
    let body = |token: &str, which: &str| json!({"refresh_token": token, "sessions": which});
    let mut fresh = Vec::new();
    for _ in 0..4 {
        fresh.push(scene.tokens("a login", scene.log_in("ada", password)).await);
    }
    scene.refused(204, scene.post("/logout").json(&body(&fresh[0].refresh, "current"))).await;
    site.blacklisted().await;
    scene.refused(204, scene.post("/logout").bearer_auth(&fresh[1].access).json(&json!({}))).await;
    scene.refused(204, scene.post("/logout").json(&body(&fresh[2].refresh, "others"))).await;
    scene.refused(204, scene.post("/logout").json(&body(&fresh[2].refresh, "all"))).await;
    let garbage = scene.password("to log out with");
    scene.refused(204, scene.post("/logout").json(&body(&garbage, "current"))).await;
    scene.refused(401, scene.post("/logout").json(&body(&garbage, "all"))).await;
    scene.refused(400, scene.post("/logout").json(&body(&fresh[3].refresh, &garbage))).await;
    scene.refused(401, scene.post("/logout").bearer_auth("nonsense").json(&json!({}))).await;
}

async fn account(scene: &mut Scene, password: &str) {
    let tokens = scene.tokens("a login", scene.log_in("ada", password)).await;
    let bearer =
        |scene: &Scene, method, path: &str| scene.request(method, path).bearer_auth(&tokens.access);
    scene.send_about_user(bearer(scene, Method::GET, "/me")).await;
    for path in ["/sessions", "/sessions/events"] {
        let answer = scene.send(bearer(scene, Method::GET, path)).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
    }
    for id in [&tokens.refresh, &tokens.access] {
        let path = format!("/sessions/{id}");
        scene.refused(404, bearer(scene, Method::DELETE, &path)).await;
    }
    scene.send_about_user(bearer(scene, Method::GET, "/me/export")).await;
    let moved = scene.address("of ada, later");
    let renamed = |scene: &Scene, body: Value| bearer(scene, Method::PATCH, "/me").json(&body);
    let answer = scene.send_about_user(renamed(scene, json!({"email": moved}))).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    for body in [
        json!({"username": moved}),
        json!({"email": password}),
        json!({"email": [moved]}),
        json!({ password: moved }),
    ] {
        scene.refused(400, renamed(scene, body)).await;
    }
    let other = scene.tokens("a login", scene.log_in("ada", password)).await;
    let session = format!("/sessions/{}", other.session);
    scene.refused(204, bearer(scene, Method::DELETE, &session)).await;

    let (wrong, new) = (scene.password("that is wrong"), scene.password("that is new"));
    let change = |current: &str, new: &str| json!({"current_password": current, "new_password": new, "sessions": "all"});
    let short = format!("{:08x}", fastrand::u32(..));
    scene.canaries.text("password", "that is too short", &short);
    for (status, body) in [
        (401, change(&wrong, &new)),
        (422, change(password, password)),
        (422, change(password, &short)),
        (400, json!({"current_password": password, "new_password": [new]})),
        (400, json!({"current_password": password, "new_password": new, "sessions": wrong})),
    ] {
        scene.refused(status, bearer(scene, Method::POST, "/password").json(&body)).await;
    }
    let body = change(password, &new);
    scene.refused(204, bearer(scene, Method::POST, "/password").json(&body)).await;
    let body = change(&new, password);
    let again = scene.tokens("a login", scene.log_in("ada", &new)).await;
    scene.refused(204, scene.post("/password").bearer_auth(again.access).json(&body)).await;

    let (secret, address) = (scene.password("of trent"), scene.address("of trent"));
    let body = json!({"username": "trent", "password": secret, "email": address});
    scene.send_about_user(scene.post("/register").json(&body)).await;
    let gone = scene.tokens("a login", scene.log_in("trent", &secret)).await;
    let delete = |scene: &Scene| scene.request(Method::DELETE, "/me").bearer_auth(&gone.access);
    scene.refused(204, delete(scene)).await;
    scene.refused(401, delete(scene)).await;
}

/// At the resource-service, and at the auth-service's own routes.
async fn verify(scene: &mut Scene, password: &str) {
    let body = json!({"username": "ada", "password": password, "scope":
        "profile email reports:read reports:write"});
    let Tokens { access, refresh, .. } =
        scene.tokens("a login with everything", scene.post("/login").json(&body)).await;
    let whoami = format!("{}/whoami", scene.resource);
    let reports = format!("{}/reports", scene.resource);
    let good = scene.send(scene.http.get(&whoami).bearer_auth(&access)).await;
    assert_eq!(good.status, 200, "{}", good.text);
    let tampered = flipped(&access);
    scene.access_token("tampered with", &tampered);
    let unsigned = format!("{}.", access.rsplit_once('.').expect("a JWT").0);
    scene.canaries.text("access token", "without its signature", unsigned.trim_end_matches('.'));
    for url in [whoami.clone(), reports.clone(), format!("{}/me", scene.auth)] {
        for wrong in [&tampered, &unsigned, &refresh, &format!("{access}{access}")] {
            scene.refused(401, scene.http.get(&url).bearer_auth(wrong)).await;
        }
        scene.refused(401, scene.http.get(&url).basic_auth("ada", Some(password))).await;
        scene.refused(401, scene.http.get(&url).header(AUTHORIZATION, &access)).await;
        scene.refused(401, scene.http.get(&url).query(&[("access_token", &access)])).await;
        let twice = scene.http.get(&url).bearer_auth(&access).bearer_auth(&tampered);
        let answer = scene.send(twice).await;
        assert!(matches!(answer.status, 400 | 401), "{}", answer.text);
    }
    let title = json!({"title": "a report"});
    let made = scene.send(scene.http.post(&reports).bearer_auth(&access).json(&title)).await;
    assert_eq!(made.status, 201, "{}", made.text);
    scene.send(scene.http.get(&reports).bearer_auth(&access)).await;
    for body in [json!({"title": [access]}), json!({ access.clone(): "x" }), json!({"title": ""})] {
        scene.refused(400, scene.http.post(&reports).bearer_auth(&access).json(&body)).await;
    }
    for (status, id) in [(204, made.member("id")), (404, access.clone())] {
        let report = format!("{reports}/{id}");
        scene.refused(status, scene.http.delete(&report).bearer_auth(&access)).await;
    }
    scene.refused(404, scene.http.get(format!("{}/{access}", scene.resource))).await;
}

async fn public(scene: &mut Scene) {
    for path in [
        "/.well-known/jwks.json",
        "/.well-known/oauth-authorization-server",
        "/problems/token-reused",
        "/health/live",
        "/health/ready",
    ] {
        scene.refused(200, scene.request(Method::GET, path)).await;
    }
    for path in ["/.well-known/oauth-protected-resource", "/health/live", "/health/ready"] {
        scene.refused(200, scene.http.get(format!("{}{path}", scene.resource))).await;
    }
}

async fn internal(scene: &mut Scene, site: &Site) {
    let feed = format!("{}/internal/revocations", scene.internal);
    let wrong = format!("{:032x}", fastrand::u128(..));
    scene.canaries.text("secret", "that is not the feed's", &wrong);
    let good = scene.send(scene.http.get(&feed).bearer_auth(&site.secrets.feed)).await;
    assert_eq!(good.status, 200, "{}", good.text);
    scene.refused(401, scene.http.get(&feed).bearer_auth(&wrong)).await;
    scene.refused(401, scene.http.get(&feed).query(&[("secret", &site.secrets.feed)])).await;
    for query in [("wait", &site.secrets.feed), ("wait", &"99999".to_owned())] {
        let request = scene.http.get(&feed).query(&[query]).bearer_auth(&site.secrets.feed);
        scene.refused(400, request).await;
    }
    scene.refused(404, scene.http.get(format!("{}/{wrong}", scene.internal))).await;
}

/// What is not HTTP, with secrets in it.
async fn framing(scene: &mut Scene, password: &str) {
    let tokens = scene.tokens("a login", scene.log_in("ada", password)).await;
    let (access, refresh) = (&tokens.access, &tokens.refresh);
    let bearer = format!("Authorization: Bearer {access}");
    for request in [
        format!("GET /me HTTP/1.1\r\nHost: x\r\n{bearer}\u{1}\r\n\r\n"),
        format!("GET /me HTTP/1.1\r\nHost: x\r\nno colon {refresh}\r\n\r\n"),
        format!("GET /{refresh} {access} HTTP/1.1\r\nHost: x\r\n\r\n"),
        format!("POST /refresh HTTP/1.1\r\nHost: x\r\n{bearer}\r\nContent-Length: +1\r\n\r\n{{"),
        format!("GET /%zz/{refresh} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"),
        format!("GET /{}%ff{refresh} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", "x/"),
        format!("GET /me HTTP/1.1\r\nConnection: close\r\n{bearer}\r\n\r\n"),
    ] {
        for service in [&scene.auth, &scene.resource] {
            let address = service.trim_start_matches("http://");
            let mut stream = TcpStream::connect(address).await.expect("it listens");
            let mut answer = Vec::new();
            let talking = async {
                stream.write_all(request.as_bytes()).await?;
                stream.shutdown().await?;
                stream.read_to_end(&mut answer).await
            };
            let _ = talking.await;
            scene.places.push(Place::new("an answer to what is not HTTP", answer));
        }
    }
}
