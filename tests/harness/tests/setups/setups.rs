//! Setups for tests, requests, and checks of processes.

use std::net::SocketAddr;
use std::path::Path;

use roundelay_harness::setup::{RunningSetup, Setup, Way, WorkerProcess};
use roundelay_harness::subject::{Product, ProductWay, Workload};
use roundelay_test_kit::binary;

/// Returns the product under test, if its binary exists.
#[track_caller]
pub(crate) fn product() -> Option<Product> {
    Some(Product {
        program: binary()?,
        version: "test".into(),
        ways: vec![way("round-robin", &[])],
        demo: vec!["demo-worker".into()],
    })
}

/// Returns a way of the product.
pub(crate) fn way(name: &str, flags: &[&str]) -> ProductWay {
    let flags = flags.iter().map(|&flag| flag.to_owned()).collect();
    ProductWay { name: name.into(), about: "under test".into(), flags, has_fixed_workers: false }
}

/// Returns a setup with two workers.
pub(crate) fn setup(way: Way, workload: Workload) -> Setup {
    Setup { way, workload, workers: 2, worker_env: Default::default(), options: Vec::new() }
}

/// Returns a command as a workload.
pub(crate) fn words(words: &[&str]) -> Workload {
    Workload::Command(words.iter().map(|&word| word.to_owned()).collect())
}

/// Returns a small HTTP application in Node that answers `hello from app/SLOT (pid PID)`.
pub(crate) fn node_app() -> Workload {
    // Relative to where Cargo starts tests, as users name their files.
    let file = "../node/cooperative.js";
    assert!(Path::new(file).is_file(), "{file}");
    words(&["node", file])
}

/// The body of a good answer to `GET /` on a connection of its own.
#[track_caller]
pub(crate) fn get(address: SocketAddr) -> String {
    let answer = roundelay_test_kit::get(address, "/").unwrap();
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.body
}

/// Returns the pid in an answer of the demo worker, or of [`node_app`].
#[track_caller]
pub(crate) fn who_answers(address: SocketAddr) -> u32 {
    let answer = get(address);
    let pid = answer.split_once("(pid ").and_then(|(_, rest)| rest.split_once(')'));
    pid.and_then(|(pid, _)| pid.parse().ok()).unwrap_or_else(|| panic!("no worker is named in {answer}"))
}

/// Returns the pids of the setup's workers, sorted.
#[track_caller]
pub(crate) fn pids(running: &dyn RunningSetup) -> Vec<u32> {
    let mut pids: Vec<u32> = running.workers().unwrap().iter().map(|worker: &WorkerProcess| worker.pid).collect();
    pids.sort_unstable();
    pids
}
