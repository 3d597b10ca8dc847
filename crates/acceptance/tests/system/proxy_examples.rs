//! docs/proxies.md: real proxies serve the auth-service over TLS with the configurations that it shows.

use std::collections::BTreeSet;
use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use reqwest::header::LOCATION;
use serde_json::json;
use tempfile::TempDir;
use testbed::process::Process;
use testbed::service::lasting_address;
use testbed::{Answer, Authority, Browser, Kind, PASSWORD, World};

use crate::house::read;

const HOST: &str = "auth.example.com";
const ORIGIN: &str = "https://auth.example.com";
const ADMIN_HOST: &str = "admin.example.com";
const SECRET: &str = "a secret of the feed, for a test alone";

/// The block of that language in the page.
fn example(language: &str) -> String {
    let page = read("docs/proxies.md");
    let fence = format!("```{language}\n");
    let mut blocks = page.split(&fence).skip(1).filter_map(|rest| rest.split("\n```").next());
    let block = blocks.next().expect("the page has the example").to_owned();
    assert_eq!(blocks.next(), None, "one example for each proxy");
    block
}

/// The words by which the page calls the language of a proxy's configuration.
fn language(program: &str) -> &'static str {
    if program == "nginx" { "nginx" } else { "caddyfile" }
}

/// Puts another text in place of each of these; the example must have them all.
fn with(example: &str, changes: &[(&str, &str)]) -> String {
    changes.iter().fold(example.to_owned(), |text, (from, to)| {
        assert!(text.contains(from), "{from}");
        text.replace(from, to)
    })
}

/// A proxy in front of a service, ended with the value.
struct Proxy {
    host: &'static str,
    https: SocketAddr,
    http: SocketAddr,
    certificate: reqwest::Certificate,
    _process: Process,
    _directory: TempDir,
}

impl Proxy {
    /// With the configuration of the page, and our own addresses and certificate in it.
    async fn start(program: &str, host: &'static str, example: &str) -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let place = directory.path();
        let (https, http) = (lasting_address(), lasting_address());
        let certificate = certificate(place, host);
        let names = [place.join("cert.pem"), place.join("key.pem"), place.join("conf")];
        let [pem, key, file] = names.each_ref().map(|path| path.to_str().expect("text"));
        let (their_pem, their_key) =
            (format!("/etc/ssl/{host}.pem"), format!("/etc/ssl/{host}.key"));
        let example = with(example, &[(their_pem.as_str(), pem), (their_key.as_str(), key)]);
        let mut command = Command::new(program);
        let configuration = if program == "nginx" {
            let prefix = place.to_str().expect("text");
            command.args(["-p", prefix, "-e", "stderr", "-c", file]);
            let example = with(&example, &[("listen 443", format!("listen {https}").as_str())]);
            nginx(place, &example.replace("listen 80;", &format!("listen {http};")))
        } else {
            command.args(["run", "--adapter", "caddyfile", "--config", file]).env("HOME", place);
            command.env("XDG_DATA_HOME", place).env("XDG_CONFIG_HOME", place);
            let port = |address: &str| address.rsplit(':').next().expect("a port").to_owned();
            format!(
                "{{\n\tadmin off\n\tdefault_bind 127.0.0.1\n\thttp_port {}\n\thttps_port {}\n}}\n{example}\n",
                port(&http),
                port(&https),
            )
        };
        fs::write(file, &configuration).expect("it can be written");
        let process = Process::run(command.stderr(Stdio::null()));
        let deadline = Instant::now() + Duration::from_secs(20);
        let is_open = |address: &&String| program == "caddy" || configuration.contains(*address);
        for address in [&https, &http].into_iter().filter(is_open) {
            while tokio::net::TcpStream::connect(address).await.is_err() {
                assert!(Instant::now() < deadline, "{program} does not start");
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        }
        let [https, http] = [https, http].map(|address| address.parse().expect("an address"));
        Self { host, https, http, certificate, _process: process, _directory: directory }
    }

    /// A client with an address of its own that finds the proxy by its name and trusts its certificate.
    fn client(&self, from: &str, address: SocketAddr) -> reqwest::Client {
        let from: IpAddr = from.parse().expect("an address");
        reqwest::Client::builder()
            .local_address(from)
            .resolve(self.host, address)
            .tls_certs_only([self.certificate.clone()])
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .build()
            .expect("a client can be made")
    }

    fn url(&self, path: &str) -> String {
        format!("https://{}:{}{path}", self.host, self.https.port())
    }
}

/// The rest of a configuration, around what stands in a file below `conf.d`; one process.
fn nginx(place: &Path, example: &str) -> String {
    let place = place.display();
    let places = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|name| format!("{name}_temp_path {place}/{name};\n"))
        .concat();
    format!(
        "daemon off; master_process off; pid {place}/pid; error_log stderr crit;\n\
         events {{ worker_connections 256; }}\nhttp {{\naccess_log off;\n{places}{example}\n}}\n"
    )
}

