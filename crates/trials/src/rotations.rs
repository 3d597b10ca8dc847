//! Rotates keys again and again while people work, and counts who is refused for it.

#![expect(
    clippy::missing_panics_doc,
    reason = "everything here panics when a service is not as it should be"
)]

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use futures_util::future::join_all;

use testbed::service::run;
use testbed::{Database, Kind, Service, Tokens};

const CLIENTS: usize = 12;
const TIMEOUT: Duration = Duration::from_secs(30);

/// What was counted.
#[derive(Debug, Default)]
pub struct Report {
    /// Rotations of both keys that took effect.
    pub rotations: usize,
    /// Access tokens that were issued, by login or refresh.
    pub issued: u64,
    /// Verifications of tokens that were good.
    pub verified: u64,
    pub refused: u64,
    /// Refreshes of honest clients that were refused.
    pub refreshes_refused: u64,
    /// Fetches of the key set because a token named a key that was not in it.
    pub fetches_for_unknown: u64,
    /// Tokens sent afterwards that name keys which do not exist.
    pub invented: usize,
    /// How long that took.
    pub invented_took: Duration,
    /// Fetches of the key set because of those, at all resource-services.
    pub fetches_for_invented: u64,
}

impl Report {
    /// Whether nobody was refused or bothered. A cool-down is ten seconds.
    #[must_use]
    pub fn is_good(&self) -> bool {
        let cooldowns = self.invented_took.as_secs() / 10 + 1;
        self.refused == 0
            && self.refreshes_refused == 0
            && self.fetches_for_unknown == 0
            && self.fetches_for_invented <= cooldowns
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "rotations of both keys             {}", self.rotations)?;
        writeln!(f, "access tokens issued               {}", self.issued)?;
        writeln!(f, "verifications of good tokens       {}", self.verified)?;
        writeln!(f, "  refused                          {}", self.refused)?;
        writeln!(f, "refreshes refused                  {}", self.refreshes_refused)?;
        writeln!(f, "key-set fetches for unknown keys   {}", self.fetches_for_unknown)?;
        writeln!(f, "tokens with invented key ids       {}", self.invented)?;
        writeln!(f, "  sent within, s                   {:.1}", self.invented_took.as_secs_f64())?;
        write!(f, "  key-set fetches because of them  {}", self.fetches_for_invented)
    }
}

/// Two auth-services on Postgres, three resource-services, clients that log in, refresh and call.
struct Site {
    auth: [Service; 2],
    resources: [Service; 3],
    _database: Database,
}

#[derive(Default)]
struct Counts {
    issued: AtomicU64,
    verified: AtomicU64,
    refused: AtomicU64,
    refreshes_refused: AtomicU64,
}

/// Rotates both keys so many times under load, each published for so long before it is used, then
/// sends `invented` tokens with random key ids.
pub async fn rotate(rotations: usize, published: Duration, invented: usize) -> Report {
    let site = Arc::new(Site::start(published).await);
    let counts = Arc::new(Counts::default());
    let stop = Arc::new(AtomicBool::new(false));
    for client in 0..CLIENTS {
        site.auth[0].register(&format!("client{client}")).await;
    }
    let clients = (0..CLIENTS).map(|client| {
        let (site, counts, stop) = (Arc::clone(&site), Arc::clone(&counts), Arc::clone(&stop));
        tokio::spawn(async move { work(&site, client, &counts, &stop).await })
    });
    let clients: Vec<_> = clients.collect();
    let mut report = Report::default();
    for _ in 0..rotations {
        site.rotate().await;
        report.rotations += 1;
    }
    stop.store(true, Ordering::Relaxed);
    for client in clients {
        client.await.expect("the client works");
    }
    report.issued = counts.issued.load(Ordering::Relaxed);
    report.verified = counts.verified.load(Ordering::Relaxed);
    report.refused = counts.refused.load(Ordering::Relaxed);
    report.refreshes_refused = counts.refreshes_refused.load(Ordering::Relaxed);
    report.fetches_for_unknown = site.fetches_for_unknown().await;
    report.invented = invented;
    let begun = Instant::now();
    site.invent(invented).await;
    report.invented_took = begun.elapsed();
    report.fetches_for_invented = site.fetches_for_unknown().await - report.fetches_for_unknown;
    report
}

