//! A browser as far as the refresh cookie is concerned: one jar, shared by its tabs.

use std::sync::{Arc, Mutex, PoisonError};

use claims::refresh_token;
use reqwest::header::{COOKIE, ORIGIN, SET_COOKIE};
use serde_json::{Value, json};

use crate::answer::Answer;

/// A browser on the issuer's own pages. Clones are tabs: they share the jar.
#[derive(Debug, Clone)]
pub struct Browser {
    http: reqwest::Client,
    auth: String,
    origin: String,
    jar: Arc<Mutex<Option<String>>>,
}

impl Browser {
    /// A browser with an empty jar.
    #[must_use]
    pub fn new(http: reqwest::Client, auth: String, origin: String) -> Self {
        Self { http, auth, origin, jar: Arc::default() }
    }

    /// The cookie in the jar.
    #[must_use]
    pub fn cookie(&self) -> Option<String> {
        self.jar.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Puts a cookie into the jar.
    pub fn set_cookie(&self, value: &str) {
        *self.jar.lock().unwrap_or_else(PoisonError::into_inner) = Some(value.to_owned());
    }

    /// Logs in with the refresh token in a cookie.
    pub async fn login(&self, username: &str, password: &str) -> Answer {
        let body = json!({"username": username, "password": password, "transport": "cookie"});
        self.post("/login", &body).await
    }

    /// Refreshes with the cookie.
    pub async fn refresh(&self) -> Answer {
        self.post("/refresh", &json!({})).await
    }

    /// Posts JSON as a page of the issuer does, and keeps what cookie comes back. The jar is read
    /// when the request is sent and written when the answer has arrived, as in a browser.
    pub async fn post(&self, path: &str, body: &Value) -> Answer {
        let answer = self.send(path, body).await;
        self.take(&answer);
        answer
    }

    /// The same, but the jar is not written yet.
    pub async fn send(&self, path: &str, body: &Value) -> Answer {
        let mut request = self
            .http
            .post(format!("{}{path}", self.auth))
            .header(ORIGIN, &self.origin)
            .header("sec-fetch-site", "same-origin")
            .json(body);
        if let Some(cookie) = self.cookie() {
            request = request.header(COOKIE, format!("{}={cookie}", refresh_token::COOKIE));
        }
        Answer::to(request).await
    }

    /// Writes the jar from an answer.
    pub fn take(&self, answer: &Answer) {
        let prefix = format!("{}=", refresh_token::COOKIE);
        let set = answer.headers.get_all(SET_COOKIE).iter().filter_map(|value| value.to_str().ok());
        for value in set {
            let Some(rest) = value.strip_prefix(&prefix) else { continue };
            let text = rest.split(';').next().unwrap_or_default();
            let kept = (!text.is_empty()).then(|| text.to_owned());
            *self.jar.lock().unwrap_or_else(PoisonError::into_inner) = kept;
        }
    }
}
