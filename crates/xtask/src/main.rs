//! Developer commands: `cargo xtask --help`.

use std::error::Error;
use std::ffi::OsString;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

mod beside;
mod clients;
mod compose;
mod deny;
mod dist;
mod docs;
mod faults;
mod footprint;
mod guard;
mod hold;
mod measure;
mod outcome;
mod packages;
mod planted;
mod postgres;
mod project;
mod python;
mod schema;
mod servers;
mod services;
mod setup;
mod test;
mod upgrade;

use project::Project;

type Result<T = (), E = Box<dyn Error>> = std::result::Result<T, E>;

/// Developer commands of Latchkey.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Check everything, or one part.
    Test {
        /// The part; all of them without it.
        part: Option<test::Part>,
        /// For `rust`: passed on to `cargo test`.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        rest: Vec<OsString>,
    },
    /// Run a private Postgres until Ctrl-C, for `cargo test` by hand.
    Db,
    /// Break everything at random around running services, and check the promises.
    Faults(faults::Options),
    /// Write openapi/ anew: the documents, as the code describes its routes, and the pages.
    Openapi,
    /// Write docs/settings.md anew, from the commented defaults of both services.
    Docs,
    /// Make what a release hands out, in target/dist-artefacts: programs, Debian package, images, checksums, SBOMs.
    Dist,
    /// Measure size, time to ready and idle memory of what the image ships.
    Footprint,
    /// Refresh 200,000 times on a private Postgres and print what that did to the table.
    Growth {
        /// Passed on: --refreshes, --clients, --sessions.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        rest: Vec<OsString>,
    },
    /// Measure the promises that are figures, on an installation of its own: how soon a logout is seen
    /// with Redis in good and bad states, and what a service does that is cut off.
    Promises {
        /// Passed on: --rounds, --max-staleness.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        rest: Vec<OsString>,
    },
    /// Rotate keys under load and count who is refused for it.
    Rotations {
        /// Passed on: --rotations, --invented.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        rest: Vec<OsString>,
    },
    /// Try to tell from the answers to logins which accounts exist.
    Guessing {
        /// Passed on: --logins, --database.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        rest: Vec<OsString>,
    },
    /// Flood an auth-service with logins and measure what everybody else notices of it.
    Overload {
        /// Passed on: --seconds, --clients, --nice.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        rest: Vec<OsString>,
    },
    /// Measure how long a logout takes to be seen, on a running installation; `-- --help` says more.
    Drill {
        /// Passed on: --auth, --resource, --username, --rounds.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        rest: Vec<OsString>,
    },
    /// What a guard process does; started by the others, not by people.
    #[command(subcommand, hide = true)]
    Hold(hold::Held),
}

fn main() -> ExitCode {
    match run(Arguments::parse().command) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("xtask: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> Result<ExitCode> {
    let project = Project::find()?;
    match command {
        Command::Test { part, rest } => return Ok(test::run(&project, part, &rest)),
        Command::Db => servers::keep_postgres(&project)?,
        Command::Faults(options) => return faults::run(&project, options),
        Command::Openapi => openapi(&project)?,
        Command::Docs => docs::write(&project.root)?,
        Command::Dist => dist::run(&project)?,
        Command::Footprint => footprint::run(&project)?,
        Command::Growth { rest } => measure::growth(&project, &rest)?,
        Command::Promises { rest } => measure::promises(&project, &rest)?,
        Command::Rotations { rest } => measure::rotations(&project, &rest)?,
        Command::Guessing { rest } => measure::guessing(&project, &rest)?,
        Command::Overload { rest } => measure::overload(&project, &rest)?,
        Command::Drill { rest } => measure::drill(&project, &rest)?,
        Command::Hold(held) => hold::hold(held)?,
    }
    Ok(ExitCode::SUCCESS)
}

/// The workspace as a whole, like everything else: another selection would be built anew. Twice
/// when something changed, because the services have the documents in them.
fn openapi(project: &Project) -> Result {
    project.build()?;
    project::run(project.command(project.debug().join("openapi")).arg("openapi"))
}
