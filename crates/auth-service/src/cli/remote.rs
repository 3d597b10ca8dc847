//! The commands over HTTP, for whoever has neither the database nor the master key: what they do, a service does.
//!
//! Only this and the files below it know a client for HTTP, and nothing that serves uses it.

mod keys;
mod sessions;
mod users;

use std::env;
use std::io::Write as _;
use std::path::Path;
use std::time::Duration;

use hosting::secret_file;
use hosting::settings::is_this_machine;
use reqwest::header::{HeaderName, HeaderValue};
use reqwest::{Client, Method, RequestBuilder, Response, StatusCode, Url};
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use uuid::Uuid;

use super::console::Failure;

pub(super) use keys::run as keys;
pub(super) use sessions::run as sessions;
pub(super) use users::run as users;

/// Names the service where `--url` does not.
const URL: &str = "AUTH_ADMIN_URL";
/// Has the access token where no file is named.
const TOKEN: &str = "AUTH_ADMIN_TOKEN";
/// A password is hashed there, maybe behind others.
const TIMEOUT: Duration = Duration::from_secs(30);
const PAGE: usize = 500;

/// The service that is asked, and the token of whoever asks.
pub(super) struct Remote {
    http: Client,
    url: String,
    token: SecretString,
}

/// What the service answers where it does not do it.
#[derive(Deserialize)]
struct Problem {
    detail: String,
    code: String,
}

/// The service that the arguments or the variables name; `None` where neither does.
pub(super) fn address(argument: Option<String>) -> Option<String> {
    argument.or_else(|| env::var(URL).ok()).filter(|url| !url.is_empty())
}

/// Why a command cannot be had over HTTP.
pub(super) fn needs_the_database(command: &str) -> Failure {
    format!("{command} needs the database: run it where that is, without --url and {URL}").into()
}

/// Of an answer that lists users, what finding one needs.
#[derive(Deserialize)]
struct Found {
    users: Vec<FoundUser>,
}

#[derive(Deserialize)]
struct FoundUser {
    id: String,
}

impl Remote {
    /// The id of the user that `text` names.
    async fn find(&self, text: &str) -> Result<String, Failure> {
        let found: Found = self.get("/users", &[("user", text)]).await?;
        let user = found.users.into_iter().next();
        Ok(user.ok_or_else(|| format!("there is no user {text:?}"))?.id)
    }

    /// The service at `url`.
    ///
    /// # Errors
    /// When a token would travel in the clear, or there is none.
    pub(super) fn open(url: &str, token_file: Option<&Path>) -> Result<Self, Failure> {
        let bad = "--url: must be https://… or, on this machine, http://…, and end with the port or a path";
        let parsed = Url::parse(url).map_err(|_| bad)?;
        let plain = parsed.scheme() == "http";
        if parsed.cannot_be_a_base() || parsed.query().is_some() || parsed.fragment().is_some() {
            return Err(bad.into());
        }
        if !parsed.username().is_empty() || parsed.password().is_some() {
            return Err("--url: must have no name and no password in it".into());
        }
        // What is connected to, and not the text: that can be read in another way.
        let here = parsed.host_str().is_some_and(is_this_machine);
        if !(parsed.scheme() == "https" || plain && here) {
            return Err(bad.into());
        }
        let mut http = Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(Duration::from_secs(5))
            .timeout(TIMEOUT)
            .user_agent("auth-service");
        if plain {
            // On this machine, and not by way of whatever `http_proxy` names. No authority is asked.
            http = http.no_proxy().tls_certs_only([]);
        }
        let http = http.build().map_err(|error| explained(&error))?;
        Ok(Self {
            http,
            url: parsed.as_str().trim_end_matches('/').to_owned(),
            token: token(token_file)?,
        })
    }

    /// Reads.
    async fn get<T: DeserializeOwned>(
        &self,
        path: &str,
        query: &[(&str, &str)],
    ) -> Result<T, Failure> {
        let answer = self.answer(self.request(Method::GET, path).query(query)).await?;
        Ok(answer.json().await.map_err(|error| explained(&error))?)
    }

    /// Copies an answer to standard output as it comes, however long it is.
    async fn copy(&self, path: &str) -> Result<(), Failure> {
        let mut answer = self.answer(self.request(Method::GET, path)).await?;
        let mut out = std::io::stdout();
        while let Some(part) = answer.chunk().await.map_err(|error| explained(&error))? {
            out.write_all(&part)?;
        }
        Ok(out.flush()?)
    }

    /// Changes something; what is sent twice changes it once.
    async fn send(&self, method: Method, path: &str, body: Option<&Value>) -> Result<(), Failure> {
        let mut request = self.request(method, path);
        if let Some(body) = body {
            request = request.json(body);
        }
        self.answer(request).await?;
        Ok(())
    }

    /// Makes something, once: where no answer comes, it is asked for again with the same key.
    async fn make<T: DeserializeOwned>(&self, path: &str, body: &Value) -> Result<T, Failure> {
        let key = HeaderValue::from_str(&format!("\"{}\"", Uuid::new_v4()))?;
        let name = HeaderName::from_static("idempotency-key");
        let request = || self.request(Method::POST, path).header(&name, &key).json(body);
        let sent = match request().send().await {
            Err(error) if !error.is_connect() && !error.is_builder() => request().send().await,
            sent => sent,
        };
        let answer = judged(sent.map_err(|error| explained(&error))?).await?;
        Ok(answer.json().await.map_err(|error| explained(&error))?)
    }

    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let url = format!("{}/admin/v1{path}", self.url);
        self.http.request(method, url).bearer_auth(self.token.expose_secret())
    }

    async fn answer(&self, request: RequestBuilder) -> Result<Response, Failure> {
        judged(request.send().await.map_err(|error| explained(&error))?).await
    }
}

/// The answer, or why it was not done, in the service's words.
async fn judged(answer: Response) -> Result<Response, Failure> {
    let status = answer.status();
    if status.is_success() {
        return Ok(answer);
    }
    let Ok(problem) = answer.json::<Problem>().await else {
        return Err(format!("--url: unexpected status {status}; is this an auth-service?").into());
    };
    if status == StatusCode::UNAUTHORIZED {
        return Err(format!(
            "{} ({}); log in with `resource` and `scope` as docs/administration.md says",
            problem.detail, problem.code
        )
        .into());
    }
    Err(format!("{} ({})", problem.detail, problem.code).into())
}

/// In one line, without the address, which may be long.
fn explained(error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    format!("--url: the service does not answer: {cause}")
}

/// Never an argument: others see those.
fn token(file: Option<&Path>) -> Result<SecretString, Failure> {
    let text = match file {
        Some(file) => secret_file::read(file)
            .map_err(|error| format!("--token-file: {}: {error}", file.display()))?,
        None => env::var(TOKEN).unwrap_or_default(),
    };
    let text = text.trim();
    if text.is_empty() {
        return Err(format!(
            "there is no access token: name a file with one by --token-file, or set {TOKEN}"
        )
        .into());
    }
    // Not repeated: it may be one, with something else beside it.
    if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err("what is given as the access token is none".into());
    }
    Ok(SecretString::from(text))
}
