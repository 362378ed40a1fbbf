//! Workers are restarted, stopped and started by command, and no client is lost.

use crate::kit::{
    COOPERATIVE, Master, Setup, Traffic, burst, carried_out, demo_after, ledger, read_answer, report, run_command,
    running_command, says, send_get, shell, wait_until,
};

fn demo(workers: &str) -> Master {
    Setup::new(&["demo", "-i", workers]).start_ready()
}

fn states(master: &Master) -> Vec<String> {
    master.workers().into_iter().map(|worker| worker.state).collect()
}

#[test]
fn restart_of_one_worker_of_two_loses_no_client() {
    let master = demo("2");
    let traffic = Traffic::start(&master, COOPERATIVE);
    for slot in [1, 0, 0] {
        let before = master.pids();
        let report = carried_out(&master, &["restart", &format!("demo/{slot}")]);
        assert_eq!((report.verb.as_str(), report.generation), ("restart", 1));
        let after = master.pids();
        assert_eq!(after[1 - slot], before[1 - slot]);
        assert_ne!(after[slot], before[slot]);
        at_once_eq!(states(&master), ["ready"; 2]);
    }
    traffic.lost_nothing();
}

#[test]
fn clients_wait_while_all_workers_are_restarted() {
    let master = demo("2");
    let traffic = Traffic::start(&master, COOPERATIVE);
    let before = master.pids();
    carried_out(&master, &["restart", "demo"]);
    at_once!(master.pids().iter().all(|pid| !before.contains(pid)));
    carried_out(&master, &["restart", "--all"]);
    traffic.flows();
    traffic.lost_nothing();
}

#[test]
fn stop_and_start_of_one_worker_of_two_lose_no_client() {
    let master = demo("2");
    let traffic = Traffic::start(&master, COOPERATIVE);
    let before = master.pids();
    carried_out(&master, &["stop", "demo/1"]);
    at_once_eq!((states(&master), master.pids()), (vec!["ready".to_owned(), "stopped".to_owned()], vec![before[0]]));
    let list = run_command(&master, &["list"]).stdout;
    assert!(list.lines().any(|line| line.contains("demo/1") && line.contains("stopped")), "{list}");
    says(&run_command(&master, &["status"]), 0, &[]);
    carried_out(&master, &["stop", "demo/1"]);
    traffic.flows();
    carried_out(&master, &["start", "demo/1"]);
    at_once_eq!((states(&master), master.pids()[0]), (vec!["ready".to_owned(); 2], before[0]));
    carried_out(&master, &["start", "demo/1"]);
    traffic.lost_nothing();
}

#[test]
fn stopped_pool_rejects_clients_and_serves_when_started() {
    let master = demo("2");
    let traffic = Traffic::start(&master, COOPERATIVE);
    // Clients that come meanwhile are rejected, as the command asked: no client was cut.
    says(&run_command(&master, &["stop", "demo"]), 0, &[]);
    at_once_eq!((states(&master), master.pids()), (vec!["stopped".to_owned(); 2], vec![]));
    at_once_eq!(master.pool().accept_state, "reject");
    assert_eq!(master.ask("/readyz").status, 503);
    says(&run_command(&master, &["status"]), 7, &[]);
    // A second stop has nothing to do, and does no harm.
    says(&run_command(&master, &["stop", "demo"]), 0, &[]);
    drop(traffic);
    let rejected = send_get(master.address(), "/").and_then(read_answer);
    assert!(rejected.is_err(), "{rejected:?}");
    carried_out(&master, &["start", "demo"]);
    at_once_eq!(states(&master), ["ready"; 2]);
    let traffic = Traffic::start(&master, COOPERATIVE);
    traffic.flows();
    traffic.lost_nothing();
}

#[test]
fn reload_leaves_a_stopped_worker_stopped() {
    let master = demo("3");
    carried_out(&master, &["stop", "demo/1"]);
    carried_out(&master, &["reload"]);
    at_once_eq!(states(&master), ["ready", "stopped", "ready"]);
    carried_out(&master, &["start", "demo/1"]);
    at_once!(master.workers().iter().all(|worker| worker.generation == 2));
    assert_eq!(burst(master.address(), "/", 30).failed, [""; 0]);
}

