//! Accounts, browsers and bad input: what the README and `openapi/` say of every route, over HTTP.

mod account;
mod applications;
mod bad_input;
mod cookie;
mod crowds;
mod csrf;
mod docs;
mod framing;
mod invitations;
mod life;
mod limits;
mod login;
mod metadata;
mod nameless;
mod others;
mod owner;
mod page;
mod passwords;
mod register;
mod support;
mod wire;
