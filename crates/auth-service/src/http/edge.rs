//! What is asked of a request before a route acts on it: where it comes from, who sends it, how it
//! carries its tokens.

pub(super) mod administrator;
pub(super) mod bearer;
pub(super) mod csrf;
pub(super) mod hold;
pub(super) mod requester;
pub(super) mod transport;
