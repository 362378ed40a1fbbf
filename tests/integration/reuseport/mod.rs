//! `--mode reuseport`: each worker accepts from its slot's own listener, which it inherits and the master keeps.

mod absent;
mod harm;
mod refused;

use std::io::ErrorKind;
use std::net::{SocketAddr, TcpStream};

use crate::kit::{
    Burst, Kept, Master, Setup, burst, carried_out, descriptors, is_read, python, read_answer, send_get, shell,
    wait_for, wait_until,
};

/// A pool `app` of `count` workers with a listener each.
fn pool(count: &str, flags: &[&str], command: &[&str]) -> Setup {
    Setup::app(&[&["--mode", "reuseport", "-i", count], flags].concat(), command)
}

/// The pool `demo`, of demo workers.
fn demo(count: &str, flags: &[&str]) -> Setup {
    Setup::new(&[&["demo", "--mode", "reuseport", "-i", count], flags].concat())
}

/// A pool of programs in Python that call `accept` in the plainest way, if there is a Python.
fn plain(count: &str, flags: &[&str], more: &[&str]) -> Option<Setup> {
    let command = [&[python()?, "-c", include_str!("../shared/accepts.py")], more].concat();
    Some(pool(count, &[&["--ready", "none"], flags].concat(), &command))
}

fn hello(of: &str, slot: usize) -> String {
    format!("{of}{slot} ")
}

/// Sends so many requests that by chance no slot is left out; none may fail. Returns the number of answers of each
/// slot.
#[track_caller]
fn answers(address: SocketAddr, of: &str, slots: usize, count: usize) -> Vec<usize> {
    let burst: Burst = burst(address, "/", count);
    assert_eq!(burst.failed, [""; 0]);
    let answered: Vec<_> = (0..slots).map(|slot| burst.starting(&hello(of, slot))).collect();
    assert_eq!(answered.iter().sum::<usize>(), count, "{burst:?}");
    answered
}

/// Asks until each slot has answered.
#[track_caller]
fn all_say(address: SocketAddr, of: &str, slots: usize) {
    let mut answered = vec![0; slots];
    wait_until("every worker to have answered", || {
        let more = answers(address, of, slots, 20);
        answered.iter_mut().zip(more).for_each(|(sum, more)| *sum += more);
        answered.iter().all(|&answers| answers > 0)
    });
}

/// The descriptors from 3 on, as many as the process has sockets from there on.
#[track_caller]
fn members(pid: u32, count: u32) -> Vec<String> {
    let found = descriptors(pid).into_iter().filter(|(number, _)| (3..3 + count).contains(number));
    let found: Vec<_> = found.map(|(_, target)| target).collect();
    assert!(found.len() == count as usize && found.iter().all(|one| one.starts_with("socket:[")), "{found:?}");
    found
}

/// The sockets of all workers, which must all be different.
#[track_caller]
fn all_members(master: &Master, count: u32) -> Vec<Vec<String>> {
    let of_each: Vec<_> = master.pids().into_iter().map(|pid| members(pid, count)).collect();
    let mut all = of_each.concat();
    all.sort();
    all.dedup();
    assert_eq!(all.len(), of_each.concat().len(), "nobody has another's: {of_each:?}");
    of_each
}

#[test]
fn each_worker_answers_on_a_listener_of_its_own() {
    let master = demo("3", &[]).start_ready();
    all_say(master.address(), "hello from demo/", 3);
    all_members(&master, 1);
    assert_eq!(master.ask("/readyz").status, 200);
    master.wait_log("3 workers accept by themselves");
    at_once!(master.workers().iter().all(|worker| worker.endpoint.as_deref() == Some("inherited")));
}

#[test]
fn replacement_inherits_the_listener_of_its_predecessor() {
    let Some(setup) = plain("3", &["-l", "127.0.0.1:0", "-l", "[::1]:0"], &[]) else { return };
    let master = setup.start_ready();
    let before = (master.pids(), all_members(&master, 2));
    let dead = master.kill_worker(1);
    wait_until("a successor", || master.worker(1).pid.is_some_and(|pid| pid != dead));
    master.wait_state(1, "ready");
    assert_eq!(all_members(&master, 2), before.1, "after a crash");
    carried_out(&master, &["reload"]);
    at_once!(master.pids().iter().all(|pid| !before.0.contains(pid)));
    assert_eq!(all_members(&master, 2), before.1, "after a reload");
}

#[test]
fn plain_accepting_program_is_served_at_every_address() {
    let Some(setup) = plain("3", &["-l", "127.0.0.1:0", "-l", "[::1]:0"], &[]) else { return };
    let master = setup.start_ready();
    for (address, descriptor) in master.pool().listen.iter().zip([3, 4]) {
        let address = address.parse().unwrap();
        all_say(address, "python/", 3);
        let burst = burst(address, "/", 20);
        assert!(burst.bodies.iter().all(|body| body.ends_with(&format!(" on {descriptor}\n"))), "{burst:?}");
    }
}

#[test]
fn connections_are_spread_over_all_ready_workers() {
    let master = demo("3", &[]).start_ready();
    let answered = answers(master.address(), "hello from demo/", 3, 1200);
    eprintln!("1,200 connections over 3 workers at random: {answered:?}");
    // Fewer than 50 of 400 is less likely than that the machine breaks meanwhile.
    assert!(answered.iter().all(|&answers| answers > 50), "{answered:?}");
}

#[test]
fn clients_wait_for_the_first_ready_worker() {
    let script = crate::kit::demo_after("until test -e go; do sleep 0.01; done");
    let mut master = pool("2", &[], &shell(&script)).start();
    wait_until("both to run", || master.pids().len() == 2);
    assert_eq!(master.ask("/readyz").status, 503);
    let early: Vec<_> = (0..8).map(|_| send_get(master.address(), "/").unwrap()).collect();
    master.touch("go");
    for client in early {
        assert!(read_answer(client).unwrap().body.starts_with("hello from app/"));
    }
    master.wait_all_ready();
}

#[test]
fn stop_signals_workers_at_once_and_open_requests_finish() {
    let mut master = demo("3", &[]).start_ready();
    let address = master.address();
    let mut slow = Kept::connect(address);
    slow.send("GET /slow/3000 HTTP/1.1\r\nHost: localhost\r\n\r\n");
    wait_until("a worker to have the request", || is_read(address, slow.local()));
    master.signal("TERM");
    wait_until("the idle workers' end", || {
        master.workers().iter().filter(|worker| worker.state == "stopped").count() == 2
    });
    let refused = wait_for("new connections to be refused", || TcpStream::connect(address).err());
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
    let answer = slow.answer();
    assert_eq!((answer.body.as_str(), answer.says_close()), ("waited 3000 ms\n", true), "{answer:?}");
    assert_eq!(master.wait_end().code(), Some(0));
    eventually_eq!(master.log().matches("exit=exit code 0").count(), 3, "{}", master.log());
}
