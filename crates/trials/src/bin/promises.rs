//! Measures the promises (docs/promises.md) that are figures: how soon a logout is seen, with Redis in
//! good and in bad states, and how a service behaves that is cut off.
//!
//! `cargo xtask promises` runs it on a private Postgres, with the programs of a release build.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Parser;
use testbed::link::Mode;
use testbed::service::until;
use testbed::{Database, Kind, Link, PASSWORD, Redis, Service};
use trials::drill::{Drill, Failure, Times};

/// Measures promises on an installation of its own: two auth-services, three resource-services.
#[derive(Parser)]
struct Arguments {
    /// Logouts in each state of Redis.
    #[arg(long, default_value_t = 500)]
    rounds: usize,
    /// The bound of a resource-service's knowledge, in seconds.
    #[arg(long, default_value_t = 30)]
    max_staleness: u64,
}

/// What is measured. The first resource-service follows the replica that logs out, the second the
/// other, and the third the other by a link that can be cut.
struct Site {
    redis: Redis,
    auth: [Service; 2],
    resources: [Service; 3],
    cut: Link,
    _database: Database,
}

#[tokio::main]
async fn main() -> ExitCode {
    match run(&Arguments::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("promises: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(arguments: &Arguments) -> Result<(), Failure> {
    let mut site = Site::start(arguments.max_staleness).await;
    site.auth[0].register("canary").await;
    println!(
        "from logout's 204 to the first refusal, ms, {} rounds{:>13}{}",
        arguments.rounds,
        "",
        Times::heads()
    );
    site.drill("Redis well", arguments.rounds).await?;
    let flushing = tokio::spawn(flush(site.redis.connect().await));
    site.drill("Redis flushed 20 times a second", arguments.rounds).await?;
    flushing.abort();
    site.redis.pause();
    site.drill("Redis paused", arguments.rounds).await?;
    site.redis.resume();
    site.redis.kill();
    site.drill("Redis killed", arguments.rounds).await?;
    site.redis.restart().await;
    site.redis_works().await;
    site.drill("Redis back", arguments.rounds).await?;
    site.cut_off(Duration::from_secs(arguments.max_staleness)).await;
    Ok(())
}

async fn flush(mut redis: redis::aio::MultiplexedConnection) {
    loop {
        let _ = redis::cmd("FLUSHALL").exec_async(&mut redis).await;
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

impl Site {
    async fn start(max_staleness: u64) -> Self {
        let (database, redis) = (Database::create(Kind::Postgres).await, Redis::start(&[]).await);
        let settings = [("AUTH__REDIS__URL", redis.url())];
        let settings = settings.each_ref().map(|(name, value)| (*name, value.as_str()));
        let mut auth = [(); 2].map(|()| Service::auth(&database.url, &settings));
        for auth in &mut auth {
            auth.start().await;
        }
        let cut = Link::start(auth[1].internal.trim_start_matches("http://")).await;
        let feed = format!("http://{}/internal/revocations", cut.address());
        let bound = max_staleness.to_string();
        let bound = ("RESOURCE__REVOCATION__MAX_STALENESS_SECONDS", bound.as_str());
        let mut resources = [
            Service::resource(&auth[0], &[bound]),
            Service::resource(&auth[1], &[bound]),
            Service::resource(&auth[1], &[bound, ("RESOURCE__FEED__URLS", &feed)]),
        ];
        for resource in &mut resources {
            resource.start().await;
        }
        let site = Self { redis, auth, resources, cut, _database: database };
        site.redis_works().await;
        site
    }

    async fn redis_works(&self) {
        for auth in &self.auth {
            for task in ["announcing", "listening"] {
                let line = format!("latchkey_redis_up{{task=\"{task}\"}} 1");
                until(&line, async || auth.metrics().await.contains(&line)).await;
            }
        }
    }

    async fn drill(&self, state: &str, rounds: usize) -> Result<(), Failure> {
        let drill = Drill {
            auth: self.auth[0].public.clone(),
            resources: self.resources[..2].iter().map(|it| it.public.clone()).collect(),
            username: "canary".to_owned(),
            password: PASSWORD.to_owned(),
            patience: Duration::from_mins(1),
        };
        let seen = drill.run(rounds).await?;
        for (which, times) in ["at this replica", "at the other"].iter().zip(seen) {
            println!("{:<60}{times}", format!("{state}, {which}"));
        }
        Ok(())
    }

    /// From the cut to the last acceptance and to the first 503, and from the healing to the first
    /// acceptance.
    async fn cut_off(&self, bound: Duration) {
        let tokens = self.auth[0].login("canary").await;
        let resource = &self.resources[2];
        println!("cut off, bound {bound:?}:");
        // As fresh as it gets where nothing happens: it asks once in a thirtieth of the bound, and
        // counts from the asking.
        let fresh = bound / 30 + Duration::from_millis(400);
        for mode in [Mode::Cut, Mode::Mute] {
            until("it is fresh", async || {
                let age = resource.get("/health/ready").await.json()["revocation_age_ms"].as_u64();
                age.is_some_and(|age| Duration::from_millis(age) < fresh)
            })
            .await;
            self.cut.set(mode);
            let (cut, mut accepted) = (Instant::now(), Duration::ZERO);
            let refused = loop {
                match resource.whoami(&tokens.access).await.status {
                    200 => accepted = cut.elapsed(),
                    _ => break cut.elapsed(),
                }
                tokio::time::sleep(Duration::from_millis(1)).await;
            };
            self.cut.set(Mode::Pass);
            let healed = Instant::now();
            until("it accepts", async || resource.whoami(&tokens.access).await.status == 200).await;
            let back = healed.elapsed();
            println!(
                "{mode:?}: accepted until {accepted:.1?}, refused from {refused:.1?}, again {back:.2?} after healing"
            );
        }
    }
}
