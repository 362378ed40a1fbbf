//! `restart` and `stop`, of a pool and of one worker, under load: the ledger and what the clients saw are equal.

use std::net::SocketAddr;

use super::spoken;
use crate::kit::{
    COOPERATIVE, Kept, Ledger, Master, Setup, Traffic, burst, get, ledger, read_answer, report, run_command,
    running_command, says, send_get, wait_until,
};

/// The ways in which the master sees all of a connection.
const OBSERVED: [&[&str]; 4] =
    [&["--endpoint", "port"], &["--endpoint", "unix"], &["--endpoint", "inherited"], &["--mode", "handoff"]];
/// A worker that does nothing is left alone.
const PATIENT: [&str; 3] = ["health.hang-timeout=off", "health.busy-timeout=off", "health.heartbeat=off"];
/// Clients that come while an operation goes on.
const CLIENTS: usize = 60;

/// A request that a worker has, and which ends when the test says so.
struct Held {
    client: Kept,
    slot: usize,
}

impl Held {
    #[track_caller]
    fn by(master: &Master) -> Self {
        let mut client = Kept::connect(master.address());
        client.send("POST /echo HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\nConnection: close\r\n\r\nfirst");
        let has_it = |worker: &roundelay::api::state::WorkerEntry| worker.active == Some(1);
        wait_until("a worker to have it", || master.workers().iter().any(has_it));
        let slot = master.workers().iter().position(has_it).unwrap();
        Self { client, slot }
    }

    /// Sends the rest, once nothing else is open.
    #[track_caller]
    fn finish(mut self, master: &Master) {
        wait_until("the others to have ended", || master.pool().active == Some(1));
        self.client.send("-last");
        assert_eq!(self.client.answer().body, "first-last");
    }
}

fn started(way: &[&str]) -> Master {
    Setup::new(&[&["demo", "-i", "2"], way].concat()).start_ready()
}

/// The cost of an operation in the JSON of the command. The text of `status` and the metrics must have the same
/// numbers.
#[track_caller]
fn cost(master: &Master, verb: &str, ended: &crate::kit::Ended, code: i32) -> Ledger {
    assert_eq!(ended.code, Some(code), "{ended:?}");
    let report = report(ended);
    let status = run_command(master, &["status"]).stdout;
    assert!(status.contains(&spoken(&report)), "{report:?}: {status}");
    let ledger = ledger(&report);
    let counted = |fate: &str| {
        let labels = [format!("verb=\"{verb}\""), format!("outcome=\"{fate}\"")];
        master.metric("roundelay_operation_connections_total", &labels.each_ref().map(String::as_str)) as u64
    };
    let metrics = ["accepted", "served", "moved", "rejected", "cut"].map(counted);
    assert_eq!(metrics, [ledger.accepted, ledger.served, ledger.moved, ledger.rejected, ledger.cut]);
    ledger
}

/// The answers of clients that are all rejected.
#[track_caller]
fn all_rejected(address: SocketAddr, count: usize) {
    let answered = (0..count).filter(|_| get(address, "/").is_ok()).count();
    assert_eq!(answered, 0);
}

#[test]
fn restart_and_stop_of_a_worker_count_what_clients_saw() {
    for way in OBSERVED {
        for verb in ["restart", "stop"] {
            let master = started(way);
            let held = Held::by(&master);
            let target = format!("demo/{}", held.slot);
            let ordered = running_command(&master, &[verb, &target, "--json"]);
            wait_until("its drain", || master.worker(held.slot).state != "ready");
            assert_eq!(burst(master.address(), "/", CLIENTS).failed, [""; 0]);
            held.finish(&master);
            let (accepted, served) = (CLIENTS as u64, CLIENTS as u64 + 1);
            let cost = cost(&master, verb, &ordered.join().unwrap(), 0);
            assert_eq!(cost, Ledger { accepted, served, ..Ledger::default() }, "{verb} {way:?}");
        }
    }
}

