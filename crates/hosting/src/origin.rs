//! Origins of browser pages (RFC 6454): one reading of them for settings, CORS and the defence against CSRF.

use std::fmt;

use serde::Deserializer;
use serde::de::Error as _;
use url::{Host, Url};

use crate::settings::{ConfigError, check_url, is_plain, list};

/// An origin, spelled as browsers send it: scheme and host in lower case, a host of other letters in its
/// ASCII form, no port that goes without saying, and no path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin(String);

/// Why a text is no origin as browsers send it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotAnOrigin {
    /// It cannot be read as one.
    #[error("must be an origin such as https://app.example.com: scheme, host and port")]
    Unreadable,
    /// It is meant for several.
    #[error("must name each origin by itself, without a wildcard; `null` can never be allowed")]
    Wildcard,
    /// Browsers spell it in another way. The text itself is not repeated: it may have a password in it.
    #[error("must be spelled as browsers send it: {0}")]
    Spelling(Origin),
}

impl Origin {
    /// Reads an origin that is spelled as browsers send it.
    pub fn parse(text: &str) -> Result<Self, NotAnOrigin> {
        if text == "null" || text.contains('*') {
            return Err(NotAnOrigin::Wildcard);
        }
        let right = Self::of_web(text).or_else(|| Self::of_app(text));
        match right.ok_or(NotAnOrigin::Unreadable)? {
            origin if origin.0 == text => Ok(origin),
            origin => Err(NotAnOrigin::Spelling(origin)),
        }
    }

    /// The origin of the pages at an address on the web, however that is spelled.
    #[must_use]
    pub fn of_web(address: &str) -> Option<Self> {
        let url = Url::parse(address).ok()?;
        let is_host = |name: &str| name.bytes().all(is_host_byte);
        let good = match url.host()? {
            Host::Domain(name) => is_host(name),
            Host::Ipv4(_) | Host::Ipv6(_) => true,
        };
        let web = matches!(url.scheme(), "http" | "https") && url.port() != Some(0);
        (web && good).then(|| Self(url.origin().ascii_serialization()))
    }

    /// The origin of pages that come with an application: `capacitor://localhost`, `tauri://localhost`,
    /// `chrome-extension://` and an id, and `file://` of web views that send that and not `null`. Browsers keep such a
    /// host as it is written.
    fn of_app(text: &str) -> Option<Self> {
        let (scheme, host) = text.split_once("://")?;
        let is_scheme = scheme.starts_with(|first: char| first.is_ascii_lowercase())
            && scheme.bytes().all(|byte| is_host_byte(byte) && byte != b'_')
            && !matches!(scheme, "http" | "https" | "ws" | "wss" | "ftp");
        let is_host = (scheme == "file") == host.is_empty()
            && host.bytes().all(|byte| is_host_byte(byte) || byte.is_ascii_uppercase());
        (is_scheme && is_host).then(|| Self(text.to_owned()))
    }

    /// Whether its pages are on the web. Those of an application are of no site that a cookie could be for.
    #[must_use]
    pub fn is_of_web(&self) -> bool {
        self.0.starts_with("http://") || self.0.starts_with("https://")
    }

