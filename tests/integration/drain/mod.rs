//! A worker that leaves finishes its requests. Each step of its drain has a reason, and each reason has a test here.

mod deadline;

use std::net::TcpStream;

use crate::kit::{
    Kept, Master, Setup, Traffic, carried_out, demo_after, is_alive, kill, ledger, python, read_answer, report,
    running_command, says, send_get, shell, wait_until,
};

/// One worker of `worker.py` with these rules for its pool, if there is a Python.
fn python_worker(workers: &str, rules: &[&str], flags: &[&str]) -> Option<Master> {
    let rules: Vec<_> = rules.iter().map(|rule| format!("pool.app.{rule}")).collect();
    let sets: Vec<_> = rules.iter().flat_map(|rule| ["--set", rule.as_str()]).collect();
    let command = [&[python()?, "-c", include_str!("worker.py")], flags].concat();
    Some(Setup::app(&[&["-i", workers], &sets[..]].concat(), &command).start_ready())
}

/// Stops the one worker and sends `count` requests, which wait in its queue.
#[track_caller]
fn queued(master: &Master, count: usize) -> Vec<TcpStream> {
    master.touch("pause");
    wait_until("the worker to pause", || master.dir().join("paused").exists());
    let waiting: Vec<_> = (0..count).map(|_| send_get(master.address(), "/").unwrap()).collect();
    wait_until("all to wait in its queue", || master.worker(0).active == Some(count as u64));
    waiting
}

/// Waits until another process has the slot of `old`, which still drains.
#[track_caller]
fn wait_replacement(master: &Master, old: u32) {
    wait_until("a replacement in its place", || {
        let worker = master.worker(0);
        let drains = worker.others().any(|other| other.pid == Some(old) && other.state == "draining");
        worker.state == "ready" && worker.pid != Some(old) && drains
    });
}

#[test]
fn worker_told_to_end_gets_no_connection() {
    let Some(master) = python_worker("2", &["drain=signal"], &["--lingers"]) else { return };
    // Python makes a thread for each connection.
    let traffic = Traffic::at(80.0, &master, "one-shot");
    for _ in 0..2 {
        carried_out(&master, &["reload"]);
    }
    traffic.flows();
    traffic.lost_nothing();
}

#[test]
fn queue_of_a_worker_that_closes_its_listener_is_served() {
    let Some(master) = python_worker("1", &["drain=signal", "health.hang-timeout=off"], &["--drains"]) else { return };
    let old = master.pids()[0];
    let waiting = queued(&master, 40);
    let reload = running_command(&master, &["reload", "--json"]);
    wait_replacement(&master, old);
    assert!(read_answer(send_get(master.address(), "/").unwrap()).is_ok(), "the replacement serves");
    assert!(is_alive(old));
    master.remove("pause");
    for client in waiting {
        assert_eq!(read_answer(client).unwrap().body, format!("python/0 {old}\n"));
    }
    let ended = reload.join().unwrap();
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let connections = ledger(&report(&ended));
    assert_eq!((connections.moved, connections.cut, connections.rejected), (0, 0, 0), "{connections:?}");
}

#[test]
fn program_without_a_handler_is_signalled_after_its_last_answer() {
    for drain in ["auto", "idle", "signal"] {
        let Some(master) = python_worker("1", &[&format!("drain={drain}")], &[]) else { return };
        let old = master.pids()[0];
        let client = send_get(master.address(), "/until/answer").unwrap();
        wait_until("the request to be under way", || master.worker(0).active == Some(1));
        let reload = running_command(&master, &["reload"]);
        wait_replacement(&master, old);
        // This takes long enough for the worker to be told and killed.
        assert_eq!(master.get("/slow/500").unwrap().status, 200);
        master.touch("answer");
        assert_eq!(read_answer(client).unwrap().body, format!("python/0 {old}\n"), "drain = {drain}");
        says(&reload.join().unwrap(), 0, &["drained 1 connection"]);
        let is_noticed = || master.log().contains("does not catch the stop signal");
        eventually_eq!(is_noticed(), drain == "signal", "{}", master.log());
    }
}

