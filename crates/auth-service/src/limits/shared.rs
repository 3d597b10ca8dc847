//! Counting in Redis, for all replicas together.
//!
//! Nobody waits for a Redis that does not answer: after one failure it is left alone for a while, and
//! connections are made beside the requests, so that a paused one delays what is in flight at that
//! moment, once, and by a tenth of a second.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hosting::outage::Outage;
use hosting::traces::SPANS;
use redis::aio::MultiplexedConnection;
use redis::{Cmd, RedisError};
use tokio::runtime::Handle;
use tokio::time::timeout;
use tracing::Instrument as _;
use verifier::Clock;

use super::bucket::{Bucket, Charge, Effect, Outcome, Verdict};
use super::rule::Rule;
use crate::redis::client::RedisServer;

const SCRIPT: &str = include_str!("script.lua");
/// Whether the script could do its work: Redis may be full, or its access list older than this.
const PROBE: &str = "redis.call('TIME') redis.call('GET', KEYS[1]) \
    return redis.call('SET', KEYS[1], '0:0', 'PX', 1)";
/// How long an attempt of somebody who waits for it may wait for an answer.
pub const TIMEOUT: Duration = Duration::from_millis(100);
/// How long a new connection may take; nobody waits for it.
const CONNECTING: Duration = Duration::from_secs(1);
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// Redis, as far as it counts.
pub struct Shared {
    server: RedisServer,
    clock: Clock,
    patience: Duration,
    /// The main one: what drives a connection must outlive the worker that asked for it.
    runtime: Handle,
    link: Mutex<Link>,
}

struct Link {
    connection: Option<MultiplexedConnection>,
    /// No new connection before this.
    not_before: Duration,
    outage: Outage,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Shared")
    }
}

impl Shared {
    /// Begins to connect. On the runtime that is to drive the connection. An answer that takes longer
    /// than `patience` is none.
    #[must_use]
    pub fn new(server: RedisServer, clock: Clock, patience: Duration) -> Arc<Self> {
        let outage = Outage::new(
            "limits",
            "Redis is lost; each replica counts attempts on its own",
            "Redis is back; attempts are counted there again",
        );
        let link = Mutex::new(Link { connection: None, not_before: Duration::ZERO, outage });
        let runtime = Handle::current();
        let shared = Arc::new(Self { server, clock, patience, runtime, link });
        shared.connection();
        shared
    }

    /// Charges all of the buckets, or none; with the time that Redis judged by. `None` when it does
    /// not answer.
    pub async fn take(self: &Arc<Self>, buckets: &[Bucket]) -> Option<(Verdict, u64)> {
        let mut command = self.command("take", buckets.iter());
        for bucket in buckets {
            arguments(&mut command, bucket.rule, u8::from(bucket.only_after_empty), 0, 0);
        }
        let answer = self.ask("take", &command).await?;
        let [refusing, wait_ms, now, in_flight, each @ ..] = answer.as_slice() else { return None };
        let verdict = if let Some(bucket) = usize::try_from(*refusing).ok()?.checked_sub(1) {
            Verdict::Refused { bucket, wait_ms: *wait_ms, in_flight: *in_flight != 0 }
        } else {
            let charged = buckets.iter().zip(each.as_chunks().0);
            let charged = charged.filter(|(_, [charged, _])| *charged != 0);
            let charge = |(bucket, [_, last_before]): (&Bucket, &[u64; 2])| Charge {
                bucket: *bucket,
                at: *now,
                last_before: *last_before,
            };
            Verdict::Admitted(charged.map(charge).collect())
        };
        Some((verdict, *now))
    }

    /// Ends an attempt's flight, and undoes what it was charged unless it failed; the time.
    pub async fn settle(self: &Arc<Self>, charges: &[Charge], outcome: Outcome) -> Option<u64> {
        let mut command = self.command("settle", charges.iter().map(|charge| &charge.bucket));
        for Charge { bucket, at, last_before } in charges {
            let effect = match outcome.effect_on(bucket) {
                Effect::Keep => 0,
                Effect::GiveBack => 1,
                Effect::Clear => 2,
            };
            arguments(&mut command, bucket.rule, effect, *at, *last_before);
        }
        self.ask("settle", &command).await?.get(2).copied()
    }

    fn command<'a>(&self, verb: &str, buckets: impl ExactSizeIterator<Item = &'a Bucket>) -> Cmd {
        let mut command = redis::cmd("EVAL");
        command.arg(SCRIPT).arg(buckets.len());
        for bucket in buckets {
            command.arg(bucket.key.to_string());
        }
        command.arg(verb).arg(self.clock.offset_millis());
        command
    }

    async fn ask(self: &Arc<Self>, verb: &'static str, command: &Cmd) -> Option<Vec<u64>> {
        let mut connection = self.connection()?;
        let span = tracing::info_span!(
            target: SPANS,
            "redis",
            otel.name = verb,
            otel.kind = "client",
            db.system.name = "redis",
            db.operation.name = "EVAL",
        );
        let answer = command.query_async(&mut connection).instrument(span);
        match timeout(self.patience, answer).await {
            Ok(Ok(answer)) => Some(answer),
            Ok(Err(error)) => self.lost(&error),
            Err(_) => self.lost(&late()),
        }
    }

    /// The connection, or the beginning of a new one.
    fn connection(self: &Arc<Self>) -> Option<MultiplexedConnection> {
        let mut link = self.link();
        let now = self.clock.elapsed();
        if link.connection.is_none() && now >= link.not_before {
            link.not_before = now + RETRY_AFTER;
            let shared = Arc::clone(self);
            self.runtime.spawn(async move {
                match timeout(CONNECTING, shared.connect()).await {
                    Ok(Ok(connection)) => shared.found(connection),
                    Ok(Err(error)) => drop(shared.lost::<()>(&error)),
                    Err(_) => drop(shared.lost::<()>(&late())),
                }
            });
        }
        link.connection.clone()
    }

    async fn connect(&self) -> Result<MultiplexedConnection, RedisError> {
        let mut connection = self.server.connect().await?;
        redis::cmd("EVAL").arg(PROBE).arg(1).arg("limit:probe").exec_async(&mut connection).await?;
        Ok(connection)
    }

    fn found(&self, connection: MultiplexedConnection) {
        let mut link = self.link();
        link.connection = Some(connection);
        metrics::gauge!("latchkey_redis_up", "task" => "limits").set(1);
        link.outage.works();
    }

    fn lost<T>(&self, error: &RedisError) -> Option<T> {
        let mut link = self.link();
        link.connection = None;
        link.not_before = self.clock.elapsed() + RETRY_AFTER;
        metrics::gauge!("latchkey_redis_up", "task" => "limits").set(0);
        link.outage.failed(error);
        None
    }

    fn link(&self) -> MutexGuard<'_, Link> {
        self.link.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// As the script takes them, for one bucket.
fn arguments(command: &mut Cmd, rule: Rule, flag: u8, at: u64, last_before: u64) {
    match rule {
        Rule::Rate { burst, interval_ms } => {
            command.arg("rate").arg(burst).arg(interval_ms).arg(0).arg(0);
        }
        Rule::Growing { free, first_ms, most_ms, forget_ms } => {
            command.arg("growing").arg(free).arg(first_ms).arg(most_ms).arg(forget_ms);
        }
    }
    command.arg(flag).arg(at).arg(last_before);
}

fn late() -> RedisError {
    std::io::Error::from(std::io::ErrorKind::TimedOut).into()
}
