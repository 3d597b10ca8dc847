//! Layered settings: defaults compiled in, then a file, then environment variables.
//!
//! A variable is named `<PREFIX>__<SECTION>__<KEY>`. With `_FILE` appended it names a file that
//! holds the value instead, which is how secrets should come (a variable is seen by every child
//! process and by whoever may list processes).

mod names;

use std::collections::HashMap;
use std::path::Path;

use config::{Config, Environment, File, FileFormat};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use url::Url;

use names::Names;

/// More threads would each have too few of the connections that a listener takes.
const MAX_WORKERS: usize = 512;

/// Why the settings cannot be used. Each message names the key.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// A value is missing, unknown, or of the wrong type.
    #[error("{0}")]
    Invalid(String),
    /// A `…_FILE` variable names a file that cannot be read. The name is not told: it may be the
    /// secret itself, in the wrong variable.
    #[error("{variable}: cannot read the file that it names: {source}")]
    File {
        /// The variable.
        variable: String,
        /// Why.
        source: std::io::Error,
    },
    /// A variable looks like one of ours, and nothing reads it.
    #[error("{variable} is not the name of a setting; the nearest is {nearest}")]
    Unknown {
        /// The variable.
        variable: String,
        /// The one that was probably meant.
        nearest: String,
    },
    /// A value is given twice.
    #[error("{0} and {0}_FILE are both set; set one")]
    Twice(String),
}

impl From<config::ConfigError> for SettingsError {
    fn from(error: config::ConfigError) -> Self {
        Self::Invalid(without_value(&error.to_string()))
    }
}

/// The values are left out of a message, and the lines of a file that cannot be read: any of them
/// may be a secret, if only one in the wrong place.
fn without_value(message: &str) -> String {
    let mut lines = message.lines();
    let first = lines.next().unwrap_or_default();
    let message = lines.next_back().map_or(first.to_owned(), |last| format!("{first}: {last}"));
    if let Some((before, rest)) = message.split_once(": string \"")
        && let Some((_, after)) = rest.rsplit_once("\", expected ")
    {
        return format!("{before}, expected {after}");
    }
    if let Some((before, rest)) = message.split_once(" variant constructor ") {
        let after = rest
            .rsplit_once(" for key ")
            .map_or(String::new(), |(_, key)| format!(" for key {key}"));
        return format!("{before} such a variant{after}");
    }
    message
}

/// Why a service does not start with its settings.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// They cannot be read.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// One of them has a value it must not have.
    #[error("{key}: {problem}")]
    Value {
        /// The setting.
        key: &'static str,
        /// What is wrong with it and what to do.
        problem: String,
    },
}

/// The setting `key` has a value it must not have.
pub fn fail(key: &'static str, problem: &str) -> Result<(), ConfigError> {
    Err(ConfigError::Value { key, problem: problem.to_owned() })
}

/// What both services have in `[http]`.
///
/// # Errors
/// Names the setting that has a value with which the listeners cannot serve, or not end.
pub fn check_http(workers: usize, drain_seconds: u64) -> Result<(), ConfigError> {
    // Each is a thread with a runtime of its own, and has its part of the connections.
    if !(1..=MAX_WORKERS).contains(&workers) {
        return fail("http.workers", "must be from 1 to 512; one for each core is plenty");
    }
    if drain_seconds > 3600 {
        return fail("http.drain_seconds", "must be at most 3600");
    }
    Ok(())
}

/// An address on the web, read as those who use it read it.
///
/// # Errors
/// When it is none.
pub fn check_url(key: &'static str, text: &str) -> Result<Url, ConfigError> {
    match Url::parse(text) {
        Ok(url) if matches!(url.scheme(), "http" | "https") && url.has_host() => Ok(url),
        _ => {
            let problem = "must be an address that begins with https:// or http://".to_owned();
            Err(ConfigError::Value { key, problem })
        }
    }
}

/// A text that stands in headers, between quotes.
///
/// # Errors
/// When it cannot.
pub fn check_text(key: &'static str, text: &str) -> Result<(), ConfigError> {
    if text.is_empty() || !text.bytes().all(is_plain) {
        return fail(key, "must be in ASCII, without quotes and spaces");
    }
    Ok(())
}

/// What may stand between quotes in a header.
pub(crate) fn is_plain(byte: u8) -> bool {
    byte.is_ascii_graphic() && !b"\"\\<>".contains(&byte)
}

