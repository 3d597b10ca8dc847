//! What stands for a person or a thing: names, pseudonyms, random ids; what of a text that people type others can see;
//! how people prove who they are; and the names of what administrators may do, and of roles.

pub mod admin_scopes;
pub mod amr;
pub mod names;
pub mod pseudonyms;
pub(crate) mod random;
pub mod roles;
pub mod visible;
