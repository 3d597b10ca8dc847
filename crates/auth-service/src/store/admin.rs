//! What only an administrator does.

use claims::{Timestamp, UserId};

use super::records::{EndReason, UserRecord};
use super::{Backend, Store, StoreError, bounded};

use crate::store::SessionView;

/// A user as administrators see them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// Who.
    pub user: UserRecord,
    /// Whether they may log in.
    pub enabled: bool,
}

/// What the database says of itself.
#[derive(Debug, Clone)]
pub struct Inspection {
    /// Its name and version.
    pub server: String,
    /// Its clock.
    pub now: Timestamp,
    /// Settings on which promises rest: the name, the value, and whether that is good.
    pub settings: Vec<(&'static str, String, bool)>,
    /// How long the oldest transaction has held back the clearing up of old row versions,
    /// milliseconds; where that can be told.
    pub oldest_snapshot_ms: Option<i64>,
}

impl Store {
    /// Users in the order in which they registered, after the one that is named.
    pub async fn list_users(
        &self,
        after: Option<UserId>,
        most: i64,
    ) -> Result<Vec<Listed>, StoreError> {
        on_backend!(self, db => db.list_users(after, most).await)
    }

    /// Enables or disables a user; `false` when there is none. Disabling ends every session, and
    /// enabling brings none back.
    pub async fn set_enabled(&self, user: UserId, enabled: bool) -> Result<bool, StoreError> {
        let announcement = self.announcement();
        on_backend!(self, db => {
            let _announcement = announcement;
            db.set_enabled(user, enabled).await
        })
    }

    /// Gives a user another password (a PHC string) and ends every session; `false` when there is no
    /// such user.
    pub async fn set_password(&self, user: UserId, hash: String) -> Result<bool, StoreError> {
        let announcement = self.announcement();
        on_backend!(self, db => {
            let _announcement = announcement;
            db.set_password(user, &hash).await
        })
    }

    /// Gives a user these roles and no others; `false` when there is no such user. Access tokens have
    /// them from the next refresh on.
    pub async fn set_roles(&self, user: UserId, roles: Vec<String>) -> Result<bool, StoreError> {
        on_backend!(self, db => db.set_roles(user, &roles.join(" ")).await)
    }

    /// The live sessions of a user, newest first, at most 100.
    pub async fn sessions_of(&self, user: UserId) -> Result<Vec<SessionView>, StoreError> {
        on_backend!(self, db => db.sessions_of(user).await)
    }

    /// Ends every session of a user; `false` when there is no such user.
    pub async fn end_all_of(&self, user: UserId, why: EndReason) -> Result<bool, StoreError> {
        let announcement = self.announcement();
        on_backend!(self, db => {
            let _announcement = announcement;
            db.end_all_of(user, why).await
        })
    }

    /// What the database says of itself.
    pub async fn inspect(&self) -> Result<Inspection, StoreError> {
        on_backend!(self, db => db.inspect().await)
    }
}
