//! How long a logout takes to be seen: logs a canary in, logs it out, and asks each resource-service
//! until it refuses. Works against any running installation.

use std::error::Error;
use std::fmt::{self, Display};
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use serde_json::{Value, json};

/// Why a round could not be finished.
pub type Failure = Box<dyn Error>;

/// Where to drill, and as whom.
#[derive(Debug)]
pub struct Drill {
    /// `http://host:port` of the auth-service that is asked.
    pub auth: String,
    /// `http://host:port` of each resource-service.
    pub resources: Vec<String>,
    /// The canary, a user like any other.
    pub username: String,
    pub password: String,
    /// When to give a round up.
    pub patience: Duration,
}

/// From logout's 204 to the first refusal, once for each round; or how long anything else took.
#[derive(Debug, Default)]
pub struct Times(Vec<Duration>);

impl Times {
    /// The heads of the columns that [`Display`] shows.
    #[must_use]
    pub fn heads() -> String {
        format!("{:>10}{:>10}{:>10}{:>10}", "p50", "p99", "p99.9", "max")
    }

    /// Adds one.
    pub fn push(&mut self, time: Duration) {
        self.0.push(time);
    }

    /// How many there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// The time that `permille` of the rounds took at the most.
    #[must_use]
    pub fn at(&self, permille: usize) -> Duration {
        let mut sorted = self.0.clone();
        sorted.sort();
        let index = (sorted.len() * permille).div_ceil(1000).saturating_sub(1);
        sorted.get(index).copied().unwrap_or_default()
    }
}

impl Display for Times {
    /// In milliseconds.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        [500, 990, 999, 1000].iter().try_for_each(|permille| {
            write!(f, "{:>10.1}", self.at(*permille).as_secs_f64() * 1000.0)
        })
    }
}

impl Drill {
    /// One after the other; the times of each resource-service, in their order.
    pub async fn run(&self, rounds: usize) -> Result<Vec<Times>, Failure> {
        let http = reqwest::Client::builder().timeout(Duration::from_secs(10)).build()?;
        let mut seen: Vec<_> = self.resources.iter().map(|_| Times::default()).collect();
        for _ in 0..rounds {
            for (times, refusal) in seen.iter_mut().zip(self.round(&http).await?) {
                times.0.push(refusal);
            }
        }
        Ok(seen)
    }

    async fn round(&self, http: &reqwest::Client) -> Result<Vec<Duration>, Failure> {
        let tokens = self.log_in(http).await?;
        let access = text(&tokens, "access_token")?;
        for resource in &self.resources {
            let accepted = status(http, resource, access).await?;
            if accepted != 200 {
                return Err(format!("{resource} answers {accepted} to a fresh token").into());
            }
        }
        let body = json!({ "refresh_token": text(&tokens, "refresh_token")? });
        let url = format!("{}/logout", self.auth);
        let logout = http.post(url).json(&body).send().await?.status().as_u16();
        let out = Instant::now();
        if logout != 204 {
            return Err(format!("the logout was answered {logout}").into());
        }
        let refusals = self.resources.iter().map(|it| self.until_refused(http, it, access, out));
        join_all(refusals).await.into_iter().collect()
    }

    async fn log_in(&self, http: &reqwest::Client) -> Result<Value, Failure> {
        let body = json!({"username": self.username, "password": self.password, "device": "drill"});
        let answer = http.post(format!("{}/login", self.auth)).json(&body).send().await?;
        let status = answer.status();
        if status.is_success() {
            Ok(answer.json().await?)
        } else {
            Err(format!("the login was answered {status}").into())
        }
    }

    /// Asks again and again; 503 is a refusal too, but of another kind, and is waited out.
    async fn until_refused(
        &self,
        http: &reqwest::Client,
        resource: &str,
        access: &str,
        out: Instant,
    ) -> Result<Duration, Failure> {
        loop {
            if status(http, resource, access).await? == 401 {
                return Ok(out.elapsed());
            }
            if out.elapsed() > self.patience {
                return Err(format!("{resource} still accepts the token").into());
            }
        }
    }
}

fn text<'a>(answer: &'a Value, member: &str) -> Result<&'a str, Failure> {
    answer[member].as_str().ok_or_else(|| format!("the answer has no {member}").into())
}

async fn status(http: &reqwest::Client, resource: &str, access: &str) -> Result<u16, Failure> {
    let request = http.get(format!("{resource}/whoami")).bearer_auth(access);
    Ok(request.send().await?.status().as_u16())
}
