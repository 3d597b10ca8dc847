//! What handlers and the policy work with.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use hosting::origin::Origin;
use tokio::sync::watch;
use verifier::Verifier;

use crate::background::supervisor::Broken;
use crate::config::Config;
use crate::identity::pseudonyms::{Pseudonym, Pseudonyms};
use crate::limits::Limits;
use crate::limits::owners::Owners;
use crate::passwords::Passwords;
use crate::revocation::Feed;
use crate::store::{Requester, Store};
use crate::tokens::clients::Clients;
use crate::tokens::keyring::Keyring;

/// The service's parts, as a value: each test has its own.
pub struct App {
    pub config: Config,
    /// The origin of the issuer's own pages.
    pub own_origin: Origin,
    pub store: Store,
    pub passwords: Passwords,
    pub keyring: Arc<Keyring>,
    /// What the client may have that tokens are issued to.
    pub clients: Arc<Clients>,
    /// Who tries too often.
    pub limits: Limits,
    /// Who has shown to be an account's owner.
    pub(crate) owners: Owners,
    /// What stands for names and networks outside the database.
    pub pseudonyms: Arc<Pseudonyms>,
    pub feed: Arc<Feed>,
    /// What decides whether a bearer token is good.
    pub verifier: Arc<Verifier>,
    /// Whether a task that keeps the others up to date does not work.
    pub(crate) broken: Broken,
    /// Whether the service is about to stop.
    pub(crate) draining: AtomicBool,
    /// Becomes true when waiting answers should be given at once.
    pub(crate) stopping: watch::Sender<bool>,
}

impl App {
    /// Whether the service is about to stop and wants no new work.
    #[must_use]
    pub fn draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }

    /// What stands for the network that a request came from, in the log and in the audit log.
    #[must_use]
    pub fn origin(&self, requester: &Requester) -> Option<Pseudonym> {
        requester.address().map(|address| self.pseudonyms.network(address))
    }

    /// Waits until answers that wait should be given.
    pub async fn stopping(&self) {
        let mut stopping = self.stopping.subscribe();
        let _ = stopping.wait_for(|stopping| *stopping).await;
    }
}
