//! The ledger of an operation adds up.

mod ends;
mod node;
mod targets;

use roundelay::api::state::OperationReport;

use crate::kit::{
    Ended, Ledger, Master, Setup, Traffic, burst, carried_out, clients, demo_after, get, ledger, read_answer, read_at,
    report, running_command, send_get, shell, wait_until,
};

/// A pool of two, to which more workers are added only when the file `go` exists.
fn pool() -> Master {
    let script = demo_after("test $ROUNDELAY_WORKER -lt 2 || until test -e go; do sleep 0.02; done");
    Setup::app(&["-i", "2"], &shell(&script)).start_ready()
}

/// The numbers of a report in the words of the commands' text, for the words that are always there.
fn spoken(report: &OperationReport) -> String {
    let connections = report.connections.unwrap();
    let words = [
        ("accepted", Some(connections.accepted)),
        ("served", connections.served),
        ("moved", Some(connections.moved)),
        ("closed", connections.closed),
        ("rejected", Some(connections.rejected)),
        ("cut", connections.cut),
    ];
    let words = words.into_iter().filter_map(|(word, count)| Some(format!("{word} {}", count?)));
    let not_observed = connections.served.is_none().then(|| "ends not observed".to_owned());
    words.chain(not_observed).collect::<Vec<_>>().join("  ")
}

/// Scales to three. Runs `meanwhile` during the scale, which ends after it.
#[track_caller]
fn during_a_scale(master: &Master, meanwhile: impl FnOnce()) -> Ended {
    let scale = running_command(master, &["scale", "app", "3", "--json"]);
    wait_until("it to be under way", || master.pool().operation.as_deref() == Some("scale"));
    meanwhile();
    wait_until("nothing to be open", || master.pool().active == Some(0));
    master.touch("go");
    scale.join().unwrap()
}

#[test]
fn every_accepted_connection_is_accounted_for() {
    let master = pool();
    let order = during_a_scale(&master, || assert_eq!(burst(master.address(), "/", 200).failed, [""; 0]));
    let connections = ledger(&report(&order));
    let all = Ledger { accepted: 200, served: 200, ..Ledger::default() };
    assert_eq!((order.code, connections), (Some(0), all));
}

#[test]
fn worker_killed_meanwhile_is_neither_lost_nor_served() {
    let master = pool();
    let order = during_a_scale(&master, || {
        let address = master.address();
        let slow: Vec<_> = (0..6).map(|_| send_get(address, "/slow/4000").unwrap()).collect();
        wait_until("them to be under way", || master.workers()[..2].iter().all(|one| one.active == Some(3)));
        // Connections that a killed worker has not read are answered by others.
        let endpoint = master.worker(0).endpoint.unwrap().parse().unwrap();
        wait_until("it to have read its three", || read_at(endpoint) == 3);
        let dead = master.kill_worker(0);
        wait_until("its successor", || master.worker(0).pid.is_some_and(|pid| pid != dead));
        master.wait_state(0, "ready");
        let answers = clients(4, 100, |_| get(address, "/"));
        assert!(answers.iter().all(Result::is_ok), "{answers:?}");
        let broken = slow.into_iter().map(read_answer).filter(Result::is_err).count();
        assert_eq!(broken, 3);
    });
    let connections = ledger(&report(&order));
    assert_eq!((connections.accepted, connections.rejected, connections.cut), (106, 0, 0), "{connections:?}");
    assert_eq!(connections.accepted - connections.ended(), 3, "those of the killed one: {connections:?}");
    assert_eq!(order.code, Some(0), "{order:?}");
}

#[test]
fn ledger_under_load_never_exceeds_open_and_new_connections() {
    let master = Setup::new(&["demo", "-i", "2"]).start_ready();
    let traffic = Traffic::start(&master, "one-shot=30,keep-alive=20,upload=1");
    for order in [&["reload"][..], &["scale", "demo", "3"], &["restart", "demo/0"], &["scale", "demo", "2"]] {
        let before = master.pool();
        let report = carried_out(&master, order);
        let connections = ledger(&report);
        let at_most = master.pool().accepted.unwrap() - before.accepted.unwrap();
        assert!(connections.accepted <= at_most, "{connections:?}");
        let was_open = before.active.unwrap().unsigned_abs();
        // Connections that came between our look and the operation's begin were open then, too.
        let since = at_most - connections.accepted;
        assert!(connections.ended() <= connections.accepted + was_open + since, "{order:?}: {connections:?}");
    }
    traffic.lost_nothing();
    // Once all clients have left, each connection that was accepted has had one end.
    wait_until("nothing to be open", || master.pool().active == Some(0));
    let ends = ["roundelay_connection_closes_total", "roundelay_connections_unassigned_total"];
    eventually_eq!(ends.map(|end| master.metric(end, &[])).iter().sum::<f64>(), master.pool().accepted.unwrap() as f64);
}
