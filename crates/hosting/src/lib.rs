//! What every Latchkey process needs around its routes: layered settings, logs, metrics and traces,
//! strict request bodies, complete answers, and a server that starts clearly and stops gracefully.
//!
//! Nothing here knows what the service is for. Both services and their tests see the same
//! behaviour "everywhere" because it is written once.

pub mod answers;
pub mod body;
mod causes;
mod connection;
pub mod cors;
pub mod docs;
mod memory;
pub mod origin;
pub mod outage;
pub mod probe;
pub mod process;
pub mod repeats;
pub mod routes;
pub mod secret_file;
pub mod server;
pub mod settings;
pub mod stop;
pub mod telemetry;
mod traceparent;
pub mod traces;
mod workers;

pub use answers::{allow, problem};
pub use body::{BadBody, Json};
pub use causes::causes;
pub use cors::Cors;
pub use server::{Server, listen};
pub use workers::Workers;
