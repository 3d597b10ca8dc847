//! The scope of an access token (RFC 6749 §3.3).

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The text is not a scope by RFC 6749 §3.3, or names a value twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("malformed scope")]
pub struct MalformedScope;

/// A set of scope values, at least one, in the order given.
///
/// Parsed strictly: single spaces, no other separator, no value twice. `orders:readwrite` does not
/// contain `orders:read`; values are compared whole.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(value_type = String))]
pub struct Scope(String);

impl Scope {
    /// Whether this exact value was granted.
    #[must_use]
    pub fn contains(&self, value: &str) -> bool {
        self.values().any(|granted| granted == value)
    }

    /// The values, in the order given.
    pub fn values(&self) -> impl Iterator<Item = &str> {
        self.0.split(' ')
    }

    /// Those of its values for which `keep` says so, in the same order; `None` where there are none.
    #[must_use]
    pub fn filtered(&self, keep: impl Fn(&str) -> bool) -> Option<Self> {
        let kept: Vec<_> = self.values().filter(|value| keep(value)).collect();
        (!kept.is_empty()).then(|| Self(kept.join(" ")))
    }

    /// The space-separated form.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Scope {
    type Err = MalformedScope;

    fn from_str(text: &str) -> Result<Self, MalformedScope> {
        let mut seen = Vec::new();
        for value in text.split(' ') {
            let legal = !value.is_empty()
                && value.bytes().all(|byte| matches!(byte, 0x21 | 0x23..=0x5b | 0x5d..=0x7e));
            if !legal || seen.contains(&value) || seen.len() == 64 {
                return Err(MalformedScope);
            }
            seen.push(value);
        }
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Serialize for Scope {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Scope {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_compared_whole() {
        let scope: Scope = "orders:readwrite profile".parse().unwrap();
        assert!(scope.contains("profile"));
        assert!(!scope.contains("orders:read"));
    }

    #[test]
    fn values_are_kept_in_order() {
        let granted: Scope = "profile reports:write reports:read".parse().unwrap();
        let within = |allowed: &[&str]| granted.filtered(|value| allowed.contains(&value));
        let some = within(&["reports:read", "profile", "email"]).unwrap();
        assert_eq!(some.as_str(), "profile reports:read");
        assert_eq!(granted.filtered(|_| true), Some(granted.clone()));
        assert_eq!(within(&["report"]), None);
    }

    #[test]
    fn other_separators_and_repeats_are_refused() {
        for text in ["", " a", "a ", "a  b", "a\tb", "a\nb", "a a", "a\"b", "a\\b", "é"] {
            assert_eq!(text.parse::<Scope>(), Err(MalformedScope), "{text:?}");
        }
    }
}
