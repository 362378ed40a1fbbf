//! An application that listens again and again costs the master a bounded number of listeners and log lines.

use crate::kit::{Master, Setup, a_node, wait_until};

/// Speaks the channel of Node's cluster: asks for a listener on another index, as often as the argument says, and closes each
/// at once, or asks for a port that is taken.
const GREEDY: &str = "
const [times, port] = [Number(process.argv[2]), Number(process.argv[3] || 0)];
let number = 0, refused = 0;
const send = message => process.send({ cmd: 'NODE_CLUSTER', ...message });
const next = () => {
    number += 1;
    if (number > times) return require('fs').writeFileSync('done', String(refused));
    send({ act: 'queryServer', seq: number, address: '127.0.0.1', port, addressType: 4, index: number, flags: 0 });
};
process.on('internalMessage', answer => {
    if (answer.ack !== number) return;
    if (answer.errno) refused += 1; else send({ act: 'close', key: answer.key });
    next();
});
next();";

/// The number of descriptors that the master has open.
fn open_files(master: &Master) -> usize {
    std::fs::read_dir(format!("/proc/{}/fd", master.pid())).unwrap().count()
}

/// The number of lines of the log that contain a text.
fn lines_with(master: &Master, text: &str) -> usize {
    master.log().lines().filter(|line| line.contains(text)).count()
}

#[test]
fn worker_that_listens_in_a_loop_is_bounded() {
    let Some(node) = a_node() else { return };
    let setup = Setup::app(
        &["--mode", "handoff", "-i", "1", "--set", "pool.app.ready-timeout=60s"],
        &[&node.program, "app.js", "3000"],
    );
    let setup = setup.file("app.js", GREEDY);
    let master = setup.through(&["prlimit", "--nofile=1024:1024"]).start();
    let mut most = 0;
    wait_until("the worker to have asked 3000 times", || {
        most = most.max(open_files(&master));
        master.dir().join("done").exists()
    });
    let refused: u32 = std::fs::read_to_string(master.dir().join("done")).unwrap().parse().unwrap();
    assert!(refused >= 2000, "{refused} refused: bounded over time");
    assert!(most < 400, "{most} descriptors of the master were open");
    wait_until("what was closed to be closed", || open_files(&master) < 100);
    for text in ["listener opened for the application", "listener closed: the application", "listens in a loop"] {
        eventually!(lines_with(&master, text) <= 3, "{text}: {}", master.log());
    }
}

#[test]
fn taken_port_is_logged_only_a_few_times() {
    let Some(node) = a_node() else { return };
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let flags = ["--mode", "handoff", "-i", "1", "--set", "pool.app.ready-timeout=60s"];
    let setup = Setup::app(&flags, &[&node.program, "app.js", "200", &port]);
    let setup = setup.file("app.js", GREEDY).env("ROUNDELAY_LISTEN", "app");
    let master = setup.start();
    wait_until("the worker to have asked 200 times", || master.dir().join("done").exists());
    wait_until("the holder to be named", || lines_with(&master, "held by integration") > 0);
    eventually!(
        (1..=3).contains(&lines_with(&master, "cannot listen on the address that the application asks for")),
        "{}",
        master.log()
    );
}
