//! Buckets as the settings want them.

use std::net::{IpAddr, Ipv4Addr};

use claims::SessionId;

use crate::config;
use crate::identity::pseudonyms::Pseudonym;
use crate::limits::{Bucket, Key, Rule};
use crate::policy::app::App;
use crate::store::Requester;

/// The first wait; it doubles from there.
const FIRST_MS: u64 = 1000;

/// Guesses at one password from one place.
pub(super) fn guesses(
    settings: &config::Limits,
    policy: &'static str,
    whose: Pseudonym,
) -> Option<Bucket> {
    let rule = growing(
        settings.login_free,
        settings.login_most_seconds,
        u64::from(settings.login_forget_seconds) * 1000,
    )?;
    let key = Key { policy, whose };
    Some(Bucket { key, rule, only_after_empty: false, success_clears: true })
}

pub(super) fn growing(free: u32, most_seconds: u32, forget_ms: u64) -> Option<Rule> {
    let most_ms = u64::from(most_seconds) * 1000;
    (free > 0).then(|| Rule::Growing { free: free.into(), first_ms: FIRST_MS, most_ms, forget_ms })
}

/// `burst` at once and `count` more in `seconds`; none where `burst` is 0, which turns it off.
pub(super) fn rate(burst: u32, count: u32, seconds: u64) -> Option<Rule> {
    let interval_ms = (seconds * 1000 / u64::from(count.max(1))).max(1);
    (burst > 0).then(|| Rule::Rate { burst: burst.into(), interval_ms })
}

/// Who is not on a network is on none.
pub(super) fn address(requester: &Requester) -> IpAddr {
    requester.address().unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED))
}

pub(super) fn whose(app: &App, session: SessionId) -> Pseudonym {
    app.pseudonyms.of("session", &[session.to_string().as_bytes()])
}

pub(super) fn bucket(policy: &'static str, whose: Pseudonym, rule: Option<Rule>) -> Option<Bucket> {
    let key = Key { policy, whose };
    rule.map(|rule| Bucket { key, rule, only_after_empty: false, success_clears: false })
}
