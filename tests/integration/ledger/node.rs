//! Operations on pools of Node that are handed their clients: what is accepted, moved and rejected is known and counted, how
//! connections end is not observed.

use super::spoken;
use crate::kit::{
    Kept, Master, Setup, a_node, burst, freeze, get, kill, report, run_command, running_command, wait_until,
};

/// An application that answers a request when it has its body.
const ECHO: &str =
    "require('http').createServer((q, r) => { q.resume(); q.on('end', () => r.end('done')); }).listen(3000);";

/// A pool `app` of so many.
fn app(count: &str) -> Option<Master> {
    let node = a_node()?;
    let flags = ["--mode", "handoff", "-i", count];
    Some(Setup::app(&flags, &[&node.program, "app.js"]).file("app.js", ECHO).start_ready())
}

/// A request that a worker has, which ends when the test says so; and the slot.
fn held(master: &Master) -> (Kept, usize) {
    let mut client = Kept::connect(master.address());
    client.send("POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\nConnection: close\r\n\r\nfirst");
    let slot = || master.workers().iter().position(|worker| worker.connections == Some(1));
    wait_until("a worker to have it", || slot().is_some());
    (client, slot().unwrap())
}

#[test]
fn node_restart_counts_accepted_and_moved_clients() {
    let Some(master) = app("3") else { return };
    let (mut client, slot) = held(&master);
    let moved = || master.metric("roundelay_worker_retries_total", &[]);
    // A worker that has just started may leave its first client untaken, too.
    let before = moved();
    let restart = running_command(&master, &["restart", &format!("app/{slot}"), "--json"]);
    wait_until("its drain", || master.worker(slot).state != "ready");
    // Connections that the stopped worker leaves untaken go to the third one.
    let frozen = master.pids()[(slot + 1) % 3];
    freeze(frozen);
    assert_eq!(burst(master.address(), "/", 30).failed, [""; 0]);
    kill(i64::from(frozen), "CONT");
    client.send("-last");
    assert_eq!(client.answer().body, "done");
    let ended = restart.join().unwrap();
    let report = report(&ended);
    let connections = report.connections.unwrap();
    let moved = moved() - before;
    assert_eq!((ended.code, connections.accepted, connections.rejected), (Some(0), 30, 0), "{ended:?}");
    assert!(moved > 0.0 && connections.moved as f64 == moved, "{moved}: {ended:?}");
    let ends = [connections.served, connections.client_ended, connections.unanswered, connections.closed];
    assert_eq!((ends, connections.cut), ([None; 4], None), "{ended:?}");
    let status = run_command(&master, &["status"]).stdout;
    assert!(
        spoken(&report).ends_with("rejected 0  ends not observed") && status.contains(&spoken(&report)),
        "{status}"
    );
    let counted = |fate: &str| {
        let fate = format!("outcome=\"{fate}\"");
        master.metric("roundelay_operation_connections_total", &[r#"verb="restart""#, &fate])
    };
    assert_eq!(counted("accepted"), 30.0);
    assert!(!master.ask("/metrics").body.contains(r#"verb="restart",outcome="served""#));
}

#[test]
fn node_stop_counts_rejected_clients() {
    let Some(master) = app("2") else { return };
    let (mut client, _) = held(&master);
    let stop = running_command(&master, &["stop", "app", "--json"]);
    master.wait_accept_state("reject");
    assert_eq!((0..20).filter(|_| get(master.address(), "/").is_ok()).count(), 0);
    client.send("-last");
    assert_eq!(client.answer().body, "done");
    let ended = stop.join().unwrap();
    let connections = report(&ended).connections.unwrap();
    let known = (connections.accepted, connections.moved, connections.rejected, connections.served);
    assert_eq!((ended.code, known), (Some(0), (20, 0, 20, None)), "{ended:?}");
}

/// Connections that a worker killed at its deadline never took are known to be lost.
#[test]
fn node_stop_counts_the_clients_that_no_worker_took() {
    let Some(node) = a_node() else { return };
    let patient = ["drain-timeout=1s", "kill-timeout=200ms", "health.hang-timeout=off", "health.busy-timeout=off"];
    let setup = Setup::app(&["--mode", "handoff", "-i", "1"], &[&node.program, "app.js"]).file("app.js", ECHO);
    let master = setup.with("app", &patient).start_ready();
    freeze(master.pids()[0]);
    let mut clients: Vec<_> = (0..3).map(|_| Kept::connect(master.address())).collect();
    clients.iter_mut().for_each(|client| client.send("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"));
    wait_until("them to be accepted", || master.pool().accepted == Some(3));
    let ended = run_command(&master, &["stop", "app", "--json"]);
    let connections = report(&ended).connections.unwrap();
    assert_eq!((ended.code, connections.cut, connections.served), (Some(1), Some(3), None), "{ended:?}");
}