#[test]
fn worker_that_fails_to_start_fails_the_restart_and_is_retried() {
    let script = demo_after("if test -e broken; then echo 'no licence' >&2; exit 4; fi");
    let master = Setup::app(&["-i", "2"], &shell(&script)).start_ready();
    let traffic = Traffic::start(&master, COOPERATIVE);
    master.touch("broken");
    says(
        &run_command(&master, &["restart", "app/1"]),
        1,
        &["restart of app failed", "app/1: exit code 4", "no licence"],
    );
    at_once!(master.worker(1).state != "ready");
    master.remove("broken");
    master.wait_state(1, "ready");
    traffic.lost_nothing();
}

#[test]
fn worker_hanging_in_its_drain_does_not_stop_the_pool_serving() {
    let master = Setup::new(&["demo", "-i", "2", "--set", "pool.demo.drain-timeout=1s"]).start_ready();
    let client = send_get(master.address(), "/slow/60000").unwrap();
    let slot = || master.workers().iter().position(|worker| worker.active == Some(1));
    wait_until("the request to be under way", || slot().is_some());
    let restart = running_command(&master, &["restart", &format!("demo/{}", slot().unwrap())]);
    let traffic = Traffic::start(&master, COOPERATIVE);
    says(&restart.join().unwrap(), 1, &["the restart of demo was carried out, but 1 client was lost"]);
    assert!(read_answer(client).is_err());
    at_once_eq!(states(&master), ["ready"; 2]);
    traffic.lost_nothing();
}

#[test]
fn clients_over_the_hold_timeout_are_lost_and_each_is_counted() {
    let set = "pool.demo.hold-timeout=300ms";
    let setup = Setup::new(&["demo", "-i", "1", "--set", set]).env("DEMO_START_DELAY", "1200");
    let master = setup.start_ready();
    let traffic = Traffic::start(&master, "one-shot");
    let ended = run_command(&master, &["restart", "demo", "--json"]);
    let connections = ledger(&report(&ended));
    says(&ended, 1, &[&format!("but {} clients were lost", connections.rejected)]);
    traffic.flows();
    let record = traffic.stop();
    let failed = record.failed_total();
    // The counter has all of them. A client that is rejected while the operation ends may be counted after its ledger.
    eventually_eq!(master.metric("roundelay_connections_rejected_total", &[]), failed as f64);
    assert!((failed.saturating_sub(2)..=failed).contains(&connections.rejected), "{connections:?}, {failed} failed");
    assert_eq!(connections.cut, 0, "{:?}", record.failures());
}

#[test]
fn stopped_pool_with_accepting_workers_keeps_clients_queued() {
    let master = Setup::new(&["demo", "--mode", "shared", "-i", "2"]).start_ready();
    let traffic = Traffic::start(&master, COOPERATIVE);
    for target in ["demo/0", "demo"] {
        carried_out(&master, &["restart", target]);
        carried_out(&master, &["stop", target]);
        carried_out(&master, &["start", target]);
        traffic.flows();
    }
    traffic.lost_nothing();
    at_once_eq!(states(&master), ["ready"; 2]);
}

#[test]
fn worker_that_is_still_starting_can_be_restarted() {
    let script = demo_after("until test -e go; do sleep 0.02; done");
    let mut master = Setup::app(&["-i", "2"], &shell(&script)).start();
    wait_until("both to run", || master.pids().len() == 2);
    let before = master.pids();
    let restart = running_command(&master, &["restart", "app/1", "--json"]);
    wait_until("another process", || master.worker(1).pid.is_some_and(|pid| pid != before[1]));
    master.touch("go");
    let ended = restart.join().unwrap();
    assert_eq!(ended.code, Some(0), "{ended:?}");
    master.wait_all_ready();
    at_once_eq!(master.pids()[0], before[0]);
}
