//! Postgres: how to connect to it, and what is asked of it most often, each in one statement.

use std::time::Duration;

use secrecy::{ExposeSecret as _, SecretString};
use sqlx::migrate::Migrator;
use sqlx::postgres::{PgConnectOptions, PgSslMode};
use sqlx::{Connection as _, PgConnection, query, query_scalar};
use verifier::Clock;

use super::{OpenError, PoolUsage, StoreError, WORK_TIMEOUT, bounded};
use crate::config;

/// For the server, which otherwise keeps connections for two hours whose client is gone without a
/// word, and the lock with them of one that was migrating. Also keeps firewalls from forgetting a
/// connection on which a long statement runs.
const NOTICE_SILENCE: [(&str, &str); 4] = [
    ("tcp_keepalives_idle", "30s"),
    ("tcp_keepalives_interval", "10s"),
    ("tcp_keepalives_count", "3"),
    ("tcp_user_timeout", "60s"),
];

/// Which connections to Postgres do the work: logins and registrations have their own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lane {
    Main,
    Logins,
}

pub(super) struct Postgres {
    pool: Pool,
    /// A lane of its own for logins and registrations: a flood of them waits here, and refresh, logout
    /// and health do not wait behind it.
    logins: Pool,
    /// For connections apart from the pools: `None` where a migration cannot be done.
    reading: Pins,
    migrating: Option<Pins>,
    trust: Trust,
    clock: Clock,
    /// Whether the server is on this machine.
    is_here: bool,
    mode: PgSslMode,
}

impl std::fmt::Debug for Postgres {
    /// Not how it connects: that holds the password.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Postgres")
    }
}

/// The database's own time, with the offset of a test. Replicas' clocks decide nothing.
macro_rules! clock {
    ($offset:literal) => {
        concat!("clock as materialized (select latchkey_now(", $offset, ") as now)")
    };
}

mod address;
// After the macro, so that they know it.
mod inspection;
mod migrating;
mod pins;
mod pool;
mod pooling;
mod sessions;

pub(super) use pins::Pins;
use pins::{MIGRATING, Place, SERVING};
use pool::Pool;
pub(super) use pool::{PooledConnection, Trust};
use pooling::Pooling;

impl Postgres {
    pub(super) async fn open(settings: &config::Database, clock: Clock) -> Result<Self, OpenError> {
        let max_connections = settings.max_connections;
        let way = Box::pin(Way::find("database.url", &settings.url, settings)).await?;
        let (is_here, mode) = (address::is_here(&way.options), way.options.get_ssl_mode());
        let trust = Trust::default();
        let serving = way.pins(settings, SERVING);
        let direct = match settings.direct_url.expose_secret() {
            "" => way,
            _ => Box::pin(way.beside(settings)).await?,
        };
        let reading = direct.pins(settings, SERVING);
        let migrating =
            (direct.pooling != Pooling::Transaction).then(|| direct.pins(settings, MIGRATING));
        let for_logins = (max_connections / 4).max(1);
        let most = max_connections - for_logins;
        let pool = in_time(Pool::connect("main", most, serving.clone(), trust.clone())).await?;
        let logins = Pool::connect_lazy("logins", for_logins, serving, trust.clone());
        in_time(pool.acquire()).await?;
        Ok(Self { pool, logins, reading, migrating, trust, clock, is_here, mode })
    }

    /// Where there is something to migrate, on connections without the time limits.
    pub(super) async fn migrate(&self, migrator: &Migrator) -> Result<(), OpenError> {
        let mut lent = in_time(self.pool.acquire()).await?;
        let due = tokio::time::timeout(WORK_TIMEOUT, migrating::is_due(&mut lent, migrator)).await;
        if !due.map_err(|_| OpenError::Silent)?? {
            return Ok(());
        }
        drop(lent);
        let Some(migrating) = &self.migrating else {
            return Err(OpenError::Unfit(
                "there is something to migrate, which a pooler by transaction is no way for: set \
                 database.direct_url to the address of the server itself"
                    .to_owned(),
            ));
        };
        let mut connection = in_time(migrating.connect()).await?;
        let mut waiting = in_time(migrating.connect()).await?;
        let backend = query_scalar("select pg_backend_pid()").fetch_one(&mut connection);
        let backend = in_time(backend).await?;
        tokio::select! {
            biased;
            done = migrating::run(&mut connection, &mut waiting, migrator) => done?,
            () = self.lost(backend) => return Err(OpenError::Silent),
        }
        in_time(waiting.close()).await?;
        in_time(connection.close()).await
    }

