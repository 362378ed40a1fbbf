//! The test kit: what several suites share. It knows nothing of Roundelay, and only tests depend on it.
//!
//! The values that a master shows (state, metrics, log, list), and those in `/proc` about its processes, change all
//! the time: a gauge falls after the client has its answer, a log line is written after the event, a process exists
//! before it has executed its program. So a test that asserts such a value uses
//! - [`eventually_eq!`]`(master.metric(..), 1.0)` and [`eventually!`]`(..)`, written like `assert_eq!` and `assert!`: they
//!   look again until the assertion holds. After [`wait_until`] and [`wait_for`] nothing else is needed for an *expected*
//!   value;
//! - [`stays`]`("nobody is replaced", time, || ..)` for something that must *not* happen; it is the only place where a
//!   test just lets time pass;
//! - [`at_rest`]`("descriptors", || ..)` for a value to compare with later;
//! - [`for_each`]`(&cases, |case| ..)` for cases that wait for timeouts of their own, so that they wait at the same time.
//!
//! [`at_once!`] and [`at_once_eq!`] are for a value that must hold at this very moment: when a command has returned, its
//! work is done. The test `first_moment` refuses `assert_eq!(master.pool()...)` and a bare sleep.
//!
//! A test whose peers run on its own tokio runtime uses the twins of these in [`in_async`], which let the peers go on.

// The kit is a part of tests: a test that cannot go on panics; that is how it fails.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[macro_use]
mod waiting;

mod cases;
mod commands;
mod http;
pub mod in_async;
mod ports;
mod processes;
mod programs;

pub use cases::for_each;
pub use commands::{Ended, Started, run_to_end};
pub use http::{Response, get, get_from, get_unix, post, read_answer, request, send_get};
pub use ports::{free_address, free_everywhere};
pub use processes::{
    children, command_line, cpu_time, descriptors, environment, is_alive, kill, marked, signals, stat, status, threads,
    variable,
};
pub use programs::{binary, has, has_server, is_in_path, is_root, missing, python};
pub use waiting::{DEADLINE, Look, at_rest, stays, wait_for, wait_until};
