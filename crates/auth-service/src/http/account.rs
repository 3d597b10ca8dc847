//! A person's own account and sessions.

pub(super) mod events;
pub(super) mod export;
pub(super) mod login;
pub(super) mod logout;
pub(super) mod me;
pub(super) mod password;
pub(super) mod refresh;
pub(super) mod register;
mod resource;
pub(super) mod sessions;