#[test]
fn quiet_drain_closes_idle_and_keeps_pending_connections() {
    let Some(master) = python_worker("1", &["drain=idle", "drain-timeout=2m"], &[]) else { return };
    let old = master.pids()[0];
    let [mut idle, mut busy] = [(); 2].map(|()| Kept::connect(master.address()));
    for kept in [&mut idle, &mut busy] {
        assert_eq!(kept.get("/").body, format!("python/0 {old}\n"));
    }
    busy.send("GET /until/answer HTTP/1.1\r\nHost: localhost\r\n\r\n");
    let reload = running_command(&master, &["reload", "--json"]);
    wait_replacement(&master, old);
    assert_eq!(idle.rest(), "", "an orderly end");
    assert!(is_alive(old) && !reload.is_finished(), "the other one lives");
    // This takes long enough for the drain to close the connection, too.
    assert_eq!(master.get("/slow/1500").unwrap().status, 200);
    master.touch("answer");
    assert_eq!(busy.answer().body, format!("python/0 {old}\n"));
    assert_eq!(busy.rest(), "", "idle now");
    let connections = ledger(&report(&reload.join().unwrap()));
    // The connection that was served was the replacement's.
    assert_eq!((connections.served, connections.closed, connections.cut), (1, 2, 0), "{connections:?}");
}

#[test]
fn drain_until_closed_waits_for_clients_to_leave() {
    let Some(master) = python_worker("1", &["drain=wait", "drain-timeout=2m"], &[]) else { return };
    let old = master.pids()[0];
    let [mut idle, mut busy] = [(); 2].map(|()| Kept::connect(master.address()));
    idle.get("/");
    busy.get("/");
    let reload = running_command(&master, &["reload", "--json"]);
    wait_replacement(&master, old);
    // During this request the first connection is silent for longer than the second that ends a quiet one.
    assert_eq!(busy.get("/slow/2500").body, format!("python/0 {old}\n"));
    assert_eq!(idle.get("/").body, format!("python/0 {old}\n"), "still there, and still on the old one");
    assert!(!reload.is_finished());
    drop((idle, busy));
    let connections = ledger(&report(&reload.join().unwrap()));
    assert_eq!((connections.served, connections.closed, connections.cut), (2, 0, 0), "{connections:?}");
}

#[test]
fn worker_that_ignores_sigterm_is_killed_with_its_group() {
    let script = demo_after("trap '' TERM\nsleep 600 &");
    let setup = Setup::app(&["-i", "2", "--set", "pool.app.kill-timeout=300ms"], &shell(&script));
    let master = setup.env("DEMO_IGNORE_TERM", "1").start_ready();
    wait_until("a grandchild of each", || master.sleepers().len() == 2);
    let (old, grandchildren) = (master.pids(), master.sleepers());
    let ended = crate::kit::run_command(&master, &["reload"]);
    says(&ended, 0, &["KILL"]);
    master.wait_log("worker did not end within kill-timeout: killing its process group");
    wait_until("all of the old ones to be gone", || old.iter().chain(&grandchildren).all(|&pid| !is_alive(pid)));
    wait_until("those of the new ones", || master.sleepers().len() == 2);
}

#[test]
fn queue_of_a_killed_draining_worker_goes_to_its_replacement() {
    let Some(master) = python_worker("1", &["drain=signal", "health.hang-timeout=off"], &["--drains"]) else { return };
    let old = master.pids()[0];
    let waiting = queued(&master, 20);
    let reload = running_command(&master, &["reload", "--json"]);
    wait_replacement(&master, old);
    kill(i64::from(old), "KILL");
    let replacement = master.pids()[0];
    for client in waiting {
        assert_eq!(read_answer(client).unwrap().body, format!("python/0 {replacement}\n"));
    }
    let ended = reload.join().unwrap();
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let connections = ledger(&report(&ended));
    assert_eq!((connections.moved, connections.cut), (20, 0), "{connections:?}");
}
