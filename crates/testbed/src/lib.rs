//! What tests and trials are built from: real services on real databases, spoken to over HTTP.
//!
//! A [`World`] is one auth-service and one resource-service with a database of their
//! own, a clock that a test can move, and clients that behave well or badly.

pub mod answer;
pub mod authority;
pub mod browser;
pub mod database;
pub mod link;
pub mod pooler;
pub mod process;
pub mod proxy;
pub mod redis;
pub mod reset;
pub mod service;
pub mod standby;
pub mod usage;
pub mod world;

pub use answer::Answer;
pub use authority::Authority;
pub use browser::Browser;
pub use database::{Database, Kind};
pub use link::Link;
pub use pooler::Pooler;
pub use proxy::Proxy;
pub use redis::Redis;
pub use service::Service;
pub use world::{PASSWORD, Tokens, World};

/// Makes each scenario two tests, one on each database. Inside, the name of the argument is a
/// [`World`] that has just started.
#[macro_export]
macro_rules! on_both_databases {
    ($($(#[$meta:meta])* async fn $name:ident($world:ident) $body:block)*) => {$(
        $(#[$meta])*
        mod $name {
            #[allow(unused_imports, reason = "not every scenario needs everything of its file")]
            use super::*;

            #[allow(unused_mut, reason = "some scenarios change their world")]
            async fn scenario(mut $world: $crate::World) $body

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn on_postgres() {
                scenario($crate::World::start($crate::Kind::Postgres).await).await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn on_sqlite() {
                scenario($crate::World::start($crate::Kind::Sqlite).await).await;
            }
        }
    )*};
}
