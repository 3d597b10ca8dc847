//! An auth-service that has lost its database keeps nobody: its followers go on at another.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use serde_json::Value;
use testbed::link::Mode;
use testbed::service::until;
use testbed::{Answer, Database, Kind, Link, Service, Tokens};

const BOUND: Duration = Duration::from_secs(6);

/// An auth-service that reaches the database over a link of its own.
async fn behind_a_link(database: &Database) -> (Service, Link) {
    let link = Link::start(database.server()).await;
    let mut auth = Service::auth(&database.url_by(&link), &[]);
    auth.start().await;
    (auth, link)
}

/// A service that prefers the first of two.
fn following(first: &Service, second: &Service) -> Service {
    let feeds = [first, second].map(|auth| format!("{}/internal/revocations", auth.internal));
    let keys = [first, second].map(|auth| format!("{}/.well-known/jwks.json", auth.public));
    Service::resource(
        first,
        &[
            ("RESOURCE__REVOCATION__MAX_STALENESS_SECONDS", &BOUND.as_secs().to_string()),
            ("RESOURCE__FEED__URLS", &feeds.join(",")),
            ("RESOURCE__KEYS__JWKS_URL", &keys.join(",")),
        ],
    )
}

/// Asks for longer than the bound, which must not be noticed.
async fn is_never_refused(resource: &Service, tokens: &Tokens, how: &str) {
    let begun = Instant::now();
    while begun.elapsed() < BOUND + Duration::from_secs(2) {
        let answer = resource.whoami(&tokens.access).await;
        assert_eq!(answer.status, 200, "{how}, after {:?}: {}", begun.elapsed(), answer.text);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// F-A3: its database is cut off, does not answer, or died; or it is stopped itself.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_without_its_database_keeps_no_follower() {
    let database = Database::create(Kind::Postgres).await;
    let mut fresh = Service::auth(&database.url, &[]);
    fresh.start().await;
    let tokens = fresh.newcomer("ada").await;
    let mut cases = Vec::new();
    for how in ["cut", "hold", "mute", "stopped", "killed"] {
        let (auth, link) = behind_a_link(&database).await;
        let mut resource = following(&auth, &fresh);
        resource.start().await;
        assert_eq!(resource.whoami(&tokens.access).await.status, 200);
        cases.push((how, auth, link, resource));
    }
    for (how, auth, link, _) in &mut cases {
        match *how {
            "cut" => link.set(Mode::Cut),
            "hold" => link.set(Mode::Hold),
            "mute" => link.set(Mode::Mute),
            "stopped" => auth.pause(),
            _ => auth.kill(),
        }
    }
    let ended = fresh.login("ada").await;
    let asked = cases.iter().map(|(how, _, _, resource)| is_never_refused(resource, &tokens, how));
    join_all(asked).await;
    fresh.logout(&ended.refresh).await;
    for (how, auth, _, resource) in &cases {
        until(how, async || resource.whoami(&ended.access).await.status == 401).await;
        if *how == "stopped" {
            auth.resume();
        }
    }
}

async fn feed(auth: &Service, cursor: &str) -> Answer {
    let url = format!("{}/internal/revocations?cursor={cursor}", auth.internal);
    Answer::to(auth.http.get(url)).await
}

fn cursor(batch: &Value) -> &str {
    batch["cursor"].as_str().expect("text")
}

/// F-A3: what it knows may be news to somebody, and is as old as it says.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_without_its_database_tells_news_and_else_that_it_knows_nothing() {
    let database = Database::create(Kind::Postgres).await;
    let (auth, link) = behind_a_link(&database).await;
    let tokens = auth.newcomer("ada").await;
    let before = feed(&auth, "").await.json();
    auth.logout(&tokens.refresh).await;
    until("the replica has read it", async || {
        feed(&auth, cursor(&before)).await.json()["entries"] != serde_json::json!([])
    })
    .await;
    let after = feed(&auth, cursor(&before)).await.json();
    for mode in [Mode::Hold, Mode::Cut] {
        // Whoever is told everything is always told how old it is. Later reads are newer.
        let asked = Instant::now();
        let known_for = age(&auth).await;
        link.set(mode);
        until("it says so", async || feed(&auth, cursor(&after)).await.status == 503).await;
        assert!(asked.elapsed() + known_for > Duration::from_secs(2), "not before it is too old");
        let quiet = feed(&auth, cursor(&after)).await;
        quiet.assert_problem(503, "unavailable");
        assert_eq!(quiet.header("retry-after"), Some("1"));
        // Where one address reaches any replica, the next connection may reach another.
        assert_eq!(quiet.header("connection"), Some("close"));
        for behind in [cursor(&before), ""] {
            let news = feed(&auth, behind).await;
            assert_eq!(news.status, 200, "{}", news.text);
            let batch = news.json();
            assert_eq!(batch["entries"][0]["id"], tokens.session);
            assert!(batch["age_ms"].as_u64().expect("ms") > 2_000, "{batch}");
            assert_eq!(news.header("connection"), Some("close"));
        }
        link.set(Mode::Pass);
        until("it is well again", async || feed(&auth, cursor(&after)).await.status == 200).await;
        assert_eq!(feed(&auth, cursor(&after)).await.header("connection"), None);
    }
}

/// F-A4: a server that is gone without a word for a moment keeps nobody waiting for longer than a new
/// connection takes: those that there are say nothing more, or also those that are made meanwhile.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_whose_database_was_silent_for_a_moment_has_news_again_within_five_seconds() {
    let database = Database::create(Kind::Postgres).await;
    let cases = ["connections", "connections and new ones"].map(async |how| {
        let (auth, link) = behind_a_link(&database).await;
        if how == "connections" {
            link.silence();
        } else {
            link.set(Mode::Mute);
            // Longer than a read waits for an answer, so that a connection is begun in the silence.
            tokio::time::sleep(Duration::from_secs(3)).await;
            link.set(Mode::Pass);
        }
        let healed = Instant::now();
        // What it knew before is not old enough yet for it to say so.
        until("it notices", async || age(&auth).await > Duration::from_millis(700)).await;
        until("it is well again", async || age(&auth).await < Duration::from_millis(700)).await;
        let took = healed.elapsed();
        println!("{how}: {took:?}");
        assert!(took < Duration::from_secs(5), "{how}: {took:?}");
    });
    join_all(cases).await;
}

/// How long ago the replica read what it tells; too long if it tells nothing.
async fn age(auth: &Service) -> Duration {
    let answer = feed(auth, "").await;
    if answer.status == 503 {
        return Duration::MAX;
    }
    Duration::from_millis(answer.json()["age_ms"].as_u64().expect("milliseconds"))
}

/// F-A3: the one with the keys is gone before anybody had them, or hangs.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_are_had_from_another_replica() {
    let database = Database::create(Kind::Postgres).await;
    let mut replicas = [(); 2].map(|()| Service::auth(&database.url, &[]));
    for replica in &mut replicas {
        replica.start().await;
    }
    let [mut first, second] = replicas;
    let tokens = second.newcomer("ada").await;
    first.pause();
    let mut resource = following(&first, &second);
    resource.start().await;
    assert_eq!(resource.whoami(&tokens.access).await.status, 200);
    first.resume();
    first.kill();
    let mut resource = following(&first, &second);
    resource.start().await;
    assert_eq!(resource.whoami(&tokens.access).await.status, 200);
}
