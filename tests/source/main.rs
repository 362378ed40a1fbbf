//! Promises about the repository's own text: its words, its comments, and which module may use which.
//!
//! These tests read files and start nothing. Each failure lists `file:line` and says what to write instead.

// A test that cannot go on panics; that is how it fails.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod comments;
mod imports;
mod names;
mod tree;
mod words;
