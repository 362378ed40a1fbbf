//! Node's own cluster, and pm2.

use roundelay_harness::setup::{SetupError, Signal, Way, signal, start};
use roundelay_test_kit::{has, is_alive, is_in_path, wait_until};

use crate::setups::{get, node_app, pids, product, setup, who_answers, words};

#[test]
fn node_cluster_reloads_scales_and_leaves_nothing_behind() {
    if has("node") {
        a_manager_does_what_it_is_told(Way::NodeCluster);
    }
}

#[test]
fn pm2_answers_reloads_scales_and_leaves_nothing_behind() {
    // No part of the project needs pm2 and no run installs it, so it is optional even where everything is required.
    if !is_in_path("pm2") {
        println!("skipped: needs pm2");
        return;
    }
    a_manager_does_what_it_is_told(Way::Pm2);
}

fn a_manager_does_what_it_is_told(way: Way) {
    let Some(product) = product() else { return };
    let mut setup = setup(way, node_app());
    // The time for which the application goes on after it was told to leave.
    setup.worker_env.insert("LEAVE_MS".into(), "50".into());
    let mut running = start(&product, &setup).unwrap();
    let before = pids(&*running);
    assert_eq!(before.len(), 2);
    assert!(before.contains(&who_answers(running.address())));

    running.reload().unwrap();
    let after = pids(&*running);
    assert_eq!(after.len(), 2, "{after:?}");
    assert!(after.iter().all(|pid| !before.contains(pid)), "{before:?}, then {after:?}");
    assert!(after.contains(&who_answers(running.address())));
    running.scale(3).unwrap();
    assert_eq!(pids(&*running).len(), 3);

    signal(after[0], Signal::KILL).unwrap();
    wait_until("a dead worker to be replaced", || {
        let now = pids(&*running);
        now.len() == 3 && !now.contains(&after[0])
    });
    get(running.address());
    let all: Vec<u32> = running.balancer().into_iter().chain(pids(&*running)).collect();
    assert_eq!(all.len(), 4);
    drop(running);
    wait_until("all of them to be gone", || !all.iter().any(|&pid| is_alive(pid)));
}

#[test]
fn application_that_cannot_run_is_a_failure_with_its_last_line() {
    let Some(product) = product() else { return };
    if !has("node") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("app.js");
    std::fs::write(&file, "console.error('no database here'); process.exit(3);").unwrap();
    let setup = setup(Way::NodeCluster, words(&["node", file.to_str().unwrap()]));
    let Err(SetupError::Failed(text)) = start(&product, &setup).map(drop) else { panic!("it cannot run") };
    assert!(text.contains("no database here"), "{text}");
}
