//! Pages for people.

pub(super) mod page;
pub(super) mod problems;
