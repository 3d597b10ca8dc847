//! Identifiers as types of their own, so that one cannot stand where another is meant.
//!
//! Each is checked when it is parsed: what an attacker writes into `sub`, `kid` or `jti` either
//! has the exact grammar below or is not an identifier at all (RFC 8725 §3.10).

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// The text is not an identifier of the kind asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("malformed {kind}")]
pub struct MalformedId {
    kind: &'static str,
}

/// A user of the service, and the `sub` of the tokens issued to them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct UserId(pub Uuid);

impl fmt::Display for UserId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.hyphenated().fmt(f)
    }
}

/// Defines an identifier of 128 bits, written as 22 characters of canonical base64url.
macro_rules! id_of_128_bits {
    ($(#[$doc:meta])* $name:ident, $kind:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[cfg_attr(
            feature = "openapi",
            derive(utoipa::ToSchema),
            schema(value_type = String, pattern = "^[A-Za-z0-9_-]{22}$")
        )]
        pub struct $name([u8; 16]);

        impl $name {
            /// The identifier with these bits.
            #[must_use]
            pub const fn from_bytes(bytes: [u8; 16]) -> Self {
                Self(bytes)
            }
        }

        impl FromStr for $name {
            type Err = MalformedId;

            fn from_str(text: &str) -> Result<Self, MalformedId> {
                let mut bytes = [0; 16];
                match URL_SAFE_NO_PAD.decode_slice(text, &mut bytes) {
                    Ok(16) => Ok(Self(bytes)),
                    _ => Err(MalformedId { kind: $kind }),
                }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&URL_SAFE_NO_PAD.encode(self.0))
            }
        }

        as_text!($name);
    };
}

/// Defines an identifier that is text of at most 64 characters from a fixed set.
macro_rules! id_of_text {
    ($(#[$doc:meta])* $name:ident, $kind:literal, $allowed:expr) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[cfg_attr(
            feature = "openapi",
            derive(utoipa::ToSchema),
            schema(value_type = String, min_length = 1, max_length = 64)
        )]
        pub struct $name(String);

        impl $name {
            /// The identifier as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = MalformedId;

            fn from_str(text: &str) -> Result<Self, MalformedId> {
                let allowed: fn(u8) -> bool = $allowed;
                if (1..=64).contains(&text.len()) && text.bytes().all(allowed) {
                    Ok(Self(text.to_owned()))
                } else {
                    Err(MalformedId { kind: $kind })
                }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        as_text!($name);
    };
}

/// `Debug` and serde for an identifier through its text form.
macro_rules! as_text {
    ($name:ident) => {
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({self})", stringify!($name))
            }
        }

        impl Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}

id_of_128_bits!(
    /// The session a token belongs to (`sid`). Public: it is derived one-way from the secret handle
    /// of the refresh token and opens nothing.
    SessionId,
    "session id"
);
id_of_128_bits!(
    /// One access token (`jti`, RFC 7519 §4.1.7).
    TokenId,
    "token id"
);
id_of_text!(
    /// A signing key (`kid`, RFC 7515 §4.1.4): 1–64 of `A–Z a–z 0–9 _ -`, never a path.
    KeyId,
    "key id",
    |byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-')
);
id_of_text!(
    /// An OAuth client (`client_id`): 1–64 of `A–Z a–z 0–9 _ - .`
    ClientId,
    "client id",
    |byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.')
);
id_of_text!(
    /// Whom an access token speaks for (`sub`): a user id, or a client id where a client acts for
    /// itself (RFC 9068 §5).
    Subject,
    "subject",
    |byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.')
);

impl Subject {
    /// The user this subject is, unless it is a client acting for itself.
    #[must_use]
    pub fn user_id(&self) -> Option<UserId> {
        Uuid::try_parse(&self.0).ok().map(UserId)
    }
}

impl From<UserId> for Subject {
    fn from(user: UserId) -> Self {
        Self(user.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_of_128_bits_survives_its_text_form() {
        let id = SessionId::from_bytes([0xa5; 16]);
        assert_eq!(id.to_string().len(), 22);
        assert_eq!(id.to_string().parse(), Ok(id));
    }

    #[test]
    fn an_id_has_one_spelling_only() {
        // The last character carries 2 bits; the other 4 must be zero.
        assert!("AAAAAAAAAAAAAAAAAAAAAA".parse::<TokenId>().is_ok());
        assert!("AAAAAAAAAAAAAAAAAAAAAB".parse::<TokenId>().is_err());
        assert!("AAAAAAAAAAAAAAAAAAAAAA==".parse::<TokenId>().is_err());
    }

    #[test]
    fn a_key_id_is_never_a_path_or_a_query() {
        for hostile in ["", "../../dev/null", "' OR 1=1--", "a b", "\0", &"k".repeat(65)] {
            assert!(hostile.parse::<KeyId>().is_err(), "{hostile:?}");
        }
    }
}
