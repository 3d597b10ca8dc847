//! Limits over several auth-services: counted together in Redis, and by each while it is away.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use auth_service::config::{self, Tls};
use auth_service::identity::pseudonyms::Pseudonyms;
use auth_service::limits::{Bucket, Charge, Key, Local, Outcome, Rule, Shared, Verdict};
use auth_service::redis::client::RedisServer;
use futures_util::future::join_all;
use redis::AsyncTypedCommands as _;
use serde_json::json;
use testbed::service::until;
use testbed::{Answer, Database, Kind, PASSWORD, Redis, Service, Tokens};
use verifier::Clock;

const WRONG: &str = "not the right sentence";

struct Site {
    redis: Redis,
    replicas: [Service; 2],
    _database: Database,
}

impl Site {
    async fn start() -> Self {
        let (redis, database) = (Redis::start(&[]).await, Database::create(Kind::Postgres).await);
        let url = redis.url();
        let settings = [("AUTH__REDIS__URL", url.as_str()), ("AUTH__LIMITS__LOGIN_FREE", "5")];
        let mut replicas = [(); 2].map(|()| Service::auth(&database.url, &settings));
        for replica in &mut replicas {
            replica.start().await;
        }
        let site = Self { redis, replicas, _database: database };
        site.counts_in_redis(true).await;
        site
    }

    async fn counts_in_redis(&self, wanted: bool) {
        let line = format!("latchkey_redis_up{{task=\"limits\"}} {}", u8::from(wanted));
        for replica in &self.replicas {
            until(&line, async || {
                // Asking is what makes it notice.
                self.attempt(replica, "whoever", WRONG).await;
                replica.metrics().await.contains(&line)
            })
            .await;
        }
    }

    async fn attempt(&self, replica: &Service, name: &str, password: &str) -> Answer {
        let body = json!({"username": name, "password": password});
        Answer::to(replica.http.post(format!("{}/login", replica.public)).json(&body)).await
    }

    /// How many wrong passwords are answered before the first refusal, over both in turn.
    async fn admitted(&self, name: &str) -> usize {
        for count in 0..20 {
            let answer = self.attempt(&self.replicas[count % 2], name, WRONG).await;
            if answer.status == 429 {
                return count;
            }
            assert_eq!(answer.status, 401, "{}", answer.text);
        }
        panic!("{name} is not limited");
    }

