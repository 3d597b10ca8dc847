//! Who may do what: each function here is one thing that a person or an administrator can ask for.

pub mod accounts;
pub(crate) mod administration;
pub(crate) mod administrators;
pub(crate) mod admission;
pub mod app;
pub(crate) mod audience;
pub mod authentication;
pub(crate) mod callers;
pub(crate) mod deletion;
pub(crate) mod export;
pub(crate) mod find;
pub(crate) mod import;
pub(crate) mod key_administration;
pub(crate) mod logins;
pub(crate) mod logout;
pub(crate) mod names;
pub(crate) mod restored;
pub(crate) mod roles;
pub(crate) mod session_limit;
pub(crate) mod sessions;
mod token_answer;

pub use token_answer::TokenAnswer;
