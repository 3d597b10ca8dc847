//! What all clients share: whom they can ask, what has become of it, and which sessions are over.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use reqwest::RequestBuilder;
use serde_json::{Value, json};
use sqlx::PgPool;
use testbed::{Answer, Tokens};

use super::addresses::{Addresses, Asked};

/// How long a client waits for an answer.
const TIMEOUT: Duration = Duration::from_secs(10);
/// As old as what a service knows of revocations may be, and no logout is seen later (docs/promises.md).
const BOUND: Duration = Duration::from_secs(30);
/// A little more than the window of the rotation rule.
const WINDOW_MS: i64 = 31_000;
/// Of what was wrong, so much is told in words, each with so much of the answer.
const MOST_WORDS: usize = 20;
const MOST_CHARACTERS: usize = 200;

/// What can be wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Wrong {
    NoAnswer,
    ServerError,
    /// Somebody who was in the right was refused.
    Refused,
    /// What is over was accepted.
    Accepted,
    /// Something else than what the other version says, or than what it should be.
    Different,
}

/// A session that is over.
#[derive(Debug, Clone)]
struct Ended {
    access: String,
    refresh: String,
}

#[derive(Debug)]
pub(super) struct Stage {
    pub(super) auths: Addresses,
    pub(super) verifiers: Addresses,
    pub(super) over: AtomicBool,
    http: reqwest::Client,
    database: PgPool,
    counts: Mutex<BTreeMap<&'static str, u64>>,
    wrong: Mutex<(BTreeMap<Wrong, u64>, Vec<String>)>,
    ended: Mutex<Vec<Ended>>,
    /// From the answer that says that a session is over to the last verifier that refuses its token.
    slowest: Mutex<Duration>,
}

impl Stage {
    pub(super) fn new(auths: Addresses, verifiers: Addresses, database: PgPool) -> Self {
        let http = reqwest::Client::builder()
            // A connection to a service that was replaced meanwhile is of no use.
            .pool_idle_timeout(Duration::from_secs(1))
            .timeout(TIMEOUT)
            .user_agent("upgrade")
            .no_proxy()
            .build()
            .expect("a client can be made");
        Self {
            auths,
            verifiers,
            over: AtomicBool::new(false),
            http,
            database,
            counts: Mutex::default(),
            wrong: Mutex::default(),
            ended: Mutex::default(),
            slowest: Mutex::default(),
        }
    }

    pub(super) fn is_over(&self) -> bool {
        self.over.load(Ordering::Relaxed)
    }

    /// Writes down what was wrong.
    pub(super) fn wrong(&self, how: Wrong, what: &str) {
        let mut wrong = lock(&self.wrong);
        *wrong.0.entry(how).or_default() += 1;
        if wrong.1.len() < MOST_WORDS {
            wrong.1.push(what.to_owned());
        }
    }

    /// How often each was wrong, and the first of it in words.
    pub(super) fn all_wrong(&self) -> (BTreeMap<Wrong, u64>, Vec<String>) {
        lock(&self.wrong).clone()
    }