    /// Ends when the server has no such backend any more or cannot be asked: whoever waits for what
    /// it does would never be told.
    async fn lost(&self, backend: i32) {
        let mut unanswered = 0;
        while unanswered < 3 {
            tokio::time::sleep(Duration::from_secs(2)).await;
            match bounded(self.has(backend)).await {
                Ok(true) => unanswered = 0,
                Ok(false) => return,
                Err(_) => unanswered += 1,
            }
        }
    }

    async fn has(&self, backend: i32) -> Result<bool, StoreError> {
        let found = query_scalar("select exists (select from pg_stat_activity where pid = $1)")
            .bind(backend)
            .fetch_one(&mut *self.pool.acquire().await?)
            .await?;
        Ok(found)
    }

    pub(super) async fn close(&self) {
        tokio::join!(self.pool.close(), self.logins.close());
    }

    /// What a connection of one's own is made with, and whom it tells of a server that does not write.
    pub(super) fn apart(&self) -> (Pins, Trust) {
        (self.reading.clone(), self.trust.clone())
    }

    pub(super) fn clock(&self) -> Clock {
        self.clock.clone()
    }

    /// How busy the connections are.
    pub(super) fn pools(&self) -> [PoolUsage; 2] {
        [self.pool.usage(), self.logins.usage()]
    }

    /// A connection of the lane.
    pub(super) async fn acquire(&self, lane: Lane) -> Result<PooledConnection, sqlx::Error> {
        match lane {
            Lane::Main => self.pool.acquire().await,
            Lane::Logins => self.logins.acquire().await,
        }
    }

    /// Takes a lock that nothing but a key's revocation minds. Like any write it needs a server that
    /// writes, and it is on the disk before it is answered; but no row is made or changed.
    pub(super) async fn probe(&self) -> Result<(), StoreError> {
        query("select id from keys order by id limit 1 for key share skip locked")
            .execute(&mut *self.pool.acquire().await?)
            .await?;
        Ok(())
    }

    pub(super) fn offset(&self) -> i64 {
        self.clock.offset_millis()
    }
}

/// What is asked of a server at the start.
async fn in_time<T>(work: impl Future<Output = Result<T, sqlx::Error>>) -> Result<T, OpenError> {
    let done = tokio::time::timeout(WORK_TIMEOUT, work).await;
    done.map_err(|_| OpenError::Silent)?.map_err(|error| match error {
        sqlx::Error::Configuration(why) => OpenError::Unfit(why.to_string()),
        error => OpenError::Connect(error),
    })
}

/// What an address leads to.
struct Way {
    options: PgConnectOptions,
    pooling: Pooling,
    place: Place,
}

impl Way {
    /// By a connection of its own: not everything can be set for it yet.
    async fn find(
        setting: &str,
        url: &SecretString,
        settings: &config::Database,
    ) -> Result<Self, OpenError> {
        let options = address::options(setting, url, settings.tls)?.application_name("latchkey");
        let found = match in_time(pooling::find(options.clone(), &NOTICE_SILENCE)).await {
            Err(OpenError::Connect(error)) => {
                return Err(OpenError::Connect(cause(&options, error).await));
            }
            found => found?,
        };
        let mut found = pooling::check_statements(found, settings.statement_cache).await?;
        let place = in_time(Place::find(&mut found.connection)).await?;
        in_time(found.connection.close()).await?;
        Ok(Self { options: found.options, pooling: found.pooling, place })
    }

    /// The way of `database.direct_url`, which must lead to the same tables.
    async fn beside(&self, settings: &config::Database) -> Result<Self, OpenError> {
        let setting = "database.direct_url";
        let direct = Self::find(setting, &settings.direct_url, settings).await?;
        let why = if direct.pooling == Pooling::Transaction {
            "leads to a pooler by transaction; name the server itself"
        } else if !direct.place.is(&self.place) {
            "leads to other tables than database.url; name the same database, and a user with the same \
             search_path"
        } else {
            return Ok(direct);
        };
        Err(OpenError::Unfit(format!("{setting} {why}")))
    }

    fn pins(&self, settings: &config::Database, limits: pins::Limits) -> Pins {
        Pins::new(&self.options, self.pooling, settings.statement_cache, &self.place, limits)
    }
}

/// A pool that cannot connect tries until its time is up, and then says only that. One more attempt
/// says why.
async fn cause(options: &PgConnectOptions, error: sqlx::Error) -> sqlx::Error {
    let attempt = PgConnection::connect_with(options);
    match tokio::time::timeout(Duration::from_secs(3), attempt).await {
        Ok(Err(cause)) => cause,
        Ok(Ok(_)) | Err(_) => error,
    }
}
