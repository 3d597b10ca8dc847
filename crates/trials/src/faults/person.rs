//! A user of the services, who remembers everything that was asked and answered.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use claims::Transport;
use serde_json::json;

use super::history::{
    AccessToken, Ending, Episode, Event, Grant, Moment, Operation, Outcome, RefreshToken,
};
use super::reading::{self, Expected};
use super::tally::Tally;
use super::weather::Weather;
use testbed::service::Running;
use testbed::{PASSWORD, Service};

/// How long a client waits for an answer, unless it is told otherwise.
pub const TIMEOUT: Duration = Duration::from_secs(4);

/// What all users share: where the services are, the clock, and the end.
#[derive(Debug)]
pub struct Stage {
    /// `http://host:port` of each auth-service, by way of its link.
    pub auths: [String; 2],
    /// `host:port` of each auth-service itself, for whoever resets connections.
    pub direct: [String; 2],
    /// `http://host:port` of each resource-service.
    pub resources: [String; 3],
    /// The processes of the auth-services.
    pub auth_processes: [Running; 2],
    /// The processes of the resource-services.
    pub resource_processes: [Running; 3],
    /// A client that keeps connections.
    pub http: reqwest::Client,
    /// What the clock counts from.
    pub origin: Instant,
    /// Set when everybody is to come to an end.
    pub over: AtomicBool,
    /// What was asked and answered, in numbers.
    pub tally: Tally,
    /// What was in trouble when.
    pub weather: Weather,
}

impl Stage {
    /// Nothing has happened yet. `links` are `http://host:port` of what leads to each auth-service.
    ///
    /// # Panics
    /// When no client can be made.
    #[must_use]
    pub fn new(links: [String; 2], auths: [&Service; 2], resources: [&Service; 3]) -> Self {
        let http = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .user_agent("acceptance")
            .no_proxy()
            .build()
            .expect("a client can be made");
        Self {
            auths: links,
            direct: auths.map(|auth| auth.public.replace("http://", "")),
            resources: resources.map(|resource| resource.public.clone()),
            auth_processes: auths.map(Service::running),
            resource_processes: resources.map(Service::running),
            http,
            origin: Instant::now(),
            over: AtomicBool::new(false),
            tally: Tally::default(),
            weather: Weather::default(),
        }
    }

    /// The time.
    #[must_use]
    pub fn now(&self) -> Moment {
        self.origin.elapsed()
    }

    /// Whether everybody is to come to an end.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.over.load(Ordering::Relaxed)
    }
}

/// One user. Clones are the same user in several tabs.
#[derive(Debug, Clone)]
pub struct Person {
    pub stage: Arc<Stage>,
    episode: Arc<Mutex<Episode>>,
    username: Arc<str>,
}

impl Person {
    /// Nobody has met this user before.
    #[must_use]
    pub fn new(stage: &Arc<Stage>, actor: &'static str, username: String) -> Self {
        Self::again(stage, Episode { actor, username, events: Vec::new() })
    }

    /// A user with a history.
    #[must_use]
    pub fn again(stage: &Arc<Stage>, episode: Episode) -> Self {
        let username = episode.username.as_str().into();
        Self { stage: Arc::clone(stage), episode: Arc::new(Mutex::new(episode)), username }
    }

    /// The user's name.
    #[must_use]
    pub fn username(&self) -> &str {
        &self.username
    }

    /// Everything that happened, once the last tab is closed: a history that lacks a request blames
    /// its consequences on the services.
    pub async fn history(mut self) -> Episode {
        loop {
            match Arc::try_unwrap(self.episode) {
                Ok(episode) => return episode.into_inner().unwrap_or_else(PoisonError::into_inner),
                Err(shared) => self.episode = shared,
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Registers at a replica.
    pub async fn register(&self, at: usize) -> Outcome {
        let body = json!({"username": &*self.username, "password": PASSWORD});
        let request = self.to_auth(at, "/register").json(&body);
        self.ask(at, Operation::Register, request, TIMEOUT, Expected::Nothing).await
    }

    /// Logs in at a replica.
    pub async fn log_in(&self, at: usize, transport: Transport) -> Option<Grant> {
        let by = if transport == Transport::Cookie { "cookie" } else { "body" };
        let body = json!({"username": &*self.username, "password": PASSWORD, "transport": by});
        let request = self.to_auth(at, "/login").json(&body);
        let expected = Expected::Tokens(transport);
        granted(self.ask(at, Operation::LogIn, request, TIMEOUT, expected).await)
    }

    /// Presents a refresh token, and waits as long as that.
    pub async fn refresh(&self, at: usize, token: &RefreshToken, patience: Duration) -> Outcome {
        let request = presenting(self.to_auth(at, "/refresh"), token, json!({}));
        let expected = Expected::Tokens(token.transport);
        self.ask(at, Operation::Refresh(token.clone()), request, patience, expected).await
    }

    /// Ends sessions by a refresh token.
    pub async fn log_out(&self, at: usize, token: &RefreshToken, ending: Ending) -> Outcome {
        let sessions = match ending {
            Ending::Current => "current",
            Ending::Others => "others",
            Ending::All => "all",
        };
        let body = json!({ "sessions": sessions });
        let request = presenting(self.to_auth(at, "/logout"), token, body);
        let operation = Operation::LogOut(token.clone(), ending);
        self.ask(at, operation, request, TIMEOUT, Expected::Nothing).await
    }

    /// Presents an access token to a resource-service.
    pub async fn present(&self, at: usize, token: &AccessToken) -> Outcome {
        let url = format!("{}/whoami", self.stage.resources[at]);
        let request = self.stage.http.get(url).bearer_auth(&*token.text);
        let patience = Duration::from_secs(2);
        self.ask(at, Operation::Use(token.clone()), request, patience, Expected::Identity).await
    }

    /// Writes down what was done without an answer.
    pub fn note(&self, begun: Moment, at: usize, operation: Operation, outcome: Outcome) {
        let over = self.stage.now();
        self.stage.tally.count(operation.name(), &outcome);
        let mut episode = self.episode.lock().unwrap_or_else(PoisonError::into_inner);
        episode.events.push(Event { begun, over, at, operation, outcome });
    }

    fn to_auth(&self, at: usize, path: &str) -> reqwest::RequestBuilder {
        // What a page of the service's own would send; without a cookie it means nothing.
        let request = self.stage.http.post(format!("{}{path}", self.stage.auths[at]));
        request.header("x-latchkey", "1")
    }

    async fn ask(
        &self,
        at: usize,
        operation: Operation,
        request: reqwest::RequestBuilder,
        patience: Duration,
        expected: Expected,
    ) -> Outcome {
        let begun = self.stage.now();
        let answer = reading::answer(request.timeout(patience)).await;
        let outcome = reading::outcome(answer, expected, begun);
        self.note(begun, at, operation, outcome.clone());
        outcome
    }
}

/// A refresh token goes where it came from.
fn presenting(
    request: reqwest::RequestBuilder,
    token: &RefreshToken,
    mut body: serde_json::Value,
) -> reqwest::RequestBuilder {
    match token.transport {
        Transport::Cookie => {
            let cookie = format!("{}={}", claims::refresh_token::COOKIE, token.text);
            request.header("cookie", cookie).json(&body)
        }
        Transport::Body => {
            body["refresh_token"] = json!(&*token.text);
            request.json(&body)
        }
    }
}

/// The tokens of an outcome, if there are any.
#[must_use]
pub fn granted(outcome: Outcome) -> Option<Grant> {
    match outcome {
        Outcome::Granted(grant) => Some(*grant),
        _ => None,
    }
}
