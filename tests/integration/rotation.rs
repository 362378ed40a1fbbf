//! New connections go to the workers in rotation in turn, exactly.

use crate::kit::{Master, Setup, burst, demo_after, shell, wait_until};

fn is_exact(threads: &str) {
    let master = Setup::new(&["demo", "-i", "3", "--threads", threads]).start_ready();
    let burst = burst(master.address(), "/", 1200);
    assert_eq!(burst.failed, [""; 0]);
    for slot in 0..3 {
        assert_eq!(burst.starting(&format!("hello from demo/{slot} ")), 400, "slot {slot}");
        eventually_eq!(given(&master, "roundelay_worker_connections_total", slot), 400.0);
    }
    eventually_eq!(master.metric("roundelay_connections_accepted_total", &[]), 1200.0);
    wait_until("every connection to be over", || master.metric("roundelay_connections_active", &[]) == 0.0);
    let finished = r#"reason="finished""#;
    eventually_eq!(master.metric("roundelay_connection_closes_total", &[finished]), 1200.0);
    eventually_eq!(master.metric("roundelay_connection_closes_total", &[]), 1200.0);
    eventually_eq!(master.metric("roundelay_worker_connect_errors_total", &[]), 0.0);
}

fn given(master: &Master, metric: &str, slot: usize) -> f64 {
    master.metric(metric, &[&format!("worker=\"{slot}\"")])
}

#[test]
fn one_thread_gives_three_workers_400_connections_each() {
    is_exact("1");
}

#[test]
fn two_threads_give_three_workers_400_connections_each() {
    is_exact("2");
}

#[test]
fn rotation_and_counts_go_on_after_a_death() {
    let script = demo_after("test $ROUNDELAY_WORKER = 2 && test -e gone && exit 3");
    let flags = ["-i", "3", "--set", "pool.app.restart.backoff=1s"];
    let master = Setup::app(&flags, &shell(&script)).start_ready();
    assert_eq!(burst(master.address(), "/", 30).failed, [""; 0]);
    master.touch("gone");
    let dead = master.kill_worker(2);
    master.wait_state(2, "backoff");
    let while_gone = burst(master.address(), "/", 100);
    let answered = [0, 1].map(|slot| while_gone.starting(&format!("hello from app/{slot} ")));
    assert_eq!((answered, while_gone.failed.len()), ([50, 50], 0), "{while_gone:?}");

    master.remove("gone");
    let replacement = master.wait_state(2, "ready");
    assert_ne!(replacement.pid, Some(dead));
    assert_eq!(replacement.connections, Some(10), "what the slot was given before it died");
    let with_replacement = burst(master.address(), "/", 90);
    let answered = [0, 1, 2].map(|slot| with_replacement.starting(&format!("hello from app/{slot} ")));
    assert_eq!((answered, with_replacement.failed.len()), ([30, 30, 30], 0), "{with_replacement:?}");
    eventually_eq!(master.worker(2).connections, Some(40));
}
