//! What no longer counts: read from the database, told to followers and written into Redis.

pub(crate) mod blacklist;
mod cursor;
mod feed;
mod log;

pub use feed::Feed;
pub(crate) use feed::poll;
