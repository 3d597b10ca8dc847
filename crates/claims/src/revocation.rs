//! The revocation feed: what was revoked, and the message that carries it to verifiers.

use serde::{Deserialize, Serialize};

use crate::ids::{KeyId, SessionId, Subject, TokenId};

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

/// One answer of the feed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RevocationBatch {
    /// Where to go on. Opaque to followers.
    pub cursor: String,
    /// How old the knowledge behind this answer is, in milliseconds: counted from the start of the
    /// database read that proves it complete.
    pub age_ms: u64,
    /// The issuer's clock in Unix seconds.
    pub now: u64,
    /// Whether `entries` is everything rather than what is new. It adds, and never removes.
    pub reset: bool,
    /// What was revoked.
    pub entries: Vec<RevocationEntry>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_flat_json() {
        let json = r#"{"kind":"subject","id":"u-1","min_version":3,"expires_in":990}"#;
        let entry: RevocationEntry = serde_json::from_str(json).unwrap();
        assert_eq!(serde_json::to_string(&entry).unwrap(), json);
        let key: RevocationEntry = serde_json::from_str(r#"{"kind":"key","id":"k1"}"#).unwrap();
        assert_eq!(key.expires_in, None);
    }
}
