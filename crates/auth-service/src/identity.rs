//! What stands for a person or a thing: names, pseudonyms, random ids.

pub mod names;
pub mod pseudonyms;
pub(crate) mod random;
