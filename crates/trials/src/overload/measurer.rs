//! Honest clients at a steady pace, and how long they wait.
//!
//! Each sends when its time has come, whether or not others have their answers: a service that stalls
//! is asked as often as one that does not.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use reqwest::{Client, RequestBuilder};
use serde_json::json;
use tokio::time::{MissedTickBehavior, interval_at};

use crate::drill::Times;
use testbed::{Service, Tokens};

/// Sessions that are refreshed, each once in a second.
pub(super) const SESSIONS: u64 = 50;
/// Verifications for each, in a second.
const CALLS: u64 = 4;
/// Sessions that are ended, in a second.
pub(super) const LOGOUTS: u64 = 5;

/// What honest clients saw.
#[derive(Debug, Default)]
pub struct Seen {
    pub refresh: Times,
    /// Verifications by the resource-service.
    pub verify: Times,
    pub logout: Times,
    pub ready: Times,
    /// Logouts without a 204.
    pub logouts_refused: u64,
    /// Everything else without a 200.
    pub refused: u64,
}

/// Which times a request is to be counted among.
#[derive(Clone, Copy)]
enum What {
    Refresh,
    Verify,
    Logout,
    Ready,
}

/// Honest clients, and the sessions that they have.
pub(super) struct Measurer {
    http: Client,
    auth: String,
    resource: String,
    sessions: Vec<Arc<Mutex<Tokens>>>,
    to_end: Vec<Tokens>,
}

impl Measurer {
    /// Logs in as often as phases of so many seconds in all will need.
    pub(super) async fn start(auth: &Service, resource: &Service, seconds: u64) -> Self {
        auth.register("honest").await;
        let (mut sessions, mut to_end) = (Vec::new(), Vec::new());
        for _ in 0..SESSIONS {
            sessions.push(Arc::new(Mutex::new(auth.login("honest").await)));
        }
        for _ in 0..LOGOUTS * seconds {
            to_end.push(auth.login("honest").await);
        }
        let http = Client::builder().timeout(Duration::from_secs(30)).build();
        let (auth, resource) = (auth.public.clone(), resource.public.clone());
        Self { http: http.expect("a client can be made"), auth, resource, sessions, to_end }
    }

    /// Works for so many seconds.
    pub(super) async fn measure(&mut self, seconds: u64) -> Seen {
        let seen = Mutex::new(Seen::default());
        let begun = tokio::time::Instant::now() + Duration::from_millis(20);
        let logouts = usize::try_from(LOGOUTS * seconds).expect("few");
        let to_end = self.to_end.split_off(self.to_end.len().saturating_sub(logouts));
        let second = Duration::from_secs(1);
        let offset = |one: usize, of: u64| {
            begun + second * u32::try_from(one).expect("few") / u32::try_from(of).expect("few")
        };
        let (this, told) = (&*self, &seen);
        let refreshing = join_all(this.sessions.iter().enumerate().map(|(one, tokens)| {
            paced(offset(one, SESSIONS), second, seconds, move |_| this.refresh(tokens, told))
        }));
        let calling = join_all(this.sessions.iter().enumerate().map(|(one, tokens)| {
            let pace = second / u32::try_from(CALLS).expect("few");
            let first = offset(one, SESSIONS * CALLS);
            paced(first, pace, seconds * CALLS, move |_| this.call(tokens, told))
        }));
        let pace = second / u32::try_from(LOGOUTS).expect("few");
        let ending = paced(begun, pace, seconds * LOGOUTS, |one| {
            this.end(&to_end[usize::try_from(one).expect("few")], told)
        });
        let asking = paced(begun, second / 2, seconds * 2, |_| this.ask(told));
        tokio::join!(refreshing, calling, ending, asking);
        seen.into_inner().unwrap_or_else(PoisonError::into_inner)
    }

    async fn refresh(&self, tokens: &Mutex<Tokens>, seen: &Mutex<Seen>) {
        let token = lock(tokens).refresh.clone();
        let request = self.http.post(format!("{}/refresh", self.auth));
        let request = request.json(&json!({ "refresh_token": token }));
        if let Some(answer) = timed(request, What::Refresh, 200, seen).await
            && let Ok(answer) = serde_json::from_str::<serde_json::Value>(&answer)
            && let (Some(access), Some(refresh)) =
                (answer["access_token"].as_str(), answer["refresh_token"].as_str())
        {
            let mut tokens = lock(tokens);
            access.clone_into(&mut tokens.access);
            refresh.clone_into(&mut tokens.refresh);
        }
    }

    async fn call(&self, tokens: &Mutex<Tokens>, seen: &Mutex<Seen>) {
        let access = lock(tokens).access.clone();
        let request = self.http.get(format!("{}/whoami", self.resource)).bearer_auth(access);
        timed(request, What::Verify, 200, seen).await;
    }

    async fn end(&self, tokens: &Tokens, seen: &Mutex<Seen>) {
        let request = self.http.post(format!("{}/logout", self.auth));
        let request = request.json(&json!({ "refresh_token": tokens.refresh }));
        timed(request, What::Logout, 204, seen).await;
    }

    async fn ask(&self, seen: &Mutex<Seen>) {
        for service in [&self.auth, &self.resource] {
            let request = self.http.get(format!("{service}/health/ready"));
            timed(request, What::Ready, 200, seen).await;
        }
    }
}

/// Does it `times` times, one after the other, each as soon as its time has come.
async fn paced<F: Future<Output = ()>>(
    begin: tokio::time::Instant,
    pace: Duration,
    times: u64,
    mut work: impl FnMut(u64) -> F,
) {
    let mut ticks = interval_at(begin, pace);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    for one in 0..times {
        ticks.tick().await;
        work(one).await;
    }
}

/// Sends it and counts; the body, where the status is the one expected.
async fn timed(
    request: RequestBuilder,
    what: What,
    expected: u16,
    seen: &Mutex<Seen>,
) -> Option<String> {
    let begun = Instant::now();
    let answer = async {
        let answer = request.send().await?;
        let status = answer.status().as_u16();
        Ok::<_, reqwest::Error>((status, answer.text().await?))
    };
    let answer = answer.await.ok();
    let took = begun.elapsed();
    let good = answer.filter(|(status, _)| *status == expected).map(|(_, text)| text);
    let mut seen = lock(seen);
    if good.is_none() {
        *match what {
            What::Logout => &mut seen.logouts_refused,
            _ => &mut seen.refused,
        } += 1;
    }
    match what {
        What::Refresh => &mut seen.refresh,
        What::Verify => &mut seen.verify,
        What::Logout => &mut seen.logout,
        What::Ready => &mut seen.ready,
    }
    .push(took);
    good
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
