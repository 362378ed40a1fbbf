//! Workers that are too big or too old are replaced, new first. No client is lost, and it does not become a loop.

use std::time::Duration;

use crate::kit::{
    Master, Setup, burst, checked, cpu_time, demo_after, get, has, is_root, one_shots, python, shell, stays, wait_good,
    wait_until,
};
use roundelay::api::state::WorkerEntry;
use roundelay_checker::Allowance;

fn replaced(master: &Master, reason: &str) -> f64 {
    master.metric("roundelay_worker_restarts_total", &[&format!("reason=\"{reason}\"")])
}

/// Makes the worker whose turn it is so much bigger. No other request may come meanwhile.
#[track_caller]
fn leak(master: &Master, bytes: u64) {
    let answer = get(master.address(), &format!("/leak/{bytes}")).unwrap();
    assert_eq!(answer.status, 200);
}

#[test]
fn leaking_worker_is_replaced_new_first_and_no_client_is_lost() {
    let master = Setup::new(&["demo", "-i", "2"]).with("demo", &["max-memory=150MiB"]).start_ready();
    let before = master.pids();
    let load = checked(one_shots(master.address(), 50.0));
    leak(&master, 200 << 20);
    wait_until("its replacement", || {
        let is_there = |worker: &WorkerEntry| worker.state == "ready" || worker.state == "suspect";
        at_once!(master.workers().iter().filter(|worker| is_there(worker)).count() == 2, "new first");
        replaced(&master, "memory") == 1.0
    });
    wait_good(&load, 20);
    load.stop().analyse(&Allowance::none()).unwrap();
    let after = master.pids();
    assert_eq!(before.iter().filter(|pid| after.contains(pid)).count(), 1, "{before:?} {after:?}");
    eventually_eq!(master.metric("roundelay_worker_restarts_total", &[]), 1.0);
}

#[test]
fn workers_that_all_leak_are_replaced_one_at_a_time() {
    // The replacements are slow to be ready, so that they would overlap.
    let script = demo_after("if test -e slow; then sleep 0.7; fi");
    let options = ["max-memory=150MiB"];
    let master = Setup::app(&["-i", "4"], &shell(&script)).with("app", &options).start_ready();
    master.touch("slow");
    (0..4).for_each(|_| leak(&master, 200 << 20));
    let mut most = 0;
    wait_until("all to be replaced", || {
        let others = master.workers().into_iter().flat_map(|worker| worker.others().cloned().collect::<Vec<_>>());
        most = most.max(others.filter(|other| other.state == "starting").count());
        replaced(&master, "memory") == 4.0
    });
    assert_eq!(most, 1, "processes more than workers, while they come");
    assert_eq!(burst(master.address(), "/", 20).failed, [""; 0]);
}

#[test]
fn worker_stays_and_is_reported_if_its_replacement_fails() {
    let script = demo_after("printf x >> starts; if test -e bad; then echo no database; exit 7; fi");
    let master = Setup::app(&["-i", "1"], &shell(&script)).with("app", &["max-memory=150MiB"]).start_ready();
    let pids = master.pids();
    master.touch("bad");
    leak(&master, 200 << 20);
    master.wait_log("replacement did not become ready: the worker stays");
    // The time for several looks at its memory.
    stays("it serves on", Duration::from_secs(4), || {
        assert_eq!(burst(master.address(), "/", 4).failed, [""; 0]);
        (master.pids(), master.worker(0).state.as_str()) == (pids.clone(), "ready")
    });
    master.wait_log("| no database");
    assert_eq!(std::fs::read_to_string(master.dir().join("starts")).unwrap(), "xx", "it is not tried on and on");
}

#[test]
fn program_that_is_always_too_big_backs_off() {
    let options = ["max-memory=1MiB"];
    let master = Setup::new(&["demo", "-i", "1"]).with("demo", &options).start_ready();
    let load = checked(one_shots(master.address(), 20.0));
    stays("it is never asked to be two", Duration::from_secs(8), || master.pids().len() <= 1);
    load.stop().analyse(&Allowance::none()).unwrap();
    let count = replaced(&master, "memory");
    println!("always too big: {count} replacements in 8 s");
    assert!((2.0..=9.0).contains(&count), "{count}");
}

