//! JSON as attackers may not write it: no member name twice, bounded depth and size.
//!
//! RFC 7515 §4 and RFC 7519 §4 let a parser choose between refusing duplicate names and taking the
//! last; two parsers that choose differently read two different tokens. Here every duplicate is
//! refused, known or unknown, at every depth, after unescaping.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};

/// How deep arrays and objects may nest.
pub const MAX_DEPTH: usize = 8;

/// How many members all objects together may have.
pub const MAX_MEMBERS: usize = 64;

/// Why a text is not acceptable JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum StrictJsonError {
    /// Not one JSON value in UTF-8, or something after it.
    #[error("not valid JSON")]
    Syntax,
    /// The value is not an object.
    #[error("not a JSON object")]
    NotAnObject,
    /// A member name occurs twice in an object.
    #[error("a member name occurs twice")]
    Duplicate,
    /// Deeper than [`MAX_DEPTH`].
    #[error("nested too deeply")]
    TooDeep,
    /// More members than [`MAX_MEMBERS`].
    #[error("too many members")]
    TooManyMembers,
}

/// Checks that `text` is one JSON object without duplicates, within the bounds.
///
/// Allocates for member names only; never recurses deeper than [`MAX_DEPTH`].
pub fn check_object(text: &[u8]) -> Result<(), StrictJsonError> {
    let mut found = Found { members: 0, fault: None };
    let mut deserializer = serde_json::Deserializer::from_slice(text);
    let walked = Walk { found: &mut found, depth: 0 }.deserialize(&mut deserializer);
    match walked {
        Ok(()) => deserializer.end().map_err(|_| StrictJsonError::Syntax),
        Err(_) => Err(found.fault.unwrap_or(StrictJsonError::Syntax)),
    }
}

struct Found {
    members: usize,
    fault: Option<StrictJsonError>,
}

struct Walk<'a> {
    found: &'a mut Found,
    depth: usize,
}

impl Walk<'_> {
    /// Remembers the fault and stops the parser; the parser's own error carries no type.
    fn refuse<T, E: serde::de::Error>(&mut self, fault: StrictJsonError) -> Result<T, E> {
        self.found.fault = Some(fault);
        Err(E::custom(fault))
    }

    fn scalar<E: serde::de::Error>(mut self) -> Result<(), E> {
        if self.depth == 0 { self.refuse(StrictJsonError::NotAnObject) } else { Ok(()) }
    }
}

impl<'de> DeserializeSeed<'de> for Walk<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Walk<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<(), A::Error> {
        if self.depth == MAX_DEPTH {
            return self.refuse(StrictJsonError::TooDeep);
        }
        let mut names: Vec<String> = Vec::new();
        while let Some(name) = map.next_key::<String>()? {
            self.found.members += 1;
            if self.found.members > MAX_MEMBERS {
                return self.refuse(StrictJsonError::TooManyMembers);
            }
            if names.contains(&name) {
                return self.refuse(StrictJsonError::Duplicate);
            }
            names.push(name);
            map.next_value_seed(Walk { found: self.found, depth: self.depth + 1 })?;
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut seq: A) -> Result<(), A::Error> {
        match self.depth {
            0 => return self.refuse(StrictJsonError::NotAnObject),
            MAX_DEPTH => return self.refuse(StrictJsonError::TooDeep),
            _ => {}
        }
        while seq.next_element_seed(Walk { found: self.found, depth: self.depth + 1 })?.is_some() {}
        Ok(())
    }

    fn visit_bool<E: serde::de::Error>(self, _: bool) -> Result<(), E> {
        self.scalar()
    }

    fn visit_i64<E: serde::de::Error>(self, _: i64) -> Result<(), E> {
        self.scalar()
    }

    fn visit_u64<E: serde::de::Error>(self, _: u64) -> Result<(), E> {
        self.scalar()
    }

    fn visit_f64<E: serde::de::Error>(self, _: f64) -> Result<(), E> {
        self.scalar()
    }

    fn visit_str<E: serde::de::Error>(self, _: &str) -> Result<(), E> {
        self.scalar()
    }

    fn visit_unit<E: serde::de::Error>(self) -> Result<(), E> {
        self.scalar()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn duplicates_are_found_at_every_depth_and_after_unescaping() {
        for text in [
            r#"{"sub":1,"sub":2}"#,
            r#"{"sub":1,"\u0073ub":2}"#,
            r#"{"a":{"b":1,"b":1}}"#,
            r#"{"a":[{"b":1,"b":1}]}"#,
        ] {
            assert_eq!(check_object(text.as_bytes()), Err(StrictJsonError::Duplicate), "{text}");
        }
    }

    #[test]
    fn only_one_object_in_utf8_passes() {
        assert_eq!(check_object(br#"{"a":[1,-2,3.5,"x",null,true,{"b":{}}]}"#), Ok(()));
        for text in [&b"[]"[..], b"null", b"1", b"\"x\"", b"true"] {
            assert_eq!(check_object(text), Err(StrictJsonError::NotAnObject));
        }
        for text in [
            &b""[..],
            b"{} {}",
            b"{},",
            b"\xef\xbb\xbf{}",
            b"{\"a\":\"\xff\"}",
            br#"{"a":"\ud800"}"#,
        ] {
            assert_eq!(check_object(text), Err(StrictJsonError::Syntax), "{text:?}");
        }
        assert_eq!(check_object(br#"{"a":1e400}"#), Err(StrictJsonError::Syntax));
    }

    #[test]
    fn depth_and_size_are_bounded() {
        let deep = format!("{{\"a\":{}1{}}}", "[".repeat(100_000), "]".repeat(100_000));
        assert_eq!(check_object(deep.as_bytes()), Err(StrictJsonError::TooDeep));
        let wide: Vec<String> = (0..10_000).map(|n| format!("\"m{n}\":1")).collect();
        let wide = format!("{{{}}}", wide.join(","));
        assert_eq!(check_object(wide.as_bytes()), Err(StrictJsonError::TooManyMembers));
    }
}
