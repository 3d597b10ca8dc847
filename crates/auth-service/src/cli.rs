//! The command line: serving, and what administrators do. What they do works on the database, and running
//! services learn of it as they learn of everything else; or a service does it, which is asked over HTTP (`remote`).

mod accounts;
mod calibrate;
mod console;
mod copies;
mod doctor;
mod import;
mod invitations;
mod keys;
mod lines;
mod remote;
mod secrets;
mod sessions;
mod users;

use std::path::PathBuf;
use std::pin::pin;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, Subcommand};
use hosting::{causes, probe, process, settings, stop, telemetry};
use tokio::runtime::Runtime;
use verifier::Clock;

use crate::application::Application;
use crate::config::Config;
use crate::store::Store;
use remote::Remote;

/// Issues access tokens, rotates refresh tokens, revokes both.
#[derive(Parser)]
#[command(name = "auth-service", version)]
struct Arguments {
    /// A TOML file with settings; variables `AUTH__SECTION__KEY` override it.
    #[arg(long, global = true)]
    config: Option<PathBuf>,
    /// For `user`, `session` and `keys`: have the service do it whose internal listener is there, instead of working on
    /// the database. https://… or, on this machine, http://…. The variable `AUTH_ADMIN_URL` says the same.
    #[arg(long, global = true)]
    url: Option<String>,
    /// A file, for its owner alone, with the access token of whoever asks. Without it the variable
    /// `AUTH_ADMIN_TOKEN` has the token.
    #[arg(long, global = true, value_name = "FILE")]
    token_file: Option<PathBuf>,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand)]
enum Command {
    /// Serve (the default).
    Serve,
    /// Bring the database schema up to date, and end.
    Migrate,
    /// Copy a SQLite database into a file that is not there yet, while services use it.
    Backup {
        /// Which file.
        file: PathBuf,
    },
    /// Put a backup in the place of the SQLite database, while no service runs. What was there is kept
    /// under another name. Then `migrate`, and `session end-all --after-restore`.
    Restore {
        /// Which file; it stays.
        file: PathBuf,
    },
    /// Ask the running service whether it is ready; ends with 0 if so.
    Healthcheck,
    /// Check settings, database, clock, keys and Redis; one line each, ends with 0 if nothing is bad.
    Doctor,
    /// Look after users.
    #[command(subcommand)]
    User(users::Users),
    /// Look after sessions.
    #[command(subcommand)]
    Session(sessions::Sessions),
    /// Look after the keys in the database.
    #[command(subcommand)]
    Keys(keys::Keys),
    /// Measure which cost of password hashing takes about so long on this machine.
    Calibrate {
        /// For one hash: `50ms`.
        #[arg(long, default_value = "50ms", value_parser = milliseconds)]
        target: Duration,
    },
    /// Write the secrets that a deployment needs into a directory, those that are not there yet.
    Secrets {
        /// Where to write them.
        directory: PathBuf,
        /// Let the group read them too, where the database runs as another user.
        #[arg(long)]
        group_readable: bool,
    },
}

/// Reads the arguments of the process and does what they say.
#[must_use]
pub fn main() -> ExitCode {
    process::prepare();
    match run(Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("auth-service: {}", causes(&*error));
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: Arguments) -> Result<(), Box<dyn std::error::Error>> {
    let config = || Config::load(arguments.config.as_deref(), settings::environment());
    let command = arguments.command.unwrap_or(Command::Serve);
    if matches!(command, Command::User(_) | Command::Session(_) | Command::Keys(_)) {
        if let Some(url) = remote::address(arguments.url) {
            return on_the_runtime(ask(url, arguments.token_file, command));
        }
    } else if arguments.url.is_some() {
        return Err(remote::needs_the_database("this command"));
    }
    match command {
        Command::Serve => {
            let (config, runtime) = (config()?, runtime()?);
            let served = runtime.block_on(serve(config));
            // What is still being looked up for traces is not waited for.
            runtime.shutdown_background();
            served
        }
        Command::Migrate => on_the_runtime(migrate(config()?)),
        Command::Backup { file } => {
            let config = config()?;
            on_the_runtime(async move { copies::back_up(&config, &file).await })
        }
        Command::Restore { file } => {
            let config = config()?;
            on_the_runtime(async move { copies::put_back(&config, &file).await })
        }
        Command::Doctor => on_the_runtime(doctor::run(config().map_err(Into::into))),
        Command::User(what) => {
            let config = config()?;
            on_the_runtime(async move { users::run(&config, what).await })
        }
        Command::Session(what) => {
            let config = config()?;
            on_the_runtime(async move { sessions::run(&config, what).await })
        }
        Command::Keys(what) => {
            let config = config()?;
            on_the_runtime(async move { keys::run(&config, what).await })
        }
        Command::Healthcheck => Ok(probe::ready(&config()?.http.listen)?),
        Command::Calibrate { target } => {
            println!("{}", calibrate::measure(target));
            Ok(())
        }
        Command::Secrets { directory, group_readable } => {
            secrets::write(&directory, group_readable)
        }
    }
}

/// Has a service do it.
async fn ask(
    url: String,
    token_file: Option<PathBuf>,
    command: Command,
) -> Result<(), Box<dyn std::error::Error>> {
    let remote = Remote::open(&url, token_file.as_deref())?;
    match command {
        Command::User(what) => remote::users(&remote, what).await,
        Command::Session(what) => remote::sessions(&remote, what).await,
        Command::Keys(what) => remote::keys(&remote, what).await,
        _ => Err(remote::needs_the_database("this command")),
    }
}

fn milliseconds(text: &str) -> Result<Duration, String> {
    let number = text.strip_suffix("ms").and_then(|number| number.parse().ok());
    let target = number.filter(|number| (1..=10_000).contains(number));
    target
        .map(Duration::from_millis)
        .ok_or_else(|| "must be such as 50ms, up to 10000ms".to_owned())
}

/// Runs what is no serving, with a log.
fn on_the_runtime<F>(work: F) -> Result<(), Box<dyn std::error::Error>>
where
    F: Future<Output = Result<(), Box<dyn std::error::Error>>>,
{
    telemetry::init_logs();
    runtime()?.block_on(work)
}

/// The one multi-thread runtime: database work runs here, where no dropped handler and no ended
/// worker takes it along.
fn runtime() -> std::io::Result<Runtime> {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()
}

async fn serve(config: Config) -> Result<(), Box<dyn std::error::Error>> {
    let traces = telemetry::init("auth-service", &config.telemetry)?;
    let clock = Clock::with_offset(config.clock.offset_seconds);
    let mut stop = pin!(stop::requested());
    let application = tokio::select! {
        biased;
        // It may be waiting for the database, or for the migration of another replica.
        () = &mut stop => return Ok(()),
        application = Application::build(config, clock) => application?,
    };
    let ended = application.run_until_stopped(stop).await;
    traces.stop().await;
    Ok(ended?)
}

async fn migrate(mut config: Config) -> Result<(), Box<dyn std::error::Error>> {
    config.database.migrate_on_start = true;
    Store::open(&config.database, Clock::default()).await?.close().await;
    tracing::info!("the database schema is up to date");
    Ok(())
}
