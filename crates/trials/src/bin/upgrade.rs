//! Runs the programs of the release before and ours side by side, there and back. Ends with 1 if anybody
//! notices.
//!
//! `cargo xtask test upgrade` builds them and runs it on a private Postgres.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use testbed::process;

/// It takes less than a minute on a machine of its own, and must come to an end on any.
const LONGEST: Duration = Duration::from_mins(5);

/// Which programs.
#[derive(Parser)]
struct Arguments {
    /// The directory with the auth-service and the resource-service of the release before.
    #[arg(long)]
    previous: PathBuf,
}

#[tokio::main]
async fn main() -> ExitCode {
    let Arguments { previous } = Arguments::parse();
    let ours = process::programs();
    let trial = trials::upgrade::upgrade(&previous, &ours);
    let Ok(report) = tokio::time::timeout(LONGEST, trial).await else {
        println!("wrong: it did not end in {} s", LONGEST.as_secs());
        return ExitCode::FAILURE;
    };
    print!("{report}");
    for words in &report.words {
        println!("wrong: {words}");
    }
    if report.is_good() {
        return ExitCode::SUCCESS;
    }
    if report.words.is_empty() {
        println!("wrong: sessions were lost, or too little was asked");
    }
    ExitCode::FAILURE
}
