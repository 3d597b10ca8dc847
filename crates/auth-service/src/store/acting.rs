//! On whose behalf something is changed: an administrator who asked for it over HTTP.
//!
//! Every write through a store of [`Store::on_behalf_of`] is a transaction that first makes sure of the
//! administrator, and the audit log has who it was. Whether they may do it is decided above; what could change
//! meanwhile, that their session ends, that a role of theirs is taken away or that the account gets one, is
//! looked at here, in the same step as the change.

use std::sync::Arc;

use claims::{SessionId, UserId};
use futures_util::FutureExt as _;

use super::postgres::Lane;
use super::rows::{Columns as _, live};
use super::transaction::Tx;
use super::{Store, StoreError};

/// An administrator who has something changed.
#[derive(Debug, Clone)]
pub struct Acting {
    pub administrator: UserId,
    /// With which session, which must be live.
    pub session: SessionId,
    /// The roles by which they were let in. Where one was taken away since, they change nothing more: with a
    /// request that waits for its body they could give it back to themselves.
    pub roles: Vec<String>,
    /// Whose account it is about, if it is about one.
    pub about: Option<UserId>,
    /// The roles that allow more than the administrator may: an account that has one is not changed.
    pub out_of_reach: Vec<String>,
}

impl Store {
    /// The same store, for what this administrator has changed.
    #[must_use]
    pub fn on_behalf_of(&self, acting: Acting) -> Self {
        Self { acting: Some(Arc::new(acting)), ..self.clone() }
    }

    /// The administrator on whose behalf this store changes things; `None` for the command line.
    #[must_use]
    pub fn administrator(&self) -> Option<UserId> {
        self.acting.as_ref().map(|acting| acting.administrator)
    }

    /// Looks whether whoever acts may change the account that it is about, and changes nothing. Every change
    /// looks by itself; this is for what costs much before a change.
    pub async fn check_reach(&self) -> Result<(), StoreError> {
        if self.acting.is_none() {
            return Ok(());
        }
        self.transaction("check_reach", Lane::Main, (), |_| async { Ok(()) }.boxed()).await
    }
}

impl Acting {
    /// The beginning of each transaction. An error undoes it.
    pub(super) async fn begin(&self, tx: &mut Tx) -> Result<(), StoreError> {
        // Locked before anything else is looked at, as everywhere.
        if let Some(user) = self.about {
            let sql = "select u.roles from users u where u.id = $1 {lock}";
            for row in tx.fetch_all(sql, &[user.into()]).await? {
                let roles = row.text("roles")?;
                let mut roles = roles.split_whitespace();
                if roles.any(|role| self.out_of_reach.iter().any(|other| other == role)) {
                    return Err(StoreError::OutOfReach);
                }
            }
        }
        let sql = concat!(
            "with clock as materialized (select {now} as now) \
             select u.roles from sessions s, users u, clock \
             where s.id = $1 and s.user_id = $2 and u.id = s.user_id and ",
            live!()
        );
        let found = tx.fetch_all(sql, &[self.session.into(), self.administrator.into()]).await?;
        let Some(found) = found.first() else { return Err(StoreError::NotActing) };
        let roles = found.text("roles")?;
        let has = |role: &String| roles.split_whitespace().any(|other| other == role);
        if !self.roles.iter().all(has) {
            return Err(StoreError::NotActing);
        }
        Ok(tx.act_for(self.administrator).await?)
    }
}
