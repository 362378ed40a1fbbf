//! A worker that serves one client for long is busy and not hung: no client that it serves is reset, whatever else
//! waits.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use tokio::time::Instant;

use super::FAST;
use crate::kit::{Master, Setup, a_node, for_each, get, python, read_answer, send_get, wait_until};

const ONE_AT_A_TIME: &str = include_str!("one_at_a_time.py");

/// A pool of workers that serve one client at a time, with fast checks. `None` without Python.
fn one_at_a_time(workers: &str, options: &[&str]) -> Option<Master> {
    let python = python()?;
    let options = [&FAST[..], options].concat();
    let setup = Setup::app(&["-i", workers], &[python, "one_at_a_time.py"]);
    Some(setup.file("one_at_a_time.py", ONE_AT_A_TIME).with("app", &options).start_ready())
}

/// The ways to reach and to ask a worker that a fault may depend on.
const WAYS: [&[&str]; 4] = [
    &["endpoint=port"],
    &["endpoint=unix"],
    &["endpoint=port", "health.probe=/"],
    &["endpoint=unix", "health.probe=/"],
];

/// Checks that the worker serves, that it is not replaced, and that the master reports ready, until `served` is true.
#[track_caller]
fn serves_on(master: &Master, mut served: impl FnMut() -> bool) {
    let pids = master.pids();
    wait_until("the client to be served", || {
        assert_eq!(master.ask("/readyz").status, 200);
        let worker = master.worker(0);
        assert!(["ready", "busy"].contains(&worker.state.as_str()), "{}", worker.state);
        served()
    });
    eventually_eq!(master.pids(), pids, "nobody was replaced");
    eventually_eq!(master.metric("roundelay_worker_restarts_total", &[]), 0.0);
}

#[test]
fn worker_with_one_slow_client_is_not_replaced() {
    for_each(&WAYS, |way| {
        let Some(master) = one_at_a_time("1", way) else { return };
        let (address, pid) = (master.address(), master.pids()[0]);
        std::thread::scope(|scope| {
            // Four times as long as a hung worker would be given.
            let slow = scope.spawn(move || get(address, "/slow/4"));
            serves_on(&master, || slow.is_finished());
            let answer = slow.join().unwrap().unwrap();
            assert_eq!((answer.status, answer.body), (200, format!("{pid}\n")), "{way:?}");
        });
    });
}

#[test]
fn worker_that_reads_a_slow_upload_is_not_replaced() {
    for_each(&WAYS, |way| {
        let Some(master) = one_at_a_time("1", way) else { return };
        let mut client = TcpStream::connect(master.address()).unwrap();
        let (piece, pieces) = ([b'x'; 2_000], 40);
        let head = format!("POST / HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\n\r\n", piece.len() * pieces);
        client.write_all(head.as_bytes()).unwrap();
        let (begun, mut sent) = (Instant::now(), 0);
        serves_on(&master, || {
            // The upload goes on without a long pause, for four times as long as a hang would take.
            if begun.elapsed() >= Duration::from_millis(100) * sent {
                client.write_all(&piece).unwrap();
                sent += 1;
            }
            sent == pieces as u32
        });
        assert_eq!(read_answer(client).unwrap().status, 200, "{way:?}");
    });
}

#[test]
fn worker_whose_client_pauses_its_download_is_not_replaced() {
    for_each(&WAYS, |way| {
        let Some(master) = one_at_a_time("1", way) else { return };
        let mut client = send_get(master.address(), "/big/32").unwrap();
        let mut first = [0; 1000];
        client.read_exact(&mut first).unwrap();
        let begun = Instant::now();
        serves_on(&master, || begun.elapsed() > Duration::from_secs(4));
        let mut rest = Vec::new();
        client.read_to_end(&mut rest).unwrap();
        assert!(rest.len() > (32 << 20) - 1000, "{way:?}: {}", rest.len());
    });
}

