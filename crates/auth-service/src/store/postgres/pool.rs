//! Connections to Postgres, which come back to their pool in bounded time also from a server that
//! fell silent.

use std::ops::{Deref, DerefMut};
use std::time::Duration;

use sqlx::pool::PoolConnection;
use sqlx::postgres::{PgConnectOptions, PgPool, PgPoolOptions};
use sqlx::{Connection as _, PgConnection};

const RELEASE_PATIENCE: Duration = Duration::from_secs(2);
/// Short: whoever waits for a connection also waits for this, and then for a new one.
const IDLE_PATIENCE: Duration = Duration::from_millis(300);

/// A pool whose places are never lost.
pub(super) struct Pool(PgPool);

impl Pool {
    /// A pool that has connected once.
    pub(super) async fn connect(
        max_connections: u32,
        options: PgConnectOptions,
    ) -> Result<Self, sqlx::Error> {
        Ok(Self(settings(max_connections).connect_with(options).await?))
    }

    /// A pool that connects when it is first used.
    pub(super) fn connect_lazy(max_connections: u32, options: PgConnectOptions) -> Self {
        Self(settings(max_connections).connect_lazy_with(options))
    }

    /// A connection, waited for at most three seconds.
    pub(super) async fn acquire(&self) -> Result<Lent, sqlx::Error> {
        Ok(Lent(self.0.acquire().await?))
    }

    /// Waits for the connections that are lent, and closes all.
    pub(super) async fn close(&self) {
        self.0.close().await;
    }
}

/// A connection of a [`Pool`].
pub(super) struct Lent(PoolConnection<sqlx::Postgres>);

impl Deref for Lent {
    type Target = PgConnection;

    fn deref(&self) -> &PgConnection {
        &self.0
    }
}

impl DerefMut for Lent {
    fn deref_mut(&mut self) -> &mut PgConnection {
        &mut self.0
    }
}

impl Drop for Lent {
    /// sqlx tests a connection that comes back, and by itself waits for ever on one whose server
    /// fell silent, which is then a place less in the pool for as long as the process lives. Its
    /// hooks run before that test and can only add to it. Giving the test up closes the connection.
    fn drop(&mut self) {
        tokio::spawn(tokio::time::timeout(RELEASE_PATIENCE, self.0.return_to_pool()));
    }
}

fn settings(max_connections: u32) -> PgPoolOptions {
    PgPoolOptions::new()
        .max_connections(max_connections)
        .acquire_timeout(Duration::from_secs(3))
        .test_before_acquire(false)
        .before_acquire(|connection, meta| {
            Box::pin(async move {
                // A connection that lay idle may have died; one in use would have said so.
                if meta.idle_for > Duration::from_millis(500) {
                    let answer = tokio::time::timeout(IDLE_PATIENCE, connection.ping()).await;
                    answer.unwrap_or(Err(sqlx::Error::PoolTimedOut))?;
                }
                Ok(true)
            })
        })
}
