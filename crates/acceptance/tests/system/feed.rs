//! The internal listener: the revocation feed by HTTP, and metrics.

use std::time::{Duration, Instant};

use claims::Timestamp;
use serde_json::{Value, json};
use testbed::database::Kind;
use testbed::{Answer, PASSWORD, Tokens, World, on_both_databases};

use testbed::on_each_empty_database;
use testbed::service::{Service, until};

const SECRET: &str = "a-secret-of-at-least-thirty-two-characters";

async fn ask(world: &World, query: &str) -> Answer {
    let answer =
        Answer::to(world.http.get(format!("{}/internal/revocations{query}", world.internal)));
    answer.await
}

/// A good answer, checked for what every one has.
async fn feed(world: &World, query: &str) -> Value {
    let answer = ask(world, query).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    answer.assert_hardened();
    assert_eq!(answer.header("content-type"), Some("application/json"));
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    let batch = answer.json();
    let mut members: Vec<_> = batch.as_object().expect("an object").keys().collect();
    members.sort();
    assert_eq!(members, ["age_ms", "cursor", "entries", "now", "reset"]);
    let age = batch["age_ms"].as_u64().expect("a number");
    assert!(age < 10_000, "{age}");
    let now = batch["now"].as_u64().expect("a number");
    let own = world.clock.now().unix_seconds();
    assert!(now.abs_diff(own) <= 10, "{now} is not {own}");
    batch
}

fn cursor(batch: &Value) -> String {
    batch["cursor"].as_str().expect("text").to_owned()
}

/// The entries without what is left of their time, which is checked.
fn entries(batch: &Value) -> Vec<Value> {
    let mut entries = batch["entries"].as_array().expect("a list").clone();
    for entry in &mut entries {
        let left = entry.as_object_mut().expect("an object").remove("expires_in");
        let left = left.and_then(|left| left.as_u64()).expect("seconds");
        assert!((980..=992).contains(&left), "as long as any token it could kill: {left}");
    }
    entries
}

fn session(tokens: &Tokens) -> Value {
    json!({"kind": "session", "id": tokens.session})
}

/// What has been revoked since `before`, and nothing else.
async fn news(world: &World, before: &str) -> Value {
    feed(world, &format!("?cursor={before}&wait=5000")).await
}

