//! The auth-service as a process.

use std::process::ExitCode;

fn main() -> ExitCode {
    auth_service::cli::main()
}
