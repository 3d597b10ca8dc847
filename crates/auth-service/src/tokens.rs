//! The two tokens, and the keys that make and check them.

mod access;
pub mod keyring;
mod refresh;
pub mod rotation;
pub mod seal;
pub(crate) mod signing_key;

pub use access::{AccessToken, AccessTokens};
pub use refresh::{RefreshKeys, RefreshToken};
