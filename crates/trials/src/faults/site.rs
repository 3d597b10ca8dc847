//! The installation: two auth-services on one Postgres and one Redis, three resource-services that
//! follow both, and a link that can misbehave between any two of them.

use std::time::{Duration, Instant};

use tokio::sync::Mutex;

use super::history::{BOUND, WINDOW};
use super::person::Stage;
use super::probe::{asked_ready, ready_again};
use super::server::Server;
use testbed::{Database, Kind, Link, Redis, Service};

/// Everything that runs, and ends with the value.
#[derive(Debug)]
pub struct Site {
    pub auths: [Mutex<Service>; 2],
    pub resources: [Mutex<Service>; 3],
    pub redis: Mutex<Redis>,
    /// Postgres, as a process.
    pub postgres: Server,
    pub links: Links,
    /// The database in it. Last: what uses it is ended before.
    pub database: Database,
}

/// The links, by what is at their ends.
#[derive(Debug)]
pub struct Links {
    /// Each auth-service to Postgres.
    pub database: [Link; 2],
    /// Each auth-service to Redis.
    pub redis: [Link; 2],
    /// Clients to each auth-service.
    pub clients: [Link; 2],
    /// Each resource-service to the feed of each auth-service.
    pub feeds: [[Link; 2]; 3],
    /// Each resource-service to a key set.
    pub keys: [Link; 3],
}

impl Links {
    /// Every one.
    pub fn all(&self) -> impl Iterator<Item = &Link> {
        let feeds = self.feeds.iter().flatten();
        self.database.iter().chain(&self.redis).chain(&self.clients).chain(feeds).chain(&self.keys)
    }
}

impl Site {
    /// Makes one and waits until all of it is ready.
    ///
    /// # Panics
    /// When that is not possible.
    pub async fn start() -> Self {
        let database = Database::create(Kind::Postgres).await;
        let redis = Redis::start(&[]).await;
        let address = database.server();
        let to_database = [Link::start(&address).await, Link::start(&address).await];
        let to_redis = [Link::start(&redis.address).await, Link::start(&redis.address).await];
        let mut auths = [0, 1].map(|replica| {
            let url = database.url_by(&to_database[replica]);
            let redis = format!("redis://{}", to_redis[replica].address());
            let (bound, window) = (BOUND.as_secs().to_string(), WINDOW.as_secs().to_string());
            let others = [
                ("AUTH__REVOCATION__MAX_STALENESS_SECONDS", bound.as_str()),
                ("AUTH__REDIS__URL", redis.as_str()),
                ("AUTH__TOKENS__GRACE_SECONDS", window.as_str()),
                // A session that a later login ends would count as one that ended for no reason.
                ("AUTH__TOKENS__MAX_SESSIONS", "0"),
                // As it is delivered: one of the faults is a wrong clock.
                ("AUTH__HOUSEKEEPING__SETTLE_SECONDS", "3600"),
            ];
            Service::auth(&url, &others)
        });
        // One after the other: the first one makes the schema and the keys.
        for auth in &mut auths {
            auth.start().await;
        }
        let mut clients = Vec::new();
        for auth in &auths {
            clients.push(Link::start(host(&auth.public)).await);
        }
        let (mut resources, mut feeds, mut keys) = (Vec::new(), Vec::new(), Vec::new());
        for number in 0..3 {
            let own = [
                Link::start(host(&auths[0].internal)).await,
                Link::start(host(&auths[1].internal)).await,
            ];
            let key_set = Link::start(host(&auths[number % 2].public)).await;
            resources.push(resource(&auths[0], &own, &key_set, number));
            feeds.push(own);
            keys.push(key_set);
        }
        for resource in &mut resources {
            resource.start().await;
        }
        let links = Links {
            database: to_database,
            redis: to_redis,
            clients: array(clients),
            feeds: array(feeds),
            keys: array(keys),
        };
        let (auths, resources) = (auths.map(Mutex::new), array(resources).map(Mutex::new));
        let (redis, postgres) = (Mutex::new(redis), Server::find());
        Self { auths, resources, redis, postgres, links, database }
    }

    /// Where its services are, by way of their links.
    ///
    /// # Panics
    /// When somebody has one of the services already.
    #[must_use]
    pub fn stage(&self) -> Stage {
        let links = self.links.clients.each_ref().map(|link| format!("http://{}", link.address()));
        let own = |service| Mutex::try_lock(service).expect("nobody else has it yet");
        let (auths, resources) =
            (self.auths.each_ref().map(own), self.resources.each_ref().map(own));
        Stage::new(
            links,
            auths.each_ref().map(|auth| &**auth),
            resources.each_ref().map(|own| &**own),
        )
    }

    /// Makes every link carry again. What is paused or down is the business of whoever did it.
    pub fn heal(&self) {
        for link in self.links.all() {
            link.set(testbed::link::Mode::Pass);
        }
    }

    /// Waits until everything is ready, and says what is not after the time that it may take to recover.
    pub async fn ready(&self) -> Vec<String> {
        let mut wrong = Vec::new();
        for service in self.auths.iter().chain(&self.resources) {
            let mut service = service.lock().await;
            let ready = ready_again(&service).await;
            if service.has_ended() {
                wrong.push(format!("{} has ended by itself", service.public));
            } else if let Err(because) = ready {
                wrong.push(because);
            }
        }
        wrong
    }

    /// Starts a killed auth-service until it is ready: without its database it ends again, and
    /// whoever watches over it in production starts it again.
    pub async fn revive(&self, replica: usize) {
        revive(&mut *self.auths[replica].lock().await).await;
    }
}

/// Starts a killed service, again whenever it ends, until it is ready or half a minute is over.
pub(super) async fn revive(service: &mut Service) {
    service.spawn();
    let deadline = Instant::now() + Duration::from_secs(30);
    while Instant::now() < deadline && asked_ready(service).await.is_err() {
        tokio::time::sleep(Duration::from_millis(50)).await;
        if service.has_ended() {
            service.spawn();
        }
    }
}

/// The replicas in another order for every other one.
fn resource(auth: &Service, feeds: &[Link; 2], keys: &Link, number: usize) -> Service {
    let feed = |link: &Link| format!("http://{}/internal/revocations", link.address());
    let (first, second) = (feed(&feeds[number % 2]), feed(&feeds[(number + 1) % 2]));
    let jwks = format!("http://{}/.well-known/jwks.json", keys.address());
    let bound = BOUND.as_secs().to_string();
    let urls = format!("{first},{second}");
    let others = [
        ("RESOURCE__KEYS__JWKS_URL", jwks.as_str()),
        ("RESOURCE__FEED__URLS", urls.as_str()),
        ("RESOURCE__REVOCATION__MAX_STALENESS_SECONDS", bound.as_str()),
    ];
    Service::resource(auth, &others)
}

fn host(url: &str) -> &str {
    url.trim_start_matches("http://")
}

fn array<T, const N: usize>(items: Vec<T>) -> [T; N] {
    let Ok(items) = items.try_into() else { panic!("there are as many as there should be") };
    items
}
