//! Makes what the plan says go wrong, and makes it good again.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use fastrand::Rng;
use sqlx::{AssertSqlSafe, Connection as _, Executor as _, PgConnection};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

use super::history::BOUND;
use super::person::Stage;
use super::site::Site;
use super::trouble::{Ends, Fault, Lane, Part, Way};
use super::weather::Concern;
use testbed::Link;
use testbed::link::Mode;
use testbed::service::{lasting_address, owned};

/// Faults that came, by kind.
pub type Counts = Mutex<BTreeMap<Fault, u64>>;

/// One lane of the plan, until the play is over. All is well again afterwards.
pub async fn run(mut lane: Lane, site: &Site, stage: &Stage, counts: &Counts) {
    while !stage.is_over() {
        sleep(lane.peace()).await;
        let fault = lane.draw();
        count(counts, fault);
        // While a replica is alone nothing else goes wrong: only then is it certain that whoever
        // follows it could be served by the other one.
        let (_alone, _among_others);
        if fault == Fault::Alone {
            _alone = stage.weather.calm.write().await;
        } else {
            _among_others = stage.weather.calm.read().await;
        }
        // Which of several alike it hits, so that it is known whom it concerns.
        let which = lane.rng.usize(..6);
        let concern = concern(fault, which);
        let spell = stage.weather.begin(concern, &fault.to_string(), stage.now());
        suffer(site, fault, which, &mut lane.rng).await;
        stage.weather.end(spell, stage.now());
    }
}

/// It came.
pub(super) fn count(counts: &Counts, fault: Fault) {
    *counts.lock().unwrap_or_else(PoisonError::into_inner).entry(fault).or_default() += 1;
}

/// Whom it concerns, as far as they may then be unable to serve.
fn concern(fault: Fault, which: usize) -> Option<Concern> {
    match fault {
        Fault::Link(Ends::Database, _)
        | Fault::Kill(Part::Auth)
        | Fault::Pause(Part::Auth)
        | Fault::Alone
        | Fault::ClockAhead => Some(Concern::Replica(which % 2)),
        Fault::Link(Ends::Feeds | Ends::Keys, _)
        | Fault::Kill(Part::Resource)
        | Fault::Pause(Part::Resource)
        | Fault::PauseBeyondBound => Some(Concern::Resource(which % 3)),
        Fault::Kill(Part::Postgres | Part::Backend)
        | Fault::Pause(Part::Postgres | Part::Backend)
        | Fault::Defaults
        | Fault::NoRoom(_)
        | Fault::KilledWithoutRoom
        | Fault::Failover(_)
        | Fault::OnStandby => Some(Concern::Database),
        Fault::Lock => Some(Concern::Rows),
        // Nothing depends on Redis, and what clients meet on their way says nothing of the services.
        Fault::Link(Ends::Redis | Ends::Clients, _)
        | Fault::Kill(Part::Redis)
        | Fault::Pause(Part::Redis)
        | Fault::Flush
        | Fault::Full
        | Fault::HalfRequests => None,
    }
}

async fn suffer(site: &Site, fault: Fault, which: usize, rng: &mut Rng) {
    let lasts = fault.lasts(rng);
    match fault {
        Fault::Link(ends, way) => fail(&chosen(site, ends, which), way, lasts, rng).await,
        Fault::Kill(part) => kill(site, part, lasts, which).await,
        Fault::Pause(part) => pause(site, part, lasts, which, rng).await,
        Fault::PauseBeyondBound => pause(site, Part::Resource, lasts, which, rng).await,
        Fault::Alone => {
            fail(&chosen(site, Ends::Database, which), Way::Held, lasts, rng).await;
        }
        Fault::Defaults => defaults(site, lasts).await,
        Fault::HalfRequests => half_requests(site, lasts, which).await,
        Fault::ClockAhead => clock_ahead(site, lasts, which % 2).await,
        Fault::Lock => lock(site, lasts).await,
        Fault::Flush => command(site, &["FLUSHALL"]).await,
        Fault::Full => {
            command(site, &["CONFIG", "SET", "maxmemory", "1"]).await;
            sleep(lasts).await;
            command(site, &["CONFIG", "SET", "maxmemory", "0"]).await;
        }
        // Of the other installations.
        Fault::NoRoom(_) | Fault::KilledWithoutRoom | Fault::Failover(_) | Fault::OnStandby => {}
    }
}

