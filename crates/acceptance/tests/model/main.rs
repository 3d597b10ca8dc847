//! The rule of sessions: the stores behave by it, and it keeps what it promises.

mod forgotten;
mod pages;
mod promises;
mod rule;
mod search;
mod stores;
mod tabs;
mod theft;
mod wrong;
