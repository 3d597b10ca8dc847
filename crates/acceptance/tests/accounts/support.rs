//! What several files need: looking into tokens, cookies and answers.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use claims::{RefreshTokenShape, UserId, refresh_token};
use reqwest::RequestBuilder;
use reqwest::header::{COOKIE, SET_COOKIE};
use serde_json::{Value, json};
use testbed::{Answer, PASSWORD, World};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// The text of a part of a JWT: 0 is the header, 1 the claims.
pub(crate) fn jwt_part(token: &str, part: usize) -> String {
    let text = token.split('.').nth(part).expect("a JWT has three parts");
    let bytes = URL_SAFE_NO_PAD.decode(text).expect("base64url");
    String::from_utf8(bytes).expect("JSON is UTF-8")
}

/// The claims of an access token.
pub(crate) fn claims_of(token: &str) -> Value {
    serde_json::from_str(&jwt_part(token, 1)).expect("the claims are JSON")
}

/// The user of an access token.
pub(crate) fn user_of(token: &str) -> UserId {
    let claims = claims_of(token);
    claims["sub"].as_str().and_then(|id| id.parse().ok()).map(UserId).expect("a user id")
}

/// How often a refresh token's session has rotated, and one.
pub(crate) fn generation(token: &str) -> u32 {
    RefreshTokenShape::parse(token).expect("a refresh token").generation
}

/// The names of an object's members, sorted.
pub(crate) fn members(value: &Value) -> Vec<&str> {
    let mut names: Vec<_> = value.as_object().expect("an object").keys().collect();
    names.sort();
    names.into_iter().map(String::as_str).collect()
}

/// Checks that a problem is told in one short sentence.
#[track_caller]
pub(crate) fn assert_one_sentence(answer: &Answer) {
    let detail = answer.member("detail");
    assert!(detail.starts_with(|c: char| c.is_uppercase()) && detail.ends_with('.'), "{detail}");
    assert!(!detail.contains(". ") && !detail.contains('\n') && detail.len() < 300, "{detail}");
}

/// Checks that a problem is the one expected, told in one sentence, and repeats no password.
#[track_caller]
pub(crate) fn assert_refused(answer: &Answer, status: u16, code: &str) {
    answer.assert_problem(status, code);
    assert_one_sentence(answer);
    assert!(!answer.text.contains("ordinary"), "a password came back: {}", answer.text);
}

/// A request with a refresh cookie, as a program sends it that is no browser.
pub(crate) fn with_cookie(world: &World, path: &str, cookie: &str) -> RequestBuilder {
    world
        .http
        .post(format!("{}{path}", world.auth))
        .header(COOKIE, format!("{}={cookie}", refresh_token::COOKIE))
        .header("x-latchkey", "1")
}

/// The one `Set-Cookie` of an answer.
#[track_caller]
pub(crate) fn set_cookie(answer: &Answer) -> String {
    let mut all = answer.headers.get_all(SET_COOKIE).iter();
    let (first, second) = (all.next(), all.next());
    assert!(second.is_none(), "one cookie only");
    first.expect("a cookie is set").to_str().expect("text").to_owned()
}

/// The refresh token that an answer sets as a cookie.
#[track_caller]
pub(crate) fn cookie_token(answer: &Answer) -> String {
    let set = set_cookie(answer);
    let prefix = format!("{}=", refresh_token::COOKIE);
    let rest = set.strip_prefix(&prefix).unwrap_or_else(|| panic!("{set}"));
    rest.split(';').next().unwrap_or_default().to_owned()
}

/// Everything that a request could have changed: users, their passwords and versions, sessions,
/// their generations, how many are live, and revocations.
pub(crate) async fn state(world: &World) -> [i64; 6] {
    let database = &world.database;
    [
        database.number("select count(*) from users").await,
        database
            .number(
                "select cast(coalesce(sum(version + password_version), 0) as bigint) from users",
            )
            .await,
        database.number("select count(*) from sessions").await,
        database.number("select cast(coalesce(sum(generation), 0) as bigint) from sessions").await,
        database.number("select count(*) from sessions where revoked_at is null").await,
        database.number("select count(*) from revocations").await,
    ]
}

/// A login that would succeed, as bytes.
pub(crate) fn login_bytes(target: &str, headers: &str) -> String {
    let body = json!({"username": "ada", "password": PASSWORD}).to_string();
    format!(
        "POST {target} HTTP/1.1\r\n{headers}Content-Type: application/json\r\n\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

/// Sends bytes to the auth-service as they are and reads until it closes the connection, which it must.
pub(crate) async fn raw(world: &World, request: &[u8]) -> String {
    raw_at(&world.auth, request).await
}

/// The same at the service of this address.
pub(crate) async fn raw_at(service: &str, request: &[u8]) -> String {
    let address = service.strip_prefix("http://").expect("an http address");
    let mut stream = TcpStream::connect(address).await.expect("the service listens");
    // It may answer, and close, before it has read everything.
    let _ = stream.write_all(request).await;
    let mut answer = Vec::new();
    let reading = async {
        let mut part = [0; 4096];
        while let Ok(n @ 1..) = stream.read(&mut part).await {
            answer.extend_from_slice(&part[..n]);
        }
    };
    let closed = tokio::time::timeout(Duration::from_secs(5), reading).await.is_ok();
    let answer = String::from_utf8_lossy(&answer).into_owned();
    assert!(closed, "the connection stays open after {answer:?}");
    answer
}

/// The status of each answer that came over a raw connection.
pub(crate) fn statuses(text: &str) -> Vec<u16> {
    let after = text.split("HTTP/1.1 ").skip(1);
    after.filter_map(|rest| rest.get(..3)?.parse().ok()).collect()
}
