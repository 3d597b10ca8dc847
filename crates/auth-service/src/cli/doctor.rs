//! `auth-service doctor`: is everything as the promises need it? One line each.

use std::fmt::Display;

use crate::config::Config;
use crate::revocation::blacklist::Blacklist;
use crate::store::{KeyPurpose, KeyState, Protection, Store};
use crate::tokens::keyring;
use crate::tokens::seal::MasterKeys;
use claims::time::LEEWAY_SECONDS;
use hosting::causes;
use hosting::settings::is_loopback;
use secrecy::ExposeSecret as _;
use verifier::Clock;

use super::console::{Failure, instant, open, say};

/// A transaction that is open for longer keeps Postgres from reusing what refreshes leave behind.
const OLD_SNAPSHOT_MS: i64 = 60_000;
const DAY_MS: i64 = 24 * 3600 * 1000;
/// A step of the clock that is longer ago is history.
const RECENT_MS: i64 = 7 * DAY_MS;

/// What was found so far.
#[derive(Default)]
struct Findings {
    bad: usize,
}

impl Findings {
    fn ok(&mut self, what: &str, text: impl Display) {
        self.tell("ok", what, text);
    }

    fn warn(&mut self, what: &str, text: impl Display) {
        self.tell("warn", what, text);
    }

    fn bad(&mut self, what: &str, text: impl Display) {
        self.bad += 1;
        self.tell("BAD", what, text);
    }

    #[expect(clippy::unused_self, reason = "what is told belongs to the findings")]
    fn tell(&mut self, verdict: &str, what: &str, text: impl Display) {
        say(&format!("{verdict:<5} {what:<10} {text}"));
    }
}

/// Ends with a failure if anything is bad; a warning is none.
pub(super) async fn run(config: Result<Config, Failure>) -> Result<(), Failure> {
    let mut found = Findings::default();
    match config {
        Ok(config) => examine(&config, &mut found).await,
        Err(error) => found.bad("settings", error),
    }
    if found.bad == 0 { Ok(()) } else { Err(format!("{} bad", found.bad).into()) }
}

async fn examine(config: &Config, found: &mut Findings) {
    settings(config, found);
    match open(config).await {
        Ok(store) => {
            database(&store, found).await;
            keys(config, &store, found).await;
            roles(config, &store, found).await;
            store.close().await;
        }
        Err(error) => found.bad("database", causes(&*error)),
    }
    redis(config, found).await;
}

fn settings(config: &Config, found: &mut Findings) {
    if is_loopback(&config.issuer) {
        found.ok("settings", format_args!("issuer {}: this machine alone", config.issuer));
    } else {
        found.ok("settings", format_args!("issuer {}", config.issuer));
    }
    let cost = &config.passwords;
    // RFC 9106 and OWASP's password storage sheet: at least 19 MiB, two passes.
    if cost.memory_kib < 19_456 || cost.iterations < 2 {
        let given = format_args!("m={} KiB, t={}", cost.memory_kib, cost.iterations).to_string();
        found.warn("passwords", format_args!("{given} is below m=19456 KiB, t=2"));
    }
    if config.tokens.grace_seconds > 60 {
        found.warn("tokens", "grace_seconds is how long theft goes unseen; 30 is usual");
    }
}

async fn database(store: &Store, found: &mut Findings) {
    let inspection = match store.inspect().await {
        Ok(inspection) => inspection,
        Err(error) => return found.bad("database", causes(&error)),
    };
    let schema = store.newer_schema().map_or_else(
        || "the schema is this program's".to_owned(),
        |newest| format!("the schema is newer ({newest}), and this program may serve it"),
    );
    found.ok("database", format_args!("{}, {schema}", inspection.server));
    match store.is_restored().await {
        Ok(false) => {}
        Ok(true) => found.bad(
            "database",
            "is a backup that was restored: run `auth-service session end-all --after-restore`",
        ),
        Err(error) => found.bad("database", causes(&error)),
    }
    match inspection.protection {
        None => {}
        Some(Protection::Tls { how, checked: true }) => found.ok("database", how),
        Some(Protection::Tls { how, checked: false }) => found.warn(
            "database",
            format_args!(
                "{how}, but nothing checks who the server is: database.tls = \"verify-full\""
            ),
        ),
        Some(Protection::Clear) => {
            found.warn("database", in_the_clear("database.tls = \"verify-full\""));
        }
    }
    for (name, value, good) in inspection.settings {
        if good {
            found.ok("database", format_args!("{name} = {value}"));
        } else {
            found
                .bad("database", format_args!("{name} = {value}: acknowledged writes may be lost"));
        }
    }
    let apart = (inspection.now.0 - Clock::default().now().0).abs();
    let text = format!("the database's is {:.1} s away from this machine's", seconds(apart));
    match apart {
        0..2_000 => found.ok("clock", text),
        _ if apart < LEEWAY_SECONDS.cast_signed() * 1000 => found.warn("clock", text),
        _ => found.bad("clock", format_args!("{text}: tokens are refused; set both by NTP")),
    }
    match store.last_clock_step().await {
        Ok(None) => {}
        Ok(Some((at, by))) => {
            let text = format!("was stepped by {by} at {}; see that NTP keeps it", instant(at));
            if inspection.now.0 - at.0 < RECENT_MS {
                found.warn("clock", text);
            } else {
                found.ok("clock", text);
            }
        }
        Err(error) => found.bad("clock", causes(&error)),
    }
    match inspection.oldest_snapshot_ms {
        Some(age) if age > OLD_SNAPSHOT_MS => found.warn(
            "database",
            format_args!(
                "a transaction is open for {:.0} s: the table of sessions grows meanwhile; dump from a \
                 standby",
                seconds(age)
            ),
        ),
        _ => {}
    }
}

