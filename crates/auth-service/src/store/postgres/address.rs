//! Where the server is, and how the way to it is protected.

use std::str::FromStr as _;

use hosting::settings::is_this_machine;
use secrecy::ExposeSecret as _;
use sqlx::postgres::{PgConnectOptions, PgSslMode};
use url::Url;

use super::super::OpenError;
use crate::config::{self, Tls};

/// What libpq calls `sslmode` in a URL, and what sqlx takes for the same.
const MODE: [&str; 2] = ["sslmode", "ssl-mode"];
const AUTHORITY: [&str; 3] = ["sslrootcert", "ssl-root-cert", "ssl-ca"];
/// What would be looked for without its name in the error.
const FILES: [&[&str]; 3] = [&AUTHORITY, &["sslcert", "ssl-cert"], &["sslkey", "ssl-key"]];

/// How to connect, and always one mode that somebody chose: what the URL says counts before
/// `database.tls`, and variables of libpq's for the mode count for nothing.
///
/// By itself sqlx would try TLS with anybody and go on without it.
pub(super) fn options(settings: &config::Database) -> Result<PgConnectOptions, OpenError> {
    let url = settings.url.expose_secret();
    let options = PgConnectOptions::from_str(url).map_err(OpenError::Connect)?;
    let parsed = Url::parse(url).map_err(|error| OpenError::Unfit(error.to_string()))?;
    let says = |names: &[&str]| {
        let value = parsed.query_pairs().find(|(name, _)| names.contains(&name.as_ref()));
        value.map(|(_, value)| value.into_owned())
    };
    for names in FILES {
        if let Some(file) = says(names)
            && let Err(error) = std::fs::File::open(&file)
        {
            return Err(OpenError::Unfit(format!("{} of database.url: {file}: {error}", names[0])));
        }
    }
    let mode = match (says(&MODE), settings.tls) {
        (Some(mode), _) if mode == "allow" => {
            let why = "sslmode=allow protects nothing: write prefer, or better verify-full";
            return Err(OpenError::Unfit(why.to_owned()));
        }
        (Some(_), _) => options.get_ssl_mode(),
        (None, Tls::Unsaid) if is_here(&options) => PgSslMode::Disable,
        (None, Tls::Unsaid) => return Err(OpenError::Unprotected),
        (None, Tls::Disable) => PgSslMode::Disable,
        (None, Tls::Prefer) => PgSslMode::Prefer,
        (None, Tls::Require) => PgSslMode::Require,
        (None, Tls::VerifyCa) => PgSslMode::VerifyCa,
        (None, Tls::VerifyFull) => PgSslMode::VerifyFull,
    };
    // Who names an authority wants the certificate to be of it. So libpq has it too.
    let mode = match mode {
        PgSslMode::Require if says(&AUTHORITY).is_some() => PgSslMode::VerifyCa,
        mode => mode,
    };
    Ok(options.ssl_mode(mode))
}

/// Whether the server is on this machine.
pub(super) fn is_here(options: &PgConnectOptions) -> bool {
    options.get_socket().is_some() || is_this_machine(options.get_host())
}

/// Whether a certificate must show who the server is.
pub(super) fn checks_server(options: &PgConnectOptions) -> bool {
    matches!(options.get_ssl_mode(), PgSslMode::VerifyFull)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(url: &str, tls: Tls) -> Result<String, String> {
        let settings =
            config::Database { url: url.into(), tls, max_connections: 2, migrate_on_start: false };
        let options = options(&settings).map_err(|error| error.to_string())?;
        Ok(format!("{:?}", options.get_ssl_mode()))
    }

    #[test]
    fn a_server_elsewhere_is_connected_to_only_as_somebody_chose() {
        let refused = mode("postgres://u:p@db.example.com/l", Tls::Unsaid).expect_err("refused");
        for words in ["database.tls", "verify-full", "disable"] {
            assert!(refused.contains(words), "{refused}");
        }
        assert!(!refused.contains("u:p"), "{refused}");
        for (url, tls, wanted) in [
            ("postgres://db.example.com/l?sslmode=verify-full", Tls::Unsaid, "VerifyFull"),
            ("postgres://db.example.com/l?sslmode=disable", Tls::VerifyFull, "Disable"),
            ("postgres://db.example.com/l", Tls::VerifyFull, "VerifyFull"),
            ("postgres://db.example.com/l", Tls::Disable, "Disable"),
            ("postgres://db.example.com/l?sslmode=require", Tls::Unsaid, "Require"),
            (
                "postgres://db.example.com/l?sslmode=require&sslrootcert=/dev/null",
                Tls::Unsaid,
                "VerifyCa",
            ),
            ("postgres://db.example.com/l?sslrootcert=/dev/null", Tls::Require, "VerifyCa"),
            ("postgres://127.0.0.1/l?host=db.example.com", Tls::Prefer, "Prefer"),
        ] {
            assert_eq!(mode(url, tls).as_deref(), Ok(wanted), "{url}");
        }
        // The host of a parameter is the one that is connected to.
        for url in [
            "postgres://localhost/l?host=db.example.com",
            "postgres://localhost/l?hostaddr=192.0.2.1",
            "postgres://127.0.0.1.example.com/l",
        ] {
            assert!(mode(url, Tls::Unsaid).is_err(), "{url}");
        }
        assert!(mode("postgres://db.example.com/l?sslmode=allow", Tls::Unsaid).is_err());
    }

    #[test]
    fn on_this_machine_nothing_needs_to_be_said() {
        for url in [
            "postgres://localhost/l",
            "postgres://127.0.0.1:5433/l",
            "postgres://[::1]/l",
            "postgres://%2Fvar%2Frun%2Fpostgresql/l",
            "postgres:///l?host=/var/run/postgresql",
        ] {
            assert_eq!(mode(url, Tls::Unsaid).as_deref(), Ok("Disable"), "{url}");
            assert_eq!(mode(url, Tls::VerifyFull).as_deref(), Ok("VerifyFull"), "{url}");
        }
    }
}
