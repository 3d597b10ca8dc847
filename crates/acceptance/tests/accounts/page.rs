//! The routes of the account page are there to be got, where they are enabled, and nothing else.

use reqwest::Method;
use reqwest::header::{ALLOW, ORIGIN};
use testbed::world::ISSUER;
use testbed::{Answer, Kind, World};

use crate::support::{raw, statuses};

const FILES: [&str; 5] =
    ["/", "/assets/page.js", "/assets/latchkey.js", "/assets/page.css", "/assets/page.json"];

async fn world() -> World {
    World::start_with(Kind::Sqlite, &[("AUTH__PAGE__ENABLED", "true")]).await
}

/// N-K05, N-T11
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_page_is_got_and_nothing_else() {
    let world = world().await;
    for path in FILES {
        for method in ["POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "BREW", "get"] {
            let name = Method::from_bytes(method.as_bytes()).unwrap();
            let answer =
                Answer::to(world.http.request(name, format!("{}{path}", world.auth))).await;
            answer.assert_problem(405, "method-not-allowed");
            assert_eq!(answer.headers.get(ALLOW).unwrap(), "GET, HEAD", "{method} {path}");
        }
        let get = |method| world.http.request(method, format!("{}{path}", world.auth));
        let whole = Answer::to(get(Method::GET).header(ORIGIN, "https://evil.example")).await;
        assert_eq!(whole.status, 200, "{path}");
        assert!(whole.header("access-control-allow-origin").is_none(), "{path}");
        assert_eq!(whole.header("x-content-type-options"), Some("nosniff"));
        let policy = whole.header("content-security-policy").unwrap_or_default();
        assert!(policy.starts_with("default-src 'none';"), "{path}: {policy}");
        assert!(policy.contains("frame-ancestors 'none'"), "{path}: {policy}");
        assert!(!policy.contains("unsafe"), "{path}: {policy}");
        let head = Answer::to(get(Method::HEAD)).await;
        assert_eq!((head.status, head.text.as_str()), (200, ""), "{path}");
    }
}

/// F2-04: a page that was opened at another address learns where logins work, from no header of a request.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_page_is_told_where_it_belongs() {
    for issuer in [ISSUER, "http://localhost:8443/id"] {
        let settings = [
            ("AUTH__PAGE__ENABLED", "true"),
            ("AUTH__ISSUER", issuer),
            ("RESOURCE__ISSUER", issuer),
        ];
        let world = World::start_with(Kind::Sqlite, &settings).await;
        let request = world.http.get(format!("{}/assets/page.json", world.auth));
        let told = Answer::to(request.header("host", "evil.example")).await;
        assert_eq!(told.member("issuer"), issuer);
    }
}

/// N-T07
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_trick_with_the_path_gets_another_file() {
    let world = world().await;
    for path in [
        "/index.html",
        "/assets",
        "/assets/",
        "/assets//page.js",
        "/assets/page.js/",
        "/assets/page.js%00",
        "/assets/PAGE.JS",
        "/assets/../assets/page.js",
        "/assets/%2e%2e/page.js",
        "/assets/..%2fpage.js",
        "/assets/..%2f..%2fCargo.toml",
        "/assets/%2fetc%2fpasswd",
        "/assets/\\..\\page.js",
        "/assets/page.js;a",
        "//",
        "/./",
        "/page.js",
        "/assets/screenshot.png",
    ] {
        let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        let answer = raw(&world, request.as_bytes()).await;
        assert!(matches!(statuses(&answer)[..], [404 | 400]), "{path}: {answer}");
    }
}