    /// Both replicas count together: alone each would admit five. One more if a second went by; and
    /// where Redis took longer than is waited for, an answer that means nothing, so another name.
    async fn admits_five(&self, name: &str) {
        let mut admitted = Vec::new();
        while !matches!(admitted.last(), Some(5..=6)) {
            assert!(admitted.len() < 5, "{admitted:?}");
            admitted.push(self.admitted(&format!("{name}{}", "-".repeat(admitted.len()))).await);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replicas_count_together_and_redis_learns_no_names() {
    let site = Site::start().await;
    site.replicas[0].register("ada-lovelace").await;
    site.admits_five("ada-lovelace").await;
    let mut asking = site.redis.connect().await;
    let keys = asking.keys("limit:*").await.unwrap();
    assert!(keys.iter().any(|key| key.starts_with("limit:login:")), "{keys:?}");
    for key in &keys {
        let value = asking.get(key).await.unwrap().unwrap_or_default();
        let told = format!("{key} {value}").to_lowercase();
        assert!(!told.contains("ada") && !told.contains("127.0.0.1"), "{told}");
        assert!(asking.ttl(key).await.unwrap().raw() > 0, "{key} ends");
    }
    // The right password at one makes both forget.
    tokio::time::sleep(Duration::from_secs(2)).await;
    Tokens::of(&site.attempt(&site.replicas[0], "ada-lovelace", PASSWORD).await);
    site.admits_five("ada-lovelace").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_redis_there_are_limits_and_logins_are_as_quick() {
    let mut site = Site::start().await;
    site.replicas[0].register("ada").await;
    let quick = async |site: &Site, what: &str| {
        let mut took = Vec::new();
        for at in 0..20 {
            let begun = Instant::now();
            Tokens::of(&site.attempt(&site.replicas[at % 2], "ada", PASSWORD).await);
            took.push(begun.elapsed());
        }
        // Most may have met a busy machine; a service that waits for Redis delays them all.
        took.sort();
        assert!(took[2] < Duration::from_millis(600), "{what}: {took:?}");
    };
    quick(&site, "with").await;

    site.redis.pause();
    quick(&site, "paused").await;
    let admitted = site.admitted("paused").await;
    assert!((5..=12).contains(&admitted), "each by itself: {admitted}");
    site.redis.resume();
    site.counts_in_redis(true).await;
    site.admits_five("together").await;

    site.redis.kill();
    quick(&site, "killed").await;
    let admitted = site.admitted("killed").await;
    assert!((5..=12).contains(&admitted), "each by itself: {admitted}");
    site.redis.restart().await;
    site.counts_in_redis(true).await;

    let mut asking = site.redis.connect().await;
    site.admits_five("flushed").await;
    redis::cmd("FLUSHALL").exec_async(&mut asking).await.unwrap();
    // Forgotten, and counted anew.
    site.admits_five("flushed").await;
    // Full: nothing can be counted there.
    let mut full = redis::cmd("CONFIG");
    full.arg("SET").arg("maxmemory").arg("1").exec_async(&mut asking).await.unwrap();
    quick(&site, "full").await;
    assert!((5..=12).contains(&site.admitted("full").await));
}

fn server(redis: &Redis) -> RedisServer {
    let settings =
        config::Redis { url: redis.url().into(), tls: Tls::Unsaid, root_cert: PathBuf::new() };
    RedisServer::open(&settings).expect("the URL is right").expect("there is one")
}

/// The rules are written twice, in Rust and in Lua: the same attempts at the same times must get the
/// same answers, to the millisecond.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redis_and_the_process_judge_alike() {
    const STEPS: usize = 4_000;
    let (redis, clock, pseudonyms) =
        (Redis::start(&[]).await, Clock::default(), Pseudonyms::new(&[7; 32]));
    let server = server(&redis);
    // What is compared is arithmetic, on however busy a machine.
    let shared = Shared::new(server, clock.clone(), Duration::from_secs(30));
    let local = Local::new(1000);
    until("Redis is connected", async || shared.take(&[]).await.is_some()).await;
    let seed = fastrand::u64(..);
    println!("seed {seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    let rules = [
        Rule::Rate { burst: 5, interval_ms: 3_000 },
        Rule::Rate { burst: 1, interval_ms: 700 },
        Rule::Growing { free: 3, first_ms: 1_000, most_ms: 20_000, forget_ms: 60_000 },
        Rule::Growing { free: 1, first_ms: 300, most_ms: 900_000, forget_ms: 3_600_000 },
    ];
    let policies = ["one", "two", "three", "four"];
    let (mut refused, mut undecided, mut skipped) = (0, 0, 0);
    let mut in_flight: Vec<Vec<Charge>> = Vec::new();
    for step in 0..STEPS {
        if random.u8(..3) == 0 {
            let most = if random.bool() { 4 } else { 100 };
            clock.advance(random.i64(0..most));
        }
        let mut buckets = Vec::new();
        for (rule, policy) in rules.iter().zip(policies) {
            if random.bool() {
                let whose = pseudonyms.of("test", &[&[random.u8(..2)]]);
                buckets.push(Bucket {
                    key: Key { policy, whose },
                    rule: *rule,
                    only_after_empty: !buckets.is_empty() && random.bool(),
                    success_clears: random.u8(..4) == 0,
                });
            }
        }
        let (verdict, now) = shared.take(&buckets).await.expect("Redis answers");
        assert_eq!(local.take(&buckets, now), verdict, "step {step} of seed {seed}");
        match verdict {
            Verdict::Refused { in_flight, .. } => {
                refused += 1;
                undecided += usize::from(in_flight);
            }
            Verdict::Admitted(charges) => {
                skipped += buckets.len() - charges.len();
                in_flight.push(charges);
            }
        }
        // In any order, and some never: their replica has died.
        if random.bool() && !in_flight.is_empty() {
            let charges = in_flight.swap_remove(random.usize(..in_flight.len()));
            let outcomes = [Outcome::Failed, Outcome::Succeeded, Outcome::Void];
            let outcome = outcomes[random.usize(..3)];
            let now = shared.settle(&charges, outcome).await.expect("Redis answers");
            local.settle(&charges, outcome, now);
        }
    }
    assert!(refused > STEPS / 10 && refused < STEPS && skipped > 50, "{refused} {skipped}");
    assert!(undecided > 50 && undecided < refused, "{undecided} of {refused}");
    println!("{STEPS} attempts, {refused} refused");
}

/// A replica that dies with attempts in flight keeps what they were charged, and makes nobody wait for
/// what becomes of them for longer than a minute.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn attempts_of_a_replica_that_died_are_in_flight_for_a_minute_at_the_most() {
    let (redis, clock) = (Redis::start(&[]).await, Clock::default());
    let server = server(&redis);
    let shared = Shared::new(server, clock.clone(), Duration::from_secs(30));
    until("Redis is connected", async || shared.take(&[]).await.is_some()).await;
    let whose = Pseudonyms::new(&[7; 32]).of("test", &[]);
    let rule = Rule::Growing { free: 2, first_ms: 900_000, most_ms: 900_000, forget_ms: 3_600_000 };
    let key = Key { policy: "one", whose };
    let bucket = Bucket { key, rule, only_after_empty: false, success_clears: false };
    let mut charges = Vec::new();
    for _ in 0..2 {
        let (verdict, _) = shared.take(&[bucket]).await.expect("Redis answers");
        let Verdict::Admitted(of_one) = verdict else { panic!("{verdict:?}") };
        charges.push(of_one);
    }
    let undecided = async || match shared.take(&[bucket]).await.expect("Redis answers").0 {
        Verdict::Refused { in_flight, .. } => in_flight,
        Verdict::Admitted(_) => panic!("nothing was given back"),
    };
    assert!(undecided().await);
    // One of them has failed, the other is never heard of again.
    shared.settle(&charges[0], Outcome::Failed).await.expect("Redis answers");
    assert!(undecided().await);
    clock.advance(61);
    assert!(!undecided().await);
}

/// How many waits, of which each takes twice as long as the one before, have passed: so many more may
/// have been checked on a busy machine.
fn waits_since(begun: Instant) -> usize {
    let seconds = begun.elapsed().as_secs() + 1;
    (seconds + 1).ilog2() as usize
}

/// Two replicas, each of which knows only of what is in flight there.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crowd_at_two_replicas_gets_in_and_guesses_do_not() {
    let site = Site::start().await;
    site.replicas[0].register("ada").await;
    let crowd = async |name: &str, password: &str, count: usize| {
        let all = (0..count).map(|at| site.attempt(&site.replicas[at % 2], name, password));
        join_all(all).await
    };
    for _ in 0..3 {
        for answer in crowd("ada", PASSWORD, 20).await {
            Tokens::of(&answer);
        }
    }
    let begun = Instant::now();
    let guesses = crowd("nobody", WRONG, 200).await;
    let most = 5 + waits_since(begun);
    let checked = guesses.iter().filter(|answer| answer.status == 401).count();
    // 503 is for whoever waited in vain for what becomes of the others.
    let refused = guesses.iter().filter(|answer| matches!(answer.status, 429 | 503)).count();
    assert_eq!(checked + refused, 200);
    assert!((5..=most).contains(&checked), "{checked}");
}

/// What refused strangers make the service ask the database for.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn names_that_a_stranger_invents_cost_the_database_little() {
    let database = Database::create(Kind::Postgres).await;
    let settings = [
        ("AUTH__HTTP__TRUSTED_PROXIES", "127.0.0.1"),
        ("AUTH__LIMITS__LOGIN_FREE", "5"),
        ("AUTH__LIMITS__ACCOUNT_FREE", "2"),
        ("AUTH__LIMITS__NETWORK_BURST", "1"),
        ("AUTH__LIMITS__NETWORK_PER_MINUTE", "1"),
    ];
    let mut service = Service::auth(&database.url, &settings);
    service.start().await;
    let attempt = async |from: String, name: String| {
        let body = json!({"username": name, "password": WRONG});
        let request = service.http.post(format!("{}/login", service.public));
        Answer::to(request.header("x-forwarded-for", from).json(&body)).await.status
    };
    let looks = async || {
        let line = "latchkey_owner_looks_total{of=\"account\"} ";
        let metrics = service.metrics().await;
        metrics.lines().find_map(|told| told.strip_prefix(line)).map_or(0, |it| it.parse().unwrap())
    };
    // One network, any number of names: a budget of its own, two a second.
    assert_eq!(attempt("203.0.113.1".to_owned(), "first".to_owned()).await, 401);
    let begun = Instant::now();
    let all = (0..300).map(|at| attempt("203.0.113.1".to_owned(), format!("somebody{at}")));
    let statuses = join_all(all).await;
    let refused = statuses.iter().filter(|status| matches!(status, 429 | 503)).count();
    assert!(refused >= 290, "{refused}");
    let (asked, seconds) = (looks().await, begun.elapsed().as_secs() + 1);
    assert!((1..=20 + 2 * seconds).contains(&asked), "{asked} in {seconds} s");
    // One name, any number of networks: once in five seconds for all of them.
    for at in 0..2 {
        assert_eq!(attempt(format!("198.51.100.{at}"), "ada".to_owned()).await, 401);
    }
    let (before, begun) = (looks().await, Instant::now());
    join_all((0..200).map(|at| attempt(format!("192.0.2.{at}"), "ada".to_owned()))).await;
    let (asked, seconds) = (looks().await - before, begun.elapsed().as_secs());
    assert!((1..=2 + seconds / 5).contains(&asked), "{asked} in {seconds} s");
}