/// A certificate for the name, and its key, in files of that directory; and whom to trust.
fn certificate(place: &Path, host: &str) -> reqwest::Certificate {
    let authority = Authority::create();
    let made = authority.certify(host, 2);
    fs::write(place.join("cert.pem"), made.certificate).expect("it can be written");
    fs::write(place.join("key.pem"), made.key).expect("it can be written");
    let pem = fs::read(authority.file()).expect("a certificate");
    reqwest::Certificate::from_pem(&pem).expect("a certificate")
}

/// An auth-service as it is behind a proxy: the public address is https, so no setting is a
/// development default.
async fn world(issuer: &str) -> World {
    let scopes = r#"{"latchkey:users:read":{"roles":["admin"]}}"#;
    let settings = [
        ("AUTH__SCOPES", scopes),
        ("AUTH__ISSUER", issuer),
        ("AUTH__PAGE__ENABLED", "true"),
        ("AUTH__REGISTRATION", "open"),
        ("AUTH__HTTP__TRUSTED_PROXIES", "127.0.0.1"),
        ("AUTH__FEED__SECRET", SECRET),
        ("AUTH__HOUSEKEEPING__SETTLE_SECONDS", "3600"),
        ("AUTH__PASSWORDS__MEMORY_KIB", "19456"),
        ("AUTH__PASSWORDS__ITERATIONS", "2"),
        ("RESOURCE__ISSUER", issuer),
        ("RESOURCE__FEED__SECRET", SECRET),
    ];
    World::start_with(Kind::Sqlite, &settings).await
}

/// What the page promises of either proxy.
async fn serves(program: &str) {
    let world = world(ORIGIN).await;
    let example = example(language(program));
    let target = world.auth.strip_prefix("http://").unwrap();
    let proxy = Proxy::start(program, HOST, &with(&example, &[("127.0.0.1:8080", target)])).await;
    world.register("ada").await;

    // A person in a browser, with the cookie, who tells a story about where they are.
    let http = proxy.client("127.0.0.2", proxy.https);
    let told = http.post(proxy.url("/login")).header("x-forwarded-for", "203.0.113.9");
    let login = json!({"username": "ada", "password": PASSWORD, "transport": "cookie"});
    let login = told.header("origin", ORIGIN).header("sec-fetch-site", "same-origin").json(&login);
    let login = Answer::to(login).await;
    assert_eq!(login.status, 200, "{program}: {}", login.text);
    let browser = Browser::new(http.clone(), proxy.url(""), ORIGIN.to_owned());
    browser.take(&login);
    assert!(browser.cookie().is_some(), "{program}");
    let refreshed = browser.refresh().await;
    assert_eq!(refreshed.status, 200, "{program}: {}", refreshed.text);

    let sessions = http.get(proxy.url("/sessions")).bearer_auth(refreshed.member("access_token"));
    let sessions = Answer::to(sessions).await.json();
    assert_eq!(sessions["sessions"][0]["ip"], "127.0.0.2", "{program}: the client's own address");

    // Nothing of the internal port.
    for path in ["/internal/revocations", "/internal/keys", "/metrics"] {
        let answer = Answer::to(http.get(proxy.url(path)).bearer_auth(SECRET)).await;
        assert_eq!(answer.status, 404, "{program}: {path}");
    }
    let long = json!({"username": "a".repeat(20_000), "password": PASSWORD});
    let answer = Answer::to(http.post(proxy.url("/login")).json(&long)).await;
    assert_eq!(answer.status, 413, "{program}");

    let plain = proxy.client("127.0.0.2", proxy.http);
    let plain = plain.get(format!("http://{HOST}:{}/docs", proxy.http.port()));
    let answer = Answer::to(plain).await;
    assert!((300..400).contains(&answer.status), "{program}: {}", answer.status);
    let location = answer.headers[LOCATION].to_str().expect("text");
    assert!(location.starts_with(ORIGIN) && location.ends_with("/docs"), "{program}: {location}");
}

