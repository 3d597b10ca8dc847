//! Verify Latchkey access tokens in your own service, without a call per request, and still see a
//! logout within milliseconds.
//!
//! # Quick start
//!
//! Features `actix` and `follow`. A handler that takes [`Bearer`](actix::Bearer) runs only for a
//! token that is good *now*:
//!
//! ```no_run
//! # #[cfg(all(feature = "actix", feature = "follow"))]
//! # mod example {
//! use std::{sync::Arc, time::Duration};
//! use actix_web::{App, HttpServer, Responder, get, web};
//! use verifier::{Clock, Expectations, Verifier, actix::{Bearer, Denied, Protection}, follow};
//!
//! #[get("/orders")]
//! async fn orders(bearer: Bearer) -> Result<impl Responder, Denied> {
//!     bearer.require_scope("orders:read")?;
//!     Ok(format!("orders of {}", bearer.verified().claims().sub))
//! }
//!
//! #[actix_web::main]
//! async fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     let expectations = Expectations {
//!         issuer: "https://auth.example.com".into(),
//!         audience: "https://orders.example.com".into(),
//!         max_staleness: Duration::from_secs(30),
//!     };
//!     let verifier = Arc::new(Verifier::new(expectations, Clock::default()));
//!     let _follower = follow::follow(&verifier, follow::Sources::new(
//!         vec!["http://auth.internal:9080/internal/keys".into()],
//!         vec!["http://auth.internal:9080/internal/revocations".into()],
//!         std::env::var("FEED_SECRET").ok(),
//!     ))?;
//!     let protection = web::Data::new(Protection::new(verifier, "orders", None));
//!     HttpServer::new(move || App::new().app_data(protection.clone()).service(orders))
//!         .bind("127.0.0.1:8082")?.run().await?;
//!     Ok(())
//! }
//! # }
//! ```
//!
//! # What it promises
//!
//! [`Verifier::verify`] checks, in this order: length, characters, three segments, the header (only
//! `alg`, `typ`, `kid`; nothing twice), `typ`, the key, that the key is for this algorithm, the
//! signature, the claims (nothing twice, every type), `iss`, `aud`, time, revocation, and last
//! whether its knowledge of revocations is fresh. A token that is bad is refused as bad even when
//! nothing is fresh; a token that would be accepted on stale knowledge is refused as
//! [`Rejection::Stale`] instead, which the extractor answers with 503.
//!
//! The verifier does no I/O. [`follow`](mod@follow) keeps it current; without that feature, whoever
//! owns the verifier does.

#[cfg(feature = "actix")]
pub mod actix;
mod cache;
mod clock;
mod feed_secret;
#[cfg(feature = "follow")]
pub mod follow;
mod keys;
#[cfg(feature = "planted-bugs")]
mod planted;
mod rejection;
mod revocations;
mod verified;
mod verify;

pub use clock::Clock;
pub use feed_secret::{FeedSecret, MAC_HEADER};
pub use keys::{KeySet, KeySetError, Keys};
pub use rejection::Rejection;
pub use revocations::RevocationList;
pub use verified::Verified;
pub use verify::{Expectations, Verifier};
