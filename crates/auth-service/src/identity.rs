//! What stands for a person or a thing: names, pseudonyms, random ids; and how
//! people prove who they are.

pub mod amr;
pub mod names;
pub mod pseudonyms;
pub(crate) mod random;
