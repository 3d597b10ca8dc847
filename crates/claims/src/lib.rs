//! The published contract of Latchkey: what a token, a key set and a revocation look like.
//!
//! Nothing here does I/O, reads a clock, draws randomness or knows a key, so every party of the
//! system can share it: the service that issues, the libraries that verify, and the tests.
//!
//! The vocabulary is that of RFC 6749 (OAuth 2.0), RFC 7519 (JWT) and RFC 9068 (JWT access tokens).
#![doc = concat!("\n", include_str!("../README.md"))]

pub mod access_token;
pub mod ids;
pub mod jwk;
pub mod refresh_token;
pub mod revocation;
pub mod scope;
pub mod strict_json;
pub mod time;

pub use access_token::{AccessTokenClaims, Audience};
pub use ids::{ClientId, KeyId, MalformedId, SessionId, Subject, TokenId, UserId};
pub use jwk::{Algorithm, Jwk, JwkSet};
pub use refresh_token::{RefreshTokenShape, Transport};
pub use revocation::{RevocationBatch, RevocationEntry, Revoked};
pub use scope::{MalformedScope, Scope};
pub use time::Timestamp;
