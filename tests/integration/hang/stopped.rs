//! A worker with stopped processes (SIGSTOP) is found by their state, in every mode, with clients or without.

use std::time::Duration;

use super::{FAST, hung, wait_replaced};
use crate::kit::{Setup, for_each, freeze, freeze_workers, kill, stat, stays};

#[test]
fn stopped_worker_is_replaced_in_every_mode() {
    let cases = [
        ("proxy", "endpoint=port"),
        ("proxy", "endpoint=unix"),
        ("proxy", "endpoint=inherited"),
        ("handoff", ""),
        ("shared", ""),
        ("reuseport", ""),
    ];
    for_each(&cases, |&(mode, endpoint)| {
        // Neither a check nor a heartbeat asks the worker.
        let mut options = vec!["health.hang-timeout=1s", "health.heartbeat=off"];
        options.extend(Some(endpoint).filter(|option| !option.is_empty()));
        if mode == "proxy" {
            options.push("health.probe=none");
        }
        let master = Setup::new(&["demo", "-i", "2", "--mode", mode]).with("demo", &options).start_ready();
        let frozen = freeze_workers(&master, &[1])[0];
        master.wait_state(1, "suspect");
        wait_replaced(&master, 1, frozen);
        eventually_eq!((hung(&master, 0), hung(&master, 1)), (0.0, 1.0), "{mode} {endpoint}");
    });
}

#[test]
fn pause_of_master_and_workers_replaces_nobody() {
    let master = Setup::new(&["demo", "-i", "2", "--health", "/health"]).with("demo", &FAST).start_ready();
    let pids = master.pids();
    freeze(master.pid());
    let frozen = freeze_pids(&pids);
    stays("they stand still", Duration::from_secs(4), || is_still(&frozen));
    for pid in frozen.into_iter().chain([master.pid()]) {
        kill(i64::from(pid), "CONT");
    }
    stays("nobody is replaced", Duration::from_secs(3), || master.pids() == pids);
    at_once_eq!(master.metric("roundelay_worker_restarts_total", &[]), 0.0);
}

fn is_still(pids: &[u32]) -> bool {
    pids.iter().all(|&pid| stat(pid).is_some_and(|fields| fields[0] == "T"))
}

fn freeze_pids(pids: &[u32]) -> Vec<u32> {
    pids.iter().for_each(|&pid| freeze(pid));
    pids.to_vec()
}
