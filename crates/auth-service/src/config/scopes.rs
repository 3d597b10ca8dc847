//! What scopes are bound to: the table `[scopes]`.

use std::collections::BTreeMap;
use std::fmt;

use claims::Scope;
use hosting::settings::{ConfigError, list};
use serde::de::{Error, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

use super::Config;
use crate::identity::admin_scopes::{self, is_reserved};
use crate::identity::roles::is_role;

/// What a scope is bound to.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, expecting = "a table with roles, audience or both")]
pub struct ScopeRule {
    /// The service that it belongs to; `None`: to none of them in particular.
    pub audience: Option<String>,
    /// Who may have it: whoever has one of these roles; `None`: everybody.
    #[serde(default, deserialize_with = "roles")]
    pub roles: Option<Vec<String>>,
}

impl ScopeRule {
    /// Whether a token for these services gets the scope where the user has these roles.
    #[must_use]
    pub fn admits(&self, roles: &[String], audience: &[String]) -> bool {
        let has_role =
            self.roles.as_ref().is_none_or(|any| any.iter().any(|one| roles.contains(one)));
        has_role && self.audience.as_ref().is_none_or(|service| audience.contains(service))
    }
}

/// The scopes that are bound to something, by their names.
pub type ScopeRules = BTreeMap<String, ScopeRule>;

fn roles<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Vec<String>>, D::Error> {
    list(deserializer).map(Some)
}

/// A table, as a file has it, or the same in JSON, as a variable has it: the name of a variable has no
/// room for the colon that is in most scopes, nor for small letters beside capital ones.
pub(super) fn table<'de, D: Deserializer<'de>>(deserializer: D) -> Result<ScopeRules, D::Error> {
    struct Table;

    impl<'de> Visitor<'de> for Table {
        type Value = ScopeRules;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a table of scopes")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<ScopeRules, A::Error> {
            let mut rules = ScopeRules::new();
            while let Some((scope, rule)) = map.next_entry()? {
                if rules.insert(scope, rule).is_some() {
                    return Err(A::Error::custom("a scope is there twice"));
                }
            }
            Ok(rules)
        }

        fn visit_str<E: Error>(self, text: &str) -> Result<ScopeRules, E> {
            let mut json = serde_json::Deserializer::from_str(text);
            let rules = json.deserialize_map(Self).and_then(|rules| json.end().map(|()| rules));
            rules.map_err(|error| {
                E::custom(format!(r#"must be JSON such as {{"a:b":{{"roles":["c"]}}}}: {error}"#))
            })
        }
    }

    deserializer.deserialize_any(Table)
}

/// Refuses variables that name a part of the table, such as `AUTH__SCOPES__REPORTS__ROLES`: which of them and
/// of `AUTH__SCOPES` counts would be left to chance.
pub(super) fn refuse_parts(variables: &[(String, String)]) -> Result<(), ConfigError> {
    let is_part = |(name, value): &&(String, String)| {
        name.to_ascii_uppercase().starts_with("AUTH__SCOPES__") && !value.is_empty()
    };
    match variables.iter().find(is_part) {
        None => Ok(()),
        Some((name, _)) => problem(format!(
            "{name} names a part of the table; set AUTH__SCOPES to all of it in JSON, or write [scopes] into a file"
        )),
    }
}

fn problem(problem: String) -> Result<(), ConfigError> {
    Err(ConfigError::Value { key: "scopes", problem })
}

impl Config {
    /// A name that is written in another way than elsewhere would leave a scope to everybody, so each must
    /// be known.
    pub(super) fn check_scopes(&self) -> Result<(), ConfigError> {
        for (key, scopes) in [
            ("tokens.scopes", &self.tokens.scopes),
            ("tokens.default_scopes", &self.tokens.default_scopes),
        ] {
            if let Some(scope) = scopes.values().find(|scope| is_reserved(scope)) {
                let problem = format!("{scope} is reserved: bind it to roles in [scopes] instead");
                return Err(ConfigError::Value { key, problem });
            }
        }
        self.scopes.iter().try_for_each(|(scope, rule)| self.check_scope(scope, rule))
    }

    fn check_scope(&self, scope: &str, rule: &ScopeRule) -> Result<(), ConfigError> {
        // One that has a space in it is several.
        if scope.contains(' ') || scope.parse::<Scope>().is_err() {
            return problem(
                "a name is no scope: visible ASCII characters without quotes and backslashes"
                    .to_owned(),
            );
        }
        let reserved = is_reserved(scope);
        if reserved && !admin_scopes::ALL.contains(&scope) {
            let all = admin_scopes::ALL.join(", ");
            return problem(format!("{scope} is reserved and means nothing; those that do: {all}"));
        }
        if !reserved && !self.tokens.scopes.contains(scope) {
            return problem(format!("{scope} is not in tokens.scopes, so nobody could have it"));
        }
        match &rule.roles {
            None if reserved => {
                return problem(format!("{scope} needs roles, or everybody could have it"));
            }
            Some(roles) if roles.is_empty() || !roles.iter().all(|role| is_role(role)) => {
                return problem(format!(
                    "the roles of {scope} must be one or more names of 1 to 64 visible ASCII characters, without \
                     quotes, commas and spaces"
                ));
            }
            _ => {}
        }
        match &rule.audience {
            Some(audience) if reserved && *audience != self.issuer => {
                problem(format!("the audience of {scope} is the issuer; leave it out"))
            }
            Some(audience)
                if *audience != self.issuer && !self.tokens.audience.contains(audience) =>
            {
                problem(format!(
                    "the audience of {scope} is neither in tokens.audience nor the issuer, exactly as written there"
                ))
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";

    fn basis() -> impl Iterator<Item = (String, String)> {
        let basis = [("AUTH__DATABASE__URL", "sqlite:x.db"), ("AUTH__KEYS__MASTER_KEY", KEY)];
        basis.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned()))
    }

    fn load(variables: &[(&str, &str)]) -> Result<Config, ConfigError> {
        let variables =
            variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        Config::load(None, basis().chain(variables))
    }

    #[test]
    fn a_file_and_a_variable_bind_scopes_in_the_same_way() {
        let text = "[scopes.\"reports:write\"]\naudience = \"http://127.0.0.1:8081\"\nroles = [\"editor\", \"Chief\"]\n\
            [scopes.\"latchkey:keys\"]\nroles = [\"admin\"]\n";
        let path = std::env::temp_dir().join(format!("latchkey-scopes-{}", std::process::id()));
        std::fs::write(&path, text).unwrap();
        let file = Config::load(Some(&path), basis()).unwrap();
        let json = r#"{"reports:write":{"audience":"http://127.0.0.1:8081","roles":"editor,Chief"},
            "latchkey:keys":{"roles":["admin"]}}"#;
        assert_eq!(load(&[("AUTH__SCOPES", json)]).unwrap().scopes, file.scopes);
        let write = &file.scopes["reports:write"];
        let [editor, none] = [vec!["Chief".to_owned()], vec!["chief".to_owned()]];
        let audience = ["http://127.0.0.1:8081".to_owned()];
        assert!(write.admits(&editor, &audience));
        assert!(!write.admits(&none, &audience) && !write.admits(&editor, &[]));
        // The variable counts, and nothing of the file is left beside it.
        let profile = ("AUTH__SCOPES".to_owned(), r#"{"profile":{}}"#.to_owned());
        let both = Config::load(Some(&path), basis().chain([profile])).unwrap();
        std::fs::remove_file(&path).unwrap();
        assert_eq!(both.scopes.keys().collect::<Vec<_>>(), ["profile"]);
    }

    #[test]
    fn what_scopes_must_not_be_bound_to_is_refused_in_one_sentence() {
        for (json, expected) in [
            (r#"{"reports:wirte":{"roles":["editor"]}}"#, "not in tokens.scopes"),
            (r#"{"profile email":{}}"#, "a name is no scope"),
            (r#"{"":{}}"#, "a name is no scope"),
            (r#"{"pr\u00f6file":{}}"#, "a name is no scope"),
            (r#"{"profile":{"roles":[]}}"#, "the roles of profile"),
            (r#"{"profile":{"roles":["two words"]}}"#, "the roles of profile"),
            (r#"{"profile":{"roles":null}}"#, "must be JSON"),
            (r#"{"profile":{"role":"editor"}}"#, "role"),
            (r#"{"profile":{"audience":"http://127.0.0.1:8081/"}}"#, "the audience of profile"),
            (r#"{"profile":"secret"}"#, "must be JSON"),
            (r#"{"profile":{},"profile":{}}"#, "twice"),
            (r#"{"profile":{}} x"#, "must be JSON"),
            (r#"["profile"]"#, "must be JSON"),
            ("profile=editor", "must be JSON"),
            (r#"{"latchkey:keys":{}}"#, "latchkey:keys needs roles"),
            (
                r#"{"latchkey:keys":{"audience":"http://127.0.0.1:8080"}}"#,
                "latchkey:keys needs roles",
            ),
            (
                r#"{"latchkey:keys":{"roles":["a"],"audience":"http://127.0.0.1:8081"}}"#,
                "is the issuer",
            ),
            (r#"{"latchkey:all":{"roles":["a"]}}"#, "latchkey:all is reserved"),
        ] {
            let error = load(&[("AUTH__SCOPES", json)]).unwrap_err().to_string();
            assert!(error.contains("scopes") && error.contains(expected), "{json}: {error}");
            assert!(!error.contains('\n') && !error.contains("secret"), "{error}");
        }
        let issuer = r#"{"profile":{"audience":"http://127.0.0.1:8080"},
            "latchkey:keys":{"roles":["a"],"audience":"http://127.0.0.1:8080"}}"#;
        assert!(load(&[("AUTH__SCOPES", issuer)]).is_ok());
        for key in ["SCOPES", "DEFAULT_SCOPES"] {
            let (key, scopes) =
                (format!("AUTH__TOKENS__{key}"), "profile reports:read reports:write latchkey:x");
            let error = load(&[(&*key, scopes)]).unwrap_err().to_string();
            assert!(error.contains("latchkey:x"), "{error}");
        }
        for part in
            ["AUTH__SCOPES__PROFILE__ROLES", "AUTH__scopes__profile", "AUTH__SCOPES__A:B__ROLES"]
        {
            let error = load(&[(part, "editor")]).unwrap_err().to_string();
            assert!(error.starts_with("scopes: ") && error.contains(part), "{error}");
        }
    }
}
