//! The auth-service: issues access tokens, rotates refresh tokens, revokes both.
//!
//! `http` speaks to clients and `cli` to administrators; both call [`policy`], which joins [`tokens`],
//! [`passwords`] and the [`store`], which knows the database. Never upward. [`revocation`] runs
//! beside them and tells verifiers what no longer counts. `policy::admission` asks the counters of
//! [`limits`] who may try.

mod application;
mod background;
pub mod cli;
pub mod config;
pub mod error;
mod http;
pub mod identity;
pub mod limits;
pub mod passwords;
pub mod policy;
pub mod redis;
pub mod revocation;
pub mod store;
pub mod tokens;

pub use application::{Application, StartError};
pub use config::{Config, ConfigError};
pub use http::describe_metrics;
#[doc(hidden)]
pub use http::schemas;
pub use policy::app::App;
