//! Logins: what a stranger may try, and how the owner gets in all the same.

use std::net::IpAddr;

use super::buckets::{address, bucket, growing, guesses, rate};
use super::owner::{self, Applicant};
use super::refusal::refuse;
use crate::error::Error;
use crate::identity::names::{self, NameKey};
use crate::limits::{Attempt, Bucket, Refusal};
use crate::policy::app::App;

/// Many different names from one network: the longest wait, and when they are forgotten.
const NAMES_MOST_SECONDS: u32 = 60;
const NAMES_FORGET_MS: u64 = 600 * 1000;

/// Admits a login, or says how long to wait. Strangers must not be able to lock an owner out: who
/// shows that they are the owner is counted apart from everybody else. Whether they can show it is
/// looked at only where the attempt is not admitted at once, so that a flood of strangers costs nothing.
pub(crate) async fn login(app: &App, applicant: Applicant<'_>) -> Result<Attempt, Error> {
    let (limits, name) = (&app.limits, names::anything(applicant.username));
    let (from, begun) = (address(applicant.requester), limits.elapsed());
    let buckets = buckets(app, &name, from);
    let refusal = match limits.attempt_at_once(&buckets, begun).await {
        Ok(attempt) => return Ok(attempt),
        Err(refusal) => refusal,
    };
    // Before waiting: the owner does not stand in the line of the strangers.
    let Some(owner) = owner::proof(app, &applicant, (&name, from), refusal).await else {
        let waited = limits.wait(&buckets, refusal, begun).await;
        return waited.map_err(|refusal| refuse(app, refusal));
    };
    let apart: Vec<_> = guesses(&limits.settings, "login-owner", owner).into_iter().collect();
    limits.attempt(&apart).await.map_err(|other: Refusal| {
        refuse(app, if other.wait_ms < refusal.wait_ms { other } else { refusal })
    })
}

fn buckets(app: &App, name: &NameKey, from: IpAddr) -> Vec<Bucket> {
    let (settings, pseudonyms) = (&app.limits.settings, &app.pseudonyms);
    let forget_ms = u64::from(settings.login_forget_seconds) * 1000;
    let network = pseudonyms.network(from);
    let mut all = Vec::with_capacity(4);
    if let Some(pair) = guesses(settings, "login", owner::pair(pseudonyms, name, from)) {
        all.push(pair);
        // Right behind the pair: the first failure of each name counts, the others do not.
        let rule = growing(settings.names_free, NAMES_MOST_SECONDS, NAMES_FORGET_MS);
        let names = bucket("login-names", network, rule);
        all.extend(names.map(|names| Bucket { only_after_empty: true, ..names }));
    }
    let rule = growing(settings.account_free, settings.account_most_seconds, forget_ms);
    all.extend(bucket("login-account", pseudonyms.name(name), rule));
    let rule = rate(settings.network_burst, settings.network_per_minute, 60);
    all.extend(bucket("login-network", network, rule));
    all
}
