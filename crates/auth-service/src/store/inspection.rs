//! What the database says of itself, for whoever looks after it.

use claims::{Timestamp, UserId};
use futures_util::FutureExt as _;

use super::postgres::Lane;
use super::{Backend, Store, StoreError, rows};

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

    /// Ten users at the most whose roles take more than `most` bytes of an access token, each three more than
    /// its letters. It looks at every user.
    pub async fn users_with_roles_over(&self, most: usize) -> Result<Vec<UserId>, StoreError> {
        let sql = "select cast(id as text) as user_id from users \
             where roles <> '' and length(roles) + 2 * (length(roles) - length(replace(roles, ' ', ''))) + 3 > $1 \
             order by id limit 10";
        let most = i64::try_from(most).unwrap_or(i64::MAX);
        let found = self.read("users_with_roles_over", Lane::Main, sql, vec![most.into()]).await?;
        Ok(found.iter().map(rows::user_id).collect::<Result<_, _>>()?)
    }
}
