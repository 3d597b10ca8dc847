//! How connections to Postgres and Redis are protected, in the words of libpq.

use hosting::settings::one_of;
use serde::Deserialize;

/// `sslmode`, as libpq means it. `allow` is missing: it protects nothing that `prefer` does not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub enum Tls {
    /// Nothing is said: good for a server on this machine only.
    Unsaid,
    /// Everything in the clear.
    Disable,
    /// TLS where the server offers it, with whoever that is.
    Prefer,
    /// TLS with whoever answers, or nothing.
    Require,
    /// TLS with a server of a known authority.
    VerifyCa,
    /// TLS with the server that has this host name, by a known authority.
    VerifyFull,
}

impl TryFrom<String> for Tls {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let all = [
            ("", Self::Unsaid),
            ("disable", Self::Disable),
            ("prefer", Self::Prefer),
            ("require", Self::Require),
            ("verify-ca", Self::VerifyCa),
            ("verify-full", Self::VerifyFull),
        ];
        one_of(&text, &all)
    }
}

/// What an error in words of TLS means for whoever set the connection up; `None` where it is another error.
///
/// The libraries wrap the errors of rustls in types of their own, so that only their text tells.
pub(crate) fn explain(error: &str) -> Option<&'static str> {
    const TOLD: [(&[&str], &str); 6] = [
        (
            &["does not support TLS", "InvalidContentType", "corrupt message"],
            "the server offers no TLS on this port, and the settings ask for it: turn it on there \
             (Postgres: ssl = on; Redis: tls-port)",
        ),
        (
            &["UnknownIssuer", "BadSignature"],
            "the server's certificate is of an authority that is not trusted here: name that authority \
             (sslrootcert in database.url, redis.root_cert, or SSL_CERT_FILE for all)",
        ),
        (
            &["NotValidForName", "not valid for name"],
            "the server's certificate is for another host name than the URL has",
        ),
        (
            &["certificate expired", "Expired"],
            "the server's certificate has expired, or the clock of this machine is wrong",
        ),
        (
            &["certificate not valid yet", "NotValidYet"],
            "the server's certificate is not valid yet, or the clock of this machine is wrong",
        ),
        (
            &["CertificateRequired", "certificate required"],
            "the server wants a certificate of its client (Postgres: sslcert and sslkey in database.url; for \
             Redis set tls-auth-clients to no)",
        ),
    ];
    let known = TOLD.iter().find(|(texts, _)| texts.iter().any(|text| error.contains(text)));
    known.map(|(_, meaning)| *meaning)
}
