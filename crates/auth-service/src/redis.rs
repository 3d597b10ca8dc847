//! Redis, which holds nothing that cannot be written again from the database or forgotten.

pub mod client;