/// The setting that names the collector of traces.
pub(crate) const OTLP_ENDPOINT: &str = "telemetry.otlp_endpoint";

/// `[telemetry]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Telemetry {
    /// Where a collector takes traces; empty: none are sent.
    pub otlp_endpoint: String,
    /// Which part of the traces that begin here is kept, from 0 to 1.
    pub sample_ratio: f64,
}

impl Telemetry {
    /// # Errors
    /// Names the setting by which no traces could be sent.
    pub fn check(&self) -> Result<(), ConfigError> {
        self.traces_url()?;
        if !(0.0..=1.0).contains(&self.sample_ratio) {
            return fail("telemetry.sample_ratio", "must be from 0 to 1");
        }
        Ok(())
    }

    /// Where traces are sent to, if they are.
    pub(crate) fn traces_url(&self) -> Result<Option<Url>, ConfigError> {
        const PATH: &str = "/v1/traces";
        if self.otlp_endpoint.is_empty() {
            return Ok(None);
        }
        let mut url = check_url(OTLP_ENDPOINT, &self.otlp_endpoint)?;
        let base = url.path().trim_end_matches('/').to_owned();
        let more = url.query().is_some() || url.fragment().is_some();
        if more || !url.username().is_empty() || url.password().is_some() || base.ends_with(PATH) {
            let problem =
                "must be what stands before /v1/traces, such as http://collector:4318, without a \
                           user and a query"
                    .to_owned();
            return Err(ConfigError::Value { key: OTLP_ENDPOINT, problem });
        }
        url.set_path(&format!("{base}{PATH}"));
        Ok(Some(url))
    }
}

/// `[revocation]`
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Revocation {
    /// How old the knowledge of revocations may be for a token to be accepted by it, seconds.
    pub max_staleness_seconds: u64,
}

impl Revocation {
    /// A feed is asked every thirtieth of the bound, and not more often than ten times a second.
    pub fn check(self) -> Result<(), ConfigError> {
        if self.max_staleness_seconds < 2 {
            return fail("revocation.max_staleness_seconds", "must be at least 2");
        }
        Ok(())
    }
}

/// `[clock]`
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClockOffset {
    /// Seconds ahead of the real time.
    pub offset_seconds: i64,
}

impl ClockOffset {
    /// Only tests on this machine have a time of their own.
    pub fn check(self, issuer: &str) -> Result<(), ConfigError> {
        if self.offset_seconds != 0 && !is_loopback(issuer) {
            return fail("clock.offset_seconds", "is for tests; the issuer is not this machine");
        }
        if self.offset_seconds.unsigned_abs() > 100 * 366 * 24 * 3600 {
            return fail("clock.offset_seconds", "must be within a hundred years");
        }
        Ok(())
    }
}

/// Reads settings. `defaults` is TOML and names every key; `file` is optional TOML; `variables` are
/// those of the environment, of which only those with `prefix` count. One of them that was meant for a setting and
/// names none is refused, unless it is empty.
pub fn load<T: DeserializeOwned>(
    prefix: &str,
    defaults: &str,
    file: Option<&Path>,
    variables: impl IntoIterator<Item = (String, String)>,
) -> Result<T, SettingsError> {
    let variables: Vec<_> = variables.into_iter().collect();
    let names = Names::of(prefix, defaults)?;
    for (variable, _) in variables.iter().filter(|(_, value)| !value.is_empty()) {
        names.check(variable)?;
    }
    let variables = resolve_files(prefix, variables)?;
    let mut builder = Config::builder().add_source(File::from_str(defaults, FileFormat::Toml));
    if let Some(path) = file {
        builder = builder.add_source(File::from(path).format(FileFormat::Toml));
    }
    let environment = Environment::with_prefix(prefix)
        .prefix_separator("__")
        .separator("__")
        .ignore_empty(true)
        .source(Some(variables));
    Ok(builder.add_source(environment).build()?.try_deserialize()?)
}

/// The variables of the environment, less those that are not text and so cannot be ours.
pub fn environment() -> impl Iterator<Item = (String, String)> {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
}

