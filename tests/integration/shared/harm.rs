//! Harm that a worker does to itself or to the shared socket, and its effect on the others and on clients.

use super::{all_say, demo, hellos, is_nonblocking, plain};
use crate::kit::{CLIENTS, Master, burst, cpu_time, free_address, kill_under_load, wait_for, wait_until};

#[track_caller]
fn is_replaced(master: &Master, slot: usize, dead: u32) {
    let replacement = master.wait_state(slot, "ready");
    assert_ne!(replacement.pid, Some(dead));
    assert_eq!((replacement.restarts, replacement.last_exit.unwrap().what.as_str()), (1, "killed by signal 9 (KILL)"));
}

#[test]
fn kill_under_load_fails_at_most_accepted_connections() {
    // Each client has one connection at a time, so at most one can have been accepted and not answered.
    let Some(setup) = plain("3", &[], &[]) else { return };
    let master = setup.start_ready();
    let killed = kill_under_load(&master, 1);
    killed.failed_only_in_flight(1);
    is_replaced(&master, 1, killed.pid);
    all_say(master.address(), &hellos("python/", 3));
}

#[test]
fn kill_with_many_connections_fails_at_most_those_in_flight() {
    let master = demo("3", &[]).start_ready();
    let killed = kill_under_load(&master, 1);
    killed.failed_only_in_flight(CLIENTS);
    is_replaced(&master, 1, killed.pid);
    all_say(master.address(), &hellos("hello from demo/", 3));
}

/// The log line of the master when it listens again.
const REVIVED: &str = "a worker shut the shared listener down and the clients in its queue are lost; listening again";

/// Starts a pool on a port that was chosen, not given by the kernel; one worker of it shuts the listener down.
#[track_caller]
fn shut_down(more: &[&str]) -> Option<Master> {
    let address = free_address();
    let flags = ["-l", &address.to_string(), "--set", "pool.app.restart.backoff=20ms"];
    let master = plain("3", &flags, more)?.start_ready();
    assert_eq!(master.address(), address);
    all_say(address, &hellos("python/", 3));
    for times in 1..=2 {
        assert!(master.get("/shutdown").unwrap().body.starts_with("python/"));
        wait_until("the master to listen again", || master.log().matches(REVIVED).count() == times);
        assert!(wait_for("an answer", || master.get("/").ok()).body.starts_with("python/"));
        all_say(address, &hellos("python/", 3));
    }
    Some(master)
}

#[test]
fn listener_shut_down_by_a_worker_listens_again() {
    let Some(master) = shut_down(&[]) else { return };
    eventually!(master.workers().iter().all(|worker| worker.restarts == 0 && worker.state == "ready"));
}

#[test]
fn workers_dying_of_a_shut_listener_come_back_with_it() {
    let Some(master) = shut_down(&["--brittle"]) else { return };
    // The master checks the listener before it replaces a dead worker, so no replacement starts on a listener that is
    // shut down and dies of it too.
    let restarts: Vec<_> = master.workers().iter().map(|worker| worker.restarts).collect();
    assert!(restarts.iter().all(|&restarts| restarts <= 2), "{restarts:?}");
    eventually!(master.log().matches("exit=exit code 4").count() >= 2);
}

#[test]
fn listener_made_non_blocking_does_not_disturb_the_master() {
    let Some(setup) = plain("2", &[], &[]) else { return };
    let mut master = setup.start_ready();
    assert!(master.get("/nonblock").unwrap().body.starts_with("python/"));
    let [first, second] = master.pids()[..] else { panic!("two workers") };
    wait_until("the flag to be everybody's", || is_nonblocking(first, 3) && is_nonblocking(second, 3));
    all_say(master.address(), &hellos("python/", 2));
    let dead = master.kill_worker(0);
    wait_until("a successor", || master.worker(0).pid.is_some_and(|pid| pid != dead));
    all_say(master.address(), &hellos("python/", 2));
    let (address, before) = (master.address(), cpu_time(master.pid()));
    // This is at least 0.4 s of the workers' time, in which the master has nothing to do.
    assert_eq!(burst(address, "/", 400).failed, [""; 0]);
    let used = cpu_time(master.pid()) - before;
    assert!(used.as_millis() < 100, "{used:?}");
    assert_eq!(master.ask("/readyz").status, 200);
    master.signal("TERM");
    assert_eq!(master.wait_end().code(), Some(0));
}
