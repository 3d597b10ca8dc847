//! The published key set (RFC 7517): public keys only, each with exactly one algorithm.

use serde::{Deserialize, Serialize};

use crate::ids::KeyId;

/// The media type of a key set (RFC 7517 §8.5.2).
pub const MEDIA_TYPE: &str = "application/jwk-set+json";

/// A signature algorithm that Latchkey issues and accepts. `EdDSA` means Ed25519.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum Algorithm {
    /// ECDSA on P-256: the one algorithm that every JWT library reads.
    #[serde(rename = "ES256")]
    Es256,
    /// Ed25519 under the name that most libraries know (RFC 8037).
    #[serde(rename = "EdDSA")]
    EdDsa,
    /// RSA PKCS#1 v1.5: RFC 9068 §2.1 requires support for it.
    #[serde(rename = "RS256")]
    Rs256,
}

impl Algorithm {
    /// The `alg` value.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Es256 => "ES256",
            Self::EdDsa => "EdDSA",
            Self::Rs256 => "RS256",
        }
    }

    /// Reads an `alg` value, case-sensitively, from the list of those allowed.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Es256, Self::EdDsa, Self::Rs256].into_iter().find(|one| one.as_str() == name)
    }
}

/// One public key. Members that its type does not use are absent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Jwk {
    /// `EC`, `OKP` or `RSA`.
    pub kty: String,
    /// Always `sig`.
    #[serde(rename = "use")]
    pub usage: String,
    /// The one algorithm the key is for.
    pub alg: Algorithm,
    /// The key's name.
    pub kid: KeyId,
    /// The curve of an `EC` or `OKP` key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(nullable = false))]
    pub crv: Option<String>,
    /// The x coordinate, or the Ed25519 public key; base64url.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(nullable = false))]
    pub x: Option<String>,
    /// The y coordinate; base64url.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(nullable = false))]
    pub y: Option<String>,
    /// The RSA modulus; base64url.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(nullable = false))]
    pub n: Option<String>,
    /// The RSA exponent; base64url.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(nullable = false))]
    pub e: Option<String>,
}

/// What `jwks_uri` answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct JwkSet {
    /// The keys that verify, in no particular order.
    pub keys: Vec<Jwk>,
}
