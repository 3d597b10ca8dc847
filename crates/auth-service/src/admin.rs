//! What administrators do from the command line. It works on the database; running services learn of
//! it as they learn of everything else.

pub(crate) mod doctor;
mod find;
mod import;
pub(crate) mod keys;
pub(crate) mod sessions;
pub(crate) mod users;

use std::io::{IsTerminal as _, Write as _};

use auth_service::Config;
use auth_service::store::Store;
use secrecy::SecretString;
use verifier::Clock;

use find::find;

pub(crate) type Failure = Box<dyn std::error::Error>;

/// The database, as it is: only `migrate` and a service that starts change its schema.
async fn open(config: &Config) -> Result<Store, Failure> {
    let database = auth_service::config::Database { max_connections: 2, ..config.database.clone() };
    let clock = Clock::with_offset(config.clock.offset_seconds);
    Ok(Store::open_existing(&database, clock).await?)
}

/// Asks for a password on a terminal; elsewhere takes the first line of standard input. Never an
/// argument: others see those.
fn read_password(prompt: &str) -> Result<SecretString, Failure> {
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
fn say(line: &str) {
    let _ = writeln!(std::io::stdout(), "{line}");
}

/// As it is stored in JSON answers.
fn instant(at: claims::Timestamp) -> String {
    serde_json::to_value(at)
        .ok()
        .and_then(|value| value.as_str().map(str::to_owned))
        .unwrap_or_default()
}

/// They are kept, and told in tokens, with spaces between.
fn check_roles(roles: &[String]) -> Result<(), Failure> {
    let good = |role: &String| {
        !role.is_empty()
            && role.len() <= 64
            && role.chars().all(|c| c.is_ascii_graphic() && !matches!(c, '"' | '\\' | ','))
    };
    match roles.iter().find(|role| !good(role)) {
        Some(bad) => Err(format!(
            "{bad:?} is no role: 1 to 64 visible ASCII characters, without quotes, commas and spaces"
        )
        .into()),
        None => Ok(()),
    }
}
