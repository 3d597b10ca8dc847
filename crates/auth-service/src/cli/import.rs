//! `auth-service user import`: users of another system, with the hashes of their passwords.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;

use crate::config::Config;
use crate::identity::names::new::new_names;
use crate::passwords::imported::Importer;
use crate::policy::roles::Roles;
use crate::store::{NewUser, Store};
use claims::strict_json;
use serde::Deserialize;
use serde_json::Value;

use super::console::{Failure, say};

/// One line of the file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    username: Option<String>,
    email: Option<String>,
    /// A text, or the object that Keycloak has.
    password_hash: Value,
    #[serde(default)]
    roles: Vec<String>,
}

/// Adds a user for each line of JSON. Who is there already is left as they are, so a run that was cut
/// off can be repeated. A bad line is told and does not keep the others out.
pub(super) async fn run(
    config: &Config,
    store: &Store,
    file: &Path,
    bcrypt_truncate: bool,
) -> Result<(), Failure> {
    let importer = Importer::new(&config.passwords, bcrypt_truncate)?;
    let opened = File::open(file).map_err(|error| format!("{}: {error}", file.display()))?;
    let (mut added, mut known, mut bad, mut refuse_long) = (0, 0, 0, 0);
    for (number, line) in (1..).zip(BufReader::new(opened).lines()) {
        let line = line.map_err(|error| format!("{}: {error}", file.display()))?;
        if line.trim().is_empty() {
            continue;
        }
        match read(config, &importer, &line) {
            Ok((user, refuses_long)) => {
                if store.create_user(user).await?.is_some() {
                    added += 1;
                    refuse_long += u64::from(refuses_long);
                } else {
                    known += 1;
                }
            }
            // Not the line itself: it has a hash in it.
            Err(why) => {
                bad += 1;
                say(&format!("line {number}: {why}"));
            }
        }
    }
    if refuse_long > 0 {
        say(&format!(
            "{refuse_long} lines have a hash of bcrypt, which knows the first 72 bytes of a password only: whoever has a \
             longer one cannot log in; where they could in the system that they come from, import with --bcrypt-truncate"
        ));
    }
    say(&format!("{added} added, {known} there already, {bad} bad"));
    if bad == 0 { Ok(()) } else { Err(format!("{bad} lines could not be used").into()) }
}

/// The user, and whether a password of theirs over 72 bytes would not be taken.
fn read(config: &Config, importer: &Importer, line: &str) -> Result<(NewUser, bool), String> {
    strict_json::check_object(line.as_bytes()).map_err(|error| error.to_string())?;
    let line: Line = serde_json::from_str(line).map_err(|error| {
        // Its own text may quote the line.
        format!("not an object as described ({:?} error)", error.classify())
    })?;
    let (username, email) = new_names(line.username, line.email)?;
    let hash = match line.password_hash {
        Value::String(text) => text,
        other => other.to_string(),
    };
    let hash = importer.read(&hash).map_err(|error| error.to_string())?;
    let roles = Roles::checked(config, line.roles).map_err(|error| error.to_string())?;
    let user = NewUser { username, email, password_hash: hash.text, roles: roles.into() };
    Ok((user, hash.refuses_long))
}
