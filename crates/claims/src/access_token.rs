//! The claims of an access token (RFC 9068 §2.2).

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize};

use crate::ids::{ClientId, SessionId, Subject, TokenId};
use crate::scope::Scope;

/// The `typ` of an access token (RFC 9068 §2.1).
pub const TYP: &str = "at+jwt";

/// The longest access token that a verifier takes, in bytes.
pub const MAX_BYTES: usize = 8 * 1024;

/// What an access token says. All instants are whole Unix seconds.
///
/// Parsing is strict about types: a member that is present has its type or the token is none
/// (`null` is not "absent"). Members that are not listed are ignored, after the verifier has made
/// sure that no name occurs twice.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccessTokenClaims {
    /// The issuer, compared byte for byte.
    pub iss: String,
    /// Whom the token speaks for.
    pub sub: Subject,
    /// For whom it is meant.
    pub aud: Audience,
    /// The client it was issued to.
    pub client_id: ClientId,
    /// When it was issued.
    pub iat: u64,
    /// When it ends; never after the session's absolute end.
    pub exp: u64,
    /// Never issued, honoured when present.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub nbf: Option<u64>,
    /// The token's own identifier.
    pub jti: TokenId,
    /// The session it belongs to; absent where a client acts for itself.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub sid: Option<SessionId>,
    /// What it allows.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub scope: Option<Scope>,
    /// When the person last gave a credential; unchanged by refresh (RFC 9068 §2.2.1).
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub auth_time: Option<u64>,
    /// How they did (RFC 8176).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub amr: Vec<String>,
    /// The subject's version at the session's start. Logging out everywhere raises the subject's
    /// version by one, and every token with a lower one is dead.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub sub_ver: Option<u32>,
    /// The name the person chose; with scope `profile`.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub preferred_username: Option<String>,
    /// With scope `email`.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub email: Option<String>,
    /// Whether the address was proved to be theirs; beside `email`.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub email_verified: Option<bool>,
    /// Roles in the SCIM sense (RFC 9068 §2.2.3.1).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub roles: Vec<String>,
    /// The key the token is bound to (RFC 7800). A verifier that cannot check the proof of
    /// possession must refuse a token that has one.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub cnf: Option<serde_json::Value>,
}

/// One or several recipients (RFC 7519 §4.1.3); one is written as a bare string.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Audience {
    /// Meant for one recipient.
    One(String),
    /// Meant for each of these.
    Many(Vec<String>),
}

impl Audience {
    /// Whether `recipient` is among them, byte for byte.
    #[must_use]
    pub fn contains(&self, recipient: &str) -> bool {
        match self {
            Self::One(one) => one == recipient,
            Self::Many(many) => many.iter().any(|one| one == recipient),
        }
    }
}

/// Quoted and with commas between, for messages.
impl fmt::Display for Audience {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::One(one) => write!(f, "{one:?}"),
            Self::Many(many) => f.debug_list().entries(many).finish(),
        }
    }
}

/// A member that may be absent but, where present, must have its type: `null` is refused.
fn present<'de, D, T>(deserializer: D) -> Result<Option<T>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    T::deserialize(deserializer).map(Some)
}
