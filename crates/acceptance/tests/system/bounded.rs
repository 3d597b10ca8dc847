//! No verifier accepts a revoked token later than the bound, whatever is cut off, stopped or new.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use testbed::link::Mode;
use testbed::on_each_empty_database;
use testbed::service::until;
use testbed::{Link, Service, Tokens};
use uuid::Uuid;

const BOUND: Duration = Duration::from_secs(5);

/// A resource-service and the links that it follows by.
async fn behind_links(auth: &Service) -> (Service, Link, Link) {
    let feed = Link::start(auth.internal.trim_start_matches("http://")).await;
    let keys = Link::start(auth.public.trim_start_matches("http://")).await;
    let resource = Service::resource(
        auth,
        &[
            ("RESOURCE__REVOCATION__MAX_STALENESS_SECONDS", &BOUND.as_secs().to_string()),
            ("RESOURCE__FEED__URLS", &format!("http://{}/internal/revocations", feed.address())),
            (
                "RESOURCE__KEYS__JWKS_URL",
                &format!("http://{}/.well-known/jwks.json", keys.address()),
            ),
        ],
    );
    (resource, feed, keys)
}

/// Asks until the service accepts no more, which it must not do for what is asked after the bound.
async fn accepts_until(resource: &Service, tokens: &Tokens, cut: Instant, bound: Duration) {
    until("it no longer accepts", async || {
        let asked = cut.elapsed();
        let status = resource.whoami(&tokens.access).await.status;
        assert!(status == 503 || (status == 200 && asked <= bound), "{status} after {asked:?}");
        status == 503
    })
    .await;
}

on_each_empty_database! {
    /// Counted from the cut; also when nothing is refused but everything held back.
    async fn cut_off_a_service_accepts_until_the_bound_and_again_once_that_is_over(database) {
        let mut auth = Service::auth(&database.url, &[]);
        auth.start().await;
        let (mut resource, feed, keys) = behind_links(&auth).await;
        resource.start().await;
        let tokens = auth.newcomer("ada").await;
        for mode in [Mode::Cut, Mode::Hold, Mode::Mute] {
            // Just healed, it may accept by an answer that was held back, and is not that fresh.
            until("it is fresh", async || {
                let age = resource.get("/health/ready").await.json()["revocation_age_ms"].as_u64();
                age.is_some_and(|age| age < 300)
            })
            .await;
            assert_eq!(resource.whoami(&tokens.access).await.status, 200);
            feed.set(mode);
            keys.set(mode);
            let cut = Instant::now();
            let ended = auth.login("ada").await;
            auth.logout(&ended.refresh).await;
            accepts_until(&resource, &tokens, cut, BOUND).await;
            let age = resource.get("/health/ready").await.json()["revocation_age_ms"].as_u64();
            assert!(u128::from(age.expect("ms")) > BOUND.as_millis(), "{mode:?}: early, {age:?}");
            resource.whoami(&ended.access).await.assert_problem(503, "revocation-stale");
            feed.set(Mode::Pass);
            keys.set(Mode::Pass);
            let healed = Instant::now();
            until("it accepts again", async || resource.whoami(&tokens.access).await.status == 200)
                .await;
            assert!(healed.elapsed() < Duration::from_secs(10), "{mode:?}: {:?}", healed.elapsed());
            resource.whoami(&ended.access).await.assert_problem(401, "invalid-token");
        }
    }

    /// As a laptop that slept, a container that was frozen.
    async fn a_service_that_was_stopped_does_not_trust_what_it_knew(database) {
        let mut auth = Service::auth(&database.url, &[]);
        auth.start().await;
        let settings = [("RESOURCE__REVOCATION__MAX_STALENESS_SECONDS", "2")];
        let mut resource = Service::resource(&auth, &settings);
        resource.start().await;
        let tokens = auth.newcomer("ada").await;
        for _ in 0..3 {
            let login = auth.login("ada").await;
            assert_eq!(resource.whoami(&login.access).await.status, 200);
            resource.pause();
            auth.logout(&login.refresh).await;
            tokio::time::sleep(Duration::from_millis(2_100)).await;
            // Asked while it is stopped, so that this is the first that it does.
            let asked: Vec<_> = (0..8).map(|_| resource.whoami(&login.access)).collect();
            let (answers, ()) = tokio::join!(join_all(asked), async {
                tokio::time::sleep(Duration::from_millis(50)).await;
                resource.resume();
            });
            for answer in answers {
                assert!(matches!(answer.status, 401 | 503), "{} {}", answer.status, answer.text);
            }
            until("it is well again", async || {
                resource.whoami(&tokens.access).await.status == 200
            })
            .await;
            resource.whoami(&login.access).await.assert_problem(401, "invalid-token");
        }
    }

    /// Promise "clocks": a wall clock that is wrong moves the end of tokens, and nothing else.
    async fn a_service_with_a_wrong_clock_sees_logouts_and_keeps_the_bound(database) {
        let mut auth = Service::auth(&database.url, &[]);
        auth.start().await;
        let tokens = auth.newcomer("ada").await;
        let link = Link::start(auth.internal.trim_start_matches("http://")).await;
        let feed = format!("http://{}/internal/revocations", link.address());
        for offset in ["-86400", "-31", "25"] {
            let mut resource = Service::resource(&auth, &[
                ("RESOURCE__CLOCK__OFFSET_SECONDS", offset),
                ("RESOURCE__REVOCATION__MAX_STALENESS_SECONDS", "2"),
                ("RESOURCE__FEED__URLS", &feed),
            ]);
            resource.start().await;
            let ended = auth.login("ada").await;
            for tokens in [&tokens, &ended] {
                assert_eq!(resource.whoami(&tokens.access).await.status, 200, "{offset}");
            }
            auth.logout(&ended.refresh).await;
            let out = Instant::now();
            until("it is seen", async || resource.whoami(&ended.access).await.status == 401).await;
            assert!(out.elapsed() < Duration::from_secs(2), "{offset}: {:?}", out.elapsed());
            link.set(Mode::Hold);
            let cut = Instant::now();
            accepts_until(&resource, &tokens, cut, Duration::from_secs(2)).await;
            link.set(Mode::Pass);
        }
        let mut ahead = Service::resource(&auth, &[("RESOURCE__CLOCK__OFFSET_SECONDS", "700")]);
        ahead.start().await;
        assert_eq!(ahead.whoami(&tokens.access).await.status, 401, "it ended there already");
    }

    /// It is not ready, and refuses, until it knows everything that was revoked before.
    async fn a_service_that_starts_in_a_storm_of_logouts_accepts_nothing_revoked_before(database) {
        let mut auth = Service::auth(&database.url, &[]);
        auth.start().await;
        let users: Vec<_> = (0..4).map(|number| format!("user-{number}")).collect();
        join_all(users.iter().map(|name| auth.register(name))).await;
        let bystander = auth.newcomer("bystander").await;
        let over = AtomicBool::new(false);
        let ended: Mutex<Vec<(Instant, String)>> = Mutex::default();
        let storm = join_all(users.iter().map(async |name| {
            while !over.load(Ordering::Relaxed) {
                let tokens: Tokens = auth.login(name).await;
                auth.logout(&tokens.refresh).await;
                ended.lock().unwrap().push((Instant::now(), tokens.access));
            }
        }));
        let starts = async {
            let mut refused = 0;
            for _ in 0..6 {
                refused += start_and_ask(&auth, &bystander, &ended).await;
            }
            over.store(true, Ordering::Relaxed);
            refused
        };
        let (_, refused) = tokio::join!(storm, starts);
        assert!(refused > 300, "{refused} answers are too few to mean anything");
    }
}

