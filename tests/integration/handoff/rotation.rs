//! The strategies choose as they promise; the workers tell the numbers that the strategies count.

use std::net::Ipv4Addr;

use super::{all_is_accounted_for, demo, turns};
use crate::kit::{COOPERATIVE, Kept, Master, Traffic, carried_out, get, get_from, send_get, wait_until};

/// The slot in `hello from demo/SLOT (pid ...)`.
fn slot_of(body: &str) -> usize {
    body.strip_prefix("hello from demo/").and_then(|rest| rest.split(' ').next()).unwrap().parse().unwrap()
}

#[test]
fn three_workers_get_400_of_1200_connections_each() {
    for threads in ["1", "2"] {
        let master = demo("3", &["--threads", threads]).start_ready();
        // The test sends bursts, since a busy machine hardly ever lets 1,200 connections pass without moving one.
        for _ in 0..20 {
            assert_eq!(turns(&master, master.address(), "hello from demo/", 60), [20; 3], "{threads} threads");
        }
        all_is_accounted_for(&master);
    }
}

#[test]
fn source_hash_moves_only_clients_of_a_leaving_worker() {
    let master = demo("5", &["--strategy", "source-hash"]).start_ready();
    let homes = || {
        let home = |n: u8| slot_of(&get_from(Ipv4Addr::new(127, 0, 0, n), master.address(), "/").unwrap().body);
        (2..=61).map(home).collect::<Vec<usize>>()
    };
    let before = homes();
    assert_eq!(homes(), before, "a client stays where it is");
    assert!((0..5).all(|slot| before.contains(&slot)), "{before:?}");
    carried_out(&master, &["stop", "demo/3"]);
    let while_gone = homes();
    for (home, now) in before.iter().zip(&while_gone) {
        assert!(if *home == 3 { *now != 3 } else { now == home }, "{before:?}\n{while_gone:?}");
    }
    carried_out(&master, &["start", "demo/3"]);
    assert_eq!(homes(), before, "another process in the same place");
}

#[test]
fn least_connections_sees_the_end_of_handed_connections() {
    let master = demo("3", &["--strategy", "least-connections"]).start_ready();
    let mut held: Vec<_> = (0..3).map(|_| Kept::connect(master.address())).collect();
    let mut slots: Vec<_> = held.iter_mut().map(|kept| slot_of(&kept.get("/").body)).collect();
    let loaded = slots[0];
    let all = Vec::from_iter(0..3);
    slots.sort_unstable();
    assert_eq!(slots, all, "one each");
    held.truncate(1);
    wait_until("two ends to be told", || master.pool().active == Some(1));
    let ask = || slot_of(&get(master.address(), "/").unwrap().body);
    for _ in 0..20 {
        // Each request has ended before the next one comes.
        assert_ne!(ask(), loaded);
        wait_until("its end to be told", || master.pool().active == Some(1));
    }
    drop(held);
    wait_until("the last end to be told", || master.pool().active == Some(0));
    wait_until("it to be as good as the others", || ask() == loaded);
}

/// Connections that wait in the channel of a worker that does not read count as its load.
#[test]
fn least_waiting_avoids_a_blocked_worker() {
    let options = [&super::PATIENT[..], &["health.probe=none"]].concat();
    let master = demo("2", &["--strategy", "least-waiting"]).with("demo", &options).start_ready();
    let blocked = send_get(master.address(), "/block/60000").unwrap();
    wait_until("it to be taken", || master.pool().active == Some(1) && waiting(&master) == 0);
    // One client finds the blocked worker, and goes to the other worker in the end.
    let first: Vec<_> = (0..4).map(|_| slot_of(&get(master.address(), "/").unwrap().body)).collect();
    let rest: Vec<_> = (0..20).map(|_| slot_of(&get(master.address(), "/").unwrap().body)).collect();
    let free = first[0];
    assert!(first.iter().chain(&rest).all(|&slot| slot == free), "{first:?} {rest:?}");
    drop(blocked);
}

fn waiting(master: &Master) -> u64 {
    master.workers().iter().map(|worker| worker.waiting.unwrap()).sum()
}

#[test]
fn every_strategy_serves_and_can_be_changed_under_load() {
    let master = demo("3", &["--threads", "2"]).start_ready();
    let pids = master.pids();
    let traffic = Traffic::start(&master, COOPERATIVE);
    let names = roundelay::strategy::ALL.iter().map(|entry| entry.name);
    for name in names.skip(1).chain(["round-robin"]) {
        carried_out(&master, &["strategy", "demo", name]);
        at_once_eq!(master.pool().strategy, name);
        traffic.flows();
    }
    traffic.lost_nothing();
    at_once_eq!(master.pids(), pids, "no process was touched");
    all_is_accounted_for(&master);
    eventually_eq!(waiting(&master), 0);
}
