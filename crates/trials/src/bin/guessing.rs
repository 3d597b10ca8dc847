//! Tries to tell from the answers to logins which accounts exist. Ends with 1 if that can be told.
//!
//! `cargo xtask guessing` runs it on a private Postgres, with the programs of a release build.

use std::process::ExitCode;

use clap::{Parser, ValueEnum};
use testbed::Kind;
use trials::guessing::guess;

/// How often, on what.
#[derive(Parser)]
struct Arguments {
    /// Logins of each class: unknown, wrong password, disabled.
    #[arg(long, default_value_t = 2000)]
    logins: usize,
    /// Which database; both without it.
    #[arg(long, value_enum)]
    database: Option<Which>,
}

#[derive(Clone, Copy, ValueEnum)]
enum Which {
    Postgres,
    Sqlite,
}

/// The cost of password hashing that a service has by default.
const DEFAULTS: [(&str, &str); 2] =
    [("AUTH__PASSWORDS__MEMORY_KIB", "19456"), ("AUTH__PASSWORDS__ITERATIONS", "2")];

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let both = [Which::Postgres, Which::Sqlite];
    let mut good = true;
    for which in arguments.database.map_or(both.to_vec(), |one| vec![one]) {
        let (kind, name) = match which {
            Which::Postgres => (Kind::Postgres, "Postgres"),
            Which::Sqlite => (Kind::Sqlite, "SQLite"),
        };
        let report = guess(kind, arguments.logins, &DEFAULTS).await;
        println!("{name}\n{report}\n");
        good &= report.is_good();
    }
    if good { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
