//! Where the server is, and how the way to it is protected.

use std::collections::BTreeMap;
use std::str::FromStr as _;

use hosting::settings::is_this_machine;
use secrecy::{ExposeSecret as _, SecretString};
use sqlx::postgres::{PgConnectOptions, PgSslMode};
use url::{Host, ParseError, Url};

use super::super::OpenError;
use crate::config::Tls;

/// What may stand in a URL, each with its other names, the name of libpq first. sqlx says what it does
/// not know in the log, with its value, and goes on without it.
const KNOWN: [&[&str]; 13] = [
    &MODE,
    &AUTHORITY,
    &CERTIFICATE,
    &KEY,
    &["statement-cache-capacity"],
    &["host"],
    &["hostaddr"],
    &["port"],
    &["dbname"],
    &["user"],
    &["password"],
    &["application_name"],
    &["options"],
];
const MODE: [&str; 2] = ["sslmode", "ssl-mode"];
const AUTHORITY: [&str; 3] = ["sslrootcert", "ssl-root-cert", "ssl-ca"];
const CERTIFICATE: [&str; 2] = ["sslcert", "ssl-cert"];
const KEY: [&str; 2] = ["sslkey", "ssl-key"];
/// Files in PEM: the parameter, libpq's variable for it, and what the file must have in it.
const FILES: [(&[&str], &str, &str); 3] = [
    (&AUTHORITY, "PGSSLROOTCERT", "-----BEGIN CERTIFICATE-----"),
    (&CERTIFICATE, "PGSSLCERT", "-----BEGIN CERTIFICATE-----"),
    (&KEY, "PGSSLKEY", "PRIVATE KEY-----"),
];

/// How to connect, and always one mode that somebody chose: what the URL says counts before
/// `database.tls`, and libpq's variable for the mode counts for nothing.
///
/// By itself sqlx would try TLS with anybody and go on without it.
///
/// `url` is the value of this setting.
pub(super) fn options(
    setting: &str,
    url: &SecretString,
    tls: Tls,
) -> Result<PgConnectOptions, OpenError> {
    let unfit = |why: String| OpenError::Unfit(format!("{setting}: {why}"));
    let mut url = parse(url.expose_secret()).map_err(|error| unfit(error.to_string()))?;
    let given = parameters(&url).map_err(unfit)?;
    if !given.contains_key("host") && !given.contains_key("hostaddr") {
        name_the_host(&mut url);
    }
    let options = PgConnectOptions::from_str(url.as_str()).map_err(OpenError::Connect)?;
    for (names, variable, wanted) in FILES {
        let file = given.get(names[0]).cloned().or_else(|| std::env::var(variable).ok());
        if let Some(file) = file {
            // Its name may be the key itself, where somebody took one for the other.
            let text = std::fs::read_to_string(file).map_err(|error| {
                unfit(format!("the file of {} cannot be read: {error}", names[0]))
            })?;
            if !text.contains(wanted) {
                let why = format!("the file of {} has nothing in it with \"{wanted}\"", names[0]);
                return Err(unfit(why));
            }
        }
    }
    if is_socket(&options) {
        // Nobody else is on the way, and Postgres offers no TLS there.
        return Ok(options.ssl_mode(PgSslMode::Disable));
    }
    let mode = match tls {
        _ if given.contains_key(MODE[0]) => options.get_ssl_mode(),
        Tls::Unsaid if is_here(&options) => PgSslMode::Disable,
        Tls::Unsaid => return Err(OpenError::Unprotected),
        Tls::Disable => PgSslMode::Disable,
        Tls::Prefer => PgSslMode::Prefer,
        Tls::Require => PgSslMode::Require,
        Tls::VerifyCa => PgSslMode::VerifyCa,
        Tls::VerifyFull => PgSslMode::VerifyFull,
    };
    let names_authority =
        given.contains_key(AUTHORITY[0]) || std::env::var_os(FILES[0].1).is_some();
    Ok(options.ssl_mode(match mode {
        PgSslMode::Allow => {
            return Err(unfit(
                "sslmode=allow protects nothing: write prefer, or better verify-full".to_owned(),
            ));
        }
        // Who names an authority wants a certificate to be checked, as with libpq.
        PgSslMode::Require if names_authority => PgSslMode::VerifyCa,
        mode => mode,
    }))
}

/// Stands for the host of a URL that names none before its path. RFC 6761 keeps it for nobody.
const NO_HOST: &str = "no-host.invalid";