async fn work(site: &Site, client: usize, counts: &Counts, stop: &AtomicBool) {
    let mut tokens = site.auth[client % 2].login(&format!("client{client}")).await;
    let mut round = client;
    while !stop.load(Ordering::Relaxed) {
        round += 1;
        counts.issued.fetch_add(1, Ordering::Relaxed);
        for resource in &site.resources {
            let answer = resource.whoami(&tokens.access).await;
            counts.verified.fetch_add(1, Ordering::Relaxed);
            if answer.status != 200 {
                counts.refused.fetch_add(1, Ordering::Relaxed);
            }
        }
        let answer = site.auth[round % 2].refresh(&tokens.refresh).await;
        tokens = if answer.status == 200 {
            Tokens::of(&answer)
        } else {
            counts.refreshes_refused.fetch_add(1, Ordering::Relaxed);
            site.auth[0].login(&format!("client{client}")).await
        };
    }
}

impl Site {
    async fn start(published: Duration) -> Self {
        let database = Database::create(Kind::Postgres).await;
        let settings = [
            ("AUTH__KEYS__PUBLISH_SECONDS", published.as_secs().to_string()),
            // Every refresh rotates, and makes a refresh token with the key of that moment.
            ("AUTH__TOKENS__GRACE_SECONDS", "0".to_owned()),
        ];
        let settings = settings.each_ref().map(|(name, value)| (*name, value.as_str()));
        let mut auth = [(); 2].map(|()| Service::auth(&database.url, &settings));
        for one in &mut auth {
            one.start().await;
        }
        let follow = [("RESOURCE__KEYS__REFRESH_SECONDS", "1")];
        let mut resources = [0, 1, 0].map(|which| Service::resource(&auth[which], &follow));
        for one in &mut resources {
            one.start().await;
        }
        Self { auth, resources, _database: database }
    }

    /// Forces both keys to change, and waits until both replicas sign with the new one.
    async fn rotate(&self) {
        for purpose in ["sign", "refresh"] {
            let arguments = ["keys", "rotate", "--purpose", purpose];
            let output = run("auth-service", &arguments, &self.auth[0].settings);
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        }
        let begun = Instant::now();
        loop {
            let output = run("auth-service", &["keys", "list"], &self.auth[0].settings);
            let list = String::from_utf8(output.stdout).expect("text");
            if !list.contains("\tpublished\t") {
                return;
            }
            assert!(begun.elapsed() < TIMEOUT, "the keys do not take over: {list}");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// At all resource-services.
    async fn fetches_for_unknown(&self) -> u64 {
        let mut all = 0;
        for resource in &self.resources {
            let text = resource.metrics().await;
            let ours = text.lines().filter(|line| {
                line.starts_with("latchkey_key_set_fetches_total")
                    && line.contains("cause=\"unknown key\"")
            });
            all +=
                ours.filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok()).sum::<u64>();
        }
        all
    }

    /// To the first resource-service alone: the bound is for each.
    async fn invent(&self, tokens: usize) {
        let good = self.auth[0].login("client0").await.access;
        let rest = good.split_once('.').expect("a JWT").1;
        let resource = &self.resources[0];
        let each = tokens.div_ceil(16);
        let send = |first: usize| async move {
            for number in first..(first + each).min(tokens) {
                let header =
                    format!(r#"{{"alg":"ES256","typ":"at+jwt","kid":"invented-{number}"}}"#);
                let token = format!("{}.{rest}", URL_SAFE_NO_PAD.encode(header));
                assert_eq!(resource.whoami(&token).await.status, 401);
            }
        };
        join_all((0..tokens).step_by(each.max(1)).map(send)).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `cargo xtask rotations` does it fifty times.
    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn no_good_token_is_refused_and_no_key_is_unknown_while_keys_rotate_under_load() {
        let report = rotate(2, Duration::from_secs(8), 500).await;
        println!("{report}");
        assert!(report.is_good() && report.verified > 100, "{report}");
    }
}