on_both_databases! {
    async fn a_follower_is_told_what_is_new_and_a_stranger_everything(world) {
        let first = world.newcomer("ada").await;
        let second = world.login("ada").await;
        let third = world.login("ada").await;
        let start = feed(&world, "").await;
        assert_eq!((&start["reset"], &start["entries"]), (&json!(true), &json!([])));

        world.logout(&first.refresh, "current").await;
        let one = news(&world, &cursor(&start)).await;
        assert_eq!((&one["reset"], entries(&one)), (&json!(false), vec![session(&first)]));
        world.logout(&second.refresh, "current").await;
        let two = news(&world, &cursor(&one)).await;
        assert_eq!(entries(&two), [session(&second)], "new entries only");
        let both = news(&world, &cursor(&start)).await;
        assert_eq!(entries(&both), [session(&first), session(&second)], "whoever is behind");

        for unknown in ["", "?cursor=", "?cursor=nonsense", "?cursor=AAAAAAAAAAAA.1",
            "?cursor=.", "?cursor=%00", "?wait=0", "?cursor=nonsense&wait=5000"]
        {
            let begun = Instant::now();
            let all = feed(&world, unknown).await;
            assert_eq!(all["reset"], true, "{unknown}");
            assert_eq!(entries(&all), [session(&first), session(&second)], "{unknown}");
            assert_eq!(feed(&world, &format!("?cursor={}", cursor(&all))).await["entries"], json!([]));
            assert!(begun.elapsed() < Duration::from_secs(4), "{unknown} is not kept waiting");
        }
        let ahead = format!("{}3", cursor(&two));
        assert_eq!(feed(&world, &format!("?cursor={ahead}")).await["reset"], true, "never given");
        assert_eq!(world.whoami(&third.access).await.status, 200);
    }

    async fn logging_out_everywhere_is_one_entry_for_the_subject(world) {
        let first = world.newcomer("ada").await;
        let second = world.login("ada").await;
        let subject = world.get_as(&first.access, "/me").await.member("id");
        let start = cursor(&feed(&world, "").await);
        assert_eq!(world.logout(&first.refresh, "all").await.status, 204);
        let batch = news(&world, &start).await;
        let expected = json!({"kind": "subject", "id": subject, "min_version": 2});
        assert_eq!(entries(&batch), [expected]);
        for tokens in [&first, &second] {
            world.until_refused(&tokens.access).await;
        }
        let again = world.login("ada").await;
        assert_eq!(world.logout(&again.refresh, "all").await.status, 204);
        let batch = news(&world, &cursor(&batch)).await;
        let expected = json!({"kind": "subject", "id": subject, "min_version": 3});
        assert_eq!(entries(&batch), [expected]);
    }

    async fn everything_that_ends_sessions_is_announced(world) {
        let own = world.newcomer("ada").await;
        let (removed, other) = (world.login("ada").await, world.login("ada").await);
        let start = cursor(&feed(&world, "").await);

        let url = format!("{}/sessions/{}", world.auth, removed.session);
        let answer = Answer::to(world.http.delete(url).bearer_auth(&own.access)).await;
        assert_eq!(answer.status, 204, "{}", answer.text);
        let batch = news(&world, &start).await;
        assert_eq!(entries(&batch), [session(&removed)], "removed from the list");

        assert_eq!(world.logout(&own.refresh, "others").await.status, 204);
        let batch = news(&world, &cursor(&batch)).await;
        assert_eq!(entries(&batch), [session(&other)], "logged out from elsewhere");

        let other = world.login("ada").await;
        let body = json!({"current_password": PASSWORD, "new_password": "another ordinary sentence"});
        assert_eq!(world.post_as(&own.access, "/password", &body).await.status, 204);
        let batch = news(&world, &cursor(&batch)).await;
        assert_eq!(entries(&batch), [session(&other)], "a changed password");

        let second = Tokens::of(&world.refresh(&own.refresh).await);
        world.clock.advance(31);
        Tokens::of(&world.refresh(&second.refresh).await);
        world.refresh(&own.refresh).await.assert_problem(401, "token-reused");
        let batch = news(&world, &cursor(&batch)).await;
        assert_eq!(entries(&batch), [session(&own)], "reuse");
    }

    async fn who_waits_is_answered_when_something_happens_or_the_time_is_up(world) {
        let tokens = world.newcomer("ada").await;
        let start = cursor(&feed(&world, "").await);

        let begun = Instant::now();
        let quiet = feed(&world, &format!("?cursor={start}&wait=600")).await;
        let waited = begun.elapsed().as_millis();
        assert!((600..10_000).contains(&waited), "{waited}");
        let told = (quiet["reset"].clone(), quiet["entries"].clone());
        assert_eq!(told, (json!(false), json!([])));
        assert!(quiet["age_ms"].as_u64().unwrap() < 600, "known at the end of the wait");

        let begun = Instant::now();
        let at_once = feed(&world, &format!("?cursor={start}")).await;
        assert!(begun.elapsed() < Duration::from_secs(10), "no wait unless asked for");
        assert_eq!(at_once["entries"], json!([]));

        let begun = Instant::now();
        let query = format!("?cursor={start}&wait=20000");
        let (batch, ()) = tokio::join!(feed(&world, &query), async {
            tokio::time::sleep(Duration::from_millis(50)).await;
            world.logout(&tokens.refresh, "current").await;
        });
        assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
        assert_eq!(entries(&batch), [session(&tokens)]);
    }

    async fn what_cannot_be_asked_is_refused(world) {
        let start = cursor(&feed(&world, "").await);
        for query in ["?wait=20001", "?wait=-1", "?wait=x", "?wait=", "?wait=1.5",
            "?wait=99999999999999999999", "?wait=1&wait=2"]
        {
            let answer = ask(&world, &format!("{query}&cursor={start}")).await;
            answer.assert_problem(400, "invalid-request");
        }
        for method in [reqwest::Method::POST, reqwest::Method::DELETE] {
            let request = world.http.request(method, format!("{}/internal/revocations", world.internal));
            let answer = Answer::to(request).await;
            answer.assert_problem(405, "method-not-allowed");
            assert_eq!(answer.header("allow"), Some("GET, HEAD"));
        }
    }

    /// F-D1: names that mean nothing here are no reason to refuse, since a follower may be newer.
    async fn a_follower_may_name_the_kinds_that_it_understands(world) {
        let tokens = world.newcomer("ada").await;
        world.logout(&tokens.refresh, "current").await;
        world.until_refused(&tokens.access).await;
        let long = format!("?kinds={}", ["claims"; 73].join(","));
        for kinds in ["?kinds=", "?kinds=session,subject,token,key", "?kinds=claims,client",
            "?kinds=,,%00,%C3%A4", "?wait=0&kinds=key&cursor=", &long, "?something=else", ""]
        {
            assert_eq!(entries(&feed(&world, kinds).await), [session(&tokens)], "{kinds}");
        }
        for query in [&format!("{long}abc"), "?kinds=session&kinds=key"] {
            ask(&world, query).await.assert_problem(400, "invalid-request");
        }
    }

    async fn a_restarted_service_tells_its_followers_what_they_lack(world) {
        let tokens = world.newcomer("ada").await;
        let start = cursor(&feed(&world, "").await);
        world.logout(&tokens.refresh, "current").await;
        news(&world, &start).await;
        world.restart().await;
        for known in ["", &start] {
            let batch = feed(&world, &format!("?cursor={known}&wait=5000")).await;
            assert_eq!(entries(&batch), [session(&tokens)]);
        }
        assert_eq!(world.whoami(&tokens.access).await.status, 401);
    }

    async fn an_entry_is_forgotten_when_no_token_of_it_can_be_alive(world) {
        let tokens = world.newcomer("ada").await;
        world.logout(&tokens.refresh, "current").await;
        world.until_refused(&tokens.access).await;
        // Two hours after it has expired, as housekeeping does it, and told by nobody who starts then.
        world.clock.advance(1_000 + 7_200);
        let before = Timestamp(world.clock.now().0 - 7_200_000);
        world.store.purge_revocations(before).await.expect("it is purged");
        world.restart().await;
        assert_eq!(feed(&world, "").await["entries"], json!([]));
        world.whoami(&tokens.access).await.assert_problem(401, "invalid-token");
    }

    async fn internal_routes_are_not_public_and_public_ones_not_internal(world) {
        let tokens = world.newcomer("ada").await;
        let of = |base: &str, path: &str| {
            Answer::to(world.http.get(format!("{base}{path}")).bearer_auth(&tokens.access))
        };
        for path in ["/internal/revocations", "/internal/keys", "/metrics", "/internal"] {
            of(&world.auth, path).await.assert_problem(404, "not-found");
            of(&world.resource, path).await.assert_problem(404, "not-found");
        }
        for path in ["/me", "/sessions", "/.well-known/jwks.json", "/login", "/refresh", "/logout",
            "/register", "/password", "/problems/csrf"]
        {
            of(&world.internal, path).await.assert_problem(404, "not-found");
        }
        for path in ["/health/live", "/health/ready"] {
            assert_eq!(of(&world.internal, path).await.status, 200, "{path}");
        }
    }
}

