//! Verify Latchkey access tokens in your own service, without a call per request, and still see a
//! logout within milliseconds.
//!
//! # What it promises
//!
//! [`Verifier::verify`] checks, in this order: length, characters, three segments, the header (only
//! `alg`, `typ`, `kid`; nothing twice), `typ`, the key, that the key is for this algorithm, the
//! signature, the claims (nothing twice, every type), `iss`, `aud`, time, revocation, and last
//! whether its knowledge of revocations is fresh. A token that is bad is refused as bad even when
//! nothing is fresh; a token that would be accepted on stale knowledge is refused as
//! [`Rejection::Stale`] instead, which is answered with 503.
//!
//! The verifier does no I/O. `follow` (a feature) keeps it current; without that feature, whoever
//! owns the verifier does.
//!
//! # Parts
//!
//! [`Verifier`] decides about one token. [`Protection`] reads the `Authorization` header for it and says
//! no in the words of RFC 6750 ([`Challenge`]). [`Bearer`] is a request that was let in; the features
//! `actix` and `axum` make it an extractor.
// All features, as the programs in it need them.
#![cfg_attr(
    all(feature = "actix", feature = "axum", feature = "follow"),
    doc = concat!("\n", include_str!("../README.md"))
)]

#[cfg(feature = "actix")]
pub mod actix;
#[cfg(feature = "axum")]
pub mod axum;
mod bearer;
mod cache;
mod challenge;
mod clock;
mod denial;
mod descriptions;
mod expectations;
mod feed_secret;
#[cfg(feature = "follow")]
pub mod follow;
mod keys;
mod mismatch;
mod presented;
mod protection;
mod rejection;
mod revocations;
mod verified;
mod verify;

pub use bearer::Bearer;
pub use challenge::Challenge;
pub use clock::Clock;
pub use denial::Denial;
pub use descriptions::describe_metrics;
pub use expectations::Expectations;
pub use feed_secret::{FeedSecret, MAC_HEADER};
pub use keys::{KeySet, KeySetError, Keys};
pub use latchkey_claims as claims;
pub use latchkey_problem as problem;
pub use presented::PresentedToken;
pub use protection::{Protection, bearer_token};
pub use rejection::Rejection;
pub use revocations::RevocationList;
pub use verified::Verified;
pub use verify::Verifier;
