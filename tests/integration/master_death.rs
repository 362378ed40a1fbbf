//! A killed master leaves nothing behind, and the next one can start at once.

use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;

use crate::kit::{Master, Setup, burst, demo_after, is_alive, kill, read_answer, send_get, shell, wait_until};

/// Two workers with a process each that the parent-death signal does not reach.
fn with_grandchildren() -> Master {
    let script = demo_after("(sleep 600 & sleep 601) &");
    let master = Setup::app(&["-i", "2"], &shell(&script)).start_ready();
    wait_until("the grandchildren", || master.sleepers().len() == 4);
    master
}

#[test]
fn no_worker_and_no_grandchild_outlives_a_killed_master() {
    let mut master = with_grandchildren();
    let guardian = master.guardian();
    let socket = crate::kit::environment(master.pids()[0]);
    let socket = socket.iter().find_map(|one| one.strip_prefix("NOTIFY_SOCKET=")).unwrap().to_owned();
    master.signal("KILL");
    master.wait_end();
    master.wait_no_family();
    wait_until("the guardian's end", || !is_alive(guardian));

    // Its folder is removed by the next master of this user.
    let _next = Setup::new(&["demo"]).start();
    wait_until("the run folder's removal", || !std::path::Path::new(&socket).exists());
}

#[test]
fn new_master_takes_over_from_a_killed_one_at_once() {
    let mut master = with_grandchildren();
    let address = master.address();
    assert!(burst(address, "/", 10).failed.is_empty());
    for _ in 0..3 {
        let old = master.pids();
        master.signal("KILL");
        master.wait_end();
        let next = Setup::beside(&master, &["demo", "-i", "2", "-l", &address.to_string()]).start_ready();
        assert_eq!(next.address(), address);
        let burst = burst(address, "/", 10);
        assert_eq!(burst.failed, [""; 0]);
        eventually!(!next.pids().iter().any(|pid| old.contains(pid)));
        wait_until("the old workers' end", || !old.iter().any(|&pid| is_alive(pid)));
        master = next;
    }
}

#[test]
fn killed_guardian_is_replaced_and_knows_every_group() {
    let mut master = with_grandchildren();
    let workers = master.pids();
    for _ in 0..3 {
        let guardian = master.guardian();
        kill(i64::from(guardian), "KILL");
        wait_until("another guardian", || !is_alive(guardian) && master.guardian() != guardian);
    }
    eventually_eq!(master.pids(), workers, "the workers did not notice");
    // The new guardian knows a group that started after the old guardian died, too.
    master.kill_worker(0);
    wait_until("the successor", || master.worker(0).state == "ready" && master.worker(0).restarts == 1);
    assert!(burst(master.address(), "/", 20).failed.is_empty());
    master.signal("KILL");
    master.wait_end();
    master.wait_no_family();
}

#[test]
fn nothing_of_a_reload_outlives_a_killed_master() {
    // Each has processes that the parent-death signal does not reach.
    let script = demo_after("(sleep 600 & sleep 601) & until test -e go.$ROUNDELAY_WORKER; do sleep 0.02; done");
    let setup =
        Setup::app(&["-i", "2"], &shell(&script)).with("app", &["max-surge=2", "drain=wait", "drain-timeout=10m"]);
    let mut master = setup.file("go.0", "").file("go.1", "").start_ready();
    // A request keeps the first worker on its way out, and the second one's successor is not ready.
    master.remove("go.1");
    let open = send_get(master.address(), "/slow/60000").unwrap();
    wait_until("it to be assigned", || master.workers()[0].active == Some(1));
    master.signal("HUP");
    wait_until("one that leaves and one that comes", || {
        let others: Vec<_> =
            master.workers().into_iter().flat_map(|worker| worker.others().cloned().collect::<Vec<_>>()).collect();
        let has = |state: &str| others.iter().any(|other| other.state == state);
        has("draining") && has("starting")
    });
    wait_until("the grandchildren of all four", || master.sleepers().len() >= 8);
    let guardian = master.guardian();
    master.signal("KILL");
    master.wait_end();
    master.wait_no_family();
    wait_until("the guardian's end", || !is_alive(guardian));
    assert!(read_answer(open).is_err());
}

/// The guardian's pipe is filled from outside, as thousands of starts would fill it.
#[test]
fn stopped_guardian_is_replaced_and_delays_no_start() {
    let mut master = Setup::new(&["demo", "-i", "2"]).start_ready();
    let guardian = master.guardian();
    kill(i64::from(guardian), "STOP");
    let mut options = std::fs::OpenOptions::new();
    options.write(true).custom_flags(rustix::fs::OFlags::NONBLOCK.bits().cast_signed());
    let mut pipe = options.open(format!("/proc/{guardian}/fd/0")).unwrap();
    while pipe.write(&(-2i32).to_ne_bytes()).is_ok() {}
    drop(pipe);
    let dead = master.kill_worker(0);
    wait_until("the next worker", || {
        let worker = master.worker(0);
        worker.state == "ready" && worker.pid != Some(dead)
    });
    wait_until("another guardian", || !is_alive(guardian) && master.guardian() != guardian);
    master.wait_log("guardian does not read, killing it");
    // The guardian knows the groups from before its start and the later ones.
    master.signal("KILL");
    master.wait_end();
    master.wait_no_family();
}

#[test]
fn terminal_signals_do_not_end_the_guardian() {
    let mut master = with_grandchildren();
    let guardian = master.guardian();
    for signal in ["INT", "TERM", "HUP", "PIPE"] {
        kill(i64::from(guardian), signal);
    }
    master.signal("KILL");
    master.wait_end();
    master.wait_no_family();
    wait_until("the guardian's end", || !is_alive(guardian));
}
