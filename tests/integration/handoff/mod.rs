//! `--mode handoff`: the master accepts, and hands the accepted sockets to workers that report the end of each.

mod death;
mod limits;
mod operations;
mod refused;
mod rotation;
mod scripted;
mod sticky;
mod taken_back;

use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;

use crate::kit::{
    Kept, Master, Setup, burst, clients, descriptors, environment, get_from, get_unix, python, request, variable,
    wait_for, wait_until,
};

/// The pool `demo`, of demo workers.
fn demo(count: &str, flags: &[&str]) -> Setup {
    Setup::new(&[&["demo", "--mode", "handoff", "-i", count], flags].concat())
}

/// A pool `app` of `worker.py`, if there is a Python. The slots in `bad` behave as `how` says.
fn scripted(count: &str, flags: &[&str], bad: &[usize], how: &[&str]) -> Option<Setup> {
    let command = [&[python()?, "-c", include_str!("worker.py")], how].concat();
    let setup = Setup::app(&[&["--mode", "handoff", "-i", count], flags].concat(), &command);
    Some(bad.iter().fold(setup, |setup, slot| setup.file(&format!("bad.{slot}"), "")))
}

/// Only the tested mechanism is to notice that a worker does nothing.
const PATIENT: [&str; 3] = ["health.hang-timeout=off", "health.busy-timeout=off", "health.heartbeat=off"];

/// The number of answers of each slot of the first pool, of `count` requests; none may fail.
#[track_caller]
fn shares<const SLOTS: usize>(address: SocketAddr, hello: &str, count: usize) -> [usize; SLOTS] {
    let burst = burst(address, "/", count);
    assert_eq!(burst.failed, [""; 0]);
    std::array::from_fn(|slot| burst.starting(&format!("{hello}{slot} ")))
}

/// Like `shares`, of a burst in which no client was moved. Where a busy machine keeps a worker from reading for 25
/// ms, another gets its client, and such a burst shows nothing about turns.
#[track_caller]
fn turns<const SLOTS: usize>(master: &Master, address: SocketAddr, hello: &str, count: usize) -> [usize; SLOTS] {
    let moved = || master.metric("roundelay_worker_retries_total", &[]);
    wait_for("a burst in which nobody is moved", || {
        let before = moved();
        let shares = shares(address, hello, count);
        (moved() == before).then_some(shares)
    })
}

/// The sum of a metric of one worker.
#[track_caller]
fn of_slot(master: &Master, metric: &str, slot: usize, label: &str) -> f64 {
    master.metric(metric, &[&format!("worker=\"{slot}\""), label])
}

/// Checks that, once all clients have left, each connection that was accepted has had one end.
#[track_caller]
fn all_is_accounted_for(master: &Master) {
    wait_until("nothing to be open", || master.pool().active == Some(0));
    let ends = ["roundelay_connection_closes_total", "roundelay_connections_unassigned_total"];
    eventually_eq!(ends.map(|end| master.metric(end, &[])).iter().sum::<f64>(), master.pool().accepted.unwrap() as f64);
}

#[test]
fn worker_has_only_its_channel_on_descriptor_3() {
    let stray = ["sh", "-c", "exec 9</etc/passwd 7>&1; exec \"$@\"", "sh"];
    let setup = demo("2", &[]).through(&stray);
    let canaries = ["PORT", "HOST", "LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES", "ROUNDELAY_CHANNEL_FD"];
    let master = canaries.iter().fold(setup, |setup, name| setup.env(name, "7")).start_ready();
    for pid in master.pids() {
        let environment = environment(pid);
        assert_eq!(variable(&environment, "ROUNDELAY_CHANNEL_FD"), "3");
        for name in ["PORT=", "HOST=", "LISTEN_"] {
            assert!(environment.iter().all(|one| !one.starts_with(name)), "{environment:?}");
        }
        let found = descriptors(pid);
        assert!(found[3].0 == 3 && found[3].1.starts_with("socket:["), "{found:?}");
        assert!(found.iter().all(|(_, target)| target != "/etc/passwd"), "{found:?}");
    }
    eventually!(master.workers().iter().all(|worker| worker.endpoint.as_deref() == Some("channel")));
    assert_eq!(master.ask("/readyz").status, 200);
}

#[test]
fn worker_sees_the_client_address_as_its_peer() {
    let master = demo("2", &[]).start_ready();
    for host in 2..6 {
        let answer = get_from(Ipv4Addr::new(127, 0, 0, host), master.address(), "/client").unwrap();
        assert!(answer.body.starts_with(&format!("127.0.0.{host}:")), "{answer:?}");
    }
    let mut kept = Kept::connect(master.address());
    assert_eq!(kept.get("/client").body, format!("{}\n", kept.local()), "the port too");
}

#[test]
fn public_unix_address_is_served_and_removed_at_the_end() {
    let setup = demo("2", &[]);
    let public = setup.dir().join("public");
    let mut master = setup.arg("-l").arg(&format!("unix:{}", public.display())).start_ready();
    // The answers come in turn, unless a client was moved; such a burst shows nothing.
    wait_until("a burst in turn", || {
        let answers = clients(4, 40, |_| get_unix(&public, "/"));
        let bodies: Vec<_> = answers.into_iter().map(|answer| answer.unwrap().body).collect();
        let of = |slot| bodies.iter().filter(|body| body.starts_with(&format!("hello from demo/{slot} "))).count();
        assert_eq!(of(0) + of(1), 40);
        [of(0), of(1)] == [20, 20]
    });
    let answer = request(UnixStream::connect(&public).unwrap(), "/client").unwrap();
    assert_eq!(answer.body, "no address\n");
    master.signal("TERM");
    assert_eq!(master.wait_end().code(), Some(0));
    assert!(!public.exists());
}

#[test]
fn two_addresses_of_a_pool_share_one_rotation() {
    let master = demo("2", &["-l", "127.0.0.1:0", "-l", "[::1]:0"]).start_ready();
    let listen = master.pool().listen;
    for address in &listen {
        let address = address.parse().unwrap();
        assert_eq!(turns(&master, address, "hello from demo/", 40), [20, 20], "{address}");
    }
    let v6 = TcpStream::connect(&listen[1]).unwrap();
    let local = v6.local_addr().unwrap();
    assert_eq!(request(v6, "/client").unwrap().body, format!("{local}\n"));
}
