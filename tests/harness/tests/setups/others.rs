//! A worker without a balancer, and foreign balancers.

use roundelay_harness::setup::{SetupError, Signal, Way, signal, start};
use roundelay_harness::subject::Workload;
use roundelay_test_kit::{has_server, is_alive, wait_until};

use crate::setups::{get, node_app, pids, product, setup, who_answers, words};

#[test]
fn one_worker_answers_by_itself_and_is_ended_with_its_rig() {
    let Some(product) = product() else { return };
    let mut running = start(&product, &setup(Way::Direct, Workload::Demo)).unwrap();
    let pids = pids(&*running);
    assert_eq!(pids, [who_answers(running.address())], "one, whatever the setup says");
    assert!(get(running.address()).contains("hello from demo/0"));
    assert!(running.balancer().is_empty());
    assert!(matches!(running.reload(), Err(SetupError::Unable(_))));
    drop(running);
    assert!(!is_alive(pids[0]));
}

#[test]
fn worker_that_exits_at_once_is_a_failure_with_its_last_line() {
    let Some(product) = product() else { return };
    let setup = setup(Way::Direct, words(&["sh", "-c", "echo no database on port $PORT {port} >&2; exit 3"]));
    let Err(SetupError::Failed(text)) = start(&product, &setup).map(drop) else { panic!("it cannot run") };
    assert!(text.contains("exit code 3") && text.contains("no database on port"), "{text}");
    let told: Vec<&str> = text.split_whitespace().rev().take(2).collect();
    assert!(told[0] == told[1] && told[0].parse::<u16>().is_ok(), "its port, twice: {text}");
}

#[test]
fn program_that_is_not_there_is_a_failure_that_names_it() {
    let Some(product) = product() else { return };
    let setup = setup(Way::Direct, words(&["/no/such/program", "{port}"]));
    let Err(SetupError::Failed(text)) = start(&product, &setup).map(drop) else { panic!("it cannot run") };
    assert!(text.contains("/no/such/program") && text.contains("No such file"), "{text}");
}

#[test]
fn haproxy_goes_on_without_a_killed_worker() {
    if has_server("haproxy") {
        a_balancer_goes_on_without_a_killed_worker(Way::Haproxy, 1);
    }
}

#[test]
fn nginx_goes_on_without_a_killed_worker() {
    if has_server("nginx") {
        // Its master and at least one worker process of its own.
        a_balancer_goes_on_without_a_killed_worker(Way::Nginx, 2);
    }
}

fn a_balancer_goes_on_without_a_killed_worker(way: Way, processes: usize) {
    let Some(product) = product() else { return };
    let mut running = start(&product, &setup(way, Workload::Demo)).unwrap();
    let workers = pids(&*running);
    assert_eq!(workers.len(), 2);
    wait_until("both to answer", || who_answers(running.address()) == workers[0]);
    wait_until("both to answer", || who_answers(running.address()) == workers[1]);
    assert!(running.balancer().len() >= processes, "{:?}", running.balancer());
    assert!(matches!(running.reload(), Err(SetupError::Unable(_))));
    assert!(matches!(running.scale(3), Err(SetupError::Unable(_))));

    signal(workers[0], Signal::KILL).unwrap();
    wait_until("its end to be seen", || pids(&*running) == workers[1..]);
    // A connection to the dead worker is tried again with another one.
    assert!((0..6).all(|_| who_answers(running.address()) == workers[1]));
    let all: Vec<u32> = running.balancer().into_iter().chain(workers).collect();
    drop(running);
    wait_until("all of them to be gone", || !all.iter().any(|&pid| is_alive(pid)));
}

#[test]
fn impossible_setup_is_refused_before_anything_starts() {
    for way in [Way::NodeCluster, Way::Pm2] {
        let why = way.available(&Workload::Demo).unwrap_err();
        assert!(why.contains("node FILE"), "{why}");
        assert!(way.available(&words(&["node", "--inspect"])).is_err());
    }
    assert_eq!(Way::NodeCluster.available(&node_app()), Ok(()));
    assert_eq!(Way::Direct.available(&Workload::Demo), Ok(()));
}
