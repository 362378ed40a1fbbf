//! At its limits the master waits, and it keeps no descriptor of a connection that it gave away.

use std::net::Ipv4Addr;
use std::time::Duration;

use super::{PATIENT, all_is_accounted_for, demo, scripted};
use crate::kit::{
    Kept, at_rest, burst, clients, descriptors, freeze_workers, get, get_from, kill, read_answer, send_get, stays,
    wait_until,
};

#[test]
fn handed_connections_count_as_open_until_they_end() {
    let master = demo("2", &[]).with("demo", &["max-connections=4"]).start_ready();
    let mut held: Vec<_> = (0..4).map(|_| Kept::connect(master.address())).collect();
    held.iter_mut().for_each(|kept| drop(kept.get("/")));
    let fifth = send_get(master.address(), "/").unwrap();
    assert_eq!(held[0].get("/health").body, "ok\n");
    eventually_eq!((master.pool().accepted, master.pool().active), (Some(4), Some(4)));
    drop(held.pop());
    assert_eq!(read_answer(fifth).unwrap().status, 200);
    drop(held);
    assert_eq!(burst(master.address(), "/", 20).failed, [""; 0]);
    all_is_accounted_for(&master);
}

#[test]
fn source_has_room_again_when_its_connection_ends() {
    let master = demo("2", &[]).with("demo", &["max-connections-per-source=2"]).start_ready();
    let mut held: Vec<_> = (0..2).map(|_| Kept::connect(master.address())).collect();
    held.iter_mut().for_each(|kept| drop(kept.get("/")));
    assert!(get(master.address(), "/").is_err(), "a third of the same address");
    let rejected = || master.metric("roundelay_connections_rejected_total", &[r#"reason="per_source""#]);
    assert_eq!(rejected(), 1.0);
    assert_eq!(get_from(Ipv4Addr::new(127, 0, 0, 2), master.address(), "/").unwrap().status, 200);
    assert_eq!(held[0].get("/health").body, "ok\n");
    drop(held.pop());
    wait_until("the worker to have told its end", || get(master.address(), "/").is_ok());
    drop(held);
    wait_until("nothing to be open", || master.pool().active == Some(0));
    let held: Vec<_> = (0..2).map(|_| send_get(master.address(), "/").unwrap()).collect();
    assert!(held.into_iter().all(|client| read_answer(client).unwrap().status == 200));
}

/// The open descriptors of a process, by kind. The descriptor by which it asks the kernel for sockets is left out:
/// the process opens it when it first needs it.
fn open(pid: u32) -> Vec<String> {
    let netlink = std::fs::read_to_string("/proc/net/netlink").unwrap();
    let asks = |target: &str| {
        netlink.lines().any(|line| target == format!("socket:[{}]", line.split_whitespace().last().unwrap()))
    };
    let kind = |target: String| target.split(':').next().unwrap_or_default().to_owned();
    let targets = descriptors(pid).into_iter().map(|(_, target)| target);
    let mut open: Vec<_> = targets.filter(|target| !asks(target)).map(kind).collect();
    open.sort();
    open
}

#[test]
fn handed_connections_leak_no_descriptor() {
    let master = demo("2", &[]).with("demo", &PATIENT).start_ready();
    assert_eq!(burst(master.address(), "/", 20).failed, [""; 0]);
    wait_until("nothing to be open", || master.pool().active == Some(0));
    let pids = [&[master.pid()][..], &master.pids()].concat();
    let all = || pids.iter().map(|&pid| open(pid)).collect::<Vec<_>>();
    // Our own questions are connections, too. They have ended when nothing changes any more.
    let rest = || at_rest("what is open", all);
    let before = rest();
    assert_eq!(burst(master.address(), "/", 2000).failed, [""; 0]);
    // Two thousand came and went. A descriptor that a process opens once for itself, at its first use, is no leak.
    let is_small = |(now, before): (&Vec<String>, &Vec<String>)| now.len() <= before.len() + 4;
    wait_until("hardly anything new to be open after a churn", || all().iter().zip(&before).all(is_small));
    let before = rest();

    let frozen = freeze_workers(&master, &[0])[0];
    let taken_back: Vec<_> = (0..12).map(|_| send_get(master.address(), "/").unwrap()).collect();
    taken_back.into_iter().for_each(|client| drop(read_answer(client).unwrap()));
    eventually!(master.metric("roundelay_worker_retries_total", &[]) > 0.0);
    kill(i64::from(frozen), "CONT");
    eventually_eq!(all(), before, "after some were taken back");

    let dead = master.kill_worker(0);
    wait_until("its replacement", || master.worker(0).pid.is_some_and(|pid| pid != dead));
    master.wait_state(0, "ready");
    wait_until("nothing new to be open after a death", || open(master.pid()) == before[0]);
}

/// More clients come than a worker may have pending, while it computes for longer than a dispatch may take.
#[test]
fn clients_wait_however_many_while_every_worker_is_busy() {
    for threads in ["1", "2"] {
        let options = [&PATIENT[..], &["dispatch-timeout=300ms"]].concat();
        let master = demo("1", &["--threads", threads]).with("demo", &options).start_ready();
        let address = master.address();
        let blocked = send_get(address, "/block/1000").unwrap();
        wait_until("it to be taken", || master.worker(0).active == Some(1) && master.worker(0).waiting == Some(0));
        let answers = clients(100, 200, |_| get(address, "/"));
        let lost: Vec<_> = answers.into_iter().filter_map(Result::err).collect();
        assert!(lost.is_empty(), "{} {lost:?}", lost.len());
        assert_eq!(read_answer(blocked).unwrap().status, 200);
        eventually_eq!(master.metric("roundelay_connections_unassigned_total", &[]), 0.0);
        all_is_accounted_for(&master);
    }
}

#[test]
fn idle_reader_gets_64_and_the_rest_waits_in_the_kernel() {
    let Some(setup) = scripted("1", &["--threads", "1"], &[0], &["mute"]) else { return };
    let master = setup.with("app", &PATIENT).start_ready();
    let waiting: Vec<_> = (0..100).map(|_| send_get(master.address(), "/").unwrap()).collect();
    wait_until("it to have 64", || master.worker(0).active == Some(64));
    stays("the rest waits in the kernel", Duration::from_millis(500), || {
        (master.worker(0).active, master.pool().accepted) == (Some(64), Some(64))
    });
    assert_eq!(master.ask("/livez").status, 200);
    master.remove("bad.0");
    master.kill_worker(0);
    for client in waiting {
        assert!(read_answer(client).unwrap().body.starts_with("python/0 "));
    }
    all_is_accounted_for(&master);
}
