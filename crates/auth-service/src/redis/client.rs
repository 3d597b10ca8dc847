//! Redis as the settings name it, and connections to it.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use hosting::settings::is_this_machine;
use redis::aio::{MultiplexedConnection, PubSub};
use redis::{
    Client, ConnectionAddr, ConnectionInfo, IntoConnectionInfo as _, RedisError, TlsCertificates,
};
use secrecy::ExposeSecret as _;
use tokio::time::timeout;

use crate::config::{self, ConfigError, Tls};

const URL: &str = "redis.url";
const CERTIFICATE: &[u8] = b"-----BEGIN CERTIFICATE-----";
/// Scripts and MGET name several keys, which a cluster keeps at several servers. Each would be refused with CROSSSLOT.
const CLUSTER: &str = "leads to a Redis Cluster, which refuses what is done here with several keys at once: name a Redis that is none";
/// How long a start waits for what Redis says of itself.
const LOOK_TIMEOUT: Duration = Duration::from_secs(1);

/// Where Redis is. Nothing is connected yet.
#[derive(Debug, Clone)]
pub struct RedisServer {
    info: ConnectionInfo,
    /// Empty: the system's authorities.
    root_cert: PathBuf,
}

impl RedisServer {
    /// `None` where the settings name no Redis. Does not connect: it may come later.
    pub fn open(settings: &config::Redis) -> Result<Option<Self>, ConfigError> {
        if matches!(settings.tls, Tls::Prefer | Tls::Require | Tls::VerifyCa) {
            let problem = "must be \"disable\", \"verify-full\" or nothing".to_owned();
            return Err(ConfigError::Value { key: "redis.tls", problem });
        }
        let url = settings.url.expose_secret();
        if url.is_empty() {
            return Ok(None);
        }
        // What the library says could repeat a password.
        let wrong = |problem: &str| ConfigError::Value { key: URL, problem: problem.to_owned() };
        let form = "must be rediss://user:password@host:port (with TLS), redis://… or unix:/path";
        let info = url.into_connection_info().map_err(|_| wrong(form))?;
        let with_tls = matches!(info.addr(), ConnectionAddr::TcpTls { .. });
        match (info.addr(), settings.tls) {
            (ConnectionAddr::TcpTls { insecure: true, .. }, _) => {
                return Err(wrong("must not end in #insecure: the certificate is always checked"));
            }
            (ConnectionAddr::Tcp(host, _), Tls::Unsaid) if !is_this_machine(host) => {
                return Err(wrong(
                    "leads to another machine in the clear: write rediss://, which checks who the server \
                     is, or set redis.tls to \"disable\"",
                ));
            }
            (_, Tls::Unsaid) => {}
            (_, Tls::Disable) if !with_tls => {}
            (_, Tls::VerifyFull) if with_tls => {}
            _ => return Err(wrong("and redis.tls contradict each other: rediss:// is with TLS")),
        }
        let root_cert = settings.root_cert.clone();
        let server = Self { info, root_cert };
        let client = server.client();
        client.map_err(|error| ConfigError::Value {
            key: "redis.root_cert",
            problem: error.to_string(),
        })?;
        Ok(Some(server))
    }

    /// Whether it is on another machine and nothing protects the way there.
    pub(crate) fn is_in_the_clear(&self) -> bool {
        matches!(self.info.addr(), ConnectionAddr::Tcp(host, _) if !is_this_machine(host))
    }

    /// Refuses a Redis that answers and is a cluster. One that does not answer may come later, and
    /// [`connect`](Self::connect) looks again.
    pub async fn refuse_cluster(&self) -> Result<(), ConfigError> {
        // What negotiates TLS is large.
        match timeout(LOOK_TIMEOUT, Box::pin(self.look())).await {
            Ok(Ok((_, true))) => Err(ConfigError::Value { key: URL, problem: CLUSTER.to_owned() }),
            _ => Ok(()),
        }
    }

    /// A new connection for commands; an error says so where it leads to a cluster.
    pub async fn connect(&self) -> Result<MultiplexedConnection, RedisError> {
        match self.look().await? {
            (_, true) => Err(io::Error::other(format!("{URL} {CLUSTER}")).into()),
            (connection, false) => Ok(connection),
        }
    }

