//! A worker that fails its checks gets nothing new while another one is healthy.

use crate::kit::{Master, Setup, burst, kill, python_worker, wait_until};

const FAST: [&str; 8] = [
    "--health",
    "/health",
    "--set",
    "pool.app.health.interval=100ms",
    "--set",
    "pool.app.health.fast-interval=30ms",
    "--set",
    "pool.app.health.timeout=100ms",
];

fn start(slots: &str) -> Option<Master> {
    Some(Setup::app(&[&["-i", slots], &FAST[..]].concat(), &python_worker()?).start_ready())
}

fn of_slot(master: &Master, metric: &str, slot: usize, label: &str) -> f64 {
    master.metric(metric, &[&format!("worker=\"{slot}\""), label])
}

#[test]
fn sick_worker_leaves_the_rotation_and_returns_when_healthy() {
    let Some(master) = start("3") else { return };
    let pids = master.pids();
    master.touch("sick.1");
    let suspect = master.wait_state(1, "suspect");
    assert!(suspect.last_check.is_some_and(|check| !check.is_ok && check.what.contains("answered 500")));
    let failed = || of_slot(&master, "roundelay_health_checks_total", 1, r#"result="fail""#);
    eventually!(failed() >= 3.0, "fall is 3, and it failed {}", failed());
    eventually_eq!(of_slot(&master, "roundelay_worker_up", 1, ""), 0.0);
    let without = burst(master.address(), "/", 40);
    let answered = [0, 1, 2].map(|slot| without.starting(&format!("python/{slot} ")));
    assert_eq!((answered, without.failed.len()), ([20, 0, 20], 0), "{without:?}");

    master.remove("sick.1");
    master.wait_state(1, "ready");
    let with = burst(master.address(), "/", 30);
    let answered = [0, 1, 2].map(|slot| with.starting(&format!("python/{slot} ")));
    assert_eq!((answered, with.failed.len()), ([10, 10, 10], 0), "{with:?}");
    eventually_eq!(master.pids(), pids, "a suspicion kills nobody");
    let flips = || [0, 1, 2].map(|slot| of_slot(&master, "roundelay_health_transitions_total", slot, ""));
    eventually_eq!(flips(), [0.0, 2.0, 0.0]);
    eventually!(of_slot(&master, "roundelay_health_checks_total", 0, r#"result="ok""#) >= 1.0);
    eventually_eq!(of_slot(&master, "roundelay_health_checks_total", 0, r#"result="fail""#), 0.0);
}

#[test]
fn suspect_workers_serve_when_all_are_suspect() {
    let Some(master) = start("2") else { return };
    for slot in 0..2 {
        master.touch(&format!("sick.{slot}"));
    }
    for slot in 0..2 {
        master.wait_state(slot, "suspect");
    }
    eventually_eq!((master.ask("/readyz").status, master.pool().accept_state.as_str()), (503, "open"));
    let answered = burst(master.address(), "/", 20);
    assert_eq!((answered.bodies.len(), answered.failed.len()), (20, 0), "{answered:?}");
    // The first worker that is healthy again gets all clients.
    master.remove("sick.1");
    master.wait_state(1, "ready");
    assert_eq!(burst(master.address(), "/", 20).starting("python/1 "), 20);
    assert_eq!(master.ask("/readyz").status, 200);
}

#[test]
fn stopped_worker_gets_no_new_client() {
    let Some(master) = start("2") else { return };
    let frozen = master.pids()[0];
    // The kernel goes on accepting for it, so only a check that waits for an answer notices.
    kill(i64::from(frozen), "STOP");
    master.wait_state(0, "suspect");
    wait_until("a check in vain", || {
        of_slot(&master, "roundelay_health_checks_total", 0, r#"result="timeout""#) >= 1.0
    });
    let answered = burst(master.address(), "/", 20);
    assert_eq!((answered.starting("python/1 "), answered.failed.len()), (20, 0), "{answered:?}");
    kill(i64::from(frozen), "CONT");
    master.wait_state(0, "ready");
    wait_until("connections to it", || burst(master.address(), "/", 2).starting("python/0 ") == 1);
}
