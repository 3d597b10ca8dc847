//! The answer to a request that is denied, for any web framework.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use latchkey_problem::{MEDIA_TYPE, Problem};

use crate::denial::Denial;

/// What a service says of itself in its challenges.
#[derive(Debug)]
pub(crate) struct Names {
    pub(crate) realm: String,
    pub(crate) resource_metadata: Option<String>,
    pub(crate) issuer: String,
}

/// The answer to a request that is denied: a status, the challenge of RFC 6750 section 3 with the other
/// headers, and a problem document (RFC 9457).
///
/// [`Protection::challenge`](crate::Protection::challenge) makes it. With the features `actix` and
/// `axum` it is an answer of that framework; elsewhere, send [`status`](Self::status),
/// [`headers`](Self::headers) and [`body`](Self::body).
#[derive(Debug, Clone)]
pub struct Challenge {
    why: Denial,
    names: Arc<Names>,
}

impl Challenge {
    pub(crate) fn new(why: Denial, names: &Arc<Names>) -> Self {
        Self { why, names: Arc::clone(names) }
    }

    /// The reason, for logs and metrics. The answer tells less.
    #[must_use]
    pub fn why(&self) -> Denial {
        self.why
    }

    /// The HTTP status.
    #[must_use]
    pub fn status(&self) -> u16 {
        self.why.code().status()
    }

    /// The headers, with names in lower case: `content-type`, `cache-control`, and `www-authenticate`, or
    /// `retry-after` where the service is at fault (503).
    #[must_use]
    pub fn headers(&self) -> [(&'static str, Cow<'static, str>); 3] {
        let last = if self.status() == 503 {
            ("retry-after", "1".into())
        } else {
            ("www-authenticate", self.www_authenticate().into())
        };
        [("content-type", MEDIA_TYPE.into()), ("cache-control", "no-store".into()), last]
    }

    /// The problem document. It is without a `request_id`, which only the service can fill in.
    #[must_use]
    pub fn problem(&self) -> Problem {
        let mut problem = Problem::new(self.why.code(), self.why.detail());
        problem.kind.insert_str(0, &self.names.issuer);
        problem
    }

    /// The problem document as JSON.
    #[must_use]
    pub fn body(&self) -> Vec<u8> {
        serde_json::to_vec(&self.problem()).unwrap_or_default()
    }

    /// The `WWW-Authenticate` value. Only text of our own goes into it, never the token's.
    fn www_authenticate(&self) -> String {
        let mut value = format!("Bearer realm=\"{}\"", self.names.realm);
        let mut attribute = |name: &str, text: &str| {
            value.extend([", ", name, "=\"", text, "\""]);
        };
        if let Some(url) = &self.names.resource_metadata {
            attribute("resource_metadata", url);
        }
        match self.why {
            Denial::NoCredential => {}
            Denial::TwoCredentials => attribute("error", "invalid_request"),
            Denial::Rejected(_) => {
                attribute("error", "invalid_token");
                attribute("error_description", "The access token is not valid");
            }
            Denial::InsufficientScope(scope) => {
                attribute("error", "insufficient_scope");
                attribute("scope", scope);
            }
            Denial::LoginTooOld(max_age) => {
                attribute("error", "insufficient_user_authentication");
                attribute("error_description", "A more recent login is needed");
                attribute("max_age", &max_age.as_secs().to_string());
            }
        }
        value
    }
}

impl fmt::Display for Challenge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.why.detail())
    }
}

impl std::error::Error for Challenge {}
