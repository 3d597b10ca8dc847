//! The fault harness: a whole installation under load while everything that can fail does, and a
//! judge of what was answered.
//!
//! From the outside in: [`run`] starts a [`site`] and lets [`actors`] live in it while [`chaos`]
//! brings the [`trouble`] of the plan. A [`small`] site beside it is on SQLite, and its disk is full
//! from time to time; another has a [`pair`] of Postgres servers, one of which takes over. What each user asked and was answered is a [`history`], and
//! [`checker`] judges it; [`weather`] knows who ought to have been served meanwhile; [`court`] keeps
//! the judgements, and [`finale`] asks once more about some when everything is healed.

pub mod actors;
pub mod chaos;
pub mod checker;
pub mod court;
pub mod finale;
pub mod history;
pub mod pair;
pub mod person;
pub mod probe;
pub mod pulse;
pub mod reading;
pub mod run;
pub mod server;
pub mod site;
pub mod small;
pub mod tally;
pub mod trouble;
pub mod weather;