/// libpq takes a URL with a user or a port and no host, such as `postgres://u:p@/db?host=/run/postgresql`;
/// the standard of URLs does not.
fn parse(text: &str) -> Result<Url, ParseError> {
    let parsed = Url::parse(text);
    if parsed != Err(ParseError::EmptyHost) {
        return parsed;
    }
    let (scheme, rest) = text.split_once("://").ok_or(ParseError::EmptyHost)?;
    let (authority, rest) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
    let (user, port) = authority.rsplit_once('@').unwrap_or(("", authority));
    Url::parse(&format!("{scheme}://{user}@{NO_HOST}{port}{rest}"))
}

/// Says the host of the URL in a parameter where sqlx does not understand it in its place: of `[::1]` it would
/// look for a host with these brackets in its name. Who names no host gets the one that libpq would take.
fn name_the_host(url: &mut Url) {
    let host = match url.host() {
        Some(Host::Ipv6(address)) => address.to_string(),
        Some(Host::Domain(NO_HOST)) => PgConnectOptions::new_without_pgpass().get_host().to_owned(),
        _ => return,
    };
    url.query_pairs_mut().append_pair("host", &host);
}

/// The parameters of the URL by their first names. Of one that is there twice, or that nobody knows,
/// only the name is told: its value may be a secret.
fn parameters(url: &Url) -> Result<BTreeMap<&'static str, String>, String> {
    let mut given = BTreeMap::new();
    for (name, value) in url.query_pairs() {
        let known = KNOWN.iter().find(|names| names.contains(&name.as_ref()));
        let Some(names) = known else {
            if name.starts_with("options[") {
                continue;
            }
            return Err(format!("the parameter {name} is not known"));
        };
        if given.insert(names[0], value.into_owned()).is_some() {
            return Err(format!("the parameter {} is there twice", names[0]));
        }
    }
    Ok(given)
}

fn is_socket(options: &PgConnectOptions) -> bool {
    // Where no host is named, the directory of the socket stands in its place.
    options.get_socket().is_some() || options.get_host().starts_with('/')
}

/// Whether the server is on this machine.
pub(super) fn is_here(options: &PgConnectOptions) -> bool {
    is_socket(options) || is_this_machine(options.get_host())
}

#[cfg(test)]
mod tests {
    use sqlx::ConnectOptions as _;

    use super::*;

