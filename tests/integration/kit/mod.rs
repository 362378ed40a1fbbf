//! Starts a master, asks it, ends it.

#![allow(dead_code, unused_imports)]

mod checked;
mod client;
mod frozen;
mod http;
mod kept;
mod load;
mod master;
mod nodes;
mod order;
mod process;
mod programs;
mod sockets;
mod traffic;
mod tuning;

pub(crate) use checked::{checked, one_shots, wait_good};
pub(crate) use client::{Burst, burst, clients};
pub(crate) use frozen::{freeze, freeze_workers};
pub(crate) use http::{Response, get, get_from, get_unix, post, read_answer, request, send_get};
pub(crate) use kept::Kept;
pub(crate) use load::{CLIENTS, Killed, REQUESTS, kill_under_load};
pub(crate) use master::{Master, Setup};
pub(crate) use nodes::{Node, a_node, nodes, two_nodes};
pub(crate) use order::{Ledger, carried_out, ledger, order, ordering, report, says};
pub(crate) use process::{
    Ended, Started, children, command_line, cpu_time, descriptors, environment, is_alive, kill, marked, run_to_end,
    signals, stat, status, variable,
};
pub(crate) use programs::{BINARY, demo_after, express, has, is_root, missing, python, python_worker, shell};
pub(crate) use sockets::{free_address, is_listening, is_read};
pub(crate) use traffic::{COOPERATIVE, Traffic};

use std::time::Duration;

use tokio::time::Instant;

/// How long anything may take before a test gives up on it. Generous: machines are slow, and nothing waits it out in vain.
pub(crate) const DEADLINE: Duration = Duration::from_secs(30);

/// Waits until `condition` holds; panics with `what` at the deadline.
#[track_caller]
pub(crate) fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    wait_for(what, || condition().then_some(()));
}

/// Waits until `look` finds something; panics with `what` at the deadline.
#[track_caller]
pub(crate) fn wait_for<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(begun.elapsed() < DEADLINE, "gave up waiting: {what}");
        // The pause between two looks at a condition, not a wait for it. What takes long is looked at less often.
        std::thread::park_timeout((begun.elapsed() / 10).clamp(Duration::from_millis(2), Duration::from_millis(30)));
    }
}
