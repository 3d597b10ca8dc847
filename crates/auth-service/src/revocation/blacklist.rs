//! Redis: the blacklist for whoever wants a plain `EXISTS`, and word between replicas.
//!
//! Nothing depends on it. It holds what the database holds, and can be flushed, killed, paused, full
//! or absent: the only effect is that other replicas learn of a revocation at their next poll, and
//! that the blacklist is behind until it is written again.
//!
//! `revoked:session:<sid>`, `revoked:subject:<sub>` (its value: the lowest `sub_ver` still good),
//! `revoked:token:<jti>` and, without an end, `revoked:key:<kid>`. `revoked:complete` exists while
//! nothing was forgotten and somebody keeps the blacklist; without it nobody should rely on it.

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use claims::{RevocationEntry, Revoked};
use futures_util::StreamExt as _;
use hosting::causes;
use hosting::outage::Outage;
use redis::aio::MultiplexedConnection;
use redis::{Cmd, Pipeline, RedisError};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};
use uuid::Uuid;

use crate::background::supervisor::Supervisor;
use crate::config::{self, ConfigError};
use crate::redis::client::RedisServer;
use crate::revocation::Feed;

/// Its messages say only "read now".
const CHANNEL: &str = "latchkey:revoked";
const COMPLETE: &str = "revoked:complete";
/// Gone with a flush, so that what was flushed while it was written is not called complete.
const WRITING: &str = "revoked:writing";
/// How long the marks outlive whoever keeps them, and how old what is written may be to be called
/// complete, in seconds.
const MARK_SECONDS: u64 = 3;
const WRITING_SECONDS: u64 = 60;
/// Calls complete what was written, unless it was flushed meanwhile: then it says 0.
const FINISH: &str = "if redis.call('EXISTS', KEYS[1]) == 0 then return 0 end \
    if ARGV[1] ~= '0' then redis.call('SET', KEYS[2], 1, 'EX', ARGV[1]) end \
    return 1";
/// Several replicas write, and one that was paused must not take a higher version of another back.
const RAISE: &str = "local known = tonumber(redis.call('GET', KEYS[1]) or 0) \
    if known <= tonumber(ARGV[1]) then redis.call('SET', KEYS[1], ARGV[1], 'EX', ARGV[2]) end";
/// At first; then twice as long each time, to the most.
const RETRY_AFTER: Duration = Duration::from_millis(250);
const RETRY_AT_MOST: Duration = Duration::from_secs(5);
/// After this long without a failure it is well again. Less would let one that fails again and again
/// fill the log.
const HOLDS_AFTER: Duration = Duration::from_secs(10);
/// How soon a flushed Redis, or a connection whose other end has died, is noticed.
const LOOK_EVERY: Duration = Duration::from_secs(1);
const TIMEOUT: Duration = Duration::from_secs(1);
/// Commands sent at once.
const CHUNK: usize = 1000;

/// What is known of Redis before anybody connects.
#[derive(Debug)]
pub(crate) struct Blacklist(pub(crate) RedisServer);

impl Blacklist {
    /// `None` where the settings name no Redis. Does not connect.
    pub(crate) fn open(settings: &config::Redis) -> Result<Option<Self>, ConfigError> {
        Ok(RedisServer::open(settings)?.map(Self))
    }

    /// Asks Redis for its `maxmemory-policy`; an error says why it does not tell.
    pub(crate) async fn policy(&self) -> Result<String, String> {
        let asking = async {
            let mut connection = self.0.connect().await?;
            redis::cmd("INFO").arg("memory").query_async::<String>(&mut connection).await
        };
        let info = in_time(asking).await.map_err(|error| causes(&error))?;
        Ok(policy_in(&info).to_owned())
    }

