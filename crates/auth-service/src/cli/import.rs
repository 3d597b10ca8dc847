//! `auth-service user import`: users of another system, with the hashes of their passwords.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;

use crate::config::Config;
use crate::identity::names::new::new_names;
use crate::passwords::foreign;
use crate::policy::roles::Roles;
use crate::store::{NewUser, Store};
use claims::strict_json;
use serde::Deserialize;

use super::console::{Failure, say};

/// One line of the file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    username: Option<String>,
    email: Option<String>,
    password_hash: String,
    #[serde(default)]
    roles: Vec<String>,
}

/// Adds a user for each line of JSON. Who is there already is left as they are, so a run that was cut
/// off can be repeated. A bad line is told and does not keep the others out.
pub(super) async fn run(config: &Config, store: &Store, file: &Path) -> Result<(), Failure> {
    let opened = File::open(file).map_err(|error| format!("{}: {error}", file.display()))?;
    let (mut added, mut known, mut bad) = (0, 0, 0);
    for (number, line) in (1..).zip(BufReader::new(opened).lines()) {
        let line = line.map_err(|error| format!("{}: {error}", file.display()))?;
        if line.trim().is_empty() {
            continue;
        }
        match read(config, &line) {
            Ok(user) => match store.create_user(user).await? {
                Some(_) => added += 1,
                None => known += 1,
            },
            // Not the line itself: it has a hash in it.
            Err(why) => {
                bad += 1;
                say(&format!("line {number}: {why}"));
            }
        }
    }
    say(&format!("{added} added, {known} there already, {bad} bad"));
    if bad == 0 { Ok(()) } else { Err(format!("{bad} lines could not be used").into()) }
}

fn read(config: &Config, line: &str) -> Result<NewUser, String> {
    strict_json::check_object(line.as_bytes()).map_err(|error| error.to_string())?;
    let line: Line = serde_json::from_str(line).map_err(|error| {
        // Its own text may quote the line.
        format!("not an object as described ({:?} error)", error.classify())
    })?;
    let (username, email) = new_names(line.username, line.email)?;
    foreign::check_form(&line.password_hash).map_err(|error| error.to_string())?;
    let roles = Roles::checked(config, line.roles).map_err(|error| error.to_string())?;
    Ok(NewUser { username, email, password_hash: line.password_hash, roles: roles.into() })
}
