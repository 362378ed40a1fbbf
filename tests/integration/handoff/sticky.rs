//! A client of `source-hash` stays with its worker while that worker is busy, and leaves it when the worker is
//! unhealthy.

use std::net::Ipv4Addr;

use super::{PATIENT, all_is_accounted_for, demo, of_slot, scripted};
use crate::kit::{at_rest, burst, clients, freeze_workers, get, get_from, kill, read_answer, send_get, wait_until};

const STICKY: [&str; 2] = ["--strategy", "source-hash"];
const FAST: [&str; 4] =
    ["health.interval=250ms", "health.timeout=250ms", "health.fast-interval=50ms", "health.hang-timeout=30s"];

#[test]
fn busy_home_worker_keeps_its_clients() {
    for threads in ["1", "2"] {
        let flags = [&STICKY[..], &["--threads", threads]].concat();
        let Some(setup) = scripted("2", &flags, &[0, 1], &["slow"]) else { return };
        let master = setup.with("app", &PATIENT).start_ready();
        let slot_of = |body: &str| body.split(' ').next().unwrap().to_owned();
        let home = slot_of(&get(master.address(), "/").unwrap().body);
        // More requests come at once than the worker takes in a second; the other worker is free.
        let answers = clients(12, 12, |_| get(master.address(), "/"));
        assert!(answers.iter().all(|answer| slot_of(&answer.as_ref().unwrap().body) == home), "{home}: {answers:?}");
        eventually_eq!(master.metric("roundelay_worker_retries_total", &[]), 0.0);
        eventually_eq!(master.metric("roundelay_connections_displaced_total", &[]), 0.0);
        all_is_accounted_for(&master);
    }
}

#[test]
fn clients_wait_for_a_full_home_worker() {
    let Some(setup) = scripted("2", &STICKY, &[0, 1], &["mute"]) else { return };
    let master = setup.with("app", &PATIENT).start_ready();
    let waiting: Vec<_> = (0..70).map(|_| send_get(master.address(), "/").unwrap()).collect();
    wait_until("all to be accepted", || master.pool().accepted == Some(70));
    let with = || [0, 1].map(|slot| of_slot(&master, "roundelay_worker_waiting", slot, ""));
    eventually!(with().contains(&64.0) && with().contains(&0.0), "{:?}", with());
    drop(waiting);
}

#[test]
fn clients_of_an_ejected_home_worker_move_and_come_back() {
    let master = demo("4", &STICKY).with("demo", &FAST).start_ready();
    let ask = |n: u8| get_from(Ipv4Addr::new(127, 0, 0, n), master.address(), "/").unwrap().body;
    let slot = |n: u8| ask(n)["hello from demo/".len()..][..1].parse::<usize>().unwrap();
    let before: Vec<_> = (2..22).map(slot).collect();
    let home = home_of_here(&master);
    let frozen = freeze_workers(&master, &[home])[0];
    // Clients come to it before the master has noticed, and after.
    let early: Vec<_> = (0..6).map(|_| send_get(master.address(), "/").unwrap()).collect();
    for client in early {
        let body = read_answer(client).unwrap().body;
        assert!(!body.starts_with(&format!("hello from demo/{home} ")), "{body}");
    }
    let displaced = || master.metric("roundelay_connections_displaced_total", &[]);
    eventually!(displaced() >= 6.0, "{}", displaced());
    let meanwhile: Vec<_> = (2..22).map(slot).collect();
    for (before, meanwhile) in before.iter().zip(&meanwhile) {
        assert!(if *before == home { *meanwhile != home } else { meanwhile == before });
    }
    kill(i64::from(frozen), "CONT");
    wait_until("them to come back", || (2..22).map(slot).collect::<Vec<_>>() == before);
    let rest = at_rest("the clients that were displaced", displaced);
    assert_eq!(burst(master.address(), "/", 20).starting(&format!("hello from demo/{home} ")), 20);
    eventually_eq!(displaced(), rest);
    all_is_accounted_for(&master);
}

/// The slot of this machine's own address.
fn home_of_here(master: &crate::kit::Master) -> usize {
    let body = get(master.address(), "/").unwrap().body;
    body["hello from demo/".len()..][..1].parse().unwrap()
}
