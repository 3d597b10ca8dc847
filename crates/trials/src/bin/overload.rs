//! Floods an auth-service with logins and measures what everybody else notices of it. Ends with 1
//! when that is more than is promised.
//!
//! `cargo xtask overload` runs it on a private Postgres, with the programs of a release build.

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use trials::overload::flood::{self, Flood};
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
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match arguments.part {
        Some(Part::Flood(flood)) => match flood::run(&flood) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                eprintln!("overload: {error}");
                ExitCode::FAILURE
            }
        },
        None => measure(&Options {
            seconds: arguments.seconds,
            clients: arguments.clients,
            nice: arguments.nice,
            memory_kib: 19_456,
            iterations: 2,
        }),
    }
}

#[tokio::main]
async fn measure(options: &Options) -> ExitCode {
    let report = overload(options).await;
    println!("{report}");
    if report.is_good() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
