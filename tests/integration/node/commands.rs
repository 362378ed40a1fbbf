//! Commands and strategies, with workers to which clients are handed over.

use std::collections::BTreeSet;

use super::{PID, all_answer, answering, app};
use crate::kit::{Kept, a_node, carried_out, freeze, kill, two_nodes, wait_until};

#[test]
fn scale_restart_stop_and_start_do_what_they_say() {
    for node in two_nodes() {
        let master = app(node, &["--mode", "handoff", "-i", "2"], PID).start_ready();
        carried_out(&master, &["scale", "app", "4"]);
        eventually_eq!(BTreeSet::from_iter(answering(master.address(), 8)).len(), 4);
        carried_out(&master, &["scale", "app", "2"]);
        wait_until("the others to be gone", || master.family().len() == 2);
        all_answer(master.address(), &master);

        let before = master.pids();
        carried_out(&master, &["restart", "app/1"]);
        let after = master.pids();
        assert!(after[0] == before[0] && after[1] != before[1], "{before:?} {after:?}");

        carried_out(&master, &["stop", "app/0"]);
        assert!(answering(master.address(), 4).iter().all(|pid| *pid == after[1]));
        carried_out(&master, &["start", "app/0"]);
        all_answer(master.address(), &master);

        carried_out(&master, &["stop", "app"]);
        eventually!(master.family().is_empty());
        carried_out(&master, &["start", "app"]);
        all_answer(master.address(), &master);
    }
}

#[test]
fn pool_with_a_port_of_the_application_is_stopped_and_started() {
    let Some(node) = a_node() else { return };
    let address = crate::kit::free_address();
    let text = PID.replace("3000", &format!("{}, '{}'", address.port(), address.ip()));
    let master = app(node, &["--mode", "handoff", "-i", "2"], &text).env("ROUNDELAY_LISTEN", "app").start_ready();
    all_answer(address, &master);
    carried_out(&master, &["stop", "app"]);
    eventually!(master.family().is_empty());
    carried_out(&master, &["start", "app"]);
    all_answer(address, &master);
    carried_out(&master, &["reload"]);
    all_answer(address, &master);
}

#[test]
fn source_hash_client_stays_with_its_worker() {
    let Some(node) = a_node() else { return };
    let flags = ["--mode", "handoff", "-i", "3", "--strategy", "source-hash"];
    let master = app(node, &flags, PID).start_ready();
    assert_eq!(BTreeSet::from_iter(answering(master.address(), 9)).len(), 1);
}

#[test]
fn least_connections_avoids_a_worker_with_untaken_connections() {
    let Some(node) = a_node() else { return };
    let flags = ["--mode", "handoff", "-i", "2", "--strategy", "least-connections"];
    let master = app(node, &flags, PID).start_ready();
    let frozen = master.pids()[0];
    freeze(frozen);
    let other = master.pids()[1];
    // The requests come one at a time: while one lies with the stopped worker the other worker has none.
    assert!(answering(master.address(), 10).iter().all(|pid| *pid == other));
    kill(i64::from(frozen), "CONT");
    all_answer(master.address(), &master);
}

#[test]
fn strategy_can_be_changed_while_clients_come() {
    let Some(node) = a_node() else { return };
    let master = app(node, &["--mode", "handoff", "-i", "2"], PID).start_ready();
    for strategy in ["random", "p2c", "least-waiting", "round-robin"] {
        carried_out(&master, &["strategy", "app", strategy]);
        all_answer(master.address(), &master);
    }
}

#[test]
fn list_counts_the_connections_that_a_program_took() {
    let Some(node) = a_node() else { return };
    let master = app(node, &["--mode", "handoff", "-i", "1"], PID).start_ready();
    let mut kept = Kept::connect(master.address());
    kept.get("/");
    // The program's word that it took the connection may come after its answer to the client.
    wait_until("its connection counted", || master.worker(0).connections == Some(1));
}