/// The links between these ends that fail together.
fn chosen(site: &Site, ends: Ends, which: usize) -> Vec<&Link> {
    let links = &site.links;
    match ends {
        Ends::Database => vec![&links.database[which % 2]],
        Ends::Redis => links.redis.iter().collect(),
        Ends::Clients => vec![&links.clients[which % 2]],
        Ends::Feeds => links.feeds[which % 3].iter().collect(),
        Ends::Keys => vec![&links.keys[which % 3]],
    }
}

async fn fail(links: &[&Link], way: Way, lasts: Duration, rng: &mut Rng) {
    let set = |mode| links.iter().for_each(|link| link.set(mode));
    match way {
        Way::Slow => {
            let late = Duration::from_millis(rng.u64(40..150));
            set(Mode::Delay(late));
            sleep(lasts).await;
        }
        Way::Cut => {
            set(Mode::Cut);
            sleep(lasts).await;
        }
        Way::Held => {
            set(Mode::Hold);
            sleep(lasts).await;
        }
        Way::Mute => {
            set(Mode::Mute);
            sleep(lasts).await;
        }
        Way::Swallowed => {
            set(Mode::SwallowReplies);
            sleep(lasts).await;
        }
        Way::Reset => {
            for _ in 0..10 {
                for link in links {
                    link.reset();
                }
                sleep(lasts / 10).await;
            }
        }
        Way::Late => {
            set(Mode::DelayReplies(Duration::from_millis(rng.u64(800..950))));
            sleep(lasts).await;
            set(Mode::Hold);
            sleep(BOUND + Duration::from_millis(1200)).await;
        }
    }
    set(Mode::Pass);
}

async fn kill(site: &Site, part: Part, lasts: Duration, which: usize) {
    match part {
        Part::Auth => {
            let replica = which % 2;
            site.auths[replica].lock().await.kill();
            sleep(lasts).await;
            site.revive(replica).await;
        }
        Part::Resource => {
            let mut resource = site.resources[which % 3].lock().await;
            resource.kill();
            sleep(lasts).await;
            resource.spawn();
        }
        Part::Postgres | Part::Backend => {
            site.postgres.kill();
            sleep(lasts).await;
            site.postgres.accepts(&site.database).await;
        }
        Part::Redis => {
            let mut redis = site.redis.lock().await;
            redis.kill();
            sleep(lasts).await;
            redis.restart().await;
        }
    }
}

async fn pause(site: &Site, part: Part, lasts: Duration, which: usize, rng: &mut Rng) {
    match part {
        Part::Auth => {
            let auth = &site.auths[which % 2];
            auth.lock().await.pause();
            sleep(lasts).await;
            auth.lock().await.resume();
        }
        Part::Resource => {
            let resource = &site.resources[which % 3];
            resource.lock().await.pause();
            sleep(lasts).await;
            resource.lock().await.resume();
        }
        Part::Postgres => {
            let paused = site.postgres.pause();
            sleep(lasts).await;
            drop(paused);
        }
        Part::Backend => {
            let paused = site.postgres.pause_one(rng.usize(..16));
            sleep(lasts).await;
            drop(paused);
        }
        Part::Redis => {
            let redis = site.redis.lock().await;
            redis.pause();
            sleep(lasts).await;
            redis.resume();
        }
    }
}

/// Holds the rows of a quarter of the new sessions, lets go for a moment, and holds others.
async fn lock(site: &Site, lasts: Duration) {
    const ROWS: &str = "select id from sessions where revoked_at is null \
        and created_at > latchkey_now(0) - 5000 and hashtext(id) % 4 = 0 for update skip locked";
    let Ok(mut connection) = PgConnection::connect(&site.database.url).await else { return };
    for _ in 0..5 {
        let Ok(mut held) = connection.begin().await else { return };
        let _ = held.execute(ROWS).await;
        sleep(lasts / 6).await;
        let _ = held.rollback().await;
        sleep(lasts / 30).await;
    }
}

