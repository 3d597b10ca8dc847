//! The smallest honest service that verifies Latchkey access tokens on its own: it asks nobody on a
//! request, and refuses a token moments after its session was logged out.
//!
//! Read `routes` first: a handler that takes a [`Bearer`](verifier::Bearer) is protected.

mod answers;
mod app;
mod application;
pub mod config;
mod reports;
mod routes;

pub use application::{Application, StartError};
pub use config::{Config, ConfigError};

/// Describes every metric of this service to the recorder that is installed.
pub fn describe_metrics() {
    hosting::telemetry::describe_metrics();
    verifier::describe_metrics();
}

/// What the routes take and answer, for the documentation that is made of it.
#[doc(hidden)]
pub mod schemas {
    pub use crate::answers::{Live, Metadata, NewReport, Ready, ReportList, WhoAmI};
    pub use crate::reports::Report;
}
