//! Measures how long a logout takes to be seen: logs a canary in, logs it out, and asks each
//! resource-service until it refuses. Works against any running installation, given its URLs.

use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use trials::drill::{Drill, Failure, Times};

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

#[tokio::main]
async fn main() -> ExitCode {
    match run(Arguments::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("drill: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(arguments: Arguments) -> Result<(), Failure> {
    let variable = &arguments.password_from;
    let drill = Drill {
        password: std::env::var(variable).map_err(|_| format!("{variable} is not set"))?,
        auth: arguments.auth,
        resources: arguments.resource,
        username: arguments.username,
        patience: Duration::from_secs(arguments.patience),
    };
    let seen = drill.run(arguments.rounds).await?;
    println!("{:<36}{}", "from 204 to refusal, ms", Times::heads());
    for (resource, times) in drill.resources.iter().zip(seen) {
        println!("{resource:<36}{times}");
    }
    Ok(())
}