/// What connections begin with is read-only and sees one snapshot for a whole transaction. Half of the
/// connections that there are end, so that others are made.
async fn defaults(site: &Site, lasts: Duration) {
    let name = site.database.name();
    let Ok(mut connection) = PgConnection::connect(&site.database.url).await else { return };
    let set = |setting: &str| format!("alter database {name} set {setting}");
    let ends = format!(
        "select pg_terminate_backend(pid) from pg_stat_activity \
         where datname = '{name}' and pid <> pg_backend_pid() and pid % 2 = 0"
    );
    let changes = [
        set("default_transaction_read_only = on"),
        set("default_transaction_isolation = 'repeatable read'"),
        set("timezone = 'Pacific/Chatham'"),
        ends,
    ];
    for change in changes {
        let _ = connection.execute(AssertSqlSafe(change)).await;
    }
    sleep(lasts).await;
    // The server may have been killed meanwhile. What was set must not stay.
    loop {
        let reset = format!("alter database {name} reset all");
        // This connection has the defaults that it takes away.
        if connection.execute("set default_transaction_read_only = off").await.is_ok()
            && connection.execute(AssertSqlSafe(reset)).await.is_ok()
        {
            return;
        }
        sleep(Duration::from_millis(50)).await;
        if let Ok(another) = PgConnection::connect(&site.database.url).await {
            connection = another;
        }
    }
}

/// Heads and bodies that do not end, at an auth-service and at a resource-service.
async fn half_requests(site: &Site, lasts: Duration, which: usize) {
    const CONNECTIONS: usize = 300;
    let head = format!("GET /health/live HTTP/1.1\r\nhost: x\r\nx-long: {}", "a".repeat(12_000));
    let body = format!(
        "POST /refresh HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n\
         content-length: 16000\r\n\r\n{}",
        "a".repeat(15_000)
    );
    let mut open = Vec::new();
    let auth = site.auths[which % 2].lock().await.public.clone();
    let resource = site.resources[which % 3].lock().await.public.clone();
    for number in 0..CONNECTIONS {
        let part = if number % 2 == 0 { &head } else { &body };
        for address in [&auth, &resource] {
            let address = address.trim_start_matches("http://");
            let connecting = TcpStream::connect(address);
            // A service that is paused takes none.
            let Ok(Ok(mut stream)) = timeout(Duration::from_millis(100), connecting).await else {
                continue;
            };
            let _ = stream.write_all(part.as_bytes()).await;
            open.push(stream);
        }
    }
    sleep(lasts).await;
}

/// It listens where nobody knows of it, so only what it does to the database counts.
async fn clock_ahead(site: &Site, lasts: Duration, replica: usize) {
    let mut auth = site.auths[replica].lock().await;
    auth.kill();
    let usual = auth.settings.clone();
    let (public, internal) = (lasting_address(), lasting_address());
    auth.settings.extend(owned(&[
        ("AUTH__HTTP__LISTEN", &public),
        ("AUTH__HTTP__INTERNAL_LISTEN", &internal),
        ("AUTH__CLOCK__OFFSET_SECONDS", "8640000"),
    ]));
    auth.spawn();
    sleep(lasts + Duration::from_secs(1)).await;
    // Without its database it may have ended by itself.
    if !auth.has_ended() {
        auth.kill();
    }
    auth.settings = usual;
    drop(auth);
    site.revive(replica).await;
}

/// To Redis itself, not by way of a link.
async fn command(site: &Site, words: &[&str]) {
    let mut connection = site.redis.lock().await.connect().await;
    let mut command = redis::cmd(words[0]);
    for word in &words[1..] {
        command.arg(word);
    }
    let done: Result<(), redis::RedisError> = command.query_async(&mut connection).await;
    done.expect("Redis obeys");
}
