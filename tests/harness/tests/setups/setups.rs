//! Setups of setups, requests, and looks at processes.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;

use roundelay_harness::setup::{RunningSetup, Setup, Way, WorkerProcess};
use roundelay_harness::subject::{Product, ProductWay, Workload};

use crate::kit::{DEADLINE, binary};

/// The product under test, if its binary is there.
#[track_caller]
pub(crate) fn product() -> Option<Product> {
    Some(Product {
        program: binary()?,
        version: "test".into(),
        ways: vec![way("round-robin", &[])],
        demo: vec!["demo-worker".into()],
    })
}

/// One of the product's ways.
pub(crate) fn way(name: &str, flags: &[&str]) -> ProductWay {
    let flags = flags.iter().map(|&flag| flag.to_owned()).collect();
    ProductWay { name: name.into(), about: "under test".into(), flags, has_fixed_workers: false }
}

/// Two workers of it.
pub(crate) fn setup(way: Way, workload: Workload) -> Setup {
    Setup { way, workload, workers: 2, worker_env: Default::default(), options: Vec::new() }
}

/// A command as a workload.
pub(crate) fn words(words: &[&str]) -> Workload {
    Workload::Command(words.iter().map(|&word| word.to_owned()).collect())
}

/// A small HTTP application in Node that answers `hello from app/SLOT (pid PID)`.
pub(crate) fn node_app() -> Workload {
    // Relative to where Cargo starts tests, as users name their files.
    let file = "../bench/lifecycle/peers/app.js";
    assert!(Path::new(file).is_file(), "{file}");
    words(&["node", file])
}

/// The whole answer to `GET /` on a connection of its own.
#[track_caller]
pub(crate) fn get(address: SocketAddr) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    answer
}

/// The pid in an answer of the demo worker, or of [`node_app`].
#[track_caller]
pub(crate) fn who_answers(address: SocketAddr) -> u32 {
    let answer = get(address);
    let pid = answer.split_once("(pid ").and_then(|(_, rest)| rest.split_once(')'));
    pid.and_then(|(pid, _)| pid.parse().ok()).unwrap_or_else(|| panic!("nobody answers in {answer}"))
}

/// The pids of the setup's workers, in order.
#[track_caller]
pub(crate) fn pids(running: &dyn RunningSetup) -> Vec<u32> {
    let mut pids: Vec<u32> = running.workers().unwrap().iter().map(|worker: &WorkerProcess| worker.pid).collect();
    pids.sort_unstable();
    pids
}

/// Returns true if a process exists and is no zombie.
pub(crate) fn is_alive(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, fields)| !fields.starts_with(['Z', 'X']))
}