#[test]
fn waiting_client_is_served_by_a_second_process() {
    for_each(&["endpoint=port", "endpoint=unix"], |endpoint| {
        let options = [endpoint, "health.busy-timeout=2s", "settle=0s"];
        let Some(master) = one_at_a_time("1", &options) else { return };
        let (address, pid) = (master.address(), master.pids()[0]);
        std::thread::scope(|scope| {
            let slow = scope.spawn(move || get(address, "/slow/9"));
            wait_until("it to be served", || master.worker(0).active == Some(1));
            let second = get(address, "/").unwrap();
            assert!(!slow.is_finished(), "{endpoint}: the other waited for the slow one");
            assert_ne!(second.body, format!("{pid}\n"));
            let slow = slow.join().unwrap().unwrap();
            assert_eq!(slow.body, format!("{pid}\n"), "{endpoint}: it was served to its end");
        });
        let restarts = |reason| master.metric("roundelay_worker_restarts_total", &[&format!("reason=\"{reason}\"")]);
        eventually_eq!((restarts("busy"), restarts("hung")), (1.0, 0.0), "{endpoint}");
        eventually_eq!(master.metric("roundelay_connection_closes_total", &["reason=\"upstream_reset\""]), 0.0);
    });
}

#[test]
fn busy_worker_gets_nothing_new_while_another_is_free() {
    let Some(master) = one_at_a_time("2", &["endpoint=port", "health.probe=/"]) else { return };
    let (address, pids) = (master.address(), master.pids());
    std::thread::scope(|scope| {
        let slow = scope.spawn(move || get(address, "/slow/5"));
        wait_until("one to be busy", || master.workers().iter().any(|worker| worker.state == "busy"));
        let free = master.workers().iter().position(|worker| worker.state == "ready").unwrap();
        for _ in 0..10 {
            assert_eq!(get(address, "/").unwrap().body, format!("{}\n", pids[free]));
        }
        assert_eq!(slow.join().unwrap().unwrap().status, 200);
    });
    eventually_eq!(master.pids(), pids);
}

/// `Atomics.wait` stands still without using CPU time, and nothing is answered meanwhile, the channel's question neither.
const BLOCKS: &str = r#"
const wait = (ms) => Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ms);
require('http').createServer((request, response) => {
  if (request.url.startsWith('/wait/')) wait(Number(request.url.slice(6)));
  response.end(`${process.pid}\n`);
}).listen(process.env.PORT || 0, '127.0.0.1');
"#;

#[test]
fn node_blocked_for_one_client_is_not_replaced() {
    let Some(node) = a_node() else { return };
    for_each(&["handoff", "shared", "proxy"], |mode| {
        let flags = ["-i", "1", "--mode", mode];
        let setup = Setup::app(&flags, &[node.program.as_str(), "blocks.js"]).file("blocks.js", BLOCKS);
        let master = setup.with("app", &FAST).start_ready();
        let (address, pid) = (master.address(), master.pids()[0]);
        std::thread::scope(|scope| {
            let slow = scope.spawn(move || get(address, "/wait/5000"));
            serves_on(&master, || slow.is_finished());
            assert_eq!(slow.join().unwrap().unwrap().body, format!("{pid}\n"), "{mode}");
        });
    });
}

/// The client lay with one worker and then with the other, and neither read it for longer than a refused client is
/// kept.
#[test]
fn client_waiting_while_all_are_busy_is_answered_in_handoff() {
    let Some(node) = a_node() else { return };
    let setup = Setup::app(&["-i", "2", "--mode", "handoff"], &[node.program.as_str(), "blocks.js"]);
    let options = ["health.hang-timeout=60s", "dispatch-timeout=500ms"];
    let master = setup.file("blocks.js", BLOCKS).with("app", &options).start_ready();
    let address = master.address();
    std::thread::scope(|scope| {
        let busy: Vec<_> =
            [3_000, 6_000].map(|time| scope.spawn(move || get(address, &format!("/wait/{time}")))).into();
        wait_until("both to be busy", || master.workers().iter().all(|worker| worker.state == "busy"));
        let moved = || master.metric("roundelay_worker_retries_total", &[]);
        let client = send_get(address, "/").unwrap();
        wait_until("it to be taken back from the first", || moved() >= 1.0);
        assert_eq!(read_answer(client).unwrap().status, 200);
        assert!(busy.into_iter().all(|busy| busy.join().unwrap().is_ok()));
    });
}
