//! Rotates keys under load and counts who is refused for it. Ends with 1 if anybody is.
//!
//! `cargo xtask rotations` runs it on a private Postgres, with the programs of a release build.

use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;

/// How often.
#[derive(Parser)]
struct Arguments {
    /// Rotations of both keys; each takes some four seconds.
    #[arg(long, default_value_t = 50)]
    rotations: usize,
    /// Tokens with key ids that do not exist.
    #[arg(long, default_value_t = 10_000)]
    invented: usize,
}

#[tokio::main]
async fn main() -> ExitCode {
    let Arguments { rotations, invented } = Arguments::parse();
    // As short as can be told from the second in which services read the key set.
    let published = Duration::from_secs(3);
    let report = trials::rotations::rotate(rotations, published, invented).await;
    println!("{report}");
    if report.is_good() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
