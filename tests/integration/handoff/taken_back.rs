//! A connection that a worker was handed and has not read goes to another worker; one that it may have read waits for
//! its end.

use super::{PATIENT, all_is_accounted_for, demo, of_slot, scripted, turns};
use crate::kit::{burst, freeze_workers, get, kill, read_answer, send_get, stat, wait_for, wait_until};

const FAST: [&str; 4] =
    ["health.interval=250ms", "health.timeout=250ms", "health.fast-interval=50ms", "health.hang-timeout=1s"];

#[test]
fn unread_connections_of_a_stopped_worker_go_to_others() {
    for threads in ["1", "2"] {
        let master = demo("2", &["--threads", threads]).with("demo", &PATIENT).start_ready();
        let frozen = freeze_workers(&master, &[0])[0];
        let early: Vec<_> = (0..12).map(|_| send_get(master.address(), "/").unwrap()).collect();
        for client in early {
            assert!(read_answer(client).unwrap().body.starts_with("hello from demo/1 "));
        }
        eventually!(of_slot(&master, "roundelay_worker_retries_total", 0, "") >= 1.0, "some had been handed to it");
        eventually_eq!((master.worker(0).pid, stat(frozen).unwrap()[0].as_str()), (Some(frozen), "T"));
        assert_eq!(burst(master.address(), "/", 20).starting("hello from demo/1 "), 20);
        kill(i64::from(frozen), "CONT");
        wait_until("it to serve again", || get(master.address(), "/").unwrap().body.starts_with("hello from demo/0 "));
        eventually_eq!(master.worker(0).pid, Some(frozen));
        all_is_accounted_for(&master);

        // The worker never continues: no client waits for its death, or because of it.
        freeze_workers(&master, &[0]);
        let early: Vec<_> = (0..12).map(|_| send_get(master.address(), "/").unwrap()).collect();
        kill(i64::from(frozen), "KILL");
        for client in early {
            assert_eq!(read_answer(client).unwrap().status, 200);
        }
        wait_until("its replacement", || master.worker(0).pid.is_some_and(|pid| pid != frozen));
        master.wait_state(0, "ready");
        assert_eq!(burst(master.address(), "/", 40).failed, [""; 0]);
        all_is_accounted_for(&master);
    }
}

#[test]
fn clients_of_the_stopped_only_worker_go_to_its_replacement() {
    let master = demo("1", &[]).with("demo", &PATIENT).start_ready();
    let frozen = freeze_workers(&master, &[0])[0];
    let waiting: Vec<_> = (0..8).map(|_| send_get(master.address(), "/").unwrap()).collect();
    wait_until("all to be handed over", || master.worker(0).active == Some(8));
    eventually_eq!(of_slot(&master, "roundelay_worker_retries_total", 0, ""), 0.0, "nobody else could have them");
    kill(i64::from(frozen), "KILL");
    for client in waiting {
        let body = read_answer(client).unwrap().body;
        assert!(body.starts_with("hello from demo/0 ") && !body.contains(&format!("(pid {frozen})")), "{body}");
    }
    eventually_eq!(of_slot(&master, "roundelay_worker_retries_total", 0, ""), 8.0);
    all_is_accounted_for(&master);
}

#[test]
fn only_worker_that_continues_answers_all_waiting_clients() {
    let master = demo("1", &[]).with("demo", &PATIENT).start_ready();
    let frozen = freeze_workers(&master, &[0])[0];
    let waiting: Vec<_> = (0..8).map(|_| send_get(master.address(), "/").unwrap()).collect();
    wait_until("all to be handed over", || master.worker(0).active == Some(8));
    kill(i64::from(frozen), "CONT");
    for client in waiting {
        assert!(read_answer(client).unwrap().body.contains(&format!("(pid {frozen})")));
    }
    eventually_eq!(master.metric("roundelay_worker_retries_total", &[]), 0.0);
}

/// The worker moved its channel to another descriptor number, so the master can reclaim nothing from its queue.
#[test]
fn unreclaimable_connections_go_to_others_after_the_death() {
    let Some(setup) = scripted("2", &[], &[0], &["moved"]) else { return };
    let master = setup.with("app", &FAST).start_ready();
    assert_eq!(turns(&master, master.address(), "python/", 40), [20, 20], "it serves as any other");
    let frozen = freeze_workers(&master, &[0])[0];
    let early: Vec<_> = (0..6).map(|_| send_get(master.address(), "/").unwrap()).collect();
    for client in early {
        let body = read_answer(client).unwrap().body;
        assert!(!body.ends_with(&format!(" {frozen}\n")), "{body}");
    }
    wait_for("its replacement", || master.worker(0).pid.filter(|&pid| pid != frozen));
    eventually_eq!(of_slot(&master, "roundelay_worker_restarts_total", 0, r#"reason="hung""#), 1.0);
    eventually_eq!(master.worker(0).last_exit.unwrap().what, "hung: killed by the master");
    all_is_accounted_for(&master);
}

/// The master sends messages that it read back again: a worker that reads its channel rarely is not taken for dead.
#[test]
fn worker_that_reads_its_channel_rarely_answers_checks() {
    let Some(setup) = scripted("2", &[], &[0], &["lazy"]) else { return };
    let master =
        setup.with("app", &[&PATIENT[..], &["health.interval=400ms", "health.timeout=400ms"]].concat()).start_ready();
    // The worker keeps some for ever, so that the master searches its queue all the time.
    let kept: Vec<_> = (0..4).map(|_| send_get(master.address(), "/").unwrap()).collect();
    let ok = || of_slot(&master, "roundelay_health_checks_total", 0, r#"result="ok""#);
    let before = ok();
    wait_until("many checks", || ok() >= before + 8.0);
    eventually_eq!(of_slot(&master, "roundelay_health_checks_total", 0, r#"result="timeout""#), 0.0);
    master.remove("bad.0");
    master.kill_worker(0);
    for client in kept {
        assert!(read_answer(client).unwrap().body.starts_with("python/"));
    }
}
