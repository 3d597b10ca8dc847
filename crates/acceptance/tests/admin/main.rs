//! What administrators do over HTTP: who may do what, that nobody climbs, that it is done once, and that the audit log
//! has who it was.

mod climbing;
mod command;
mod events;
mod invitations;
mod keys;
mod once;
mod scopes;
mod sessions;
mod support;
mod users;
mod walk;
