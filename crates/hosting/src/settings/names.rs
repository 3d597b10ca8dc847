//! Names of variables: those of the settings, and those that somebody took for one.
//!
//! A variable that nothing reads is worse than one that is refused: whoever set it believes that it counts.

use config::{ConfigError, File, FileFormat, Map, Source as _, Value, ValueKind};

use super::SettingsError;

/// The variables of all settings.
#[derive(Debug)]
pub(super) struct Names<'a> {
    prefix: &'a str,
    known: Vec<String>,
}

impl<'a> Names<'a> {
    /// Those of `defaults`, which is TOML and names every key.
    pub(super) fn of(prefix: &'a str, defaults: &str) -> Result<Self, ConfigError> {
        let mut known = Vec::new();
        add(&mut known, prefix, &File::from_str(defaults, FileFormat::Toml).collect()?);
        Ok(Self { prefix, known })
    }

    /// Refuses a variable that is meant for a setting and names none. Others that begin with the prefix may be
    /// anybody's: for a service `auth` Kubernetes sets `AUTH_SERVICE_HOST` and `AUTH_PORT`.
    pub(super) fn check(&self, variable: &str) -> Result<(), SettingsError> {
        let upper = variable.to_ascii_uppercase();
        let (name, end) = upper.strip_suffix("_FILE").map_or((&*upper, ""), |name| (name, "_FILE"));
        let is_read = variable.starts_with(self.prefix) && self.known.iter().any(|it| it == name);
        if is_read || !self.is_meant(name) {
            return Ok(());
        }
        let distance = |known: &&String| strsim::levenshtein(&squashed(known), &squashed(name));
        let nearest = self.known.iter().min_by_key(distance);
        let nearest = nearest.map(|nearest| format!("{nearest}{end}")).unwrap_or_default();
        Err(SettingsError::Unknown { variable: variable.to_owned(), nearest })
    }

    /// Whether it begins as all settings do, or is one but for its underlines, or has the section of one.
    fn is_meant(&self, name: &str) -> bool {
        let rest = name.strip_prefix(self.prefix).and_then(|rest| rest.strip_prefix('_'));
        let Some(rest) = rest else { return false };
        let in_section = rest.split_once("__").is_some_and(|(section, _)| {
            let section = format!("{}__{section}__", self.prefix);
            self.known.iter().any(|known| known.starts_with(&section))
        });
        rest.starts_with('_')
            || in_section
            || self.known.iter().any(|known| squashed(known) == squashed(name))
    }
}

fn add(names: &mut Vec<String>, path: &str, table: &Map<String, Value>) {
    for (key, value) in table {
        let name = format!("{path}__{}", key.to_ascii_uppercase());
        match &value.kind {
            ValueKind::Table(section) if !section.is_empty() => add(names, &name, section),
            _ => names.push(name),
        }
    }
}

fn squashed(name: &str) -> String {
    name.replace('_', "")
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEFAULTS: &str = "issuer = \"x\"\nscopes = {}\n[tokens]\naccess_seconds = 1\nidle_seconds = 2\n\
        [database]\nurl = \"\"\n";

    #[test]
    fn what_is_meant_for_a_setting_and_is_none_is_refused_with_the_nearest_one() {
        let names = Names::of("AUTH", DEFAULTS).unwrap();
        for (variable, nearest) in [
            ("AUTH_TOKENS__ACCESS_SECONDS", "AUTH__TOKENS__ACCESS_SECONDS"),
            ("AUTH__TOKENS_ACCESS_SECONDS", "AUTH__TOKENS__ACCESS_SECONDS"),
            ("AUTH_TOKENS_ACCESS_SECONDS", "AUTH__TOKENS__ACCESS_SECONDS"),
            ("AUTH__TOKENS__ACESS_SECOND", "AUTH__TOKENS__ACCESS_SECONDS"),
            ("AUTH_TOKENS__IDLE", "AUTH__TOKENS__IDLE_SECONDS"),
            ("AUTH_ISSUER", "AUTH__ISSUER"),
            ("auth__issuer", "AUTH__ISSUER"),
            ("AUTH_DATABASE_URL_FILE", "AUTH__DATABASE__URL_FILE"),
            ("AUTH__NOTHING", "the nearest is AUTH__"),
        ] {
            let refused = names.check(variable).unwrap_err().to_string();
            assert!(refused.contains(variable) && refused.contains(nearest), "{refused}");
        }
    }

    #[test]
    fn what_is_a_setting_or_somebody_elses_is_not_refused() {
        let names = Names::of("AUTH", DEFAULTS).unwrap();
        for variable in [
            "AUTH__ISSUER",
            "AUTH__SCOPES",
            "AUTH__Tokens__access_seconds",
            "AUTH__DATABASE__URL_FILE",
            "AUTH_SERVICE_HOST",
            "AUTH_PORT_8080_TCP",
            "AUTH_PORT",
            "AUTH_ADMIN_URL",
            "AUTHENTIK__DATABASE__URL",
            "AUTHOR",
            "PATH",
        ] {
            assert!(names.check(variable).is_ok(), "{variable}");
        }
    }
}
