//! `roundelay compare` and `roundelay report` as users run them: commands with exit codes, two streams and files.

// A test that cannot go on panics: this is how it fails.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod running; // the binary at work, and all it started

mod interrupted; // Ctrl-C: once for a partial report, twice for an end now
mod programs; // users' own programs, good and bad
mod refused; // what is wrong is said before anything starts
mod shown; // `roundelay report`, and assertions
mod whole; // one whole comparison: its tables and files
