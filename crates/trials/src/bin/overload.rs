//! Floods an auth-service with logins and measures what everybody else notices of it. Ends with 1
//! when that is more than is promised.
//!
//! `cargo xtask overload` runs it on a private Postgres, with the programs of a release build.

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use trials::overload::flood::{self, Flood};
use trials::overload::unfinished::{Hold, How, hold, unfinished};
use trials::overload::{Options, overload};

/// How long, and how hard.
#[derive(Parser)]
struct Arguments {
    /// Of each of the two phases.
    #[arg(long, default_value_t = 30)]
    seconds: u64,
    /// Connections of the flood, each sending its next login at once.
    #[arg(long, default_value_t = 256)]
    clients: usize,
    /// The priority of the flood's process. At 0 it takes processors away from the services that it
    /// floods; at 19 it is as if it came from another machine, as long as these are busy.
    #[arg(long, default_value_t = 0, allow_negative_numbers = true)]
    nice: i32,
    #[command(subcommand)]
    part: Option<Part>,
}

#[derive(Subcommand)]
enum Part {
    /// What the flood's process does; started by the other, not by people.
    #[command(hide = true)]
    Flood(Flood),
    /// What holds unfinished requests; started by the next, not by people.
    #[command(hide = true)]
    Hold(Hold),
    /// Measure requests that do not end instead: memory, and what others notice.
    Unfinished(How),
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let options = Options {
        seconds: arguments.seconds,
        clients: arguments.clients,
        nice: arguments.nice,
        memory_kib: 19_456,
        iterations: 2,
    };
    match arguments.part {
        Some(Part::Flood(flood)) => ended(flood::run(&flood)),
        Some(Part::Hold(what)) => ended(hold(&what)),
        Some(Part::Unfinished(how)) => {
            // Cheap hashes, so that what they take is not taken for what the flood left.
            measure_unfinished(&Options { memory_kib: 64, iterations: 1, ..options }, &how)
        }
        None => measure(&options),
    }
}

fn ended(result: std::io::Result<()>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("overload: {error}");
            ExitCode::FAILURE
        }
    }
}

#[tokio::main]
async fn measure_unfinished(options: &Options, how: &How) -> ExitCode {
    let report = unfinished(options, how).await;
    println!("{report}");
    if report.is_good() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

#[tokio::main]
async fn measure(options: &Options) -> ExitCode {
    let report = overload(options).await;
    println!("{report}");
    if report.is_good() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