on_each_empty_database! {
    async fn metrics_are_prometheus_text_without_secrets(database) {
        let mut auth = Service::auth(&database.url, &[("AUTH__FEED__SECRET", SECRET)]);
        auth.start().await;
        let mut resource = Service::resource(&auth, &[("RESOURCE__FEED__SECRET", SECRET)]);
        resource.start().await;
        let first = auth.newcomer("a-name-of-somebody").await;
        let tokens = Tokens::of(&auth.refresh(&first.refresh).await);
        assert_eq!(auth.get_as(&tokens.access, "/me").await.status, 200);
        for service in [&auth, &resource] {
            assert_eq!(service.get_as("not-a-token", "/me").await.status / 100, 4);
        }
        assert_eq!(resource.whoami(&tokens.access).await.status, 200);
        assert_eq!(resource.whoami("not-a-token").await.status, 401);
        auth.logout(&tokens.refresh).await;

        let handle = tokens.refresh.split('.').nth(1).unwrap();
        let secrets = [&tokens.access, &tokens.refresh, handle, PASSWORD, SECRET,
            "a-name-of-somebody", &tokens.session, "not-a-token"];
        let common = ["latchkey_http_requests_total", "latchkey_http_request_seconds",
            "latchkey_tokens_rejected_total", "latchkey_revocation_age_seconds",
            "latchkey_revocations"];
        for (service, own) in [
            (&auth, ["latchkey_refreshes_total", "latchkey_feed_resets_total"]),
            (&resource, ["latchkey_feed_resets_total", "latchkey_key_set_fetches_total"]),
        ] {
            let url = format!("{}/metrics", service.internal);
            let answer = Answer::to(service.http.get(&url)).await;
            assert_eq!(answer.status, 200, "{}", answer.text);
            answer.assert_hardened();
            assert_eq!(answer.header("content-type"), Some("text/plain; version=0.0.4"));
            for line in answer.text.lines().filter(|line| !line.is_empty()) {
                let sample = ["# HELP ", "# TYPE "].iter().find_map(|it| line.strip_prefix(it));
                let sample = sample.unwrap_or(line);
                assert!(["latchkey_", "process_"].iter().any(|it| sample.starts_with(it)), "{line}");
                let value = line.rsplit(' ').next().unwrap_or_default();
                assert!(line.starts_with('#') || value.parse::<f64>().is_ok(), "{line}");
            }
            for metric in common.iter().chain(&own) {
                assert!(answer.text.contains(&format!("# TYPE {metric} ")), "{metric}");
            }
            for secret in secrets {
                assert!(!answer.text.contains(secret), "{secret}");
            }
            let head = Answer::to(service.http.head(&url)).await;
            assert_eq!((head.status, head.text.as_str()), (200, ""));
        }
    }

    /// F-D1: before there is a new kind, nobody must be left who does not know that there are others.
    async fn followers_that_name_no_kinds_are_counted(database) {
        let mut auth = Service::auth(&database.url, &[]);
        auth.start().await;
        let asked = async |named: &str| {
            let metrics = auth.metrics().await;
            let name = format!("latchkey_feed_requests_total{{kinds=\"{named}\"}} ");
            metrics.lines().find_map(|line| line.strip_prefix(&name)?.parse::<u64>().ok())
        };
        let mut resource = Service::resource(&auth, &[]);
        resource.start().await;
        assert!(asked("named").await > Some(0), "a follower of this version");
        assert_eq!(asked("not named").await, None);
        for _ in 0..2 {
            let feed = auth.http.get(format!("{}/internal/revocations", auth.internal));
            assert_eq!(Answer::to(feed).await.status, 200);
        }
        assert_eq!(asked("not named").await, Some(2));
    }

    /// Who asks at once after "ready" finds everything at work.
    async fn what_is_ready_judges_tokens_and_serves_the_feed(database) {
        let mut auth = Service::auth(&database.url, &[]);
        auth.start().await;
        let tokens = auth.newcomer("ada").await;
        for _ in 0..3 {
            auth.kill();
            auth.start().await;
            let feed = auth.http.get(format!("{}/internal/revocations", auth.internal));
            assert_eq!(Answer::to(feed).await.status, 200);
            assert_eq!(auth.get_as(&tokens.access, "/me").await.status, 200);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_feed_is_for_those_who_know_its_secret() {
    for kind in [Kind::Postgres, Kind::Sqlite] {
        let settings = [("AUTH__FEED__SECRET", SECRET), ("RESOURCE__FEED__SECRET", SECRET)];
        let world = World::start_with(kind, &settings).await;
        let tokens = world.newcomer("ada").await;
        let asking = |credential: Option<String>| {
            let request = world.http.get(format!("{}/internal/revocations", world.internal));
            Answer::to(match credential {
                Some(value) => request.header("authorization", value),
                None => request,
            })
        };
        for bad in [
            "",
            "Bearer",
            "Bearer ",
            "Bearer wrong",
            SECRET,
            &format!("Basic {SECRET}"),
            &format!("Bearer {SECRET}x"),
            &format!("Bearer {}", &SECRET[1..]),
            &format!("Bearer {}", tokens.access),
        ] {
            let answer = asking(Some(bad.to_owned())).await;
            answer.assert_problem(401, "invalid-token");
            assert!(!answer.text.contains(SECRET));
        }
        asking(None).await.assert_problem(401, "invalid-token");
        let in_query = format!("{}/internal/revocations?secret={SECRET}", world.internal);
        assert_eq!(Answer::to(world.http.get(in_query)).await.status, 401);
        for scheme in ["Bearer ", "bearer ", "BEARER ", "Bearer  ", "bearer   "] {
            let good = asking(Some(format!("{scheme}{SECRET}"))).await;
            assert_eq!((good.status, &good.json()["entries"]), (200, &json!([])), "{scheme}");
        }
        let twice = world.http.get(format!("{}/internal/revocations", world.internal));
        let twice = twice.bearer_auth(SECRET).bearer_auth(SECRET);
        Answer::to(twice).await.assert_problem(401, "invalid-token");

        assert_eq!(world.whoami(&tokens.access).await.status, 200, "the follower knows it");
        world.logout(&tokens.refresh, "current").await;
        world.until_refused(&tokens.access).await;
        let metrics = Answer::to(world.http.get(format!("{}/metrics", world.internal))).await;
        assert!(!metrics.text.contains(SECRET));
    }
}

/// As a program in another language computes it.
fn hmac(key: &[u8], message: &[u8]) -> Vec<u8> {
    let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, key);
    aws_lc_rs::hmac::sign(&key, message).as_ref().to_vec()
}

fn hex(bytes: &[u8]) -> String {
    bytes
        .iter()
        .flat_map(|byte| [byte >> 4, byte & 15])
        .map(|it| char::from(b"0123456789abcdef"[usize::from(it)]))
        .collect()
}

fn code(nonce: &str, cursor: &str, answer: &Answer) -> String {
    let sum = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, answer.text.as_bytes());
    let fields = [b"latchkey-feed-1", nonce.as_bytes(), cursor.as_bytes(), sum.as_ref()];
    let mut message = Vec::new();
    for field in fields {
        message.extend_from_slice(&u32::try_from(field.len()).unwrap().to_be_bytes());
        message.extend_from_slice(field);
    }
    hex(&hmac(&hmac(SECRET.as_bytes(), b"latchkey feed mac 1"), &message))
}

/// F-B6
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_for_followers_are_proven() {
    for kind in [Kind::Postgres, Kind::Sqlite] {
        let settings = [("AUTH__FEED__SECRET", SECRET), ("RESOURCE__FEED__SECRET", SECRET)];
        let world = World::start_with(kind, &settings).await;
        let tokens = world.newcomer("ada").await;
        let bearer = hex(&hmac(SECRET.as_bytes(), b"latchkey feed bearer 1"));
        let ask = async |query: &str| {
            let request = world.http.get(format!("{}/internal{query}", world.internal));
            let request = request.header("accept-encoding", "gzip, br, deflate");
            Answer::to(request.bearer_auth(&bearer)).await
        };
        let (nonce, other) = ("0123456789abcdef0123456789abcdef", "AAAAAAAAAAAAAAAAAAAAA-");
        let start = ask(&format!("/revocations?nonce={nonce}")).await;
        assert!(start.text.starts_with(r#"{"entries":["#), "{}", start.text);
        assert_eq!(start.header("x-latchkey-mac"), Some(code(nonce, "", &start).as_str()));
        world.logout(&tokens.refresh, "current").await;
        let at = cursor(&start.json());
        let news = ask(&format!("/revocations?cursor={at}&nonce={other}&wait=5000")).await;
        assert_eq!(entries(&news.json()), [session(&tokens)]);
        assert_eq!(news.header("x-latchkey-mac"), Some(code(other, &at, &news).as_str()));
        let odd = ask(&format!("/revocations?cursor=%C3%A4%20%26&nonce={other}")).await;
        assert_eq!(odd.header("x-latchkey-mac"), Some(code(other, "\u{e4} &", &odd).as_str()));

        let keys = ask(&format!("/keys?nonce={nonce}")).await;
        assert_eq!(
            (keys.status, keys.header("x-latchkey-mac")),
            (200, Some(code(nonce, "", &keys).as_str()))
        );
        keys.assert_hardened();
        assert_eq!(keys.header("content-type"), Some("application/jwk-set+json"));
        assert_eq!(keys.header("cache-control"), Some("no-store"));
        let public =
            Answer::to(world.http.get(format!("{}/.well-known/jwks.json", world.auth))).await;
        assert_eq!(keys.json(), public.json(), "the same keys");

        for path in ["/revocations", "/keys"] {
            assert_eq!(ask(path).await.header("x-latchkey-mac"), None, "it depends on a nonce");
            for bad in
                ["", "x", "AAAAAAAAAAAAAAAAAAAAA", "AAAAAAAAAAAAAAAAAAAAAAAAA%00", &"A".repeat(65)]
            {
                ask(&format!("{path}?nonce={bad}")).await.assert_problem(400, "invalid-request");
            }
            let nobody = world.http.get(format!("{}/internal{path}?nonce={nonce}", world.internal));
            let refused = Answer::to(nobody).await;
            refused.assert_problem(401, "invalid-token");
            assert_eq!(refused.header("x-latchkey-mac"), None);
        }
    }
}

/// F-B6: followers of the first version are let in until nobody needs it any more.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_secret_itself_is_a_bearer_until_it_is_not() {
    for (accepted, status) in [("true", 200), ("false", 401)] {
        let database = testbed::Database::create(Kind::Sqlite).await;
        let settings =
            [("AUTH__FEED__SECRET", SECRET), ("AUTH__FEED__ACCEPT_PLAIN_SECRET", accepted)];
        let mut auth = Service::auth(&database.url, &settings);
        auth.start().await;
        for path in ["revocations", "keys"] {
            let plain = auth.http.get(format!("{}/internal/{path}", auth.internal));
            assert_eq!(Answer::to(plain.bearer_auth(SECRET)).await.status, status, "{path}");
        }
        let metrics = auth.metrics().await;
        let counted = metrics.contains("latchkey_feed_plain_secret_total 2\n");
        assert_eq!(counted, accepted == "true", "{metrics}");

        // A follower of this version does not send it, and has its keys from where they are proven.
        let keys = format!("{}/internal/keys", auth.internal);
        let settings = [("RESOURCE__FEED__SECRET", SECRET), ("RESOURCE__KEYS__JWKS_URL", &keys)];
        let mut resource = Service::resource(&auth, &settings);
        resource.start().await;
        let tokens = auth.newcomer("ada").await;
        assert_eq!(resource.whoami(&tokens.access).await.status, 200);
        auth.logout(&tokens.refresh).await;
        until("it is seen", async || resource.whoami(&tokens.access).await.status == 401).await;
    }
}

/// A service that does not know the secret is never ready, rather than never told.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_does_not_know_the_secret_accepts_no_token() {
    let database = testbed::Database::create(Kind::Sqlite).await;
    let mut auth = Service::auth(&database.url, &[("AUTH__FEED__SECRET", SECRET)]);
    auth.start().await;
    let tokens = auth.newcomer("ada").await;
    let mut resource = Service::resource(&auth, &[("RESOURCE__FEED__SECRET", "another one")]);
    resource.spawn();
    let live = format!("{}/health/live", resource.public);
    testbed::process::ready(&resource.http, &live).await;
    until("the keys are there", async || {
        resource.whoami(&tokens.access).await.json()["code"] == "revocation-stale"
    })
    .await;
    assert_eq!(resource.get("/health/ready").await.status, 503);
    resource.whoami("nonsense").await.assert_problem(401, "invalid-token");
}