    /// As browsers send it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// What an origin's host may have in it besides an IPv6 address, so that it may stand in any header.
fn is_host_byte(byte: u8) -> bool {
    byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-._".contains(&byte)
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Deserializes a list of origins.
pub fn origins<'de, D: Deserializer<'de>>(given: D) -> Result<Vec<Origin>, D::Error> {
    list(given)?.iter().map(|text| Origin::parse(text).map_err(D::Error::custom)).collect()
}

/// The address that names a service in tokens, headers and documents, and below which it has pages. Services and
/// clients compare it letter by letter, so there is one spelling of it: that of browsers, without a slash at the end.
///
/// # Errors
/// When it is none, or is spelled in another way. The message has the right spelling, and never a password.
pub fn check_identifier(key: &'static str, text: &str) -> Result<(), ConfigError> {
    let url = check_url(key, text)?;
    let right = url.as_str().trim_end_matches('/');
    let problem = if !url.username().is_empty() || url.password().is_some() {
        "must not have a user or a password in it".to_owned()
    } else if url.port() == Some(0) {
        "must not have the port 0".to_owned()
    } else if url.query().is_some() || url.fragment().is_some() {
        "must be an address without query and fragment".to_owned()
    } else if Origin::of_web(text).is_none() || !right.bytes().all(is_plain) {
        "must be in ASCII, without quotes and spaces".to_owned()
    } else if right != text {
        format!("must be spelled as browsers spell it, without a slash at the end: {right}")
    } else {
        return Ok(());
    };
    Err(ConfigError::Value { key, problem })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_is_taken_as_browsers_send_it() {
        for good in [
            "https://app.example.com",
            "http://app.example.com:8080",
            "https://xn--bcher-kva.example",
            "http://127.0.0.1:8081",
            "http://[::1]:8081",
            "http://localhost",
            "https://under_score.example.com",
        ] {
            assert_eq!(Origin::parse(good).map(|origin| origin.0), Ok(good.to_owned()));
            assert!(Origin::parse(good).unwrap().is_of_web(), "{good}");
        }
    }

    #[test]
    fn the_origin_of_an_application_is_taken_as_it_is() {
        for good in [
            "capacitor://localhost",
            "ionic://localhost",
            "tauri://localhost",
            "file://",
            "chrome-extension://abcdefghijklmnopabcdefghijklmnop",
            "moz-extension://2c127fa4-62c7-7e4f-90e5-472b45eecfdc",
            "safari-web-extension://60C06D38-2E4A-4B0B-9A3E-1F0A9D0C7E11",
        ] {
            assert_eq!(Origin::parse(good).map(|origin| origin.0), Ok(good.to_owned()));
            assert!(!Origin::parse(good).unwrap().is_of_web(), "{good}");
        }
    }

    #[test]
    fn another_spelling_is_refused_with_the_right_one() {
        for (other, right) in [
            ("https://App.Example.com", "https://app.example.com"),
            ("HTTPS://app.example.com", "https://app.example.com"),
            ("https://app.example.com:443", "https://app.example.com"),
            ("http://app.example.com:80", "http://app.example.com"),
            ("https://app.example.com/", "https://app.example.com"),
            ("https://app.example.com/login?x#y", "https://app.example.com"),
            ("https://me:secret@app.example.com", "https://app.example.com"),
            ("https://b\u{fc}cher.example", "https://xn--bcher-kva.example"),
            ("http://127.1:8081", "http://127.0.0.1:8081"),
            ("http://[0:0::1]", "http://[::1]"),
            (" https://app.example.com", "https://app.example.com"),
        ] {
            let error = Origin::parse(other).unwrap_err();
            assert_eq!(error, NotAnOrigin::Spelling(Origin(right.to_owned())), "{other}");
            assert!(error.to_string().ends_with(right) && !error.to_string().contains("secret"));
        }
    }

    #[test]
    fn what_no_page_comes_from_is_refused() {
        for bad in [
            "",
            "null",
            "*",
            "https://*.example.com",
            "app.example.com",
            "https://",
            "https:///",
            "https://app example.com",
            "https://app.example.com:0",
            "https://app.example.com:99999",
            "https://x; script-src *",
            "https://x;y",
            "https://x'y",
            "https://x,y",
            "ftp://example.com",
            "file:///",
            "file:///sdcard",
            "Capacitor://localhost",
            "capacitor://",
            "capacitor://localhost/",
            "capacitor://*",
            "chrome-extension://*",
            "*://localhost",
            "capacitor:localhost",
            "tauri://localhost?x",
            "tauri://me@localhost",
            "javascript://x y",
            "data:text/html,x",
            "https://a.example https://b.example",
            "//app.example.com",
        ] {
            let refused = Origin::parse(bad).unwrap_err();
            assert!(!matches!(refused, NotAnOrigin::Spelling(_)), "{bad}: {refused}");
        }
    }

    fn refusal(text: &str) -> String {
        check_identifier("issuer", text).unwrap_err().to_string()
    }

    #[test]
    fn an_identifier_has_one_spelling_and_is_told_it() {
        for (other, right) in [
            ("https://Auth.Example.com", "https://auth.example.com"),
            ("HTTPS://auth.example.com", "https://auth.example.com"),
            ("https://auth.example.com:443", "https://auth.example.com"),
            ("http://127.0.0.1:80", "http://127.0.0.1"),
            ("https://auth.example.com/", "https://auth.example.com"),
            ("https://auth.example.com//", "https://auth.example.com"),
            ("https://auth.example.com/Id/", "https://auth.example.com/Id"),
            ("https://auth.example.com/a/../b", "https://auth.example.com/b"),
            ("https://auth.example.com/b\u{fc}cher", "https://auth.example.com/b%C3%BCcher"),
            ("https://b\u{fc}cher.example/id", "https://xn--bcher-kva.example/id"),
            ("http://[0::1]:8080", "http://[::1]:8080"),
            ("http://127.1:8080", "http://127.0.0.1:8080"),
            (" https://auth.example.com", "https://auth.example.com"),
        ] {
            assert!(refusal(other).ends_with(&format!(": {right}")), "{other}: {}", refusal(other));
            assert!(check_identifier("issuer", right).is_ok(), "{right}");
        }
    }

    #[test]
    fn what_cannot_be_an_identifier_is_refused_without_being_repeated() {
        for bad in [
            "https://me:secret@auth.example.com",
            "https://secret@Auth.example.com/",
            "https://auth.example.com?secret",
            "https://auth.example.com/#secret",
            "https://auth.example.com:0",
            "https://x;secret",
            "capacitor://localhost",
            "auth.example.com",
        ] {
            assert!(!refusal(bad).contains("secret") && !refusal(bad).contains(": http"), "{bad}");
        }
    }
}
