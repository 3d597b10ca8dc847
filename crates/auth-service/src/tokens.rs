//! The two tokens, the keys that make and check them, and what the client may have that they are made for; and
//! invitations.

mod access;
pub mod clients;
mod invitation;
pub mod keyring;
mod refresh;
pub mod rotation;
pub mod seal;
pub(crate) mod signing_key;

pub use access::{AccessToken, AccessTokens};
pub use invitation::InvitationToken;
pub use refresh::{RefreshKeys, RefreshToken};
