//! The examples of `worker-runtime`, behind a master and ended by SIGTERM while clients are connected.

use std::path::PathBuf;

use crate::kit::{Kept, Master, Setup, is_alive, kill, wait_for, wait_until};

/// `cargo test --workspace` builds examples beside the folder of this test's own binary.
pub(crate) fn example(name: &str) -> String {
    let own = std::env::current_exe().unwrap();
    let path: PathBuf = own.ancestors().nth(2).unwrap().join("examples").join(name);
    assert!(path.is_file(), "no {}: `cargo test --workspace` builds it", path.display());
    path.to_str().unwrap().to_owned()
}

/// Starts two workers of the example, which become ready by notify.
fn start(name: &str) -> Master {
    Setup::new(&["run", "--workers", "2", "--ready", "notify", "--", &example(name)]).start_ready()
}

/// The pid of the worker that holds the only open connection.
fn holder(master: &Master) -> (u32, u32) {
    wait_for("one worker to hold the connection", || {
        let workers = master.workers();
        let holder = workers.iter().find(|worker| worker.active == Some(1))?;
        Some((holder.slot, holder.pid?))
    })
}

/// Waits until the process is gone, and tells how it ended.
fn exit_code(master: &Master, (slot, pid): (u32, u32)) -> i32 {
    wait_until("the worker to end", || !is_alive(pid));
    wait_for("its exit to be known", || master.workers().swap_remove(slot as usize).last_exit).code
}

/// Stops the master. Every worker, here and before, must have ended with 0.
fn stop(mut master: Master) {
    // A process that is told to stop before it listens dies of the signal.
    master.wait_all_ready();
    master.signal("TERM");
    assert_eq!(master.wait_end().code(), Some(0));
    let log = master.log();
    assert_eq!(log.matches("exit=exit code 0").count(), log.matches("exit=").count(), "{log}");
}

#[test]
fn echo_serves_an_open_connection_to_its_end_after_sigterm() {
    let master = start("echo");
    let mut client = Kept::connect(master.address());
    client.send("one");
    assert_eq!(client.receive(3), "one");
    let worker = holder(&master);
    kill(i64::from(worker.1), "TERM");
    // The worker's slot has a replacement while the worker still serves: new clients are never refused.
    client.send("two");
    assert_eq!(client.receive(3), "two");
    assert!(is_alive(worker.1));
    drop(client);
    assert_eq!(exit_code(&master, worker), 0);
    stop(master);
}

#[test]
fn http_answers_open_requests_and_ends_idle_connections() {
    let master = start("http");
    let mut slow = Kept::connect(master.address());
    assert!(!slow.get("/").says_close());
    let worker = holder(&master);
    // The next connection but one comes to the same worker.
    let mut other = Kept::connect(master.address());
    let mut idle = Kept::connect(master.address());
    for client in [&mut other, &mut idle] {
        let answer = client.get("/");
        assert_eq!((answer.status, answer.body.as_str(), answer.says_close()), (200, "hello from Rust\n", false));
    }
    slow.send("GET /slow HTTP/1.1\r\nHost: localhost\r\n\r\n");
    // This request is sent later to the same worker, so its answer means that the other request has arrived.
    assert_eq!(idle.get("/").status, 200);
    kill(i64::from(worker.1), "TERM");
    assert_eq!(idle.rest(), "", "closed without a word");
    let answer = slow.answer();
    assert_eq!((answer.status, answer.says_close()), (200, true));
    assert_eq!(slow.rest(), "");
    assert_eq!(exit_code(&master, worker), 0);
    assert_eq!(other.get("/").status, 200, "the other worker went on");
    drop(other);
    stop(master);
}

#[test]
fn cpu_answers_while_computing_and_finishes_after_sigterm() {
    let master = start("cpu");
    let mut heavy = Kept::connect(master.address());
    assert_eq!(heavy.get("/100").body, "25\n");
    let worker = holder(&master);
    heavy.send("GET /3000000 HTTP/1.1\r\nHost: localhost\r\n\r\n");
    for _ in 0..2 {
        assert_eq!(master.get("/").unwrap().body, "try /10000000\n");
    }
    kill(i64::from(worker.1), "TERM");
    let answer = heavy.answer();
    assert_eq!((answer.body.as_str(), answer.says_close()), ("216816\n", true));
    assert_eq!(exit_code(&master, worker), 0);
    stop(master);
}

#[test]
fn messages_answers_in_modes_without_messages() {
    let master = start("messages");
    let mut client = Kept::connect(master.address());
    let greeting = client.rest();
    assert!(greeting.starts_with("hello, 127.0.0.1:") && greeting.ends_with('\n'), "{greeting}");
    stop(master);
}

#[test]
fn master_stop_ends_an_idle_connection_of_each_example() {
    let check = |name| {
        let master = start(name);
        let mut client = Kept::connect(master.address());
        client.send("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n");
        client.receive(1);
        stop(master);
        client.rest();
    };
    std::thread::scope(|scope| ["echo", "http", "cpu"].map(|name| scope.spawn(move || check(name))).map(drop));
}
