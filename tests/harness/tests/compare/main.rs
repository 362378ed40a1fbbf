//! `roundelay compare` and `roundelay report` as their users have them: commands with exit codes, two streams and
//! files.

// A test that cannot go on panics; that is how it fails.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod running;

mod interrupted;
mod programs;
mod refused;
mod shown;
mod whole;
