//! Starts a master, asks it, ends it. The words for waiting, and what other suites use too, are in `tests/kit/`.

#![allow(dead_code, unused_imports)]

mod checked;
mod client;
mod command;
mod frozen;
mod kept;
mod load;
mod master;
mod nodes;
mod programs;
mod setup;
mod sockets;
mod traffic;
mod tuning;

pub(crate) use checked::{checked, one_shots, wait_good};
pub(crate) use client::{Burst, burst, clients};
pub(crate) use command::{Ledger, carried_out, ledger, report, run_command, running_command, says};
pub(crate) use frozen::{freeze, freeze_workers};
pub(crate) use kept::Kept;
pub(crate) use load::{CLIENTS, Killed, REQUESTS, kill_under_load};
pub(crate) use master::Master;
pub(crate) use nodes::{Node, a_node, nodes, two_nodes};
pub(crate) use programs::{BINARY, demo_after, express, python_worker, shell};
pub(crate) use roundelay_test_kit::*;
pub(crate) use setup::Setup;
pub(crate) use sockets::{is_listening, is_read, read_at};
pub(crate) use traffic::{COOPERATIVE, Traffic};
