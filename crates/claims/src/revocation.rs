//! The revocation feed: what was revoked, and the message that carries it to verifiers.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::ids::{KeyId, SessionId, Subject, TokenId};

/// The kinds of the first version, which every follower understands. A feed sends another kind only
/// to a follower that names it in its question: a follower of the first version cannot use an answer
/// that has one.
pub const FIRST_KINDS: [&str; 4] = ["session", "subject", "token", "key"];

/// The kinds that this version understands, which its followers name.
pub const KINDS: [&str; 4] = FIRST_KINDS;

/// What no longer counts.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum Revoked {
    /// Every token of one session.
    Session {
        /// The `sid`.
        id: SessionId,
    },
    /// Every token of a subject whose `sub_ver` is below `min_version`.
    Subject {
        /// The `sub`.
        id: Subject,
        /// The lowest version still good.
        min_version: u32,
    },
    /// One token.
    Token {
        /// The `jti`.
        id: TokenId,
    },
    /// Every token signed by one key, for ever: whoever stole the key can mint fresh ones.
    Key {
        /// The `kid`.
        id: KeyId,
    },
}

impl Revoked {
    /// The `kind` of its entry.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Session { .. } => "session",
            Self::Subject { .. } => "subject",
            Self::Token { .. } => "token",
            Self::Key { .. } => "key",
        }
    }
}

/// One revocation and how long it must be remembered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RevocationEntry {
    /// What was revoked.
    #[serde(flatten)]
    pub revoked: Revoked,
    /// Seconds until no token it could kill is alive any more; absent: for ever.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires_in: Option<u64>,
}

/// One answer of the feed. A follower reads it with [`RevocationBatch::parse`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RevocationBatch {
    /// What was revoked.
    pub entries: Vec<RevocationEntry>,
    /// Whether `entries` is everything rather than what is new. It adds, and never removes.
    pub reset: bool,
    /// The issuer's clock in Unix seconds.
    pub now: u64,
    /// How old the knowledge behind this answer is, in milliseconds: counted from the start of the
    /// database read that proves it complete.
    pub age_ms: u64,
    /// Where to go on. Opaque to followers.
    pub cursor: String,
}

impl RevocationBatch {
    /// Reads an answer. Entries of kinds that this version does not know are left out, and counted
    /// by the names of their kinds. Those of a kind that it knows must be whole, or the answer is an
    /// error: a revocation that a follower ought to understand is never passed over.
    pub fn parse(json: &[u8]) -> Result<(Self, BTreeMap<String, u64>), serde_json::Error> {
        #[derive(Deserialize)]
        struct Answer<'a> {
            cursor: String,
            age_ms: u64,
            now: u64,
            reset: bool,
            #[serde(borrow)]
            entries: Vec<&'a RawValue>,
        }
        let answer: Answer<'_> = serde_json::from_slice(json)?;
        let mut entries = Vec::with_capacity(answer.entries.len());
        let mut unknown = BTreeMap::new();
        for entry in answer.entries {
            match serde_json::from_str(entry.get()) {
                Ok(entry) => entries.push(entry),
                Err(error) => *unknown.entry(unknown_kind(entry, error)?).or_default() += 1,
            }
        }
        let Answer { cursor, age_ms, now, reset, .. } = answer;
        Ok((Self { entries, reset, now, age_ms, cursor }, unknown))
    }
}

/// The kind of an entry that could not be read. What has a known kind, or none, is the error that it
/// was.
fn unknown_kind(entry: &RawValue, error: serde_json::Error) -> Result<String, serde_json::Error> {
    #[derive(Deserialize)]
    struct Kind {
        kind: String,
    }
    let Kind { kind } = serde_json::from_str(entry.get())?;
    if KINDS.contains(&kind.as_str()) { Err(error) } else { Ok(kind) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_is_named_as_it_is_written() {
        let json = [
            r#"{"kind":"session","id":"Yc3kq0tJ4mN8pR2sW6xZ1g"}"#,
            r#"{"kind":"subject","id":"u-1","min_version":3}"#,
            r#"{"kind":"token","id":"0KX9m1Qf3b7Rk2Yt8sVw5A"}"#,
            r#"{"kind":"key","id":"k1"}"#,
        ];
        for (json, kind) in json.into_iter().zip(KINDS) {
            let entry: RevocationEntry = serde_json::from_str(json).unwrap();
            assert_eq!(entry.revoked.kind(), kind);
        }
    }

    fn answer(entries: &str) -> Result<(RevocationBatch, BTreeMap<String, u64>), String> {
        let json =
            format!(r#"{{"cursor":"c","age_ms":1,"now":2,"reset":false,"entries":[{entries}]}}"#);
        RevocationBatch::parse(json.as_bytes()).map_err(|error| error.to_string())
    }

    #[test]
    fn an_unknown_kind_is_passed_over_whatever_its_entry_has() {
        let key = r#"{"kind":"key","id":"k1"}"#;
        for (unknown, kind) in [
            (r#"{"kind":"claims","id":"u-1","min_version":3,"expires_in":990}"#, "claims"),
            (r#"{"kind":"claims"}"#, "claims"),
            (
                r#"{"id":[{"a":null}],"expires_in":"soon","min_version":-1,"kind":"client"}"#,
                "client",
            ),
            (r#"{"kind":"Session","id":"Yc3kq0tJ4mN8pR2sW6xZ1g"}"#, "Session"),
            (r#"{"kind":"","id":"k2"}"#, ""),
        ] {
            for entries in
                [format!("{unknown},{key},{unknown}"), format!("{key},{unknown},{unknown}")]
            {
                let (batch, skipped) = answer(&entries).unwrap();
                let known = Revoked::Key { id: "k1".parse().unwrap() };
                assert_eq!(batch.entries, [RevocationEntry { revoked: known, expires_in: None }]);
                assert_eq!(skipped, BTreeMap::from([(kind.to_owned(), 2)]), "{entries}");
            }
        }
    }

    #[test]
    fn an_entry_that_ought_to_be_understood_is_never_passed_over() {
        for bad in [
            r#"{"kind":"session"}"#,
            r#"{"kind":"session","id":"not an id"}"#,
            r#"{"kind":"subject","id":"u-1"}"#,
            r#"{"kind":"subject","id":"u-1","min_version":"3"}"#,
            r#"{"kind":"token","id":7}"#,
            r#"{"kind":"key","id":"k2","expires_in":"soon"}"#,
            r#"{"id":"k2"}"#,
            r#"{"kind":null,"id":"k2"}"#,
            r#"{"kind":7,"id":"k2"}"#,
            r#"{"kind":"claims","kind":"key","id":"k2"}"#,
            r#"{"kind":"key","id":"k2","kind":"claims"}"#,
            "null",
            "7",
        ] {
            let refused = answer(&format!(r#"{{"kind":"key","id":"k1"}},{bad}"#));
            assert!(refused.is_err(), "{bad}: {refused:?}");
        }
    }

    #[test]
    fn an_entry_is_flat_json() {
        let json = r#"{"kind":"subject","id":"u-1","min_version":3,"expires_in":990}"#;
        let entry: RevocationEntry = serde_json::from_str(json).unwrap();
        assert_eq!(serde_json::to_string(&entry).unwrap(), json);
        let key: RevocationEntry = serde_json::from_str(r#"{"kind":"key","id":"k1"}"#).unwrap();
        assert_eq!(key.expires_in, None);
    }
}
