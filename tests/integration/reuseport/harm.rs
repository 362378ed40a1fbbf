//! Harm that a worker does to itself or to its listener, and its effect on the others and on clients.

use super::{all_say, demo, plain};
use crate::kit::{CLIENTS, COOPERATIVE, Traffic, carried_out, kill_under_load, wait_until};

#[test]
fn kill_under_load_fails_at_most_accepted_connections() {
    // Each client has one connection at a time, so at most one can have been accepted and not answered.
    let Some(setup) = plain("3", &[], &[]) else { return };
    let master = setup.start_ready();
    let killed = kill_under_load(&master, 1);
    killed.failed_only_in_flight(1);
    master.wait_state(1, "ready");
    all_say(master.address(), "python/", 3);
}

#[test]
fn kill_with_many_connections_fails_at_most_those_in_flight() {
    let master = demo("3", &[]).start_ready();
    kill_under_load(&master, 1).failed_only_in_flight(CLIENTS);
    master.wait_state(1, "ready");
    all_say(master.address(), "hello from demo/", 3);
}

#[test]
fn reload_restart_and_stop_under_load_lose_no_client() {
    let master = demo("3", &[]).start_ready();
    let traffic = Traffic::start(&master, COOPERATIVE);
    for args in [&["reload"][..], &["restart", "demo/2"], &["stop", "demo/0"], &["start", "demo/0"], &["reload"]] {
        let report = carried_out(&master, args);
        assert_eq!(report.connections, None, "not observed");
        traffic.flows();
    }
    traffic.lost_nothing();
}

#[test]
fn listener_shut_down_by_a_worker_listens_again_for_its_slot() {
    const REVIVED: &str = "a worker shut its listener down and the clients in its queue are lost; listening again";
    let Some(setup) = plain("3", &[], &[]) else { return };
    let master = setup.start_ready();
    all_say(master.address(), "python/", 3);
    for times in 1..=3 {
        assert!(master.get("/shutdown").unwrap().body.starts_with("python/"));
        wait_until("the master to listen again", || master.log().matches(REVIVED).count() == times);
        all_say(master.address(), "python/", 3);
        // Exactly the slot of the stopped worker gives no answer.
        for slot in 0..3 {
            let worker = format!("app/{slot}");
            carried_out(&master, &["stop", &worker]);
            let answered = super::answers(master.address(), "python/", 3, 60);
            assert!(answered.iter().enumerate().all(|(other, &said)| (said == 0) == (other == slot)), "{answered:?}");
            carried_out(&master, &["start", &worker]);
            all_say(master.address(), "python/", 3);
        }
    }
    eventually_eq!(master.metric("roundelay_listener_revived_total", &[]), 3.0);
    eventually_eq!(master.metric("roundelay_connections_recovered_total", &[]), 0.0, "nobody had to be given away");
}
