//! What the database says of itself, for whoever looks after it.

use claims::Timestamp;
use futures_util::FutureExt as _;

use super::{Backend, Store, StoreError};

/// What the database says of itself.
#[derive(Debug, Clone)]
pub struct Inspection {
    /// Its name and version.
    pub server: String,
    pub now: Timestamp,
    /// Settings on which promises rest: the name, the value, and whether that is good.
    pub settings: Vec<(&'static str, String, bool)>,
    /// How the connection is protected; `None` where it leads to no other machine.
    pub protection: Option<Protection>,
    /// How long the oldest transaction has held back the clearing up of old row versions,
    /// milliseconds; where that can be told.
    pub oldest_snapshot_ms: Option<i64>,
}

/// What is between a connection and whoever listens on its way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Protection {
    /// TLS, of this version and with this cipher, and whether it was checked who the server is.
    Tls { how: String, checked: bool },
    /// Nothing: everything can be heard and changed.
    Clear,
}

impl Store {
    /// What the database says of itself.
    pub async fn inspect(&self) -> Result<Inspection, StoreError> {
        let backend = self.backend.clone();
        let work = async move {
            match &backend {
                Backend::Postgres(db) => db.inspect().await,
                Backend::Sqlite(db) => db.inspect().await,
            }
        };
        self.run("inspect", work.boxed()).await
    }
}
