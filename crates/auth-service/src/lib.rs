//! The auth-service: issues access tokens, rotates refresh tokens, revokes both.
//!
//! `http` speaks to clients and calls [`sessions`], the policy; that joins [`tokens`],
//! [`passwords`] and the [`store`], which knows the database. Never upward. [`revocation`] runs
//! beside them and tells verifiers what no longer counts. `admission` asks the counters of [`limits`] who may try.

pub mod accounts;
mod admission;
pub mod app;
mod application;
pub mod blacklist;
pub mod calibrate;
pub mod callers;
pub mod clock_watch;
mod common_passwords;
pub mod config;
pub mod error;
mod housekeeping;
mod http;
pub mod key_rotation;
pub mod keyring;
pub mod keys;
pub mod limits;
pub mod logins;
pub mod names;
pub mod password_policy;
pub mod passwords;
#[cfg(feature = "planted-bugs")]
mod planted;
pub mod pseudonyms;
mod random;
mod redis_client;
pub mod revocation;
pub mod seal;
mod session_limit;
pub mod sessions;
pub mod store;
pub mod tokens;

pub use app::App;
pub use application::{Application, StartError};
pub use config::{Config, ConfigError};
pub use http::document;