/// Replaces each `…_FILE` variable by the content of the file it names, less the final newline.
fn resolve_files(
    prefix: &str,
    variables: impl IntoIterator<Item = (String, String)>,
) -> Result<HashMap<String, String>, SettingsError> {
    let prefix = format!("{prefix}__");
    let given: HashMap<String, String> =
        variables.into_iter().filter(|(name, _)| name.starts_with(&prefix)).collect();
    let mut resolved = HashMap::new();
    for (name, value) in &given {
        let Some(target) = name.strip_suffix("_FILE") else {
            resolved.entry(name.clone()).or_insert_with(|| value.clone());
            continue;
        };
        if value.is_empty() {
            continue;
        }
        if given.get(target).is_some_and(|value| !value.is_empty()) {
            return Err(SettingsError::Twice(target.to_owned()));
        }
        let content = std::fs::read_to_string(value)
            .map_err(|source| SettingsError::File { variable: name.clone(), source })?;
        resolved.insert(target.to_owned(), content.trim_end_matches(['\r', '\n']).to_owned());
    }
    Ok(resolved)
}

/// Deserializes a list that may also be written as one comma-separated text, as in a variable.
pub fn list<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum OneOrMany {
        One(String),
        Many(Vec<String>),
    }
    Ok(match OneOrMany::deserialize(deserializer)? {
        OneOrMany::Many(many) => many,
        OneOrMany::One(text) => text
            .split(',')
            .map(str::trim)
            .filter(|item| !item.is_empty())
            .map(str::to_owned)
            .collect(),
    })
}

/// The value that `text` names; an error lists all names.
///
/// # Errors
/// When it is none of them.
pub fn one_of<T: Copy>(text: &str, all: &[(&str, T)]) -> Result<T, String> {
    let found = all.iter().find(|(name, _)| *name == text);
    found.map(|(_, value)| *value).ok_or_else(|| {
        let names: Vec<_> = all.iter().map(|(name, _)| *name).filter(|it| !it.is_empty()).collect();
        match names.split_last() {
            Some((last, [])) => format!("must be {last}"),
            Some((last, others)) => format!("must be {} or {last}", others.join(", ")),
            None => "must be empty".to_owned(),
        }
    })
}

/// Whether an address names this machine and nothing else: then development defaults are harmless.
#[must_use]
pub fn is_loopback(url: &str) -> bool {
    let host = url.split_once("://").map_or(url, |(_, rest)| rest);
    let host = host.split(['/', '?', '#', '\\']).next().unwrap_or(host);
    // What stands before an @ is a user, whatever it looks like.
    let host = host.rsplit('@').next().unwrap_or(host);
    let host = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or(rest),
        None => host.rsplit_once(':').map_or(host, |(name, _)| name),
    };
    is_this_machine(host)
}