#[test]
fn old_workers_are_replaced_one_at_a_time_without_loss() {
    let master = Setup::new(&["demo", "-i", "4"]).with("demo", &["max-age=3s"]).start_ready();
    let before = master.pids();
    let load = checked(one_shots(master.address(), 50.0));
    let mut most = 0;
    wait_until("all to be replaced", || {
        let workers = master.workers();
        assert!(workers.iter().all(|worker| worker.state == "ready"), "new first");
        let others = workers.iter().flat_map(|worker| worker.others());
        most = most.max(others.filter(|other| other.state == "starting").count());
        workers.iter().all(|worker| !before.contains(&worker.pid.unwrap()))
    });
    wait_good(&load, 20);
    load.stop().analyse(&Allowance::none()).unwrap();
    assert!(most <= 1, "{most} at a time");
    eventually!(replaced(&master, "age") >= 4.0);
    eventually_eq!(replaced(&master, "crash"), 0.0);
}

#[test]
fn worker_too_old_during_a_reload_waits_for_its_end() {
    // The reload takes as long as its first new worker needs.
    let script = demo_after("until test -e go; do sleep 0.02; done");
    let master = Setup::app(&["-i", "2"], &shell(&script)).with("app", &["max-age=2s"]);
    std::fs::write(master.dir().join("go"), "").unwrap();
    let master = master.start_ready();
    master.remove("go");
    master.signal("HUP");
    wait_until("a replacement", || master.workers().iter().any(|worker| worker.others().next().is_some()));
    let before = cpu_time(master.pid());
    stays("the reload goes on beyond the age", Duration::from_secs(5), || master.pool().generation == 1);
    let used = cpu_time(master.pid()) - before;
    println!("too old during a reload: {used:?} of CPU in 5 s");
    assert!(used < Duration::from_secs(2), "the master is busy: {used:?}");
    master.touch("go");
    wait_until("the end of the reload", || master.pool().generation == 2);
    assert_eq!(burst(master.address(), "/", 20).failed, [""; 0]);
}

/// A pool `app` of one server that forks children, with a limit that is below the sum of their resident memory.
fn preforking(words: &[&str]) -> Option<Setup> {
    let command = [&[python()?, "-c", include_str!("recycling/preload.py")], words].concat();
    Some(Setup::app(&["-i", "1"], &command).with("app", &["max-memory=150MiB"]))
}

#[test]
fn memory_that_processes_share_counts_once() {
    let Some(setup) = preforking(&[]) else { return };
    let master = setup.env("RUST_LOG", "debug").start_ready();
    let pids = master.pids();
    let sum = || master.metric("roundelay_worker_resident_memory_bytes", &[]);
    wait_until("the sum of its processes to be over the bound", || sum() > (150 << 20) as f64);
    master.wait_log("memory measured");
    // The time for some looks at its usage.
    stays("it is not replaced", Duration::from_secs(3), || master.pids() == pids);
    at_once_eq!((master.pids(), replaced(&master, "memory")), (pids, 0.0));
    eventually_eq!(master.log().matches("memory measured").count(), 1, "at most every 10 s");
    eventually_eq!(master.log().matches("max-memory is compared").count(), 0);
}

#[test]
fn preforker_whose_children_use_too_much_is_replaced() {
    let Some(setup) = preforking(&["own"]) else { return };
    let master = setup.start_ready();
    wait_until("its replacement", || replaced(&master, "memory") >= 1.0);
    assert_eq!(burst(master.address(), "/", 20).failed, [""; 0]);
}

#[test]
fn unreadable_memory_is_estimated_and_reported_once() {
    if !is_root() || !has("setpriv") {
        return;
    }
    // Root without these rights may not look into the processes of another user.
    let without = "-sys_ptrace,-perfmon,-sys_admin";
    let wrapper = ["setpriv", "--bounding-set", without, "--inh-caps", without];
    let script = demo_after("sleep 600 &");
    let setup = Setup::app(&["-i", "1"], &shell(&script)).with("app", &["max-memory=1MiB", "user=nobody"]);
    let master = setup.through(&wrapper).start_ready();
    master.wait_log("max-memory is compared with another number");
    wait_until("replacements by the sum", || replaced(&master, "memory") >= 2.0);
    eventually_eq!(master.log().matches("max-memory is compared").count(), 1);
}
