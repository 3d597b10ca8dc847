//! How busy the connections to the database are.

use sqlx::{Database, Pool};

use super::{Backend, Store};

/// The connections of one pool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PoolUsage {
    /// What the pool is for.
    pub pool: &'static str,
    /// Connections that somebody works with.
    pub busy: u32,
    /// Connections that are open and wait for work.
    pub idle: u32,
    /// How many there may be.
    pub max: u32,
}

impl PoolUsage {
    pub(super) fn of<D: Database>(name: &'static str, pool: &Pool<D>) -> Self {
        let idle = u32::try_from(pool.num_idle()).unwrap_or(u32::MAX);
        // The two are read one after the other.
        let busy = pool.size().saturating_sub(idle);
        Self { pool: name, busy, idle, max: pool.options().get_max_connections() }
    }
}

impl Store {
    /// How busy the connections are at this moment. Nothing is asked of the database.
    #[must_use]
    pub fn pools(&self) -> [PoolUsage; 2] {
        match &self.backend {
            Backend::Postgres(db) => db.pools(),
            Backend::Sqlite(db) => db.pools(),
        }
    }
}
