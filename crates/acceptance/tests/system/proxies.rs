//! N-T04: behind real reverse proxies no request is taken for another, and clients are told apart.

use std::net::IpAddr;
use std::time::Duration;

use serde_json::json;
use testbed::proxy::{Kind as Which, Proxy};
use testbed::world::ISSUER;
use testbed::{Answer, Kind, PASSWORD, Tokens, World};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

const PROXIES: [Which; 2] = [Which::Nginx, Which::Haproxy];
/// What would swallow the next request on the connection to the service, were it taken for one.
const SWALLOWS: &str =
    "GET /problems/conflict HTTP/1.1\r\nHost: x\r\nx-request-id: smuggled\r\nX: ";

async fn behind(which: Which, settings: &[(&str, &str)]) -> (World, Proxy) {
    let world = World::start_with(Kind::Sqlite, settings).await;
    let proxy = Proxy::start(which, world.auth.strip_prefix("http://").unwrap()).await;
    (world, proxy)
}

/// Heads that two parsers may read differently, each with a body that ends in one way or the other.
fn ambiguous() -> Vec<String> {
    let length = SWALLOWS.len() + 5;
    let chunked = format!("0\r\n\r\n{SWALLOWS}");
    let covered = format!("{:x}\r\n{SWALLOWS}\r\n0\r\n\r\n", SWALLOWS.len());
    let mut all = Vec::new();
    for head in [
        format!("Content-Length: {length}\r\nTransfer-Encoding: chunked"),
        format!("Transfer-Encoding: chunked\r\nContent-Length: {length}"),
        "Content-Length: 0\r\nTransfer-Encoding: chunked".to_owned(),
        "Content-Length: 4\r\nTransfer-Encoding: chunked".to_owned(),
        format!("Content-Length: {length}\r\nTransfer-Encoding: xchunked"),
        format!("Content-Length: {length}\r\nTransfer-Encoding : chunked"),
        format!("Content-Length: {length}\r\nTransfer-Encoding:\tchunked"),
        format!("Content-Length: {length}\r\nTransfer-Encoding: chunked, identity"),
        format!("Content-Length: {length}\r\nTransfer-Encoding: identity, chunked"),
        format!("Content-Length: {length}\r\nTransfer-Encoding: \"chunked\""),
        format!("Content-Length: {length}\r\nTransfer_Encoding: chunked"),
        format!("Content-Length: {length}\r\nX: y\nTransfer-Encoding: chunked"),
        format!("Content-Length: {length}\r\nX: y\rTransfer-Encoding: chunked"),
        format!("Content-Length: {length}\r\nTransfer-Encoding:\r\n chunked"),
        format!("Content-Length: {length}\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: x"),
        format!("Content-Length: {length}\r\nContent-Length: 0"),
        format!("Content-Length: 0\r\nContent-Length: {length}"),
        format!("Content-Length: {length}, 0"),
        format!("Content-Length: +{length}"),
        format!("Content-Length: 0x{length:x}"),
        format!("Content-Length : {length}"),
        format!("Content-Length:\r\n {length}"),
        "Transfer-Encoding: chunked".to_owned(),
        "Expect: 100-continue\r\nTransfer-Encoding: chunked".to_owned(),
        format!("Expect: 100-continue\r\nContent-Length: {length}"),
        format!("Upgrade: h2c\r\nConnection: Upgrade\r\nContent-Length: {length}"),
        format!("Connection: Content-Length\r\nContent-Length: {length}"),
    ] {
        for body in [&chunked, &covered] {
            // A body that the route reads, and one that it does not.
            for line in ["POST /refresh", "GET /health/live"] {
                all.push(format!(
                    "{line} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n{head}\r\n\r\n{body}"
                ));
            }
        }
    }
    // Chunks that are measured in two ways.
    for chunks in [
        "5;a=\r\nX\r\nabcde\r\n0\r\n\r\n",
        "0x5\r\nabcde\r\n0\r\n\r\n",
        "+5\r\nabcde\r\n0\r\n\r\n",
        "5 \r\nabcde\r\n0\r\n\r\n",
        "5\nabcde\n0\n\n",
        "5\rabcde\r0\r\r",
        "10000000000000005\r\nabcde\r\n0\r\n\r\n",
        "5\r\nabcdefg\r\n0\r\n\r\n",
        "0\r\nContent-Length: 5\r\nTransfer-Encoding: x\r\n\r\n",
    ] {
        all.push(format!(
            "POST /refresh HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n{chunks}{SWALLOWS}"
        ));
    }
    all
}

