//! Reload, restart, scale, stop and the end of the master: no client is disturbed, and the ledger says what each
//! cost.

use super::{all_is_accounted_for, demo, of_slot, scripted};
use crate::kit::{
    COOPERATIVE, Kept, Traffic, burst, carried_out, is_alive, kill, ledger, read_answer, report, run_command,
    running_command, send_get, wait_until,
};

#[test]
fn five_reloads_under_load_lose_nothing() {
    let master = demo("2", &["--threads", "2"]).with("demo", &["settle=200ms"]).start_ready();
    let traffic = Traffic::start(&master, COOPERATIVE);
    for round in 1..=5 {
        let old = master.pids();
        let connections = ledger(&carried_out(&master, &["reload"]));
        assert!(connections.accepted > 0 && connections.served > 0, "{round}: {connections:?}");
        at_once!(master.pids().iter().all(|pid| !old.contains(pid)));
        traffic.flows();
    }
    traffic.lost_nothing();
    all_is_accounted_for(&master);
    eventually_eq!(master.log().matches("exit=exit code 0").count(), 10, "told to end, each ended by itself");
}

#[test]
fn restart_scale_stop_and_start_under_load_lose_nothing() {
    let master = demo("3", &[]).start_ready();
    let traffic = Traffic::start(&master, COOPERATIVE);
    for order in [
        &["restart", "demo/0"][..],
        &["scale", "demo", "5"],
        &["scale", "demo", "2"],
        &["stop", "demo/1"],
        &["start", "demo/1"],
    ] {
        carried_out(&master, order);
        traffic.flows();
    }
    traffic.lost_nothing();
    all_is_accounted_for(&master);
}

#[test]
fn ledger_adds_up_with_nothing_open_before_and_after() {
    let master = demo("2", &[]).start_ready();
    let address = master.address();
    // The requests take long enough that they are open when the reload begins, even if its command is slow to start.
    let slow = [(); 4].map(|()| send_get(address, "/slow/2000").unwrap());
    wait_until("them to be taken", || master.workers().iter().all(|worker| worker.active == Some(2)));
    let reload = running_command(&master, &["reload", "--json"]);
    wait_until("it to be under way", || master.pool().operation.as_deref() == Some("reload"));
    assert_eq!(burst(address, "/", 100).failed, [""; 0]);
    slow.into_iter().for_each(|client| assert_eq!(read_answer(client).unwrap().status, 200));
    let ended = reload.join().unwrap();
    let connections = ledger(&report(&ended));
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert_eq!((connections.rejected, connections.cut, connections.closed), (0, 0, 0), "{connections:?}");
    // Connections that were open before the reload were accepted earlier, and may have ended within it.
    assert!(connections.served >= connections.accepted && connections.served <= connections.accepted + 4);
    all_is_accounted_for(&master);
}

/// A program that sends no message about its drain has the same drain steps: it is told to end when no connection is
/// left.
#[test]
fn workers_without_drain_messages_end_after_their_connections() {
    let Some(setup) = scripted("2", &[], &[], &[]) else { return };
    let master = setup.start_ready();
    let traffic = std::thread::scope(|scope| {
        let asking = scope.spawn(|| burst(master.address(), "/", 600));
        let connections = ledger(&carried_out(&master, &["reload"]));
        assert_eq!((connections.rejected, connections.cut), (0, 0));
        asking.join().unwrap()
    });
    assert_eq!((traffic.bodies.len(), traffic.failed), (600, vec![]));
    all_is_accounted_for(&master);
}

#[test]
fn stop_finishes_open_requests_and_ends_idle_connections() {
    let mut master = demo("2", &[]).start_ready();
    let address = master.address();
    let mut idle = Kept::connect(address);
    idle.get("/");
    let slow = send_get(address, "/slow/1500").unwrap();
    wait_until("it to be taken", || master.pool().active == Some(2));
    wait_until("it to be taken", || master.workers().iter().all(|worker| worker.waiting == Some(0)));
    master.signal("TERM");
    assert_eq!(read_answer(slow).unwrap().body, "waited 1500 ms\n");
    assert_eq!(idle.rest(), "");
    assert_eq!(master.wait_end().code(), Some(0));
    let log = master.log();
    assert_eq!(log.matches("exit=exit code 0").count(), 2, "{log}");
    assert!(!log.contains("were cut"), "{log}");
}

#[test]
fn clients_in_the_queue_at_a_stop_are_answered() {
    let mut master = demo("1", &[]).start_ready();
    let blocked = send_get(master.address(), "/block/500").unwrap();
    wait_until("it to be taken", || master.worker(0).active == Some(1) && master.worker(0).waiting == Some(0));
    let waiting: Vec<_> = (0..100).map(|_| send_get(master.address(), "/").unwrap()).collect();
    master.signal("TERM");
    for client in waiting {
        assert!(read_answer(client).unwrap().body.starts_with("hello from demo/0 "));
    }
    assert_eq!(read_answer(blocked).unwrap().status, 200);
    assert_eq!(master.wait_end().code(), Some(0));
}

#[test]
fn connections_open_at_the_drain_deadline_are_cut_and_counted() {
    let short = ["drain-timeout=500ms", "kill-timeout=200ms"];
    let master = demo("1", &[]).with("demo", &short).env("DEMO_IGNORE_TERM", "1").start_ready();
    let old = master.pids()[0];
    let owed = [(); 2].map(|()| send_get(master.address(), "/slow/60000").unwrap());
    wait_until("them to be taken", || master.worker(0).active == Some(2) && master.worker(0).waiting == Some(0));
    let ended = run_command(&master, &["reload", "--json"]);
    let connections = ledger(&report(&ended));
    assert_eq!((ended.code, report(&ended).result.as_str()), (Some(1), "lost"), "{ended:?}");
    assert_eq!((connections.cut, connections.rejected), (2, 0), "{connections:?}");
    assert!(!is_alive(old));
    for client in owed {
        read_answer(client).unwrap_err();
    }
    at_once_eq!(of_slot(&master, "roundelay_connection_closes_total", 0, r#"reason="cut""#), 2.0);
    all_is_accounted_for(&master);
}

/// The worker is not told to end while it has not reported the end of its connections.
#[test]
fn stopped_worker_in_a_drain_keeps_no_client_waiting() {
    let master = demo("2", &[]).with("demo", &super::PATIENT).start_ready();
    let frozen = crate::kit::freeze_workers(&master, &[0])[0];
    let clients: Vec<_> = (0..6).map(|_| send_get(master.address(), "/").unwrap()).collect();
    let reload = running_command(&master, &["reload", "--json"]);
    for client in clients {
        assert_eq!(read_answer(client).unwrap().status, 200);
    }
    wait_until("it to leave", || master.worker(0).others().any(|other| other.pid == Some(frozen)));
    kill(i64::from(frozen), "CONT");
    let ended = reload.join().unwrap();
    assert_eq!(ended.code, Some(0), "{ended:?}");
    all_is_accounted_for(&master);
}
