//! Where keys and revocations come from, and whether what comes from there can be believed.

use std::error::Error;
use std::net::IpAddr;
use std::time::Duration;

use reqwest::Url;

/// The path of the key set on an auth-service's internal listener.
const INTERNAL_KEYS: &str = "/internal/keys";
/// In characters; as the auth-service demands it. Anybody can compute what an empty secret proves.
const LEAST_SECRET: usize = 32;

/// Where to get what a verifier needs.
#[derive(Clone)]
pub struct Sources {
    /// Where the key set is; when one address fails, the next is asked. Configured apart from the
    /// issuer, because inside a network the issuer's public name may not be reachable.
    ///
    /// Over plain http to another machine only an address that ends in `/internal/keys` is accepted,
    /// and only with a secret: its answers are proven as those of the feed are. Any other address is
    /// that of a key set that everybody may read (`jwks_uri`, RFC 8414).
    pub jwks_urls: Vec<String>,
    /// The revocation feeds; when one fails, is slow or has lost its database, the next is asked.
    pub feed_urls: Vec<String>,
    /// The secret of the feed. With it every answer of a feed must be proven; without it a feed must
    /// be reached over https or be on this machine.
    pub feed_secret: Option<String>,
    /// How often the key set is fetched when nothing asks for it sooner.
    pub key_refresh: Duration,
    /// The least time between two fetches of the key set, however many unknown keys are named.
    pub key_cooldown: Duration,
}

/// The sources cannot be used as configured. The messages do not repeat an address: it may have a
/// password in it.
#[derive(Debug, thiserror::Error)]
pub enum FollowError {
    /// There is no address of a key set.
    #[error("no address of a key set is configured")]
    NoKeySet,
    /// There is no feed address.
    #[error("no revocation feed is configured")]
    NoFeed,
    /// Anybody on the way to the key set could put keys into it.
    #[error(
        "an address of the key set must be https, or on this machine, or, with the feed's \
         secret (of at least 32 characters), the auth-service's internal listener: http://HOST:9080/internal/keys"
    )]
    ForgeableKeys,
    /// Anybody on the way to the feed could say that nothing was revoked.
    #[error(
        "an address of a revocation feed must be https or on this machine, or needs the feed's \
         secret, of at least 32 characters"
    )]
    ForgeableFeed,
    /// The HTTP client could not be set up. As long as its settings are ours, that is for want of authorities.
    #[error(
        "the HTTP client could not be set up: {}; an address that begins with https:// needs the \
         system's certificate authorities (Debian: ca-certificates), or others that SSL_CERT_FILE names",
        first_cause(.0)
    )]
    Client(#[source] reqwest::Error),
}

/// What began it: an error of the client says no more than that it is one.
fn first_cause(error: &reqwest::Error) -> String {
    let mut cause: &dyn Error = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}

impl Sources {
    /// The usual settings: keys every five minutes, and at most every ten seconds.
    #[must_use]
    pub fn new(
        jwks_urls: Vec<String>,
        feed_urls: Vec<String>,
        feed_secret: Option<String>,
    ) -> Self {
        Self {
            jwks_urls,
            feed_urls,
            feed_secret,
            key_refresh: Duration::from_mins(5),
            key_cooldown: Duration::from_secs(10),
        }
    }

    /// Whether they can be followed: there are some, and nobody on the way to them can forge what
    /// they say. [`follow`](super::follow) checks this too.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn check(&self) -> Result<(), FollowError> {
        if self.jwks_urls.is_empty() {
            return Err(FollowError::NoKeySet);
        }
        if self.feed_urls.is_empty() {
            return Err(FollowError::NoFeed);
        }
        if !self
            .jwks_urls
            .iter()
            .all(|url| is_safe(url, self.has_secret() && self.proves_keys(url)))
        {
            return Err(FollowError::ForgeableKeys);
        }
        if !self.feed_urls.iter().all(|url| is_safe(url, self.has_secret())) {
            return Err(FollowError::ForgeableFeed);
        }
        Ok(())
    }

    /// Whether an address is fetched by https.
    pub(super) fn need_authorities(&self) -> bool {
        let mut urls = self.jwks_urls.iter().chain(&self.feed_urls);
        urls.any(|url| Url::parse(url).is_ok_and(|url| url.scheme() == "https"))
    }

    /// Whether the secret is one that nobody guesses.
    fn has_secret(&self) -> bool {
        self.feed_secret.as_ref().is_some_and(|secret| secret.len() >= LEAST_SECRET)
    }

    /// Whether the key set at this address is proven by the secret.
    pub(super) fn proves_keys(&self, url: &str) -> bool {
        self.feed_secret.is_some()
            && Url::parse(url).is_ok_and(|url| url.path().ends_with(INTERNAL_KEYS))
    }
}