    /// Starts the three tasks, each on a connection of its own: what waits for messages or for a long
    /// write must not hold up the others. `commits` changes with every revocation here.
    pub(crate) fn run(
        self,
        supervisor: &mut Supervisor,
        feed: &Arc<Feed>,
        commits: watch::Receiver<()>,
    ) {
        let server = self.0.clone();
        supervisor.keep("announcing", move || {
            let commits = commits.clone();
            Link::new(server.clone(), "announcing")
                .keep(async move |link| announce(link, &commits).await)
        });
        let (server, woken) = (self.0.clone(), Arc::clone(feed));
        supervisor.keep("listening", move || {
            let feed = Arc::clone(&woken);
            Link::new(server.clone(), "listening").keep(async move |link| listen(link, &feed).await)
        });
        let (server, written) = (self.0, Arc::clone(feed));
        supervisor.keep("blacklist", move || {
            let feed = Arc::clone(&written);
            Link::new(server.clone(), "blacklist").keep(async move |link| write(link, &feed).await)
        });
    }
}

/// A task's connection, made again whenever it is lost.
struct Link {
    server: RedisServer,
    task: &'static str,
    outage: Outage,
    /// As it was told of last.
    policy: String,
}

impl Link {
    fn new(server: RedisServer, task: &'static str) -> Self {
        let outage = Outage::new(task, "Redis is lost; nothing depends on it", "Redis is back");
        Self { server, task, outage: outage.back_after(HOLDS_AFTER), policy: String::new() }
    }

    async fn keep(
        mut self,
        mut work: impl AsyncFnMut(&mut Self) -> Result<Infallible, RedisError>,
    ) {
        let mut pause = RETRY_AFTER;
        loop {
            let Err(error) = work(&mut self).await;
            metrics::gauge!("latchkey_redis_up", "task" => self.task).set(0);
            metrics::counter!("latchkey_redis_failures_total", "task" => self.task).increment(1);
            let held = self.outage.failed(&error);
            pause = if held { RETRY_AFTER } else { (pause * 2).min(RETRY_AT_MOST) };
            sleep(pause).await;
        }
    }

    async fn connect(&mut self) -> Result<MultiplexedConnection, RedisError> {
        self.server.connect().await
    }

    /// To be called whenever it is seen to work.
    fn works(&mut self) {
        metrics::gauge!("latchkey_redis_up", "task" => self.task).set(1);
        self.outage.works();
    }
}

/// Tells the other replicas of every commit.
async fn announce(
    link: &mut Link,
    commits: &watch::Receiver<()>,
) -> Result<Infallible, RedisError> {
    let (mut commits, mut connection) = (commits.clone(), link.connect().await?);
    loop {
        // At first also without a commit: one may have been announced in vain.
        redis::cmd("PUBLISH").arg(CHANNEL).arg("").exec_async(&mut connection).await?;
        loop {
            link.works();
            match timeout(LOOK_EVERY, commits.changed()).await {
                Ok(Ok(())) => break,
                Ok(Err(_)) => std::future::pending().await,
                Err(_) => redis::cmd("PING").exec_async(&mut connection).await?,
            }
        }
    }
}

/// Hears of commits at other replicas.
async fn listen(link: &mut Link, feed: &Feed) -> Result<Infallible, RedisError> {
    let connecting = async {
        let mut subscription = link.server.listen().await?;
        subscription.subscribe(CHANNEL).await?;
        Ok::<_, RedisError>(subscription.split())
    };
    let (mut asking, mut messages) = in_time(connecting).await?;
    loop {
        // At first also without a message: some may have been missed.
        feed.read_now();
        loop {
            link.works();
            match timeout(LOOK_EVERY, messages.next()).await {
                Ok(Some(_)) => break,
                Ok(None) => {
                    return Err(std::io::Error::from(std::io::ErrorKind::UnexpectedEof).into());
                }
                // A connection whose other end has died says nothing either.
                Err(_) => in_time(asking.ping::<redis::Value>()).await.map(drop)?,
            }
        }
    }
}