    /// A new connection, and whether it leads to a cluster.
    async fn look(&self) -> Result<(MultiplexedConnection, bool), RedisError> {
        let connecting = self.client()?;
        let mut connection =
            connecting.get_multiplexed_async_connection().await.map_err(explained)?;
        let asking = redis::cmd("INFO").arg("cluster").query_async(&mut connection).await;
        let told: String = match asking {
            Ok(told) => told,
            // It answers, and does not tell everybody.
            Err(error) if error.code().is_some() => String::new(),
            Err(error) => return Err(error),
        };
        Ok((connection, told.lines().any(|line| line.trim() == "cluster_enabled:1")))
    }

    /// A new connection for messages.
    pub async fn listen(&self) -> Result<PubSub, RedisError> {
        self.client()?.get_async_pubsub().await.map_err(explained)
    }

    /// The file is read each time: a renewed authority counts from the next connection on.
    fn client(&self) -> Result<Client, RedisError> {
        let with_tls = matches!(self.info.addr(), ConnectionAddr::TcpTls { .. });
        if !with_tls || self.root_cert.as_os_str().is_empty() {
            return Client::open(self.info.clone());
        }
        let authority = std::fs::read(&self.root_cert).map_err(|error| {
            io::Error::new(error.kind(), format!("{}: {error}", self.root_cert.display()))
        })?;
        // The library would take an empty list, and trust nobody.
        if !authority.windows(CERTIFICATE.len()).any(|part| part == CERTIFICATE) {
            let why = format!("{}: there is no certificate in it", self.root_cert.display());
            return Err(io::Error::other(why).into());
        }
        let certificates = TlsCertificates { client_tls: None, root_cert: Some(authority) };
        Client::build_with_tls(self.info.clone(), certificates)
    }
}

/// In plain words where it is TLS that failed.
fn explained(error: RedisError) -> RedisError {
    match config::explain(&error.to_string()) {
        Some(meaning) => io::Error::other(meaning).into(),
        None => error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn opened(url: &str, tls: Tls) -> Result<bool, String> {
        let settings = config::Redis { url: url.into(), tls, root_cert: PathBuf::new() };
        let server = RedisServer::open(&settings).map_err(|error| error.to_string())?;
        Ok(server.is_some_and(|server| matches!(server.info.addr(), ConnectionAddr::TcpTls { .. })))
    }

    #[test]
    fn a_redis_elsewhere_is_connected_to_in_the_clear_only_as_somebody_chose() {
        let refused =
            opened("redis://u:secret@redis.example.com", Tls::Unsaid).expect_err("refused");
        for words in ["redis.url", "rediss://", "redis.tls", "disable"] {
            assert!(refused.contains(words), "{refused}");
        }
        assert!(!refused.contains("secret"), "{refused}");
        assert_eq!(opened("redis://redis.example.com", Tls::Disable), Ok(false));
        assert_eq!(opened("rediss://redis.example.com", Tls::Unsaid), Ok(true));
        assert_eq!(opened("rediss://redis.example.com", Tls::VerifyFull), Ok(true));
        for url in
            ["redis://127.0.0.1:6379", "redis://localhost", "redis://[::1]", "unix:/run/redis"]
        {
            assert_eq!(opened(url, Tls::Unsaid), Ok(false), "{url}");
        }
        for (url, tls) in [
            ("rediss://redis.example.com", Tls::Disable),
            ("redis://redis.example.com", Tls::VerifyFull),
            ("rediss://redis.example.com", Tls::Prefer),
            ("rediss://redis.example.com/#insecure", Tls::Unsaid),
            ("http://redis.example.com", Tls::Unsaid),
        ] {
            assert!(opened(url, tls).is_err(), "{url}");
        }
    }

    #[test]
    fn an_authority_that_is_none_is_refused_at_the_start() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        std::fs::write(
            file.path(),
            "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
        )
        .expect("written");
        for root_cert in [file.path().to_owned(), "/nowhere/ca.pem".into(), "/dev/null".into()] {
            let url = "rediss://redis.example.com".into();
            let error = RedisServer::open(&config::Redis { url, tls: Tls::Unsaid, root_cert });
            assert!(error.expect_err("refused").to_string().contains("redis.root_cert"));
        }
    }
}