/// Sends an odd request and looks at what comes back for a moment, as an attacker would.
async fn attack(address: &str, bytes: &str) {
    let mut stream = TcpStream::connect(address).await.expect("the proxy listens");
    let _ = stream.write_all(bytes.as_bytes()).await;
    let mut answer = Vec::new();
    let reading = async { while let Ok(1..) = stream.read_buf(&mut answer).await {} };
    let _ = timeout(Duration::from_millis(30), reading).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_request_is_taken_for_another_behind_a_proxy() {
    for which in PROXIES {
        let (world, proxy) = behind(which, &[]).await;
        let url = format!("http://{}/problems/csrf", proxy.address);
        for (at, bytes) in ambiguous().iter().enumerate() {
            attack(&proxy.address, bytes).await;
            // Somebody else asks next, perhaps on the connection that the attacker spoilt.
            for ask in 0..3 {
                let id = format!("canary-{at}-{ask}");
                let request = world.http.get(&url).header("x-request-id", &id);
                let answer = Answer::try_to(request).await;
                let answer = answer.unwrap_or_else(|error| panic!("{which:?}: {bytes}: {error}"));
                assert_eq!(answer.status, 200, "{which:?}: {bytes}: {}", answer.text);
                assert_eq!(answer.header("x-request-id"), Some(id.as_str()), "{which:?}: {bytes}");
                assert!(
                    answer.text.contains("<code>csrf</code>"),
                    "{which:?}: {bytes}: {}",
                    answer.text
                );
            }
        }
        let tokens = world.newcomer("ada").await;
        Tokens::of(&world.refresh(&tokens.refresh).await);
    }
}

/// A client on an address of its own, which tells stories about where it is.
fn from(address: &str) -> reqwest::Client {
    let address: IpAddr = address.parse().expect("an address");
    let client = reqwest::Client::builder().local_address(address);
    client.build().expect("a client can be made")
}

async fn attempt(proxy: &Proxy, http: &reqwest::Client, story: &str, password: &str) -> Answer {
    let request = http.post(format!("http://{}/login", proxy.address));
    let request = request.header("x-forwarded-for", story).header("x-real-ip", story);
    Answer::to(request.json(&json!({"username": "ada", "password": password}))).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn behind_a_proxy_that_is_named_clients_are_told_apart() {
    for which in PROXIES {
        let settings =
            [("AUTH__HTTP__TRUSTED_PROXIES", "127.0.0.1"), ("AUTH__LIMITS__LOGIN_FREE", "5")];
        let (world, proxy) = behind(which, &settings).await;
        world.register("ada").await;
        let (one, two) = (from("127.0.0.2"), from("127.0.0.3"));
        let story = |at: usize| format!("203.0.113.{at}, 127.0.0.1");
        for at in 0..5 {
            assert_eq!(attempt(&proxy, &one, &story(at), "not the sentence").await.status, 401);
        }
        // As if no time had passed since the last of them, however busy this machine is.
        world.clock.advance(-5);
        let refused = attempt(&proxy, &one, &story(9), PASSWORD).await;
        world.clock.advance(5);
        assert_eq!((refused.status, refused.member("code").as_str()), (429, "rate-limited"));
        let tokens = Tokens::of(&attempt(&proxy, &two, "127.0.0.2", PASSWORD).await);
        let sessions = world.get_as(&tokens.access, "/sessions").await.json();
        assert_eq!(sessions["sessions"][0]["ip"], "127.0.0.3", "{which:?}");
    }
}

/// It looks like this machine's own request, but for what a client on a network has to name: the host.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_proxy_in_the_clear_that_does_not_say_so_lets_no_administrator_in() {
    let scopes = r#"{"latchkey:users:read":{"roles":["admin"]}}"#;
    let world = World::start_with(Kind::Sqlite, &[("AUTH__SCOPES", scopes)]).await;
    world.register("root").await;
    let users = world.store.list_users(None, 1).await.expect("the database answers");
    let admin = vec!["admin".to_owned()];
    assert!(world.store.set_roles(users[0].user.id, admin).await.expect("the database answers"));
    let login = json!({
        "username": "root", "password": PASSWORD, "resource": ISSUER, "scope": "latchkey:users:read",
    });
    let access = world.post("/login", &login).await.member("access_token");
    let target = world.internal.strip_prefix("http://").unwrap();
    for which in [Which::Nginx, Which::Haproxy, Which::SilentNginx, Which::SilentHaproxy] {
        let proxy = Proxy::start(which, target).await;
        let request = world.http.get(format!("http://{}/admin/v1/users", proxy.address));
        let request = request.bearer_auth(&access).header("host", "auth.example.com");
        let answer = Answer::to(request).await;
        assert_eq!((answer.status, answer.member("code").as_str()), (403, "forbidden"));
    }
    let here = world.http.get(format!("{}/admin/v1/users", world.internal)).bearer_auth(&access);
    assert_eq!(Answer::to(here).await.status, 200, "the token is good");
}
