//! What the system promises of sessions, on both databases: rotation, logout, races, and the store
//! itself, verb by verb.

mod audience;
mod clients;
mod deletion;
mod limit;
mod logout;
mod pages;
mod present;
mod races;
mod refresh;
mod resets;
mod scopes;
mod search;
mod silence;
mod store;
mod tabs;
mod turns;
