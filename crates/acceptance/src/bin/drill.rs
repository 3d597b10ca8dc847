//! Measures how long a logout takes to be seen: logs a canary in, logs it out, and asks each
//! resource-service until it refuses. Works against any running installation, given its URLs.

use std::error::Error;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Parser;
use futures_util::future::join_all;
use serde_json::{Value, json};

/// How long after a logout's 204 each resource-service refuses the access token.
#[derive(Parser)]
struct Arguments {
    /// The auth-service.
    #[arg(long, default_value = "http://127.0.0.1:8080")]
    auth: String,
    /// A resource-service; may be given several times.
    #[arg(long, default_value = "http://127.0.0.1:8081")]
    resource: Vec<String>,
    /// The canary's name. It is a user like any other.
    #[arg(long, default_value = "demo")]
    username: String,
    /// The variable that holds the canary's password; a password on the command line can be read by
    /// others.
    #[arg(long, default_value = "DRILL_PASSWORD")]
    password_from: String,
    /// How many times.
    #[arg(long, default_value_t = 500)]
    rounds: usize,
    /// Give a round up after this many seconds.
    #[arg(long, default_value_t = 60)]
    patience: u64,
}

type Failure = Box<dyn Error>;

#[tokio::main]
async fn main() -> ExitCode {
    match run(&Arguments::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("drill: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(arguments: &Arguments) -> Result<(), Failure> {
    let variable = &arguments.password_from;
    let password = std::env::var(variable).map_err(|_| format!("{variable} is not set"))?;
    let http = reqwest::Client::builder().timeout(Duration::from_secs(10)).build()?;
    let mut seen: Vec<Vec<Duration>> = vec![Vec::new(); arguments.resource.len()];
    for _ in 0..arguments.rounds {
        let tokens = log_in(&http, arguments, &password).await?;
        let access = text(&tokens, "access_token")?;
        for resource in &arguments.resource {
            let accepted = status(&http, resource, access).await?;
            if accepted != 200 {
                return Err(format!("{resource} answers {accepted} to a fresh token").into());
            }
        }
        let body = json!({ "refresh_token": text(&tokens, "refresh_token")? });
        let url = format!("{}/logout", arguments.auth);
        let logout = http.post(url).json(&body).send().await?.status().as_u16();
        let out = Instant::now();
        if logout != 204 {
            return Err(format!("the logout was answered {logout}").into());
        }
        let patience = Duration::from_secs(arguments.patience);
        let refusals = arguments
            .resource
            .iter()
            .map(|resource| until_refused(&http, resource, access, out, patience));
        for (times, refusal) in seen.iter_mut().zip(join_all(refusals).await) {
            times.push(refusal?);
        }
    }
    println!(
        "{:<36}{:>10}{:>10}{:>10}{:>10}",
        "from 204 to refusal, ms", "p50", "p99", "p99.9", "max"
    );
    for (resource, times) in arguments.resource.iter().zip(&mut seen) {
        times.sort();
        let at = |permille: usize| {
            let index = (times.len() * permille).div_ceil(1000).saturating_sub(1);
            times.get(index).map_or(0.0, |time| time.as_secs_f64() * 1000.0)
        };
        println!(
            "{resource:<36}{:>10.1}{:>10.1}{:>10.1}{:>10.1}",
            at(500),
            at(990),
            at(999),
            at(1000)
        );
    }
    Ok(())
}

async fn log_in(
    http: &reqwest::Client,
    arguments: &Arguments,
    password: &str,
) -> Result<Value, Failure> {
    let body = json!({"username": arguments.username, "password": password, "device": "drill"});
    let answer = http.post(format!("{}/login", arguments.auth)).json(&body).send().await?;
    let status = answer.status();
    if status.is_success() {
        Ok(answer.json().await?)
    } else {
        Err(format!("the login was answered {status}").into())
    }
}

fn text<'a>(answer: &'a Value, member: &str) -> Result<&'a str, Failure> {
    answer[member].as_str().ok_or_else(|| format!("the answer has no {member}").into())
}

async fn status(http: &reqwest::Client, resource: &str, access: &str) -> Result<u16, Failure> {
    let request = http.get(format!("{resource}/whoami")).bearer_auth(access);
    Ok(request.send().await?.status().as_u16())
}

/// Asks again and again; 503 is a refusal too, but of another kind, and is waited out.
async fn until_refused(
    http: &reqwest::Client,
    resource: &str,
    access: &str,
    out: Instant,
    patience: Duration,
) -> Result<Duration, Failure> {
    loop {
        if status(http, resource, access).await? == 401 {
            return Ok(out.elapsed());
        }
        if out.elapsed() > patience {
            return Err(format!("{resource} still accepts the token").into());
        }
    }
}