/// What the page promises of either proxy in front of what administrators do.
async fn serves_administrators(program: &str) {
    let world = world(ORIGIN).await;
    let example = example(&format!("{} for-administrators", language(program)));
    let target = world.internal.strip_prefix("http://").unwrap();
    let own = [("127.0.0.1:9080", target), ("192.0.2.0/24", "127.0.0.2/32")];
    let proxy = Proxy::start(program, ADMIN_HOST, &with(&example, &own)).await;
    world.register("root").await;
    let users = world.store.list_users(None, 1).await.expect("the database answers");
    let admin = vec!["admin".to_owned()];
    assert!(world.store.set_roles(users[0].user.id, admin).await.expect("the database answers"));
    let login = json!({
        "username": "root", "password": PASSWORD, "resource": ORIGIN, "scope": "latchkey:users:read",
    });
    let access = world.post("/login", &login).await.member("access_token");

    let http = proxy.client("127.0.0.2", proxy.https);
    let ask = |http: &reqwest::Client, path: &str| http.get(proxy.url(path)).bearer_auth(&access);
    // What the client says of how it came counts for nothing.
    for told in ["https", "http", "https, http"] {
        let request = ask(&http, "/admin/v1/users?search=root").header("x-forwarded-proto", told);
        let answer = Answer::to(request).await;
        assert_eq!(answer.status, 200, "{program}: {told}: {}", answer.text);
    }
    for path in ["/metrics", "/internal/keys", "/internal/revocations", "/admin/v1/../../metrics"] {
        let answer = Answer::to(ask(&http, path)).await;
        assert!(matches!(answer.status, 401 | 404), "{program}: {path}: {}", answer.status);
        assert!(!answer.text.contains("latchkey_"), "{program}: {path}");
    }
    let elsewhere = proxy.client("127.0.0.3", proxy.https);
    let answer = Answer::to(ask(&elsewhere, "/admin/v1/users")).await;
    assert!(matches!(answer.status, 403 | 404), "{program}: {}", answer.status);
    assert!(!answer.text.contains("root"), "{program}: {}", answer.text);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nginx_serves_administrators_as_the_page_shows() {
    serves_administrators("nginx").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn caddy_serves_administrators_as_the_page_shows() {
    serves_administrators("caddy").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nginx_serves_as_the_page_shows() {
    serves("nginx").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn caddy_serves_as_the_page_shows() {
    serves("caddy").await;
}

/// The example for a service below a path, and the same for another path.
fn below(program: &str, path: &str) -> String {
    if program == "caddy" {
        let (redirect, every) = (format!("redir {path} {path}/"), format!("handle_path {path}/*"));
        let metadata = format!("oauth-authorization-server{path} {{");
        return with(
            &example("caddyfile below-a-path"),
            &[
                ("redir /id /id/", &redirect),
                ("handle_path /id/*", &every),
                ("oauth-authorization-server/id {", &metadata),
            ],
        );
    }
    let whole = example("nginx");
    let (before, rest) = whole.split_once("    location / {").expect("there is one location");
    let (_, after) = rest.split_once("\n    }\n").expect("it has an end");
    let (every, metadata) = (format!("location {path}/ {{"), format!("server{path} {{"));
    let locations = [("location /id/ {", &*every), ("server/id {", &*metadata)];
    format!("{before}{}\n{after}", with(&example("nginx below-a-path"), &locations))
}

/// Gets a page and everything that it links to at its host, which must all be there.
async fn get_whole(http: &reqwest::Client, address: &str) -> usize {
    let address = reqwest::Url::parse(address).expect("an address");
    let page = Answer::to(http.get(address.clone())).await;
    assert_eq!(page.status, 200, "{address}: {}", page.text);
    assert_eq!(page.header("content-type"), Some("text/html; charset=utf-8"), "{address}");
    let links = ["href=\"", "src=\""].into_iter().flat_map(|name| page.text.split(name).skip(1));
    let links: BTreeSet<_> = links
        .filter_map(|rest| address.join(rest.split('"').next()?.split('#').next()?).ok())
        .filter(|link| link.host() == address.host() && *link != address)
        .collect();
    for link in &links {
        let answer = Answer::to(http.get(link.clone())).await;
        assert_eq!(answer.status, 200, "{address} links to {link}: {}", answer.text);
    }
    links.len()
}

/// an issuer with a path, everything of the page included.
async fn serves_below(program: &str, path: &str) {
    let issuer = format!("{ORIGIN}{path}");
    let world = world(&issuer).await;
    let target = world.auth.strip_prefix("http://").unwrap();
    let example = with(&below(program, path), &[("127.0.0.1:8080", target)]);
    let proxy = Proxy::start(program, HOST, &example).await;
    world.register("ada").await;
    let http = proxy.client("127.0.0.2", proxy.https);
    let at = |rest: &str| proxy.url(&format!("{path}{rest}"));

    let moved = Answer::to(http.get(at(""))).await;
    let location = moved.headers[LOCATION].to_str().expect("text");
    assert!((300..400).contains(&moved.status), "{program}: {}", moved.status);
    assert!(location.ends_with(&format!("{path}/")), "{program}: {location}");
    assert!(
        get_whole(&http, &at("/")).await >= 4,
        "{program}: script, style, picture, documentation"
    );
    assert!(get_whole(&http, &at("/docs")).await >= 2, "{program}: style and problems");
    for name in ["latchkey.js", "page.json"] {
        let answer = Answer::to(http.get(at(&format!("/assets/{name}")))).await;
        assert_eq!(answer.status, 200, "{program}: {name}, which the script asks for");
    }
    let told = Answer::to(http.get(at("/assets/page.json"))).await;
    assert_eq!(told.member("issuer"), issuer, "{program}");

    let browser = Browser::new(http.clone(), at(""), ORIGIN.to_owned());
    let refused = browser.refresh().await;
    assert_eq!(refused.status, 401, "{program}: {}", refused.text);
    assert!(refused.member("type").starts_with(&issuer), "{program}");
    get_whole(&http, &refused.member("type")).await;
    let login = browser.login("ada", PASSWORD).await;
    assert_eq!(login.status, 200, "{program}: {}", login.text);
    let refreshed = browser.refresh().await;
    assert_eq!(refreshed.status, 200, "{program}: {}", refreshed.text);
    for route in ["/me", "/sessions", "/sessions/events"] {
        let request = http.get(at(route)).bearer_auth(refreshed.member("access_token"));
        assert_eq!(Answer::to(request).await.status, 200, "{program}: {route}");
    }
    assert_eq!(browser.post("/logout", &json!({})).await.status, 204, "{program}");

    let metadata = proxy.url(&format!("/.well-known/oauth-authorization-server{path}"));
    let metadata = Answer::to(http.get(metadata)).await;
    assert_eq!(metadata.member("issuer"), issuer, "{program}");
    let keys = Answer::to(http.get(metadata.member("jwks_uri"))).await;
    assert_eq!(keys.status, 200, "{program}: {}", keys.text);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nginx_serves_below_a_path_as_the_page_shows() {
    serves_below("nginx", "/id").await;
    serves_below("nginx", "/auth/v1").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn caddy_serves_below_a_path_as_the_page_shows() {
    serves_below("caddy", "/id").await;
    serves_below("caddy", "/auth/v1").await;
}