/// Starts a service, and asks it from its first breath until a while after it is ready; how often a
/// revoked token was refused.
async fn start_and_ask(
    auth: &Service,
    bystander: &Tokens,
    ended: &Mutex<Vec<(Instant, String)>>,
) -> usize {
    until("some have logged out", async || ended.lock().unwrap().len() > 20).await;
    let mut resource =
        Service::resource(auth, &[("RESOURCE__REVOCATION__MAX_STALENESS_SECONDS", "2")]);
    let begun = Instant::now();
    resource.spawn();
    let status = async |access: &str| {
        let request = resource.http.get(format!("{}/whoami", resource.public));
        Some(request.bearer_auth(access).send().await.ok()?.status().as_u16())
    };
    let (mut refused, mut ready_at) = (0, None::<Instant>);
    // Where little is asked within that time, until there is enough for it to mean something.
    while refused <= 50 || ready_at.is_none_or(|at| at.elapsed() < Duration::from_millis(400)) {
        let asked = Instant::now();
        assert!(asked - begun < Duration::from_secs(40), "it does not get ready");
        let tokens = some(&ended.lock().unwrap(), asked);
        let answers = join_all(tokens.iter().map(|(_, access)| status(access))).await;
        for ((revoked, _), answer) in tokens.iter().zip(answers) {
            match answer {
                None => {}
                Some(401 | 503) => refused += 1,
                // Revoked while it started: seen in time, as by any other service.
                Some(200) => assert!(
                    *revoked > begun && asked - *revoked < Duration::from_secs(2),
                    "accepted {:?} after its revocation",
                    asked - *revoked
                ),
                Some(status) => panic!("{status}"),
            }
        }
        if ready_at.is_none() {
            ready_at = (status(&bystander.access).await == Some(200)).then(Instant::now);
        }
    }
    refused
}

/// Some of the tokens that were revoked before a moment: any, and the latest.
fn some(ended: &[(Instant, String)], before: Instant) -> Vec<(Instant, String)> {
    let known = ended.partition_point(|(at, _)| *at < before);
    let random = Uuid::new_v4().into_bytes();
    let any = random[..4].iter().map(|byte| usize::from(*byte) * known / 256);
    any.chain(known.saturating_sub(4)..known).map(|index| ended[index].clone()).collect()
}
