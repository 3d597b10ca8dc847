//! What is measured on running services: the fault harness, a flood of logins, guesses at who has an
//! account, keys that rotate under load, an upgrade and the way back, and how soon a logout is seen.
//!
//! `cargo xtask` runs the programs of this crate. What a trial is built from is in `testbed`.

pub mod drill;
pub mod faults;
pub mod guessing;
pub mod overload;
pub mod rotations;
pub mod upgrade;
