//! N-T14: no client decides how many series the metrics have, or what is in them.

use std::collections::BTreeSet;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use futures_util::future::join_all;
use serde_json::json;
use testbed::service::until;
use testbed::{Answer, Database, Kind, Service, Tokens, World};

/// Of each kind of oddity.
const MANY: usize = 10_000;
const CLIENTS: usize = 16;

fn series(metrics: &str) -> BTreeSet<String> {
    let samples = metrics.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    samples.filter_map(|line| line.rsplit_once(' ')).map(|(name, _)| name.to_owned()).collect()
}

/// A token that names a key nobody has.
fn token(at: usize) -> String {
    let header = json!({"alg": "ES256", "typ": "at+jwt", "kid": format!("kid-of-nobody-{at}")});
    let header = URL_SAFE_NO_PAD.encode(header.to_string());
    format!("{header}.{}.{}", URL_SAFE_NO_PAD.encode("{}"), URL_SAFE_NO_PAD.encode([1; 64]))
}

/// Asks for what is not there, in ways that are none, from `first` on.
async fn be_odd(http: &reqwest::Client, auth: &Service, resource: &Service, first: usize) {
    let each = MANY / CLIENTS;
    join_all((0..CLIENTS).map(async |client| {
        for at in (0..each).map(|at| first + client * each + at) {
            let (service, path) = if at % 2 == 0 { (auth, "/me") } else { (resource, "/whoami") };
            let paths = [
                format!("/a-path-of-nobody-{at}"),
                format!("/sessions/id-of-nobody-{at}"),
                format!("/problems/code-of-nobody-{at}?query={at}"),
            ];
            let url = format!("{}{}", service.public, paths[at % 3]);
            let method = format!("METHODOFNOBODY{}", at % 1000);
            let method = if at % 4 == 0 { method.as_str() } else { "GET" };
            let request = http.request(method.parse().expect("a method"), url);
            let odd = request.header("x-request-id", format!("id-{at}"));
            assert!(matches!(Answer::to(odd).await.status, 401 | 404 | 405), "{method}");
            let asked = http.get(format!("{}{path}", service.public)).bearer_auth(token(at));
            assert_eq!(Answer::to(asked).await.status, 401);
        }
    }))
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_client_decides_how_many_series_there_are() {
    let database = Database::create(Kind::Sqlite).await;
    let mut auth = Service::auth(&database.url, &[]);
    auth.start().await;
    let mut resource = Service::resource(&auth, &[]);
    resource.start().await;
    let http = reqwest::Client::new();
    // Once each, so that everything that there can be is there; the last of it is the fetch of the
    // key set for keys of nobody, which waits until the one at the start has cooled.
    be_odd(&http, &auth, &resource, 0).await;
    let asked = "cause=\"unknown key\"";
    until("the key set is fetched again", async || resource.metrics().await.contains(asked)).await;
    let _ = (auth.metrics().await, resource.metrics().await);
    let before = [auth.metrics().await, resource.metrics().await];
    be_odd(&http, &auth, &resource, MANY).await;
    let after = [auth.metrics().await, resource.metrics().await];
    for (before, after) in before.iter().zip(&after) {
        let (before, after) = (series(before), series(after));
        assert_eq!(after.difference(&before).collect::<Vec<_>>(), [""; 0]);
        println!("{} series", after.len());
        assert!(after.len() < 400, "{}", after.len());
    }
    for metrics in &after {
        let metrics = metrics.to_ascii_lowercase();
        for word in ["nobody", "kid-", "id-", "query", env!("CARGO_PKG_VERSION"), "actix", "rust"] {
            assert!(!metrics.contains(word), "{word}");
        }
    }
}

/// Who asks how it is learns nothing else; also on the listener that is not published.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn health_and_metrics_name_no_version_and_nobody() {
    let world = World::start(Kind::Sqlite).await;
    let tokens = world.newcomer("somebody-in-particular").await;
    Tokens::of(&world.refresh(&tokens.refresh).await);
    let mut urls = vec![format!("{}/metrics", world.internal)];
    for base in [&world.auth, &world.internal, &world.resource] {
        urls.extend(["live", "ready"].map(|what| format!("{base}/health/{what}")));
    }
    for url in urls {
        let answer = Answer::to(world.http.get(&url)).await;
        assert_eq!(answer.status, 200, "{url}");
        answer.assert_hardened();
        let text = answer.text.to_ascii_lowercase();
        for word in [
            "somebody",
            &tokens.session,
            "127.0.0.1",
            "version",
            env!("CARGO_PKG_VERSION"),
            "sqlite",
            "postgres",
            "actix",
            "rustc",
        ] {
            assert!(!text.contains(word), "{url}: {word}");
        }
    }
}
