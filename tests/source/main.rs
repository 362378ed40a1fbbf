//! Promises about the repository's own text: its words, its comments, and which module may use which.
//!
//! These tests read files and start nothing. Each failure lists `file:line` and says what to write instead.

// A test that cannot go on panics; that is how it fails.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod architecture; // `docs/architecture.md` is true
mod comments; // a comment names its subject
mod imports; // a module uses what stands above it
mod names; // a test's name begins with its subject
mod scripts; // scripts compile, and those that pages name exist
mod shape; // a type stands in few files, and a file stays small
mod tree; // the files and their lines
mod words; // words that were given up stay away
