//! A refresh token of a key that a replica has not heard of. It may name a session that is live, so nobody
//! is told that they are logged out before the keys were read.

use serde_json::json;
use testbed::link::Mode;
use testbed::service::{run, until};
use testbed::{Answer, Database, Kind, Link, Service};

/// Revokes the refresh key that makes tokens, and waits until `auth` makes them with another.
async fn replace_refresh_key(auth: &Service) {
    let probe = auth.login("ada").await;
    let listed = run("auth-service", &["keys", "list"], &auth.settings);
    let listed = String::from_utf8(listed.stdout).expect("text");
    let active = |line: &&str| line.contains("\trefresh\t") && line.contains("\tactive\t");
    let line = listed.lines().find(active).expect("an active key");
    let key = line.split('\t').next().expect("its id").to_owned();
    assert!(run("auth-service", &["keys", "revoke", &key], &auth.settings).status.success());
    until("another key makes tokens", async || auth.refresh(&probe.refresh).await.status == 401)
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_is_told_that_they_are_logged_out_by_a_replica_that_cannot_read_the_keys() {
    let database = Database::create(Kind::Postgres).await;
    let link = Link::start(database.server()).await;
    let (mut one, mut alone) =
        (Service::auth(&database.url, &[]), Service::auth(&database.url_by(&link), &[]));
    one.start().await;
    alone.start().await;
    one.register("ada").await;
    link.set(Mode::Cut);
    replace_refresh_key(&one).await;
    let tokens = one.login("ada").await;
    let login = json!({
        "username": "ada", "password": testbed::PASSWORD, "transport": "cookie"});
    let request = one.http.post(format!("{}/login", one.public)).json(&login);
    let by_cookie = Answer::to(request.header("x-latchkey", "1")).await;
    let cookie = by_cookie.header("set-cookie").expect("a cookie").to_owned();
    let cookie = cookie.split(';').next().expect("its value").to_owned();

    for sessions in ["current", "others", "all"] {
        let body = json!({"refresh_token": tokens.refresh, "sessions": sessions});
        let answer = alone.post("/logout", &body).await;
        assert_eq!(answer.status, 503, "{sessions}: {}", answer.text);
        assert!(answer.header("retry-after").is_some(), "{sessions}");
    }
    let request = alone.http.post(format!("{}/logout", alone.public)).json(&json!({}));
    let answer = Answer::to(request.header("x-latchkey", "1").header("cookie", cookie)).await;
    assert_eq!(answer.status, 503, "by cookie: {}", answer.text);
    for access in [&tokens.access, &by_cookie.member("access_token")] {
        assert_eq!(one.get_as(access, "/me").await.status, 200, "its session is live");
    }
    // What is no refresh token at all needs no key.
    let body = json!({"refresh_token": "nothing of ours"});
    assert_eq!(alone.post("/logout", &body).await.status, 204);

    link.set(Mode::Pass);
    let body = json!({"refresh_token": tokens.refresh});
    until("it reads the keys", async || alone.post("/logout", &body).await.status == 204).await;
    until("its session is over", async || one.get_as(&tokens.access, "/me").await.status == 401)
        .await;
}
