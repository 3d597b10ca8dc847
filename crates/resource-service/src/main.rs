//! The resource-service as a process.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use hosting::{probe, process, settings, stop, telemetry};
use resource_service::{Application, Config};
use verifier::Clock;

/// A service that verifies access tokens on its own.
#[derive(Parser)]
#[command(name = "resource-service", version)]
struct Arguments {
    /// A TOML file with settings; variables `RESOURCE__SECTION__KEY` override it.
    #[arg(long, global = true)]
    config: Option<PathBuf>,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand)]
enum Command {
    /// Serve (the default).
    Serve,
    /// Ask the running service whether it is ready; ends with 0 if so.
    Healthcheck,
}

fn main() -> ExitCode {
    process::prepare();
    match run(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("resource-service: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> Result<(), Box<dyn std::error::Error>> {
    let config = Config::load(arguments.config.as_deref(), settings::environment())?;
    if let Some(Command::Healthcheck) = arguments.command {
        return Ok(probe::ready(&config.http.listen)?);
    }
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let served = runtime.block_on(serve(config));
    // What is still being looked up for traces is not waited for.
    runtime.shutdown_background();
    served
}

async fn serve(config: Config) -> Result<(), Box<dyn std::error::Error>> {
    let traces = telemetry::init("resource-service", &config.telemetry)?;
    let clock = Clock::with_offset(config.clock.offset_seconds);
    let application = Application::build(config, clock).await?;
    let ended = application.run_until_stopped(stop::requested()).await;
    traces.stop().await;
    Ok(ended?)
}
