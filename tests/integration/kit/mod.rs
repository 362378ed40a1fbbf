//! Starts a master, asks it, ends it.
//!
//! The values that a master shows (state, metrics, log, list), and those in `/proc` about its processes, change all
//! the time: a gauge falls after the client has its answer, a log line is written after the event, a process exists
//! before it has executed its program. So a test that asserts such a value uses
//! - `eventually_eq!(master.metric(..), 1.0)` and `eventually!(..)`, written like `assert_eq!` and `assert!`: they
//!   look again until the assertion holds. After `wait_until` and `wait_for` nothing else is needed for an *expected*
//!   value;
//! - `stays("nobody is replaced", time, || ..)` for something that must *not* happen; it is the only place where a
//!   test just lets time pass;
//! - `at_rest("descriptors", || ..)` for a value to compare with later;
//! - `for_each(&cases, |case| ..)` for cases that wait for timeouts of their own, so that they wait at the same time.
//!
//! `at_once!` and `at_once_eq!` are for a value that must hold at this very moment: when a command has returned, its
//! work is done. The test `first_moment` refuses `assert_eq!(master.pool()...)` and a bare sleep.

#![allow(dead_code, unused_imports)]

#[macro_use]
mod eventually;

mod cases;
mod checked;
mod client;
mod command;
mod frozen;
mod http;
mod kept;
mod load;
mod master;
mod nodes;
mod process;
mod programs;
mod sockets;
mod traffic;
mod tuning;

pub(crate) use cases::for_each;
pub(crate) use checked::{checked, one_shots, wait_good};
pub(crate) use client::{Burst, burst, clients};
pub(crate) use command::{Ledger, carried_out, ledger, report, run_command, running_command, says};
pub(crate) use eventually::{Look, at_rest, stays, wait_for, wait_until};
pub(crate) use frozen::{freeze, freeze_workers};
pub(crate) use http::{Response, get, get_from, get_unix, post, read_answer, request, send_get};
pub(crate) use kept::Kept;
pub(crate) use load::{CLIENTS, Killed, REQUESTS, kill_under_load};
pub(crate) use master::{Master, Setup};
pub(crate) use nodes::{Node, a_node, nodes, two_nodes};
pub(crate) use process::{
    Ended, Started, children, command_line, cpu_time, descriptors, environment, is_alive, kill, marked, run_to_end,
    signals, stat, status, variable,
};
pub(crate) use programs::{BINARY, demo_after, express, has, is_root, missing, python, python_worker, shell};
pub(crate) use sockets::{free_address, free_everywhere, is_listening, is_read, read_at};
pub(crate) use traffic::{COOPERATIVE, Traffic};

use std::time::Duration;

/// The longest wait of a test before it fails. It is generous: machines are slow, and a test that passes never waits
/// it out.
pub(crate) const DEADLINE: Duration = Duration::from_secs(60);
