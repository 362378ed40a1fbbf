//! The promises of the binary, kept by real processes on ports of their own.
//!
//! One module a promise. Every test starts its own master in a folder of its own, waits for conditions with a deadline, and
//! ends what it started by pid; on a failure the master's log is printed.

// A test that cannot go on panics; that is how it fails.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod kit;

mod examples;
mod first_run;
mod workers;