/// Whether a host, by name or address, is this machine whoever asks.
#[must_use]
pub fn is_this_machine(host: &str) -> bool {
    let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Deserialize, PartialEq)]
    #[serde(deny_unknown_fields)]
    struct Sample {
        http: Http,
    }

    #[derive(Debug, Deserialize, PartialEq)]
    #[serde(deny_unknown_fields)]
    struct Http {
        port: u16,
        #[serde(deserialize_with = "list")]
        origins: Vec<String>,
    }

    const DEFAULTS: &str = "[http]\nport = 1\norigins = []\n";

    fn read(variables: &[(&str, &str)]) -> Result<Sample, SettingsError> {
        let variables = variables.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned()));
        load("AUTH", DEFAULTS, None, variables)
    }

    #[test]
    fn a_variable_overrides_a_default() {
        let sample =
            read(&[("AUTH__HTTP__PORT", "7"), ("AUTH__HTTP__ORIGINS", "a, b"), ("X", "1")]);
        let http = Http { port: 7, origins: vec!["a".into(), "b".into()] };
        assert_eq!(sample.unwrap(), Sample { http });
    }

    #[test]
    fn a_bad_value_is_refused_with_its_key() {
        let error = read(&[("AUTH__HTTP__PORT", "x")]).unwrap_err().to_string();
        assert!(error.contains("http.port"), "{error}");
        let error = read(&[("AUTH__HTTP__PROT", "7")]).unwrap_err().to_string();
        assert!(
            error.contains("AUTH__HTTP__PROT ") && error.ends_with("AUTH__HTTP__PORT"),
            "{error}"
        );
    }

    #[test]
    fn a_bad_value_is_not_repeated() {
        let number = read(&[("AUTH__HTTP__PORT", "a, \"secret\", expected b")]).unwrap_err();
        let expected = "invalid type, expected an integer for key `http.port` in the environment";
        assert_eq!(number.to_string(), expected);
        let file = read(&[("AUTH__HTTP__PORT_FILE", "a secret")]).unwrap_err().to_string();
        assert!(file.contains("AUTH__HTTP__PORT_FILE") && !file.contains("a secret"), "{file}");
        let path = std::env::temp_dir().join(format!("latchkey-broken-{}", std::process::id()));
        std::fs::write(&path, "[http]\nport = a secret\n").unwrap();
        let broken = load::<Sample>("AUTH", DEFAULTS, Some(&path), []).unwrap_err().to_string();
        std::fs::remove_file(&path).unwrap();
        assert!(broken.contains("line 2") && broken.lines().count() == 1, "{broken}");
        assert!(!broken.contains("a secret"), "{broken}");
    }

    #[test]
    fn a_file_holds_the_value_of_a_variable() {
        let path = std::env::temp_dir().join(format!("latchkey-settings-{}", std::process::id()));
        std::fs::write(&path, "9\n").unwrap();
        let name = path.to_str().unwrap();
        assert_eq!(read(&[("AUTH__HTTP__PORT_FILE", name)]).unwrap().http.port, 9);
        let error = read(&[("AUTH__HTTP__PORT_FILE", name), ("AUTH__HTTP__PORT", "1")]);
        assert!(matches!(error, Err(SettingsError::Twice(_))));
        std::fs::remove_file(&path).unwrap();
        let error = read(&[("AUTH__HTTP__PORT_FILE", name)]).unwrap_err().to_string();
        assert!(error.contains("AUTH__HTTP__PORT_FILE"), "{error}");
    }

    #[test]
    fn a_word_that_is_none_is_refused_with_all_that_are() {
        let words = [("", 0), ("one", 1), ("two", 2), ("three", 3)];
        assert_eq!((one_of("two", &words), one_of("", &words)), (Ok(2), Ok(0)));
        for bad in ["Two", "four", " two"] {
            assert_eq!(one_of(bad, &words), Err("must be one, two or three".to_owned()));
        }
    }

    #[test]
    fn traces_go_to_a_path_of_the_collector() {
        let at = |endpoint: &str| {
            let otlp_endpoint = endpoint.to_owned();
            let url = Telemetry { otlp_endpoint, sample_ratio: 1.0 }.traces_url();
            url.map(|url| url.map(|url| url.to_string())).map_err(|error| error.to_string())
        };
        assert_eq!(at(""), Ok(None));
        for (endpoint, url) in [
            ("http://collector:4318", "http://collector:4318/v1/traces"),
            ("https://[::1]:4318/", "https://[::1]:4318/v1/traces"),
            ("https://example.com/otlp/", "https://example.com/otlp/v1/traces"),
        ] {
            assert_eq!(at(endpoint), Ok(Some(url.to_owned())));
        }
        for bad in [
            "collector:4318",
            "grpc://collector:4317",
            "http://",
            "http://collector:4318/v1/traces",
            "http://user:secret@collector:4318",
            "http://collector:4318/?key=secret",
            "http://collector:4318/#here",
            "http://collector:port",
        ] {
            let error = at(bad).unwrap_err();
            assert!(error.starts_with("telemetry.otlp_endpoint: "), "{bad}: {error}");
            assert!(!error.contains("secret") && !error.contains('\n'), "{error}");
        }
    }

    #[test]
    fn a_part_is_from_none_to_all() {
        let check = |sample_ratio| Telemetry { otlp_endpoint: String::new(), sample_ratio }.check();
        for good in [0.0, 0.01, 1.0] {
            assert!(check(good).is_ok(), "{good}");
        }
        for bad in [-0.1, 1.1, f64::NAN, f64::INFINITY] {
            let error = check(bad).unwrap_err().to_string();
            assert!(error.starts_with("telemetry.sample_ratio: "), "{error}");
        }
    }

    #[test]
    fn only_this_machine_is_loopback() {
        for url in ["http://127.0.0.1:8080", "http://localhost/", "http://[::1]:80/x"] {
            assert!(is_loopback(url), "{url}");
        }
        for url in [
            "https://auth.example.com",
            "http://localhost.evil.tld",
            "http://10.0.0.1",
            "http://127.0.0.1:80@evil.tld",
        ] {
            assert!(!is_loopback(url), "{url}");
        }
    }
}