/// Follows the feed like any verifier, and writes down what it tells.
async fn write(link: &mut Link, feed: &Feed) -> Result<Infallible, RedisError> {
    let mut connection = link.connect().await?;
    check_policy(link, &mut connection).await;
    let mut cursor = String::new();
    loop {
        let Some(batch) = feed.after(&cursor, LOOK_EVERY).await else {
            sleep(RETRY_AFTER).await;
            continue;
        };
        let writing = format!("{WRITING}:{}", Uuid::new_v4().simple());
        if batch.reset {
            set(&writing, 1, Some(WRITING_SECONDS)).exec_async(&mut connection).await?;
        }
        for chunk in highest(batch.entries).chunks(CHUNK) {
            commands(chunk).exec_async(&mut connection).await?;
        }
        let fresh = batch.age_ms < MARK_SECONDS * 1000;
        let whole = match (batch.reset, fresh) {
            (true, _) => {
                let seconds = if fresh { MARK_SECONDS } else { 0 };
                let mut finish = redis::cmd("EVAL");
                finish.arg(FINISH).arg(2).arg(&writing).arg(COMPLETE).arg(seconds);
                finish.query_async(&mut connection).await?
            }
            (false, true) => {
                let mut mark = set(COMPLETE, 1, Some(MARK_SECONDS));
                mark.arg("XX").query_async::<Option<String>>(&mut connection).await?.is_some()
            }
            // Nobody knows what is missing; the mark runs out.
            (false, false) => true,
        };
        link.works();
        // Flushed: everything again.
        cursor = if whole { batch.cursor } else { String::new() };
    }
}

/// Of two versions of one subject the higher one alone.
fn highest(entries: Vec<RevocationEntry>) -> Vec<RevocationEntry> {
    let mut versions = HashMap::new();
    for entry in &entries {
        if let Revoked::Subject { id, min_version } = &entry.revoked {
            let highest = versions.entry(id.clone()).or_insert(*min_version);
            *highest = (*highest).max(*min_version);
        }
    }
    let stands = |entry: &RevocationEntry| match &entry.revoked {
        Revoked::Subject { id, min_version } => versions.get(id) == Some(min_version),
        _ => true,
    };
    entries.into_iter().filter(stands).collect()
}

fn set(key: &str, value: u32, seconds: Option<u64>) -> Cmd {
    let mut command = redis::cmd("SET");
    command.arg(key).arg(value);
    if let Some(seconds) = seconds {
        command.arg("EX").arg(seconds);
    }
    command
}

fn commands(entries: &[RevocationEntry]) -> Pipeline {
    let mut commands = Pipeline::with_capacity(entries.len());
    for entry in entries {
        let command = match &entry.revoked {
            Revoked::Session { id } => set(&format!("revoked:session:{id}"), 1, entry.expires_in),
            Revoked::Token { id } => set(&format!("revoked:token:{id}"), 1, entry.expires_in),
            Revoked::Key { id } => set(&format!("revoked:key:{id}"), 1, entry.expires_in),
            Revoked::Subject { id, min_version } => {
                let mut raise = redis::cmd("EVAL");
                let seconds = entry.expires_in.unwrap_or(claims::time::REVOCATION_TTL_SECONDS);
                raise.arg(RAISE).arg(1).arg(format!("revoked:subject:{id}"));
                raise.arg(*min_version).arg(seconds);
                raise
            }
        };
        commands.add_command(command).ignore();
    }
    commands
}

/// A Redis that evicts forgets revocations without a word.
async fn check_policy(link: &mut Link, connection: &mut MultiplexedConnection) {
    let info: Result<String, _> = redis::cmd("INFO").arg("memory").query_async(connection).await;
    let info = match info {
        Ok(info) => info,
        Err(error) => {
            if std::mem::replace(&mut link.policy, "not told".to_owned()) == "not told" {
                return;
            }
            let error = causes(&error);
            tracing::warn!(
                error,
                "Redis does not tell its maxmemory-policy; it must be noeviction"
            );
            return;
        }
    };
    let policy = policy_in(&info);
    let keeps = policy == "noeviction";
    metrics::gauge!("latchkey_redis_noeviction").set(u8::from(keeps));
    let told = std::mem::replace(&mut link.policy, policy.to_owned()) == policy;
    if !keeps && !told {
        tracing::error!(
            policy,
            "Redis may forget revocations: set its maxmemory-policy to noeviction, or do not rely \
             on the blacklist in it"
        );
    }
}

fn policy_in(info: &str) -> &str {
    let policy = info.lines().find_map(|line| line.strip_prefix("maxmemory_policy:"));
    policy.unwrap_or("unknown").trim()
}

async fn in_time<T>(work: impl Future<Output = Result<T, RedisError>>) -> Result<T, RedisError> {
    let late = |_| RedisError::from(std::io::Error::from(std::io::ErrorKind::TimedOut));
    timeout(TIMEOUT, work).await.map_err(late)?
}
