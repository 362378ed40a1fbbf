//! If nothing else shows a hang, the worker's own heartbeat does. A program that never sent one is not expected to.

use std::time::Duration;

use super::{FAST, freeze_under_load, hung, in_flight, wait_replaced};
use crate::kit::{
    Setup, burst, checked, environment, freeze_workers, one_shots, python_worker, stays, variable, wait_good,
    wait_until,
};

#[test]
fn stopped_worker_is_found_by_its_heartbeat_alone() {
    let master = Setup::new(&["demo", "-i", "3", "--health", "none"]).start_ready();
    freeze_under_load("heartbeat", &master);
}

/// There is no client, so no queue can show the hang.
#[test]
fn idle_stopped_worker_is_found_by_its_heartbeat() {
    let options = [&FAST[..], &["health.probe=none", "health.heartbeat=500ms"]].concat();
    let master = Setup::new(&["demo", "-i", "2"]).with("demo", &options).start_ready();
    let frozen = freeze_workers(&master, &[1])[0];
    wait_replaced(&master, 1, frozen);
    eventually_eq!((hung(&master, 0), hung(&master, 1)), (0.0, 1.0));
}

#[test]
fn accepting_worker_is_watched_by_its_heartbeat() {
    let options = ["health.heartbeat=500ms", "health.hang-timeout=1s"];
    let master = Setup::new(&["demo", "--mode", "shared", "-i", "3"]).with("demo", &options).start_ready();
    let load = checked(one_shots(master.address(), 60.0));
    let frozen = freeze_workers(&master, &[0])[0];
    wait_until("it to be suspect", || master.worker(0).state == "suspect");
    wait_replaced(&master, 0, frozen);
    wait_good(&load, 20);
    // The worker had accepted those, and the master cannot tell what the worker read of them.
    load.stop().analyse(&in_flight(super::IN_FLIGHT)).unwrap();
    eventually_eq!(hung(&master, 0), 1.0);
}

#[test]
fn workers_are_told_the_heartbeat_interval() {
    for (option, told) in [
        ("health.heartbeat=1s", Some("1000000")),
        ("health.heartbeat=250ms", Some("250000")),
        ("health.heartbeat=off", None),
    ] {
        let master = Setup::new(&["demo", "-i", "1"]).with("demo", &[option]).env("WATCHDOG_USEC", "7").start_ready();
        let environment = environment(master.pids()[0]);
        match told {
            Some(told) => assert_eq!(variable(&environment, "WATCHDOG_USEC"), told),
            None => assert!(environment.iter().all(|one| !one.starts_with("WATCHDOG_USEC=")), "{environment:?}"),
        }
    }
}

#[test]
fn program_without_heartbeats_is_not_expected_to_send_one() {
    let Some(command) = python_worker() else { return };
    let options = ["health.heartbeat=100ms", "health.hang-timeout=200ms", "health.busy-timeout=300ms"];
    let master = Setup::app(&["-i", "2", "--health", "none"], &command).with("app", &options).start_ready();
    let pids = master.pids();
    // This is long enough for many heartbeats.
    stays("all of them are ready", Duration::from_secs(2), || {
        assert_eq!(burst(master.address(), "/", 10).failed, [""; 0]);
        master.workers().iter().all(|worker| worker.state == "ready")
    });
    at_once_eq!(master.pids(), pids);
}