#[test]
fn restart_of_a_pool_counts_what_clients_saw() {
    for way in OBSERVED {
        let master = started(way);
        let held = Held::by(&master);
        let other = 1 - held.slot;
        let before = master.pids()[other];
        let ordered = running_command(&master, &["restart", "demo", "--json"]);
        let is_new = |pid: Option<u32>| pid.is_some_and(|pid| pid != before);
        wait_until("the other one's successor", || {
            let worker = master.worker(other);
            worker.state == "ready" && is_new(worker.pid)
        });
        assert_eq!(burst(master.address(), "/", CLIENTS).failed, [""; 0]);
        held.finish(&master);
        let (accepted, served) = (CLIENTS as u64, CLIENTS as u64 + 1);
        let cost = cost(&master, "restart", &ordered.join().unwrap(), 0);
        assert_eq!(cost, Ledger { accepted, served, ..Ledger::default() }, "{way:?}");
    }
}

#[test]
fn stop_of_a_pool_counts_rejected_clients() {
    for way in OBSERVED {
        let master = started(way);
        let held = Held::by(&master);
        let ordered = running_command(&master, &["stop", "demo", "--json"]);
        master.wait_accept_state("reject");
        all_rejected(master.address(), CLIENTS);
        held.finish(&master);
        let cost = cost(&master, "stop", &ordered.join().unwrap(), 0);
        let rejected = CLIENTS as u64;
        assert_eq!(cost, Ledger { accepted: rejected, rejected, served: 1, ..Ledger::default() }, "{way:?}");
    }
}

/// The worker does nothing any more, and clients wait in its queue until it is killed at the deadline.
#[test]
fn stopped_pool_counts_the_queue_lost_at_the_deadline() {
    const WAITING: u64 = 5;
    for way in OBSERVED {
        let options = [&["drain-timeout=1s", "kill-timeout=200ms"], &PATIENT[..]].concat();
        let setup = Setup::new(&[&["demo", "-i", "1"], way].concat()).with("demo", &options);
        let master = setup.start_ready();
        assert_eq!(burst(master.address(), "/", 1).failed, [""; 0], "what has answered owes answers");
        wait_until("its end", || master.pool().active == Some(0));
        let blocked = send_get(master.address(), "/block/60000").unwrap();
        wait_until("it to be taken", || {
            let worker = master.worker(0);
            (worker.active, worker.connections) == (Some(1), Some(2))
        });
        let waiting: Vec<_> = (0..WAITING).map(|_| send_get(master.address(), "/").unwrap()).collect();
        wait_until("them to wait", || master.pool().active == Some(1 + WAITING as i64));
        let ended = run_command(&master, &["stop", "demo", "--json"]);
        // Each of them hears of it at once, and not when it would have been given up.
        let lost = waiting.into_iter().chain([blocked]).filter_map(|client| read_answer(client).err()).count();
        let cost = cost(&master, "stop", &ended, 1);
        assert_eq!(cost, Ledger { cut: lost as u64, ..Ledger::default() }, "{way:?}: {ended:?}");
        assert_eq!(lost as u64, 1 + WAITING);
        says(&ended, 1, &["but 6 clients were lost"]);
    }
}

#[test]
fn restarts_under_load_lose_no_client_and_claim_no_more() {
    for way in OBSERVED {
        let master = started(way);
        let traffic = Traffic::start(&master, COOPERATIVE);
        for target in ["demo", "demo/0", "demo"] {
            let ended = run_command(&master, &["restart", target, "--json"]);
            assert_eq!(ended.code, Some(0), "{way:?}: {ended:?}");
            let ledger = ledger(&report(&ended));
            assert_eq!((ledger.rejected, ledger.cut), (0, 0), "{way:?}: {ledger:?}");
            traffic.flows();
        }
        traffic.lost_nothing();
    }
}

#[test]
fn ledger_is_not_observed_in_modes_where_workers_accept() {
    for mode in ["shared", "reuseport"] {
        let master = started(&["--mode", mode]);
        let traffic = Traffic::start(&master, COOPERATIVE);
        for command in [["restart", "demo"], ["restart", "demo/0"], ["stop", "demo/1"], ["start", "demo"]] {
            let ended = run_command(&master, &[&command[..], &["--json"]].concat());
            assert_eq!((ended.code, report(&ended).connections), (Some(0), None), "{mode}: {ended:?}");
            let text = run_command(&master, &["status"]).stdout;
            assert!(text.contains("connections not observed") && !text.contains("cut"), "{mode}: {text}");
            traffic.flows();
        }
        traffic.lost_nothing();
        let ended = run_command(&master, &["stop", "demo"]);
        assert!(ended.stdout.ends_with("connections not observed\n"), "{mode}: {ended:?}");
    }
}
