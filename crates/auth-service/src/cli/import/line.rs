//! One line of a file: a user as a JSON object.

use std::collections::BTreeMap;
use std::fmt;

use claims::{Timestamp, UserId, strict_json};
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::Value;
use serde_json::error::Category;
use uuid::Uuid;

use crate::config::Config;
use crate::identity::names::NameKey;
use crate::identity::names::new::{Named, new_email, new_username};
use crate::passwords::imported::{ImportedHash, Importer};
use crate::policy::roles::Roles;
use crate::store::ImportedUser;

const MEMBERS: [&str; 7] =
    ["id", "username", "email", "password_hash", "roles", "enabled", "created_at"];
/// So much of a name that nobody knows is repeated.
const MOST_SHOWN: usize = 40;

/// How lines are read.
pub(super) struct Reader<'a> {
    pub(super) config: &'a Config,
    pub(super) importer: &'a Importer,
    /// Nobody has registered later.
    pub(super) now: Timestamp,
}

impl Reader<'_> {
    /// The user of a line, and whether a password of theirs over 72 bytes is refused; `None` where nothing is on it. Else
    /// what is wrong, and with which member; never what the member has in it, which may be a hash or a name.
    pub(super) fn read(&self, line: &[u8]) -> Result<Option<(ImportedUser, bool)>, String> {
        let text = std::str::from_utf8(line)
            .map_err(|error| format!("is not UTF-8: see byte {}", error.valid_up_to() + 1))?;
        if text.trim().is_empty() {
            return Ok(None);
        }
        let mut members = Members::read(text)?;
        let id = members.text("id")?.map(|text| id(&text)).transpose()?;
        let username = members.named("username", new_username)?;
        let email = members.named("email", new_email)?;
        if username.is_none() && email.is_none() {
            return Err("An account needs a username, an email, or both.".to_owned());
        }
        let hash = self.hash(members.take("password_hash"))?;
        let roles = roles(members.take("roles"))?;
        let roles =
            Roles::checked(self.config, roles).map_err(|error| format!("roles: {error}"))?;
        let enabled = match members.take("enabled") {
            None => true,
            Some(Value::Bool(enabled)) => enabled,
            Some(_) => return Err("enabled: must be true or false".to_owned()),
        };
        let created_at = members.text("created_at")?.map(|text| self.begin(&text)).transpose()?;
        let user = ImportedUser {
            id,
            username,
            email,
            password_hash: hash.text,
            roles: roles.into(),
            enabled,
            created_at,
        };
        Ok(Some((user, hash.refuses_long)))
    }

    fn hash(&self, member: Option<Value>) -> Result<ImportedHash, String> {
        let text = match member {
            None => return Err("password_hash: is missing".to_owned()),
            Some(Value::String(text)) => text,
            // As Keycloak exports it.
            Some(object @ Value::Object(_)) => object.to_string(),
            Some(_) => return Err("password_hash: must be a text".to_owned()),
        };
        self.importer.read(&text).map_err(|error| format!("password_hash: {error}"))
    }

    /// When somebody registered.
    fn begin(&self, text: &str) -> Result<Timestamp, String> {
        let at: Timestamp = text.parse().map_err(|_| {
            "created_at: must be an instant of RFC 3339, as 2026-11-21T18:50:00Z is".to_owned()
        })?;
        if at > self.now {
            return Err("created_at: is in the future".to_owned());
        }
        if at < Timestamp(0) {
            return Err("created_at: is before 1970".to_owned());
        }
        Ok(at)
    }
}

fn id(text: &str) -> Result<UserId, String> {
    let id: Uuid = text.parse().map_err(|_| "id: must be a UUID".to_owned())?;
    // Lists begin behind it.
    if id.is_nil() { Err("id: is the UUID of nothing".to_owned()) } else { Ok(UserId(id)) }
}

fn roles(member: Option<Value>) -> Result<Vec<String>, String> {
    let bad = || "roles: must be a list of texts".to_owned();
    let list = match member {
        None => return Ok(Vec::new()),
        Some(Value::Array(list)) => list,
        Some(_) => return Err(bad()),
    };
    let text = |role| if let Value::String(text) = role { Ok(text) } else { Err(bad()) };
    list.into_iter().map(text).collect()
}

/// The members of an object, of which none is there twice and none is unknown.
struct Members(BTreeMap<String, Value>);

impl Members {
    fn read(text: &str) -> Result<Self, String> {
        let found: Found = serde_json::from_str(text).map_err(|error| match error.classify() {
            // Its own text may quote the line.
            Category::Data => "is not a JSON object".to_owned(),
            _ => format!("is not JSON: see column {}", error.column()),
        })?;
        if let Some(twice) = found.twice {
            return Err(format!("{}: is there twice", shown(&twice)));
        }
        if let Some(unknown) = found.members.keys().find(|name| !MEMBERS.contains(&name.as_str())) {
            let known = MEMBERS.join(", ");
            return Err(format!("{}: is no member of a user, which are {known}", shown(unknown)));
        }
        // Within the members.
        strict_json::check_object(text.as_bytes()).map_err(|error| error.to_string())?;
        Ok(Self(found.members))
    }

    /// A member; null is as good as none.
    fn take(&mut self, name: &str) -> Option<Value> {
        self.0.remove(name).filter(|value| !value.is_null())
    }

    fn text(&mut self, name: &str) -> Result<Option<String>, String> {
        match self.take(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(format!("{name}: must be a text")),
        }
    }

    /// A text, and what it is compared by.
    fn named(
        &mut self,
        name: &str,
        key: fn(&str) -> Result<NameKey, &'static str>,
    ) -> Result<Option<Named>, String> {
        let Some(text) = self.text(name)? else { return Ok(None) };
        let key = key(&text).map_err(|why| format!("{name}: {why}"))?;
        Ok(Some((text, key)))
    }
}

/// A name that somebody wrote, so that it does nothing to a terminal.
fn shown(name: &str) -> String {
    let short: String = name.chars().take(MOST_SHOWN).collect();
    short.escape_debug().to_string()
}

/// An object as it was found.
struct Found {
    members: BTreeMap<String, Value>,
    twice: Option<String>,
}

impl<'de> Deserialize<'de> for Found {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Object;

        impl<'de> Visitor<'de> for Object {
            type Value = Found;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Found, A::Error> {
                let mut found = Found { members: BTreeMap::new(), twice: None };
                while let Some((name, value)) = map.next_entry::<String, Value>()? {
                    if found.members.insert(name.clone(), value).is_some() {
                        found.twice.get_or_insert(name);
                    }
                }
                Ok(found)
            }
        }

        deserializer.deserialize_map(Object)
    }
}

#[cfg(test)]
mod tests;
