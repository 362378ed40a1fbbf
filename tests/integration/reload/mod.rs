//! A reload replaces every worker, new before old, and no client notices.

mod amid;
mod broken;
mod preforking;

use std::time::Duration;

use crate::kit::{
    BINARY, COOPERATIVE, Setup, Traffic, at_rest, carried_out, children, descriptors, run_command, running_command,
    says, shell, wait_for, wait_until,
};

/// The number of reloads under load.
const RELOADS: u64 = 10;

/// Reloads a pool of two demo workers again and again under load.
#[track_caller]
fn loses_nothing(flags: &[&str], is_observed: bool) {
    // The default is a second for each worker; here the number of reloads is what counts.
    let setup = Setup::new(&[&["demo", "-i", "2"], flags].concat()).with("demo", &["settle=200ms"]);
    let master = setup.start_ready();
    // Descriptors that the master opens once are open after the first reload.
    carried_out(&master, &["reload"]);
    let open = || descriptors(master.pid()).len();
    let before = at_rest("the master's descriptors", open);
    let traffic = Traffic::start(&master, COOPERATIVE);
    for generation in 2..2 + RELOADS {
        let pids = master.pids();
        let report = carried_out(&master, &["reload"]);
        assert_eq!((report.verb.as_str(), report.generation), ("reload", generation + 1));
        assert_eq!(report.connections.is_some(), is_observed, "{report:?}");
        let workers = master.workers();
        assert!(workers.iter().all(|worker| worker.generation == generation + 1 && worker.others().next().is_none()));
        let replacements = master.pids();
        assert!(
            replacements.len() == 2 && replacements.iter().all(|replacement| !pids.contains(replacement)),
            "{pids:?} -> {replacements:?}"
        );
        traffic.flows();
    }
    traffic.lost_nothing();
    let done = [r#"verb="reload""#, r#"result="done""#];
    eventually_eq!(master.metric("roundelay_operations_total", &done), (RELOADS + 1) as f64);
    wait_until("nothing to be left of them in the master", || open() <= before);
    eventually_eq!(master.family().len(), 2, "its two workers");
}

#[test]
fn ten_reloads_of_workers_on_ports_lose_nothing() {
    loses_nothing(&[], true);
}

#[test]
fn ten_reloads_of_workers_on_unix_sockets_lose_nothing() {
    loses_nothing(&["--endpoint", "unix"], true);
}

#[test]
fn ten_reloads_of_workers_on_inherited_sockets_lose_nothing() {
    loses_nothing(&["--endpoint", "inherited"], true);
}

#[test]
fn ten_reloads_of_accepting_workers_lose_nothing() {
    loses_nothing(&["--mode", "shared"], false);
}

#[test]
fn ten_reloads_of_workers_with_a_listener_each_lose_nothing() {
    loses_nothing(&["--mode", "reuseport"], false);
}

#[test]
fn cooperative_clients_of_every_kind_are_served_to_their_end() {
    let master = Setup::new(&["demo", "-i", "2"]).start_ready();
    let kinds = "one-shot=40,keep-alive=30,half-close=20,upload=2,slow-reader=2,websocket=1";
    let traffic = Traffic::start(&master, kinds);
    for _ in 0..2 {
        carried_out(&master, &["reload"]);
    }
    let record = traffic.lost_nothing();
    assert_eq!(record.kinds().len(), 6, "{:?}", record.kinds().keys());
}

#[test]
fn reload_reports_its_cost_or_that_it_was_not_observed() {
    for (flags, words) in
        [(&["-i", "2"][..], "rejected 0  cut 0\n"), (&["--mode", "shared"], "connections not observed\n")]
    {
        let master = Setup::new(&[&["demo"], flags].concat()).start_ready();
        let ended = run_command(&master, &["reload", "demo"]);
        says(&ended, 0, &["demo  generation 1 -> 2, rolling, 1 at a time\n", "demo/0  pid "]);
        assert!(ended.stdout.starts_with("done in ") && ended.stdout.ends_with(words), "{ended:?}");
    }
}

#[test]
fn reload_keeps_process_count_within_surge_and_all_ready() {
    for surge in [1, 3] {
        let set = format!("pool.demo.max-surge={surge}");
        let setup = Setup::new(&["demo", "-i", "4", "--set", &set]).env("DEMO_START_DELAY", "150");
        let master = setup.start_ready();
        let guardian = master.guardian();
        let reload = running_command(&master, &["reload", "--json"]);
        let mut most = 0;
        while !reload.is_finished() {
            let processes = children(master.pid()).into_iter().filter(|&pid| pid != guardian).count();
            most = processes.max(most);
            at_once!(master.pool().workers_ready >= 4);
        }
        assert!((5..=4 + surge).contains(&most), "{most} processes with a surge of {surge}");
        assert_eq!(reload.join().unwrap().code, Some(0));
        at_once_eq!(master.pool().generation, 2);
    }
}

#[test]
fn parked_worker_is_put_back_when_its_successor_ends() {
    let script = format!(
        "test $ROUNDELAY_GENERATION = 1 || set -- timeout --foreground 0.4\nexec \"$@\" '{BINARY}' demo-worker"
    );
    let master = Setup::app(&["-i", "2", "--set", "pool.app.settle=10s"], &shell(&script)).start_ready();
    let pids = master.pids();
    let traffic = Traffic::start(&master, COOPERATIVE);
    let ended = run_command(&master, &["reload"]);
    says(&ended, 1, &["reload of app failed; generation 1 keeps serving"]);
    // Its word that it ends and its end come one upon the other, and either may be seen first.
    let reasons = ["app/0: it was ready, and then began to end", "app/0  it ended after it was ready"];
    let text = format!("{}{}", ended.stdout, ended.stderr);
    assert!(reasons.iter().any(|reason| text.contains(reason)), "{ended:?}");
    traffic.lost_nothing();
    at_once_eq!(master.pids(), pids, "they had been told nothing");
    master.wait_log("replacement failed, the worker that it replaced serves again");
}

#[test]
fn replaced_worker_is_parked_until_its_successor_has_settled() {
    let settle = Duration::from_millis(700);
    let master = Setup::new(&["demo", "-i", "1", "--set", "pool.demo.settle=700ms"]).start_ready();
    let old = master.pids();
    let reload = running_command(&master, &["reload", "--json"]);
    let parked = || master.worker(0).retiring.into_iter().find(|other| other.state == "parked");
    let parked = wait_for("the old one to be parked", parked);
    at_once_eq!((parked.pid, master.worker(0).state.as_str()), (Some(old[0]), "ready"));
    let report = crate::kit::report(&reload.join().unwrap());
    assert!(report.took_seconds >= settle.as_secs_f64(), "{report:?}");
    at_once!(master.pids() != old);
}
