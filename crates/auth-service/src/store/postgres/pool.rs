//! Connections to Postgres, which come back to their pool in bounded time also from a server that
//! fell silent, and do not come back at all where it is not certain that they work.

use std::ops::{Deref, DerefMut};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use sqlx::Connection as _;
use sqlx::postgres::{PgPool, PgPoolOptions, Postgres};

use super::super::PoolUsage;
use super::super::watched::{Damage, Watched};
use super::pins::Pins;

const RELEASE_TIMEOUT: Duration = Duration::from_secs(2);
/// Short: whoever waits for a connection also waits for this, and then for a new one.
const IDLE_TIMEOUT: Duration = Duration::from_millis(300);

/// Whoever waits longer for a connection is told of in the log.
const LONG_WAIT: Duration = Duration::from_secs(1);
/// A pool that is too small has many who wait.
const BETWEEN_WARNINGS: Duration = Duration::from_secs(10);

/// A pool whose places are never lost.
pub(super) struct Pool {
    /// As in the metrics.
    name: &'static str,
    connections: PgPool,
    pins: Pins,
    trust: Trust,
    /// When the log was told last that somebody waited.
    warned: Mutex<Option<Instant>>,
}

/// Since when connections may be trusted. One that met a server which does not write, or not any
/// more, tells the others: they are as old, and lead to the same place.
#[derive(Debug, Clone, Default)]
pub(in crate::store) struct Trust(Arc<Mutex<Option<Instant>>>);

impl Trust {
    pub(in crate::store) fn only_new_ones(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
    }

    /// Whether a connection of this age may serve.
    fn covers(&self, age: Duration) -> bool {
        let since = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        since.is_none_or(|since| since.elapsed() > age)
    }
}

impl Pool {
    /// A pool that has connected once.
    pub(super) async fn connect(
        name: &'static str,
        max_connections: u32,
        pins: Pins,
        trust: Trust,
    ) -> Result<Self, sqlx::Error> {
        let connections = settings(max_connections, &trust).connect_with(pins.options()).await?;
        Ok(Self { name, connections, pins, trust, warned: Mutex::default() })
    }

    /// A pool that connects when it is first used.
    pub(super) fn connect_lazy(
        name: &'static str,
        max_connections: u32,
        pins: Pins,
        trust: Trust,
    ) -> Self {
        let connections = settings(max_connections, &trust).connect_lazy_with(pins.options());
        Self { name, connections, pins, trust, warned: Mutex::default() }
    }

    /// A connection, waited for at most three seconds. A new one is refused unless it is as it must
    /// be; by a hook of sqlx's it would be tried again in silence until the time is up.
    pub(super) async fn acquire(&self) -> Result<PooledConnection, sqlx::Error> {
        let _waiting = Waiting { pool: self, begun: Instant::now() };
        let connection = self.connections.acquire().await?;
        let connection = Watched::new(connection, self.pins.sending().clone());
        let mut lent = PooledConnection { connection, trust: self.trust.clone() };
        if lent.is_new() {
            let settled = self.pins.settle(&mut *lent).await;
            settled.inspect_err(|_| lent.condemn())?;
            let checked = self.pins.check(&mut *lent).await;
            checked.inspect_err(|_| lent.condemn())?;
        }
        Ok(lent)
    }

    /// Says that somebody waited long, unless that was said a moment ago.
    fn tell_of_waiting(&self, waited: Duration) {
        if waited < LONG_WAIT {
            return;
        }
        let mut warned = self.warned.lock().unwrap_or_else(PoisonError::into_inner);
        if warned.is_some_and(|at| at.elapsed() < BETWEEN_WARNINGS) {
            return;
        }
        *warned = Some(Instant::now());
        drop(warned);
        tracing::warn!(
            pool.name = self.name,
            pool.wait_ms = u64::try_from(waited.as_millis()).unwrap_or(u64::MAX),
            pool.size = self.connections.size(),
            pool.idle = self.connections.num_idle(),
            "a connection to the database was waited for longer than a second: the server or a pooler between \
             gives none, or database.max_connections is too low"
        );
    }

    /// How busy it is, under the name that it has in the metrics.
    pub(super) fn usage(&self) -> PoolUsage {
        PoolUsage::of(self.name, &self.connections)
    }

    /// Waits for the connections that are lent, and closes all.
    pub(super) async fn close(&self) {
        self.connections.close().await;
    }
}

/// Somebody who waits for a connection that serves; a pooler may take one and give no server to it. Dropped when
/// they have it, or when they gave up.
struct Waiting<'p> {
    pool: &'p Pool,
    begun: Instant,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.pool.tell_of_waiting(self.begun.elapsed());
    }
}

/// A connection of a [`Pool`].
pub(in crate::store) struct PooledConnection {
    connection: Watched<Postgres>,
    trust: Trust,
}

impl Deref for PooledConnection {
    type Target = Watched<Postgres>;

    fn deref(&self) -> &Watched<Postgres> {
        &self.connection
    }
}

impl DerefMut for PooledConnection {
    fn deref_mut(&mut self) -> &mut Watched<Postgres> {
        &mut self.connection
    }
}

impl Drop for PooledConnection {
    /// sqlx tests a connection that comes back, and by itself waits for ever on one whose server
    /// fell silent, which is then a place less in the pool for as long as the process lives. Its
    /// hooks run before that test and can only add to it. Giving the test up closes the connection.
    ///
    /// A connection in doubt is cut, not closed in peace, for which sqlx would wait.
    fn drop(&mut self) {
        let Some(damage) = self.connection.damage() else {
            let back = self.connection.give_back();
            tokio::spawn(tokio::time::timeout(RELEASE_TIMEOUT, back));
            return;
        };
        if damage == Damage::WrongServer {
            self.trust.only_new_ones();
        }
        self.connection.cut();
    }
}

pub(super) fn settings(max_connections: u32, trust: &Trust) -> PgPoolOptions {
    let trust = trust.clone();
    PgPoolOptions::new()
        .max_connections(max_connections)
        .acquire_timeout(Duration::from_secs(3))
        .test_before_acquire(false)
        .before_acquire(move |connection, meta| {
            let trusted = trust.covers(meta.age);
            Box::pin(async move {
                // A connection that lay idle may have died; one in use would have said so.
                if trusted && meta.idle_for > Duration::from_millis(500) {
                    let answer = tokio::time::timeout(IDLE_TIMEOUT, connection.ping()).await;
                    answer.unwrap_or(Err(sqlx::Error::PoolTimedOut))?;
                }
                Ok(trusted)
            })
        })
}
