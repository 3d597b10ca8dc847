//! What the commands share: opening the database, asking, printing.

use std::io::{IsTerminal as _, Write as _};

use secrecy::SecretString;
use verifier::Clock;

use crate::config::{Config, Database};
use crate::store::Store;

pub(super) type Failure = Box<dyn std::error::Error>;

/// The database, as it is: only `migrate` and a service that starts change its schema.
pub(super) async fn open(config: &Config) -> Result<Store, Failure> {
    let database = Database { max_connections: 2, ..config.database.clone() };
    let clock = Clock::with_offset(config.clock.offset_seconds);
    Ok(Store::open_existing(&database, clock).await?)
}

/// Asks for a password on a terminal; elsewhere takes the first line of standard input. Never an
/// argument: others see those.
pub(super) fn read_password(prompt: &str) -> Result<SecretString, Failure> {
    let text = if std::io::stdin().is_terminal() {
        rpassword::prompt_password(format!("{prompt}: "))?
    } else {
        let mut line = String::new();
        std::io::stdin().read_line(&mut line)?;
        line.trim_end_matches(['\r', '\n']).to_owned()
    };
    if text.is_empty() {
        return Err("no password was given: type it, or send it as a line on standard input".into());
    }
    Ok(SecretString::from(text))
}

/// Prints a line: of people it names ids, since what is printed may be kept. A reader that goes away
/// (`| head`) is no failure.
pub(super) fn say(line: &str) {
    let _ = writeln!(std::io::stdout(), "{line}");
}

/// Says how far a command is, beside what it prints.
pub(super) fn remark(line: &str) {
    let _ = writeln!(std::io::stderr(), "{line}");
}

/// As it is stored in JSON answers.
pub(super) fn instant(at: claims::Timestamp) -> String {
    serde_json::to_value(at)
        .ok()
        .and_then(|value| value.as_str().map(str::to_owned))
        .unwrap_or_default()
}
