//! While no worker is ready clients wait. None is rejected before the hold timeout.

use std::io::ErrorKind;
use std::net::TcpStream;

use crate::kit::{
    Setup, burst, carried_out, clients, demo_after, get, read_answer, running_command, send_get, shell, wait_until,
};

#[test]
fn clients_wait_for_the_successor_of_the_only_worker() {
    for threads in ["1", "2"] {
        let master = Setup::new(&["demo", "-i", "1", "--threads", threads]).start_ready();
        let address = master.address();
        for round in 1..=3 {
            let port = master.worker(0).endpoint.unwrap();
            let dead = master.kill_worker(0);
            // A kill is not yet a death: a connection that is given to the process before its sockets are closed dies
            // with it.
            wait_until("its sockets to be closed", || TcpStream::connect(&port).is_err());
            // Clients may connect before the master sees the death, while there is no worker, or when the successor
            // is ready.
            let burst = burst(address, "/", 20);
            assert_eq!(burst.failed, [""; 0], "round {round}");
            assert_eq!(burst.bodies.iter().filter(|body| body.contains(&format!("(pid {dead})"))).count(), 0);
            master.wait_state(0, "ready");
        }
        eventually_eq!(master.metric("roundelay_connections_rejected_total", &[]), 0.0);
        eventually_eq!(master.metric("roundelay_connections_unassigned_total", &[]), 0.0);
    }
}

#[test]
fn clients_wait_for_a_slow_start() {
    let script = demo_after("while ! test -e boot; do sleep 0.02; done");
    let mut master = Setup::app(&["-i", "2"], &shell(&script)).start();
    let address = master.address();
    eventually_eq!(master.pool().accept_state, "hold");
    let waiting: Vec<_> = clients(4, 50, |_| send_get(address, "/")).into_iter().map(Result::unwrap).collect();
    eventually_eq!(master.pool().accepted, Some(0), "they wait in the kernel, not in the master's memory");
    eventually_eq!(master.workers()[0].state, "starting");
    master.touch("boot");
    for client in waiting {
        assert!(read_answer(client).unwrap().body.starts_with("hello from app/"));
    }
    // The same after a crash of all workers.
    master.wait_all_ready();
    master.remove("boot");
    for slot in 0..2 {
        master.kill_worker(slot);
    }
    master.wait_accept_state("hold");
    let waiting: Vec<_> = clients(4, 50, |_| send_get(address, "/")).into_iter().map(Result::unwrap).collect();
    master.touch("boot");
    for client in waiting {
        assert!(read_answer(client).unwrap().body.starts_with("hello from app/"));
    }
    eventually_eq!(master.metric("roundelay_connections_rejected_total", &[]), 0.0);
}

#[test]
fn clients_are_reset_from_hold_timeout_until_a_worker_is_back() {
    let script = demo_after("while test -e away; do sleep 0.02; done");
    let master = Setup::app(&["-i", "1", "--set", "pool.app.hold-timeout=2s"], &shell(&script)).start_ready();
    let address = master.address();
    master.touch("away");
    master.kill_worker(0);
    master.wait_accept_state("hold");
    let held = send_get(address, "/").unwrap();
    assert_eq!(read_answer(held).unwrap_err().kind(), ErrorKind::ConnectionReset, "who was held is told as well");
    master.wait_accept_state("reject");
    for answer in clients(2, 10, |_| get(address, "/")) {
        assert_eq!(answer.unwrap_err().kind(), ErrorKind::ConnectionReset);
    }
    eventually_eq!(master.metric("roundelay_connections_rejected_total", &[r#"reason="no_worker""#]), 11.0);
    eventually_eq!(master.pool().rejected, Some(11));

    master.remove("away");
    master.wait_accept_state("open");
    assert_eq!(burst(address, "/", 10).failed, [""; 0]);
    // A new absence starts a new hold timeout.
    master.touch("away");
    master.kill_worker(0);
    master.wait_accept_state("hold");
    master.remove("away");
    assert_eq!(burst(address, "/", 4).failed, [""; 0]);
}

#[test]
fn worker_back_within_the_hold_timeout_loses_no_client() {
    let script = demo_after("sleep 0.3");
    let master = Setup::app(&["-i", "1", "--threads", "2"], &shell(&script)).start_ready();
    let address = master.address();
    let results = std::thread::scope(|scope| {
        let load = scope.spawn(|| burst(address, "/", 400));
        wait_until("the load to flow", || master.pool().accepted > Some(50));
        master.kill_worker(0);
        load.join().unwrap()
    });
    // Four clients, so at most four requests were in flight on it. Each may have asked once more while the kernel closed
    // the killed worker's sockets one after the other, its listener last.
    assert!(results.failed.len() <= 8, "{:?}", results.failed);
    eventually_eq!(master.metric("roundelay_connections_rejected_total", &[]), 0.0);
    eventually_eq!(master.metric("roundelay_connections_unassigned_total", &[]), 0.0);
}

#[test]
fn pool_stopped_by_command_rejects_at_once() {
    for mode in ["proxy", "handoff", "shared", "reuseport"] {
        let script = demo_after("while test -e away; do sleep 0.02; done");
        let args = ["-i", "2", "--mode", mode, "--set", "pool.app.hold-timeout=10m"];
        let master = Setup::app(&args, &shell(&script)).start_ready();
        let address = master.address();
        carried_out(&master, &["stop", "app"]);
        for _ in 0..3 {
            // An answer, a timeout of the read or no end at all is a failure.
            let error = get(address, "/").unwrap_err().kind();
            assert!(matches!(error, ErrorKind::ConnectionReset | ErrorKind::BrokenPipe), "{mode}: {error:?}");
        }
        at_once_eq!(master.pool().accept_state, "reject", "{mode}");
        // A pool that was started again holds its clients: a worker is coming.
        master.touch("away");
        let started = running_command(&master, &["start", "app"]);
        wait_until("it to start", || master.pool().state == "starting");
        let client = send_get(address, "/").unwrap();
        master.remove("away");
        assert!(read_answer(client).unwrap().body.starts_with("hello from app/"), "{mode}");
        assert_eq!(started.join().unwrap().code, Some(0));
    }
}
