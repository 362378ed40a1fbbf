//! Messages that an application sends to its master by `process.send`; none of them hurts the master.

use super::{PID, all_answer, app, text};
use crate::kit::{a_node, nodes, two_nodes, wait_until};

#[test]
fn application_messages_are_logged_and_bounded() {
    let sends = "
process.send({ cmd: 'of-the-app', n: 1 });
process.send('a string with \\u00fc \\u{1f980} and\\na new line');
process.send({ cmd: 'NODE_' });
process.send({ cmd: 'NODE_UNKNOWN_TO_ALL', n: 1 });
process.send({ cmd: 'NODE_CLUSTER', act: 'nothing-that-is', n: 1 });
process.send({ long: 'x'.repeat(300000) });
process.send(null); process.send(7); process.send([true]);
process.send('the last one');
";
    for node in nodes() {
        eprintln!("{node:?}");
        let master = app(node, &["--mode", "handoff", "-i", "1"], &format!("{PID}{sends}")).start_ready();
        master.wait_log("the last one");
        let log = master.log();
        for said in ["of-the-app", "\u{fc} \u{1f980} and", "NODE_", "xxxxx", "[true]"] {
            assert!(log.contains(said), "{said}");
        }
        assert!(!log.contains("NODE_UNKNOWN_TO_ALL"), "that is Node's own");
        assert!(log.lines().all(|line| line.len() < 1000), "a message of 300 kB is cut");
        all_answer(master.address(), &master);
    }
}

#[test]
fn oversized_message_costs_only_its_worker() {
    for node in two_nodes() {
        let sends = "if (process.env.ROUNDELAY_WORKER === '1' && process.env.ROUNDELAY_GENERATION === '1'
            && !require('fs').existsSync('sent')) {
            require('fs').writeFileSync('sent', '');
            process.send('x'.repeat(20 * 1024 * 1024));
        }";
        let master = app(node, &["--mode", "handoff", "-i", "2"], &format!("{PID}{sends}")).start();
        master.wait_log("sent a line of more than");
        wait_until("another in its place", || master.worker(1).restarts == 1 && master.worker(1).state == "ready");
        master.wait_state(0, "ready");
        eventually_eq!(master.worker(0).restarts, 0);
        all_answer(master.address(), &master);
    }
}

#[test]
fn endless_messages_do_not_make_the_master_grow() {
    let Some(node) = a_node() else { return };
    let sends = "
const send = () => { for (let i = 0; i < 100; i++) process.send('y'.repeat(10000)); };
require('http').createServer((q, r) => { if (q.url === '/send') { setInterval(send, 0); r.end(); } else r.end(String(process.pid)); })
    .listen(3000);";
    let master = app(node, &["--mode", "handoff", "-i", "2"], sends).start_ready();
    let resident = || master.metric("process_resident_memory_bytes", &[]);
    let before = resident();
    text(master.address(), "/send");
    wait_until("much to have been sent", || master.log().matches("worker message").count() > 20);
    // The worker is busy with itself, and does not keep the other one from answering.
    assert_eq!(crate::kit::burst(master.address(), "/", 20).failed, [""; 0]);
    wait_until("much more to be kept back", || master.log().contains("messages left out"));
    let after = resident();
    assert!(after < before + 100e6, "{before} -> {after}");
    eventually!(master.log().len() < 4_000_000, "the log has {} bytes", master.log().len());
}

#[test]
fn socket_sent_by_an_application_is_acknowledged_and_closed() {
    let sends = "
const net = require('net');
net.createServer(socket => process.send('here is one', socket, () => process.send('and its channel goes on')))
    .listen(3001, '127.0.0.1');";
    for node in nodes() {
        eprintln!("{node:?}");
        let setup = app(node, &["--mode", "handoff", "-i", "1"], &format!("{PID}{sends}"));
        let master = setup.start();
        // The first server is the public one; the other one's address the state says.
        wait_until("both to be open", || master.pool().listen.len() == 2);
        let second = master.pool().listen[1].parse().unwrap();
        let mut client = crate::kit::Kept::connect(second);
        assert_eq!(client.rest(), "", "it is closed");
        master.wait_log("and its channel goes on");
        all_answer(master.address(), &master);
    }
}
