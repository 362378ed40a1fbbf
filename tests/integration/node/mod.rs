//! Applications for Node that know nothing of Roundelay, handed their clients on the channel of Node's cluster.
//!
//! Cheap tests run with every Node on this machine (see [`nodes`]), slow tests with two of them.

mod commands;
mod greedy;
mod identity;
mod leaving;
mod listening;
mod messages;
mod refused;
mod serving;
mod stopping;
mod tls;

use std::net::SocketAddr;

use crate::kit::{Master, Node, Setup, burst, get, missing, wait_until};

/// The ways in which Node's cluster knows to serve.
const MODES: [&str; 2] = ["handoff", "shared"];

/// Each Node with each of the modes.
fn with_modes(nodes: &'static [Node]) -> Vec<(&'static Node, &'static str)> {
    nodes.iter().flat_map(|node| MODES.map(|mode| (node, mode))).collect()
}

/// An application that says its pid.
const PID: &str = "require('http').createServer((q, r) => r.end(String(process.pid))).listen(3000);";

/// A pool `app` of Node running this text.
fn app(node: &Node, flags: &[&str], text: &str) -> Setup {
    Setup::app(flags, &[&node.program, "app.js"]).file("app.js", text)
}

/// A pool `app` of the Express app, if Express is installed.
fn plain(node: &Node, flags: &[&str]) -> Option<Setup> {
    const PLAIN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/node/plain.js");
    let modules = std::path::Path::new(PLAIN).with_file_name("node_modules").join("express");
    let is_there = modules.is_dir() || missing("`npm ci --ignore-scripts --prefix tests/node`");
    is_there.then(|| Setup::app(flags, &[&node.program, PLAIN]))
}

/// Its text, from one client.
#[track_caller]
fn text(address: SocketAddr, path: &str) -> String {
    let answer = get(address, path).unwrap();
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.body
}

/// The pids that answered so many clients, one after the other.
#[track_caller]
fn answering(address: SocketAddr, count: usize) -> Vec<u32> {
    (0..count).map(|_| text(address, "/").parse().unwrap()).collect()
}

/// Asks until each of the workers has answered, and no other process.
#[track_caller]
fn all_answer(address: SocketAddr, master: &Master) {
    let pids = master.pids();
    let mut missing = pids.clone();
    wait_until("every worker to have answered", || {
        let burst = burst(address, "/", 20);
        assert_eq!(burst.failed, [""; 0]);
        let answered: Vec<u32> = burst.bodies.iter().map(|body| body.parse().unwrap()).collect();
        assert!(answered.iter().all(|pid| pids.contains(pid)), "{answered:?} of {pids:?}");
        missing.retain(|pid| !answered.contains(pid));
        missing.is_empty()
    });
}
