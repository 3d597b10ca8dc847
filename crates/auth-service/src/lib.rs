//! The auth-service as a library.
pub mod config;
pub mod keys;
pub mod names;
pub mod passwords;
pub mod random;
pub mod seal;
pub mod store;
pub mod tokens;
