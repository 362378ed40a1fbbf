//! Stopped processes.

use super::{Master, kill, stat, wait_until};

/// Stops a process. The process no longer runs when this returns.
#[track_caller]
pub(crate) fn freeze(pid: u32) {
    kill(i64::from(pid), "STOP");
    wait_until("the process to stand still", || stat(pid).is_some_and(|stat| stat[0] == "T"));
}

/// Stops these workers of the first pool; returns their pids.
#[track_caller]
pub(crate) fn freeze_workers(master: &Master, slots: &[usize]) -> Vec<u32> {
    let workers = master.workers();
    let pids: Vec<_> = slots.iter().map(|&slot| workers[slot].pid.unwrap()).collect();
    pids.iter().for_each(|&pid| freeze(pid));
    pids
}
