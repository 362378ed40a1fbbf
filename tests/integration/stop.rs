//! A stop finishes the requests in flight; a second stop does not wait.

use std::io::ErrorKind;

use crate::kit::{
    Master, Setup, clients, demo_after, get, is_alive, kill, read_answer, send_get, shell, wait_for, wait_until,
};

/// Sends a request and waits until a worker has it.
#[track_caller]
fn under_way(master: &Master, path: &str) -> std::net::TcpStream {
    let client = send_get(master.address(), path).unwrap();
    wait_until("the request to be under way", || master.workers().iter().any(|worker| worker.active > Some(0)));
    client
}

#[test]
fn sigterm_finishes_open_requests_and_exits_with_0() {
    for signal in ["TERM", "INT"] {
        let mut master = Setup::new(&["demo", "-i", "2"]).start_ready();
        let (address, admin, guardian) = (master.address(), master.admin(), master.guardian());
        let client = under_way(&master, "/slow/1000");
        master.signal(signal);
        let refused = wait_for("new connections to be refused", || get(address, "/").err());
        assert!(matches!(refused.kind(), ErrorKind::ConnectionRefused | ErrorKind::ConnectionReset), "{refused}");
        // Meanwhile the drain can be watched.
        let answer = get(admin, "/readyz").unwrap();
        assert_eq!((answer.status, answer.body.as_str()), (503, "the master is stopping\n"));
        eventually!(master.state().is_stopping);
        assert_eq!(read_answer(client).unwrap().body, "waited 1000 ms\n");
        assert_eq!(master.wait_end().code(), Some(0));
        master.wait_no_family();
        wait_until("the guardian's end", || !is_alive(guardian));
        assert!(!master.control.exists() && !master.control.with_extension("lock").exists());
    }
}

fn second_signal_ends_at_once(signal: &str, code: i32) {
    let script = demo_after("sleep 600 &");
    let mut master = Setup::app(&["-i", "2"], &shell(&script)).start_ready();
    let client = under_way(&master, "/slow/60000");
    master.signal(signal);
    wait_until("the drain to begin", || master.state().is_stopping);
    // A signal that repeats the first within a moment is the same request; a person is slower.
    let mut ended = None;
    wait_until("the master's end", || {
        master.signal(signal);
        ended = master.try_end();
        ended.is_some()
    });
    assert_eq!(ended.and_then(|status| status.code()), Some(code));
    let error = read_answer(client).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionReset, "a cut connection ends in a reset: {error}");
    master.wait_no_family();
}

#[test]
fn second_sigterm_ends_a_drain_at_once_with_143() {
    second_signal_ends_at_once("TERM", 143);
}

#[test]
fn second_sigint_ends_a_drain_at_once_with_130() {
    second_signal_ends_at_once("INT", 130);
}

#[test]
fn connections_open_at_the_drain_deadline_are_cut() {
    let mut master = Setup::new(&[
        "demo",
        "-i",
        "2",
        "--set",
        "pool.demo.drain-timeout=300ms",
        "--set",
        "pool.demo.kill-timeout=300ms",
    ])
    .start_ready();
    // A pool that never answered may speak a one-way protocol.
    assert_eq!(master.get("/").unwrap().status, 200);
    let client = under_way(&master, "/slow/60000");
    master.signal("TERM");
    assert_eq!(read_answer(client).unwrap_err().kind(), ErrorKind::ConnectionReset);
    assert_eq!(master.wait_end().code(), Some(0));
    master.wait_log("cut=1");
}

#[test]
fn worker_ignoring_sigterm_is_killed_with_its_group() {
    let script = "trap '' TERM; sleep 600 & while :; do sleep 1; done";
    let flags = ["-i", "2", "--ready", "none", "--health", "none", "--set", "pool.app.kill-timeout=300ms"];
    let mut master = Setup::app(&flags, &shell(script)).start_ready();
    wait_until("its children", || master.family().len() >= 6);
    master.signal("TERM");
    assert_eq!(master.wait_end().code(), Some(0));
    master.wait_no_family();
    let log = master.log();
    assert_eq!(log.matches("killing its process group").count(), 2, "{log}");
}

#[test]
fn worker_gets_sigterm_and_time_to_end() {
    let script = "trap 'sleep 0.3; echo ended well; exit 0' TERM; sleep 600 & wait";
    let flags = ["-i", "2", "--ready", "none", "--health", "none"];
    let mut master = Setup::app(&flags, &shell(script)).start_ready();
    // The shell sets its trap before it starts its children.
    wait_until("its children", || master.family().len() == 4);
    master.signal("TERM");
    assert_eq!(master.wait_end().code(), Some(0));
    let log = master.log();
    assert_eq!(log.matches("| ended well").count(), 2, "{log}");
}

#[test]
fn clients_in_the_backlog_at_a_stop_are_served() {
    for threads in ["1", "2"] {
        let mut master = Setup::new(&["demo", "-i", "2", "--threads", threads]).start_ready();
        let (address, pid) = (master.address(), master.pid());
        master.signal("STOP");
        wait_until("the master to stand still", || crate::kit::stat(pid).is_some_and(|stat| stat[0] == "T"));
        // The kernel completes their handshakes without the master.
        let waiting: Vec<_> =
            clients(4, 100, |_| send_get(address, "/slow/10")).into_iter().map(Result::unwrap).collect();
        master.signal("TERM");
        master.signal("CONT");
        for client in waiting {
            assert_eq!(read_answer(client).unwrap().body, "waited 10 ms\n");
        }
        assert_eq!(master.wait_end().code(), Some(0));
    }
}

#[test]
fn stop_before_any_worker_is_ready_ends_cleanly() {
    let script = "trap '' TERM; sleep 600";
    let flags = ["-i", "2", "--set", "pool.app.kill-timeout=200ms"];
    let mut master = Setup::app(&flags, &shell(script)).start();
    wait_until("its workers", || master.family().len() == 4);
    let client = send_get(master.address(), "/").unwrap();
    master.signal("TERM");
    assert_eq!(read_answer(client).unwrap_err().kind(), ErrorKind::ConnectionReset, "nobody can serve it");
    assert_eq!(master.wait_end().code(), Some(0));
    master.wait_no_family();
}

#[test]
fn killing_every_worker_during_a_drain_does_not_hang_the_stop() {
    let mut master = Setup::new(&["demo", "-i", "2"]).start_ready();
    let client = under_way(&master, "/slow/60000");
    master.signal("TERM");
    wait_until("the drain to begin", || master.state().is_stopping);
    for pid in master.pids() {
        kill(i64::from(pid), "KILL");
    }
    assert!(read_answer(client).is_err());
    assert_eq!(master.wait_end().code(), Some(0));
}
