//! An answer, kept whole so that a test can look at all of it.

use reqwest::header::HeaderMap;
use serde_json::Value;

/// An HTTP answer, read to the end.
#[derive(Debug, Clone)]
pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    /// The body as text.
    pub text: String,
}

impl Answer {
    /// Sends a request and reads the answer.
    ///
    /// # Panics
    /// When there is none.
    pub async fn to(request: reqwest::RequestBuilder) -> Self {
        Self::try_to(request).await.expect("the service answers")
    }

    /// The same where there may be no answer.
    pub async fn try_to(request: reqwest::RequestBuilder) -> Result<Self, reqwest::Error> {
        let response = request.send().await?;
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        Ok(Self { status, headers, text: response.text().await? })
    }

    /// The body as JSON.
    ///
    /// # Panics
    /// When it is not JSON.
    #[must_use]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text)
            .unwrap_or_else(|_| panic!("status {}, not JSON: {:?}", self.status, self.text))
    }

    /// A header's text, if there is one.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// Everything that it tells, but for what differs from request to request by nature: status,
    /// headers in order, body.
    ///
    /// # Panics
    /// When it has no request id.
    #[must_use]
    pub fn told(&self) -> (u16, Vec<(String, Vec<u8>)>, String) {
        let by_nature = ["date", "x-request-id"];
        let headers = self.headers.iter().filter(|(name, _)| !by_nature.contains(&name.as_str()));
        let headers = headers.map(|(name, value)| (name.to_string(), value.as_bytes().to_vec()));
        let mut headers: Vec<_> = headers.collect();
        headers.sort();
        let id = self.header("x-request-id").expect("every answer has one");
        (self.status, headers, self.text.replace(id, "<id>"))
    }

    /// The text of a member of the body.
    ///
    /// # Panics
    /// When there is no such member, or it is not text.
    #[must_use]
    pub fn member(&self, name: &str) -> String {
        self.json()[name]
            .as_str()
            .unwrap_or_else(|| panic!("no {name} in {}: {}", self.status, self.text))
            .to_owned()
    }

    /// Checks that this is the problem `code` with `status`, and everything that the README promises of
    /// every problem.
    ///
    /// # Panics
    /// When it is not.
    #[track_caller]
    pub fn assert_problem(&self, status: u16, code: &str) {
        assert_eq!(self.status, status, "{}", self.text);
        assert_eq!(self.header("content-type"), Some("application/problem+json"), "{}", self.text);
        let problem = self.json();
        assert_eq!(problem["code"], code, "{}", self.text);
        assert_eq!(problem["status"], status);
        let kind = problem["type"].as_str().unwrap_or_default();
        assert!(kind.starts_with("http") && kind.ends_with(&format!("/problems/{code}")), "{kind}");
        for member in ["title", "detail", "request_id"] {
            assert!(problem[member].as_str().is_some_and(|text| !text.is_empty()), "{member}");
        }
        assert_eq!(self.header("x-request-id"), problem["request_id"].as_str());
        assert_eq!(self.header("cache-control"), Some("no-store"));
        match self.header("www-authenticate") {
            Some(challenge) if status != 401 => {
                let told = if status == 403 { "insufficient_scope" } else { "invalid_request" };
                assert!(challenge.contains(&format!("error=\"{told}\"")), "RFC 6750 §3.1");
                assert!(matches!(status, 400 | 403), "RFC 6750 §3.1");
            }
            challenge => assert_eq!(challenge.is_some(), status == 401, "RFC 9110 §15.5.2"),
        }
        assert_eq!(self.header("retry-after").is_some(), matches!(status, 429 | 503));
        self.assert_hardened();
    }

    /// Checks the headers that every answer has.
    ///
    /// # Panics
    /// When one is missing.
    #[track_caller]
    pub fn assert_hardened(&self) {
        self.assert_headers("default-src 'none'; frame-ancestors 'none'");
    }

    /// Checks the headers of a page for people: the same, but the page may have our style.
    ///
    /// # Panics
    /// When one is missing.
    #[track_caller]
    pub fn assert_page(&self) {
        assert_eq!(self.status, 200, "{}", self.text);
        assert_eq!(self.header("content-type"), Some("text/html; charset=utf-8"));
        self.assert_headers(
            "default-src 'none'; style-src 'self'; img-src 'self'; frame-ancestors 'none'; \
             base-uri 'none'; form-action 'none'",
        );
    }

    #[track_caller]
    fn assert_headers(&self, content_security_policy: &str) {
        for (name, value) in [
            ("x-content-type-options", "nosniff"),
            ("referrer-policy", "no-referrer"),
            ("content-security-policy", content_security_policy),
            ("strict-transport-security", "max-age=31536000; includeSubDomains"),
        ] {
            assert_eq!(self.header(name), Some(value), "{name} of {}", self.status);
        }
        assert!(self.header("x-request-id").is_some());
        assert!(self.header("server").is_none(), "no version is told");
    }
}