async fn keys(config: &Config, store: &Store, found: &mut Findings) {
    let read = match store.keys().await {
        Ok(read) => read,
        Err(error) => return found.bad("keys", causes(&error)),
    };
    if read.keys.is_empty() {
        return found.warn("keys", "there are none yet; the first start of the service makes them");
    }
    let masters = match MasterKeys::from_settings(config) {
        Ok(masters) => masters,
        Err(error) => return found.bad("keys", causes(&error)),
    };
    match keyring::open(&read.keys, &masters, config) {
        Ok(_) => found.ok("keys", "all open with the master key"),
        Err(error) => return found.bad("keys", causes(&error)),
    }
    for purpose in [KeyPurpose::Sign, KeyPurpose::Refresh] {
        let Some(active) = read.one(purpose, KeyState::Active) else { continue };
        let days = (read.now.0 - active.since.0) / DAY_MS;
        let text = format!("the {} key is in use for {days} days", purpose.as_str());
        let most = i64::from(config.keys.rotate_days);
        if most > 0 && days > most + 1 {
            found.warn("keys", format_args!("{text}: no running service rotates it"));
        } else {
            found.ok("keys", text);
        }
    }
    let by_other = read
        .keys
        .iter()
        .filter(|key| key.state.checks())
        .any(|key| !matches!(masters.reseal(&keyring::place(&key.id), &key.sealed), Ok(None)));
    let has_other = !config.keys.other_master_key.expose_secret().is_empty();
    match (by_other, has_other) {
        (true, _) => found.warn("keys", "some are sealed with other_master_key: run `keys reseal`"),
        (false, true) => found.warn("keys", "other_master_key opens nothing and can be taken away"),
        (false, false) => {}
    }
}

/// Whether all accounts have roles for which there is room in a token, as was looked at when they were given.
async fn roles(config: &Config, store: &Store, found: &mut Findings) {
    let room = config.room_for_roles();
    match store.users_with_roles_over(room).await {
        Ok(users) if users.is_empty() => {
            found.ok("roles", format_args!("{room} bytes of a token are left for them"));
        }
        Ok(users) => {
            let ids: Vec<_> = users.iter().map(|user| format!("id:{user}")).collect();
            let text = format_args!(
                "take more than the {room} bytes of a token that are left for them: services refuse the tokens of {}; \
                 give fewer roles, or name fewer services and scopes in the settings",
                ids.join(", ")
            )
            .to_string();
            found.bad("roles", text);
        }
        Err(error) => found.bad("roles", error),
    }
}

fn in_the_clear(remedy: &str) -> String {
    format!(
        "on another machine, and everything on the way there is in the clear: good only on a network of \
         your own, else {remedy}"
    )
}

async fn redis(config: &Config, found: &mut Findings) {
    let redis = match Blacklist::open(&config.redis) {
        Ok(Some(redis)) => redis,
        Ok(None) => return found.ok("redis", "none configured"),
        Err(error) => return found.bad("redis", error),
    };
    if redis.0.is_in_the_clear() {
        found.warn("redis", in_the_clear("rediss:// in redis.url"));
    }
    if let Err(error) = redis.0.refuse_cluster().await {
        return found.bad("redis", error);
    }
    match redis.policy().await {
        Ok(policy) if policy == "noeviction" => found.ok("redis", "answers; noeviction"),
        Ok(policy) => found.bad(
            "redis",
            format_args!("maxmemory-policy is {policy}: it may forget revocations; set noeviction"),
        ),
        // Nothing depends on it.
        Err(error) => found.warn("redis", format_args!("does not answer: {error}")),
    }
}

#[expect(clippy::cast_precision_loss, reason = "for people; no such time reaches 2^52 ms")]
fn seconds(milliseconds: i64) -> f64 {
    milliseconds as f64 / 1000.0
}
