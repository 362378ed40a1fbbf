//! A stop by command: requests in flight complete, and no process exceeds its timeouts.

use super::{MODES, PID, app, with_modes};
use crate::kit::{
    Kept, Master, a_node, carried_out, for_each, is_alive, nodes, read_answer, run_command, running_command, send_get,
    two_nodes, wait_for, wait_until,
};

/// A request in flight until `go` is there.
const SLOW: &str = "
const fs = require('fs');
require('http').createServer((q, r) => {
    if (q.url === '/held') return r.write('held');
    if (q.url !== '/slow') return r.end(String(process.pid));
    r.write('begun ');
    const wait = () => fs.existsSync('go') ? r.end('and finished') : setTimeout(wait, 10);
    wait();
}).listen(3000);";

/// Waits until that worker's one process is another one, and for the exit of the old one.
#[track_caller]
fn last_exit(master: &Master, old: u32) -> String {
    wait_for("the end of the old one", || {
        let worker = master.worker(0);
        let is_new = worker.pid.is_some_and(|pid| pid != old) && worker.others().next().is_none();
        worker.last_exit.filter(|_| is_new).map(|exit| exit.what)
    })
}

#[test]
fn request_in_flight_completes_and_the_worker_ends_by_itself() {
    for_each(&with_modes(nodes()), |&(node, mode)| {
        let master = app(node, &["--mode", mode, "-i", "1"], SLOW).start_ready();
        let old = master.pids()[0];
        let mut slow = Kept::connect(master.address());
        slow.send("GET /slow HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
        let mut begun = String::new();
        while !begun.ends_with("begun \r\n") {
            begun.push_str(&slow.receive(1));
        }
        let reload = running_command(&master, &["reload"]);
        // In mode shared the old one accepts as long as it is parked.
        wait_until("another to serve alone", || {
            let worker = master.worker(0);
            let is_parked = worker.others().any(|other| other.state == "parked");
            worker.pid != Some(old) && worker.state == "ready" && !is_parked
        });
        assert!(is_alive(old));
        assert_ne!(super::answering(master.address(), 1), [old]);
        master.touch("go");
        assert!(slow.rest().contains("and finished"));
        assert_eq!(reload.join().unwrap().code, Some(0));
        assert_eq!(last_exit(&master, old), "exit code 0");
    });
}

#[test]
fn worker_kept_alive_by_a_timer_is_signalled_after_its_channel() {
    for node in nodes() {
        eprintln!("{node:?}");
        let flags = ["--mode", "handoff", "-i", "1", "--set", "pool.app.drain-timeout=10m"];
        let master = app(node, &flags, &format!("{PID} setInterval(() => {{}}, 1000);")).start_ready();
        let old = master.pids()[0];
        carried_out(&master, &["reload"]);
        assert_eq!(last_exit(&master, old), "killed by signal 2 (INT)");
    }
}

#[test]
fn worker_that_ignores_the_signal_is_killed_after_its_time() {
    let Some(node) = a_node() else { return };
    for mode in MODES {
        // Time for a busy machine to run its handler.
        let flags = ["--mode", mode, "-i", "1", "--set", "pool.app.kill-timeout=1s"];
        let stubborn = format!("{PID} setInterval(() => {{}}, 1000); process.on('SIGINT', () => console.log('no'));");
        let master = app(node, &flags, &stubborn).start_ready();
        let old = master.pids()[0];
        let ended = run_command(&master, &["reload"]);
        assert_eq!(ended.code, Some(0), "{ended:?}");
        assert_eq!(last_exit(&master, old), "killed by signal 9 (KILL)");
        master.wait_log(" no\n");
    }
}

#[test]
fn held_connection_gets_the_drain_timeout_and_no_more() {
    for node in two_nodes() {
        let flags = ["--mode", "handoff", "-i", "1", "--set", "pool.app.drain-timeout=300ms"];
        let master = app(node, &flags, SLOW).start_ready();
        let old = master.pids()[0];
        let mut held = Kept::connect(master.address());
        held.send("GET /held HTTP/1.1\r\nHost: h\r\n\r\n");
        let mut begun = String::new();
        while !begun.ends_with("held\r\n") {
            begun.push_str(&held.receive(1));
        }
        run_command(&master, &["reload"]);
        assert_eq!(last_exit(&master, old), "killed by signal 2 (INT)");
    }
}

#[test]
fn application_with_a_sigint_handler_ends_with_its_own_code() {
    let Some(node) = a_node() else { return };
    let text = "
const server = require('http').createServer((q, r) => r.end(String(process.pid))).listen(3000);
const timer = setInterval(() => {}, 1000);
process.on('SIGINT', () => { console.log('closing'); clearInterval(timer); process.exitCode = 7; });";
    let master = app(node, &["--mode", "handoff", "-i", "1"], text).start_ready();
    let old = master.pids()[0];
    carried_out(&master, &["reload"]);
    assert_eq!(last_exit(&master, old), "exit code 7");
    master.wait_log("closing");
}

#[test]
fn master_end_drains_its_workers_and_leaves_nothing() {
    for_each(&with_modes(nodes()), |&(node, mode)| {
        let mut master = app(node, &["--mode", mode, "-i", "2"], SLOW).start_ready();
        let slow = send_get(master.address(), "/slow").unwrap();
        let address = master.address();
        wait_until("it to be in flight", || crate::kit::is_read(address, slow.local_addr().unwrap()));
        master.signal("TERM");
        wait_until("the port to be closed", || !crate::kit::is_listening(address));
        master.touch("go");
        assert!(read_answer(slow).unwrap().body.contains("and finished"));
        assert_eq!(master.wait_end().code(), Some(0), "{}", master.log());
    });
}

#[test]
fn ready_message_makes_a_worker_ready() {
    let text = "
const fs = require('fs');
require('http').createServer((q, r) => r.end(String(process.pid))).listen(3000, () => {
    console.log('listens');
    const wait = () => fs.existsSync('go') ? process.send('ready') : setTimeout(wait, 10);
    wait();
});";
    for_each(&with_modes(nodes()), |&(node, mode)| {
        let mut master = app(node, &["--mode", mode, "--ready", "message", "-i", "2"], text).start();
        wait_until("both to listen", || master.log().matches("listens").count() >= 2);
        eventually!(master.workers().iter().all(|worker| worker.state == "starting"));
        master.touch("go");
        master.wait_all_ready();
        super::all_answer(master.address(), &master);
    });
}