    fn mode(url: &str, tls: Tls) -> Result<String, String> {
        let options =
            options("database.url", &url.into(), tls).map_err(|error| error.to_string())?;
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
            ("postgres://127.0.0.1/l?host=db.example.com", Tls::Prefer, "Prefer"),
        ] {
            assert_eq!(mode(url, tls).as_deref(), Ok(wanted), "{url}");
        }
        // The host of a parameter is the one that is connected to.
        for url in [
            "postgres://localhost/l?host=db.example.com",
            "postgres://localhost/l?hostaddr=192.0.2.1",
            "postgres://127.0.0.1.example.com/l",
            "postgres://u:p@[2001:db8::7]/l",
            "postgres://u:p@[::ffff:192.0.2.1]/l",
            "postgres://u:p@/l?host=db.example.com",
        ] {
            assert!(mode(url, Tls::Unsaid).is_err(), "{url}");
        }
        let authority = tempfile::NamedTempFile::new().expect("a file");
        let pem = "-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n";
        std::fs::write(authority.path(), pem).expect("it can be written");
        let named = format!("sslrootcert={}", authority.path().display());
        for (url, tls) in [
            (format!("postgres://db.example.com/l?{named}"), Tls::Require),
            (format!("postgres://db.example.com/l?sslmode=require&{named}"), Tls::Unsaid),
        ] {
            assert_eq!(mode(&url, tls).as_deref(), Ok("VerifyCa"), "{url}");
        }
    }

    #[test]
    fn what_would_protect_less_than_it_seems_is_refused_and_no_value_is_told() {
        for (parameters, wanted) in [
            ("sslmode=allow", "protects nothing"),
            ("sslmode=ALLOW", "protects nothing"),
            ("sslmode=verify-full&sslmode=allow", "twice"),
            ("sslmode=verify-full&ssl-mode=disable", "twice"),
            ("SSLMODE=verify-full", "SSLMODE is not known"),
            ("sslpassword=hidden", "sslpassword is not known"),
            ("sslmode=verify-full&sslkey=-----BEGIN+hidden", "sslkey"),
            ("sslmode=verify-full&sslrootcert=/dev/null", "sslrootcert"),
        ] {
            let url = format!("postgres://u:hidden@db.example.com/l?{parameters}");
            let refused = mode(&url, Tls::Disable).expect_err(parameters);
            assert!(refused.contains(wanted), "{parameters}: {refused}");
            assert!(refused.contains("database.url"), "{parameters}: {refused}");
            assert!(!refused.contains("hidden"), "{parameters}: {refused}");
        }
    }

    fn read(url: &str) -> PgConnectOptions {
        let read = options("database.url", &url.into(), Tls::Disable);
        read.unwrap_or_else(|error| panic!("{url}: {error}"))
    }

    #[test]
    fn an_address_may_have_brackets_or_no_host_before_its_path() {
        for (url, host, port) in [
            ("postgres://u:p%40@[::1]/db", "::1", 5432),
            ("postgres://u:p%40@[::1]:5433/db", "::1", 5433),
            ("postgresql://u:p%40@[2001:db8:0::7]:5433/db", "2001:db8::7", 5433),
            ("postgres://u:p%40@[::1]/db?hostaddr=::2", "::2", 5432),
            ("postgres://u:p%40@/db?host=db.example.com&port=5433", "db.example.com", 5433),
        ] {
            let options = read(url);
            assert_eq!((options.get_host(), options.get_port()), (host, port), "{url}");
            assert_eq!(options.get_socket(), None, "{url}");
            assert_is_of_u(&options, url);
        }
        for (url, port) in [
            ("postgres://u:p%40@/db?host=/run/pg", 5432),
            ("postgres://u:p%40@:5433/db?host=/run/pg", 5433),
            ("postgres://u:p%40@/db?host=%2Frun%2Fpg&port=5433", 5433),
            ("postgres://u:p%40@localhost/db?host=/run/pg", 5432),
            ("postgres://u:p%40@%2Frun%2Fpg/db", 5432),
            ("postgres:///db?host=/run/pg&user=u&password=p%40", 5432),
            ("postgres://:5433/db?host=/run/pg&user=u&password=p%40", 5433),
        ] {
            let options = read(url);
            let socket = options.get_socket().and_then(|socket| socket.to_str());
            assert_eq!((socket, options.get_port()), (Some("/run/pg"), port), "{url}");
            assert_is_of_u(&options, url);
        }
        // Nothing says where: as libpq, and never at the name that stands for nothing.
        assert!(is_here(&read("postgres://u:p@/db")));
    }

    #[track_caller]
    fn assert_is_of_u(options: &PgConnectOptions, url: &str) {
        // What makes a URL again knows no IPv6 addresses.
        let seen = options.clone().host("x").to_url_lossy();
        assert_eq!((options.get_username(), options.get_database()), ("u", Some("db")), "{url}");
        assert_eq!(seen.password(), Some("p%40"), "{url}");
    }

    #[test]
    fn an_address_that_is_none_is_refused_and_not_repeated() {
        for url in [
            "postgres://u:hidden@[::1/db",
            "postgres://u:hidden@:x/db",
            "postgres://u:hidden@[hidden]/db",
        ] {
            let refused = mode(url, Tls::Disable).expect_err(url);
            assert!(refused.contains("database.url"), "{refused}");
            assert!(!refused.contains("hidden"), "{refused}");
        }
    }

    #[test]
    fn on_this_machine_nothing_needs_to_be_said() {
        for url in [
            "postgres://localhost/l",
            "postgres://127.0.0.1:5433/l",
            "postgres://u:p@[::1]:5433/l",
            "postgres://u:p@/l?host=::1",
        ] {
            assert_eq!(mode(url, Tls::Unsaid).as_deref(), Ok("Disable"), "{url}");
            assert_eq!(mode(url, Tls::VerifyFull).as_deref(), Ok("VerifyFull"), "{url}");
        }
        // A socket has no TLS, whatever is wished for.
        for url in [
            "postgres://%2Fvar%2Frun%2Fpostgresql/l",
            "postgres:///l?host=/var/run/postgresql",
            "postgres://u:p@/l?host=/var/run/postgresql",
        ] {
            for tls in [Tls::Unsaid, Tls::VerifyFull] {
                assert_eq!(mode(url, tls).as_deref(), Ok("Disable"), "{url}");
            }
        }
    }
}
