//! The shape of a refresh token: `rt1.<handle>.<generation>.<tag>`, about 80 characters.
//!
//! Whoever knows the shape knows nothing that helps: the tag is a MAC under a key that only the
//! auth-service holds. The shape is published so that secret scanners can find leaked tokens and a
//! verifier can say "that is a refresh token", not so that anyone can read one.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};

/// How every refresh token of this form starts.
pub const PREFIX: &str = "rt1";

/// The cookie that carries it. The `__Host-Http-` prefix makes browsers refuse the cookie unless it
/// is `Secure`, `HttpOnly`, host-only and for the whole path; older browsers read it as `__Host-`.
pub const COOKIE: &str = "__Host-Http-refresh";

/// How a client keeps its refresh token. A token of one transport is refused in the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "lowercase")]
pub enum Transport {
    /// In the JSON body; the client stores it.
    #[default]
    Body,
    /// In a cookie that scripts cannot read.
    Cookie,
}

impl Transport {
    /// The name used in requests and in the tag.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Body => "body",
            Self::Cookie => "cookie",
        }
    }
}

/// The parts of something that looks like a refresh token. Says nothing about whether it is one.
#[derive(Clone, PartialEq, Eq)]
pub struct RefreshTokenShape {
    /// 128 secret bits, the same through the life of a session.
    pub handle: [u8; 16],
    /// Counts the rotations, from 1.
    pub generation: u32,
    /// HMAC-SHA-256 over the rest.
    pub tag: [u8; 32],
}

impl RefreshTokenShape {
    /// Takes the token apart; `None` for everything that is not exactly of the shape.
    #[must_use]
    pub fn parse(token: &str) -> Option<Self> {
        let mut parts = token.split('.');
        let (prefix, handle, generation, tag) =
            (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
        if prefix != PREFIX || parts.next().is_some() {
            return None;
        }
        Some(Self {
            handle: decode(handle)?,
            generation: canonical_u32(generation)?,
            tag: decode(tag)?,
        })
    }
}

impl fmt::Debug for RefreshTokenShape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RefreshTokenShape(generation {}, …)", self.generation)
    }
}

fn decode<const N: usize>(text: &str) -> Option<[u8; N]> {
    let mut bytes = [0; N];
    (URL_SAFE_NO_PAD.decode_slice(text, &mut bytes) == Ok(N)).then_some(bytes)
}

/// A number from 1 to 2³²−1 in its one decimal spelling.
fn canonical_u32(text: &str) -> Option<u32> {
    let number: u32 = text.parse().ok()?;
    (number > 0 && number.to_string() == text).then_some(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HANDLE: &str = "AAAAAAAAAAAAAAAAAAAAAA";
    const TAG: &str = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

    #[test]
    fn the_shape_is_read() {
        let shape = RefreshTokenShape::parse(&format!("rt1.{HANDLE}.7.{TAG}")).unwrap();
        assert_eq!((shape.generation, shape.handle), (7, [0; 16]));
        assert_eq!(format!("{shape:?}"), "RefreshTokenShape(generation 7, …)");
    }

    #[test]
    fn a_token_has_one_spelling_only() {
        for generation in ["0", "01", "+1", "-1", "1e0", "4294967296", "", " 1", "1 "] {
            let token = format!("rt1.{HANDLE}.{generation}.{TAG}");
            assert!(RefreshTokenShape::parse(&token).is_none(), "{token}");
        }
        for token in [
            format!("rt2.{HANDLE}.1.{TAG}"),
            format!("RT1.{HANDLE}.1.{TAG}"),
            format!("rt1.{HANDLE}.1.{TAG}."),
            format!("rt1.{HANDLE}.1.{TAG}="),
            format!("rt1.{HANDLE}.1"),
            format!("rt1{HANDLE}.1.{TAG}"),
            format!("rt1.{HANDLE}.1.{}B", &TAG[..42]),
        ] {
            assert!(RefreshTokenShape::parse(&token).is_none(), "{token}");
        }
    }
}
