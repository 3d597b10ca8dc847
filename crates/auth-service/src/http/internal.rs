//! What followers, load balancers and monitoring ask, most of it on the internal listener.

mod followers;
pub(super) mod health;
pub(super) mod internal_keys;
pub(super) mod metrics;
pub(super) mod revocations;