/// Whether nobody on the way can forge an answer.
fn is_safe(url: &str, proven: bool) -> bool {
    let Ok(url) = Url::parse(url) else { return false };
    match url.scheme() {
        "https" => true,
        "http" => proven || url.host_str().is_some_and(is_this_machine),
        _ => false,
    }
}

fn is_this_machine(host: &str) -> bool {
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    // Who connects to the unspecified address reaches this machine.
    host == "localhost" || address.is_ok_and(|it| it.is_loopback() || it.is_unspecified())
}

#[cfg(test)]
mod tests {
    use super::*;

    const FEED: &str = "http://127.0.0.1:9080/internal/revocations";
    const KEYS: &str = "http://127.0.0.1:8080/.well-known/jwks.json";

    fn check(keys: &str, feed: &str, secret: bool) -> Result<(), FollowError> {
        check_with(keys, feed, secret.then_some("0123456789abcdef0123456789abcdef"))
    }

    fn check_with(keys: &str, feed: &str, secret: Option<&str>) -> Result<(), FollowError> {
        let secret = secret.map(str::to_owned);
        let (keys, feed) = ([KEYS, keys], [FEED, feed]);
        let owned = |urls: [&str; 2]| urls.map(str::to_owned).to_vec();
        Sources::new(owned(keys), owned(feed), secret).check()
    }

    #[test]
    fn what_could_be_forged_on_the_way_is_refused() {
        for here in
            ["http://localhost:8080/", "http://[::1]:1/x", "http://127.9.9.9/", "http://0.0.0.0:1/"]
        {
            assert!(check(here, here, false).is_ok(), "{here}");
        }
        assert!(
            check("https://auth.example.com/jwks", "https://auth.example.com/feed", false).is_ok()
        );
        for keys in [
            "http://auth:8080/.well-known/jwks.json",
            "http://10.0.0.1/internal/keys",
            "http://localhost.example.com/internal/keys",
            "http://auth/x?/internal/keys",
            "ftp://auth/internal/keys",
            "auth:9080",
            "",
        ] {
            let refused = check(keys, FEED, false);
            assert!(matches!(refused, Err(FollowError::ForgeableKeys)), "{keys}: {refused:?}");
        }
        for feed in ["http://auth:9080/internal/revocations", "http://10.0.0.1/", "file:///x", "x"]
        {
            let refused = check(KEYS, feed, false);
            assert!(matches!(refused, Err(FollowError::ForgeableFeed)), "{feed}: {refused:?}");
        }
    }

    #[test]
    fn with_a_secret_the_internal_listener_may_be_anywhere() {
        let feed = "http://auth:9080/internal/revocations";
        assert!(check("http://auth:9080/internal/keys", feed, true).is_ok());
        assert!(check("http://10.0.0.1:80/prefix/internal/keys", feed, true).is_ok());
        for weak in ["", "secret", "0123456789abcdef0123456789abcde"] {
            let refused = check_with(KEYS, feed, Some(weak));
            assert!(matches!(refused, Err(FollowError::ForgeableFeed)), "{weak}: {refused:?}");
            let refused = check_with("http://auth:9080/internal/keys", FEED, Some(weak));
            assert!(matches!(refused, Err(FollowError::ForgeableKeys)), "{weak}: {refused:?}");
        }
        let refused = check("http://auth:8080/.well-known/jwks.json", feed, true);
        assert!(matches!(refused, Err(FollowError::ForgeableKeys)), "{refused:?}");
        let refused = check("http://auth:9080/x?a=/internal/keys", feed, true);
        assert!(matches!(refused, Err(FollowError::ForgeableKeys)), "{refused:?}");
    }
}