    pub(super) fn counts(&self) -> BTreeMap<&'static str, u64> {
        lock(&self.counts).clone()
    }

    pub(super) fn slowest(&self) -> Duration {
        *lock(&self.slowest)
    }

    pub(super) fn post(&self, at: &Asked<'_>, path: &str, body: &Value) -> RequestBuilder {
        self.http.post(at.url(path)).json(body)
    }

    pub(super) fn get(&self, at: &Asked<'_>, path: &str, access: &str) -> RequestBuilder {
        self.http.get(at.url(path)).bearer_auth(access)
    }

    /// Sends a request that must be answered with this status. `None`: it was not, and that is written down.
    pub(super) async fn ask(
        &self,
        what: &'static str,
        at: &Asked<'_>,
        request: RequestBuilder,
        status: u16,
    ) -> Option<Answer> {
        *lock(&self.counts).entry(what).or_default() += 1;
        let answer = match Answer::try_to(request).await {
            Ok(answer) => answer,
            Err(error) => {
                self.wrong(Wrong::NoAnswer, &format!("{what} at {}: {error:?}", at.version()));
                return None;
            }
        };
        if answer.status == status {
            return Some(answer);
        }
        let how = match answer.status {
            500.. => Wrong::ServerError,
            200..300 => Wrong::Accepted,
            _ => Wrong::Refused,
        };
        // The whole of a token is of no use to whoever reads this.
        let text: String = answer.text.chars().take(MOST_CHARACTERS).collect();
        let said = format!("{what} at {}: {} {text}", at.version(), answer.status);
        self.wrong(how, &said);
        None
    }

    pub(super) async fn register(&self, at: &Asked<'_>, who: &Value) -> Option<()> {
        let request = self.post(at, "/register", who);
        self.ask("registrations", at, request, 201).await.map(drop)
    }

    pub(super) async fn log_in(
        &self,
        at: &Asked<'_>,
        name: &str,
        password: &str,
    ) -> Option<Tokens> {
        let body = json!({"username": name, "password": password});
        let answer = self.ask("logins", at, self.post(at, "/login", &body), 200).await?;
        Some(Tokens::of(&answer))
    }

    pub(super) async fn refresh(&self, at: &Asked<'_>, tokens: &Tokens) -> Option<Tokens> {
        let body = json!({"refresh_token": tokens.refresh});
        let answer = self.ask("refreshes", at, self.post(at, "/refresh", &body), 200).await?;
        let next = Tokens::of(&answer);
        if next.session != tokens.session {
            self.wrong(Wrong::Different, &format!("{} gave another session", at.version()));
        }
        Some(next)
    }

    /// A refresh that must be refused, with this code.
    pub(super) async fn refresh_is_refused(&self, at: &Asked<'_>, refresh: &str, code: &str) {
        let request = self.post(at, "/refresh", &json!({"refresh_token": refresh}));
        if let Some(answer) = self.ask("refreshes of what is over", at, request, 401).await
            && answer.json()["code"] != code
        {
            self.wrong(
                Wrong::Different,
                &format!("not {code} at {}: {}", at.version(), answer.text),
            );
        }
    }

    /// Ends the session, or others of its user as well.
    pub(super) async fn log_out(
        &self,
        at: &Asked<'_>,
        tokens: &Tokens,
        sessions: &str,
    ) -> Option<()> {
        let body = json!({"refresh_token": tokens.refresh, "sessions": sessions});
        self.ask("logouts", at, self.post(at, "/logout", &body), 204).await.map(drop)
    }

    /// Shows the token to every verifier that serves: each must accept it.
    pub(super) async fn is_accepted(&self, access: &str) {
        for number in 0..2 {
            let Some(at) = self.verifiers.at(number) else { continue };
            self.ask("verifications", &at, self.get(&at, "/whoami", access), 200).await;
        }
    }

    /// Lets the window of a session pass, so that its next refresh rotates.
    pub(super) async fn pass_window(&self, session: &str) {
        let sql = "update sessions set rotated_at = rotated_at - $2 where id = $1";
        let passed = sqlx::query(sql).bind(session).bind(WINDOW_MS).execute(&self.database).await;
        passed.expect("the database answers");
    }

    /// A session was said to be over: waits until every verifier that serves refuses its token, and remembers it.
    pub(super) async fn has_ended(&self, tokens: &Tokens) {
        let begun = Instant::now();
        let mut refuses = [false; 2];
        while refuses.contains(&false) {
            for (number, refuses) in refuses.iter_mut().enumerate() {
                if *refuses {
                    continue;
                }
                let Some(at) = self.verifiers.at(number) else {
                    // Whoever comes back is asked by `watch`.
                    *refuses = true;
                    continue;
                };
                let request = self.get(&at, "/whoami", &tokens.access);
                // Which of the two it is, is what is waited for here.
                match Answer::try_to(request).await {
                    Ok(answer) if answer.status == 401 => *refuses = true,
                    Ok(answer) if answer.status == 200 => {}
                    other => {
                        let said = format!("verification at {}: {other:?}", at.version());
                        self.wrong(Wrong::ServerError, &said);
                        *refuses = true;
                    }
                }
            }
            if begun.elapsed() > BOUND {
                self.wrong(Wrong::Accepted, "the token of a session that is over, after 30 s");
                return;
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        let mut slowest = lock(&self.slowest);
        *slowest = begun.elapsed().max(*slowest);
        drop(slowest);
        let Tokens { access, refresh, .. } = tokens.clone();
        lock(&self.ended).push(Ended { access, refresh });
    }

    /// Shows what is over again and again, until the end: nobody accepts it any more.
    pub(super) async fn watch(&self) {
        while !self.is_over() {
            let ended = fastrand::choice(&*lock(&self.ended)).cloned();
            if let Some(ended) = ended {
                for number in 0..2 {
                    let Some(at) = self.verifiers.at(number) else { continue };
                    let request = self.get(&at, "/whoami", &ended.access);
                    self.ask("verifications of what is over", &at, request, 401).await;
                }
                let at = self.auths.any();
                let body = json!({"refresh_token": ended.refresh});
                let request = self.post(&at, "/refresh", &body);
                self.ask("refreshes of what is over", &at, request, 401).await;
            }
            tokio::time::sleep(Duration::from_millis(30)).await;
        }
    }
}

fn lock<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}
