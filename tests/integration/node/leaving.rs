//! Workers that end by themselves: what Node's cluster offers for it, and exceptions.

use super::{PID, all_answer, answering, app, text};
use crate::kit::{Kept, Master, a_node, get, nodes, two_nodes, wait_until};

/// Does what the path says, and answers with its pid.
const DOES: &str = "
const cluster = require('cluster');
require('http').createServer((q, r) => {
    r.end(String(process.pid), () => {
        if (q.url === '/disconnect') cluster.worker.disconnect();
        if (q.url === '/kill') cluster.worker.kill();
        if (q.url === '/part') process.disconnect();
        if (q.url === '/throw') throw new Error('thrown by the application');
        if (q.url === '/lingers') { setInterval(() => {}, 1000); cluster.worker.disconnect(); }
    });
}).listen(3000);";

/// Waits until that process is gone and its slot has another one.
#[track_caller]
fn replaced(master: &Master, pid: u32) {
    wait_until("another in its place", || {
        let workers = master.workers();
        let is_gone =
            |worker: &roundelay::api::state::WorkerEntry| worker.pid != Some(pid) && worker.others().next().is_none();
        workers.iter().all(|worker| worker.state == "ready" && is_gone(worker))
    });
}

#[test]
fn worker_that_disconnects_is_replaced_and_no_crash() {
    for node in nodes() {
        eprintln!("{node:?}");
        let master = app(node, &["--mode", "handoff", "-i", "2"], DOES).start_ready();
        for path in ["/disconnect", "/kill"] {
            let pid = text(master.address(), path).parse().unwrap();
            replaced(&master, pid);
            all_answer(master.address(), &master);
        }
        eventually_eq!(master.metric("roundelay_worker_restarts_total", &["reason=\"left\""]), 2.0, "{}", master.log());
        eventually_eq!(master.metric("roundelay_worker_restarts_total", &["reason=\"crash\""]), 0.0);
    }
}

#[test]
fn leaving_worker_finishes_its_request_while_another_serves() {
    let text = "
const cluster = require('cluster');
const fs = require('fs');
require('http').createServer((q, r) => {
    if (q.url !== '/slow') return r.end(String(process.pid));
    cluster.worker.disconnect();
    const wait = () => fs.existsSync('go') ? r.end(`finished by ${process.pid}`) : setTimeout(wait, 10);
    wait();
}).listen(3000);";
    for node in two_nodes() {
        let master = app(node, &["--mode", "handoff", "-i", "1"], text).start_ready();
        let old = master.pids()[0];
        let slow = crate::kit::send_get(master.address(), "/slow").unwrap();
        wait_until("another to be ready", || {
            let worker = master.worker(0);
            worker.state == "ready" && worker.pid != Some(old)
        });
        assert!(answering(master.address(), 3).iter().all(|pid| *pid != old));
        master.touch("go");
        assert_eq!(crate::kit::read_answer(slow).unwrap().body, format!("finished by {old}"));
    }
}

#[test]
fn leaving_worker_kept_alive_by_a_timer_is_ended_soon() {
    for node in two_nodes() {
        let flags = ["--mode", "handoff", "-i", "1", "--set", "pool.app.drain-timeout=10m"];
        let master = app(node, &flags, DOES).start_ready();
        let pid = text(master.address(), "/lingers").parse().unwrap();
        replaced(&master, pid);
        master.wait_log("killed by signal 2 (INT)");
    }
}

#[test]
fn worker_that_closes_its_channel_or_throws_is_started_again() {
    for node in nodes() {
        eprintln!("{node:?}");
        let master = app(node, &["--mode", "handoff", "-i", "2"], DOES).start_ready();
        for (path, exit) in [("/part", "exit code 0"), ("/throw", "exit code 1")] {
            let pid = text(master.address(), path).parse().unwrap();
            replaced(&master, pid);
            let is_told = |worker: &roundelay::api::state::WorkerEntry| {
                worker.last_exit.as_ref().is_some_and(|last| last.what == exit)
            };
            eventually!(master.workers().iter().any(is_told), "{path}: {:?}", master.workers());
        }
        master.wait_log("thrown by the application");
        eventually_eq!(master.metric("roundelay_worker_restarts_total", &["reason=\"crash\""]), 2.0);
    }
}

#[test]
fn worker_that_leaves_repeatedly_backs_off() {
    let Some(node) = a_node() else { return };
    let leaves = format!("{PID} setTimeout(() => require('cluster').worker.disconnect(), 50);");
    let master = app(node, &["--mode", "handoff", "-i", "1"], &leaves).start_ready();
    master.wait_state(0, "backoff");
    wait_until("a long wait", || master.worker(0).backoff_seconds.is_some_and(|seconds| seconds > 0.3));
}

#[test]
fn one_at_a_time_application_keeps_clients_waiting_no_spin() {
    let text = "
const fs = require('fs');
const server = require('http').createServer((q, r) => {
    if (q.url !== '/slow') return r.end(String(process.pid));
    const wait = () => fs.existsSync('go') ? r.end('slow') : setTimeout(wait, 10);
    wait();
});
server.maxConnections = 1;
server.listen(3000);";
    for node in nodes() {
        eprintln!("{node:?}");
        let master = app(node, &["--mode", "handoff", "-i", "2"], text).start_ready();
        let slow: Vec<_> = (0..2).map(|_| crate::kit::send_get(master.address(), "/slow").unwrap()).collect();
        wait_until("both to be busy", || master.workers().iter().all(|worker| worker.connections == Some(1)));
        let third = crate::kit::send_get(master.address(), "/").unwrap();
        let refusals = || master.metric("roundelay_worker_connect_errors_total", &["reason=\"refused\""]);
        wait_until("it to be refused and asked again", || refusals() >= 6.0);
        let before = (tokio::time::Instant::now(), refusals());
        wait_until("it to be refused on", || refusals() >= before.1 + 6.0);
        // 50 ms lie between two rounds of two.
        assert!(before.0.elapsed() >= std::time::Duration::from_millis(90), "it spins");
        master.touch("go");
        assert!(crate::kit::read_answer(third).unwrap().body.parse::<u32>().is_ok());
        for client in slow {
            assert_eq!(crate::kit::read_answer(client).unwrap().body, "slow");
        }
    }
}

#[test]
fn kept_connection_to_a_leaving_worker_is_ended_in_order() {
    let Some(node) = a_node() else { return };
    let master = app(node, &["--mode", "handoff", "-i", "1"], DOES).start_ready();
    let mut kept = Kept::connect(master.address());
    let pid = kept.get("/").body;
    get(master.address(), "/disconnect").unwrap();
    assert_eq!(kept.rest(), "");
    replaced(&master, pid.parse().unwrap());
}
